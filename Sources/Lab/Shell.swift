// Lines of shell, run in the network namespace of the calling thread: most of what the lab makes is made by `ip`, `iptables`,
// `nft` and `conntrack`, in words that a person can type.

import CLab
import Glibc
import Platform

package enum Shell {
  /// Where commands are looked for: what the person has, and what Debian keeps for root.
  package static let path: [String] = {
    var places = getenv("PATH").map { String(cString: $0) }?.split(separator: ":").map(String.init)
    places = places ?? ["/usr/bin", "/bin"]
    for place in ["/usr/local/sbin", "/usr/sbin", "/sbin"] where places?.contains(place) == false {
      places?.append(place)
    }
    return places ?? []
  }()

  /// Of two makes of iptables the older has a lock, for which others wait only when told to.
  private static let preface = """
    set -e
    PATH='\(path.joined(separator: ":"))'
    export PATH
    iptables() { command iptables -w 20 "$@"; }
    ip6tables() { command ip6tables -w 20 "$@"; }

    """

  /// - Returns: what they printed.
  /// - Throws: what they printed, if one of them failed.
  @discardableResult
  package static func run(_ lines: String) throws -> String {
    try Interruption.guarding { try runAnyway(lines) }
  }

  /// The same for who takes down what others have made.
  @discardableResult
  static func runAnyway(_ lines: String) throws -> String {
    var ends: (Int32, Int32) = (0, 0)
    let result = withUnsafeMutableBytes(of: &ends) {
      socketpair(
        AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0,
        $0.assumingMemoryBound(to: Int32.self).baseAddress)
    }
    guard result == 0 else { throw LabError("no pipe: \(Errno(rawValue: errno))") }
    defer { close(ends.0) }
    let child: Child
    do {
      child = try Child(["/bin/sh", "-c", preface + lines], output: ends.1)
    } catch {
      close(ends.1)
      throw error
    }
    close(ends.1)
    var output: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = read(ends.0, &buffer, buffer.count)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { break }
      output += buffer[..<count]
    }
    let text = String(decoding: output, as: UTF8.self)
    guard child.wait() == 0 else { throw LabError("\(text.isEmpty ? "failed" : text): \(lines)") }
    return text
  }
}
