// The lab for those who are not root: the same program once more, as root of a user namespace. Everything it makes lies in
// namespaces that nobody else sees, /run with the names of the network namespaces included, and is gone when it ends.

import Glibc
import Platform

package enum UserNamespace {
  private static let mark = "HOLDFAST_LAB_INSIDE"

  /// Whether the lab has to go into one. Root of somebody's user namespace has to as well: neither /run nor the network
  /// namespace that it is in are its own.
  package static var isNeeded: Bool {
    getenv(mark) == nil && (geteuid() != 0 || !isInitial)
  }

  /// Where all numbers of users are what they are (user_namespaces(7)).
  private static var isInitial: Bool {
    guard let file = try? File.open("/proc/self/uid_map") else { return true }
    var buffer = [UInt8](repeating: 0, count: 256)
    let count = read(file.rawValue, &buffer, buffer.count)
    let numbers = String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
      .split(whereSeparator: \.isWhitespace)
    return numbers == ["0", "0", "4294967295"]
  }

  /// Becomes the same command inside; does not return.
  /// - Throws: why that cannot be had here, and what would help.
  package static func enter(_ arguments: [String]) throws -> Never {
    let attempt = "unshare --user --map-root-user --net --mount"
    do {
      try Shell.run("\(attempt) sh -c 'mount -t tmpfs lab /run'")
    } catch {
      let words = "\(error)".split(separator: "\n").first.map(String.init) ?? ""
      throw LabError(
        "the lab makes network namespaces, which takes root or a user namespace, and this machine gives none (\(words)): use sudo, or allow them (kernel.unprivileged_userns_clone=1, user.max_user_namespaces above 0, kernel.apparmor_restrict_unprivileged_userns=0)"
      )
    }
    setenv(mark, "1", 1)
    let script = "mount -t tmpfs lab /run && mkdir /run/netns && exec \"$@\""
    let words =
      attempt.split(separator: " ").map(String.init) + ["sh", "-c", script, "sh"] + arguments
    var pointers: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    pointers.append(nil)
    execvp("unshare", pointers)
    throw LabError("cannot start unshare: \(Errno(rawValue: errno))")
  }
}
