// A process started in an image as a container runtime would: a root of its own that cannot be written to, a process tree and a
// network of its own, the user and the capabilities that it is given and no others, volumes where it says. What is missing
// beside a real one: the system call filter, and limits of memory.

import Foundation
import Glibc
import Lab
import Testing

/// Foundation has a Host as well.
typealias Machine = Lab.Host

final class Container: Sendable {
  struct Mount: Sendable {
    var source: String
    var target: String
    var isReadOnly = false
  }

  struct Terms: Sendable {
    var user = "65532:65532"
    /// Of its bounding set; an ordinary user gets of them what the program's file may have.
    var capabilities: [String] = []
    /// `allowPrivilegeEscalation`: no_new_privs is not set.
    var mayEscalate = false
    var mounts: [Mount] = []
    var environment: [String] = []
  }

  private let process: Child
  private let log: String
  private let image: Image
  private let terms: Terms

  /// - Parameters:
  ///   - words: the command; the image's own if nil.
  init(
    _ image: Image, _ words: [String]? = nil, terms: Terms = Terms(), on host: Machine, log: String
  )
    throws
  {
    let words = words ?? image.settings.entrypoint + image.settings.command
    self.image = image
    self.terms = terms
    self.log = log
    let output = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard output >= 0 else { throw LabError("cannot write \(log)") }
    defer { close(output) }
    process = try host.spawn(
      ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "sh", "-euc"]
        + [Self.script(image, terms), "sh"] + words, output: output)
  }

  private static func script(_ image: Image, _ terms: Terms) -> String {
    let root = image.root
    // A runtime makes the places it mounts to.
    let mounts = terms.mounts.map { mount in
      """
      mkdir -p '\(root)\(mount.target)'
      mount --bind '\(mount.source)' '\(root)\(mount.target)'
      """ + (mount.isReadOnly ? "\nmount -o remount,bind,ro '\(root)\(mount.target)'" : "")
    }
    return """
      mount --make-rprivate /
      mount --bind '\(root)' '\(root)'
      \(mounts.joined(separator: "\n"))
      mount -t proc proc '\(root)/proc'
      mount --bind '\(root)/proc/sys' '\(root)/proc/sys'
      mount -o remount,bind,ro '\(root)/proc/sys'
      mount -t tmpfs -o mode=755 tmpfs '\(root)/dev'
      mknod -m 666 '\(root)/dev/null' c 1 3
      mknod -m 666 '\(root)/dev/zero' c 1 5
      mknod -m 666 '\(root)/dev/urandom' c 1 9
      mount -o remount,bind,ro '\(root)'
      exec env -i \(entry(image, terms)) "$@"
      """
  }

  /// What comes before the command, inside. `env` is there to be executed: what an ordinary user may not have is gone with
  /// that, as it is with Docker, and comes back by the program's file alone.
  private static func entry(_ image: Image, _ terms: Terms) -> String {
    let ids = terms.user.split(separator: ":")
    let (user, group) = (ids.first ?? "0", ids.count > 1 ? ids[1] : ids.first ?? "0")
    let environment = (image.settings.environment + terms.environment).map { "'\($0)'" }
    let bounds = ["-all"] + terms.capabilities.map { "+\($0.lowercased())" }
    return """
      \(environment.joined(separator: " ")) chroot '\(image.root)' /usr/bin/setpriv --reuid=\(user) --regid=\(group) \
      --clear-groups --inh-caps=-all --bounding-set=\(bounds.joined(separator: ","))\(terms.mayEscalate ? "" : " --no-new-privs") -- /usr/bin/env
      """
  }

  // MARK: What it does

  var output: String { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }

  /// Its first process, as the machine numbers it; nil when it has ended.
  private var first: pid_t? {
    let children = "/proc/\(process.id)/task/\(process.id)/children"
    guard let text = try? String(contentsOfFile: children, encoding: .utf8) else { return nil }
    return text.split(separator: " ").first.flatMap { pid_t($0) }
  }

  /// Waits until it has said something.
  func wait(for words: String, seconds: Double = 60) throws {
    let end = Date().addingTimeInterval(seconds)
    while !output.contains(words) {
      guard Date() < end, !process.hasEnded else {
        throw LabError("it never said '\(words)': \(output)")
      }
      usleep(20_000)
    }
  }

  /// Sends its first process a signal.
  func signal(_ number: Int32) {
    if let first { kill(first, number) }
  }

  /// Waits for its end.
  /// - Returns: the exit code.
  func end() -> Int32 { process.wait() }

  var hasEnded: Bool { process.hasEnded }

  /// Runs another command in it, as `docker exec` and its health check do.
  func execute(_ words: [String]) throws -> (code: Int, output: String) {
    guard let first else { throw LabError("it has ended: \(output)") }
    // The root is that of the first process; what is left is who asks.
    let entry = Self.entry(image, terms).replacingOccurrences(
      of: "chroot '\(image.root)' ",
      with: "nsenter --target \(first) --mount --pid --net --root --wd ")
    let quoted = words.map { "'\($0)'" }.joined(separator: " ")
    let text = try Shell.run("set +e\nenv -i \(entry) \(quoted) 2>&1\necho \"code=$?\"")
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).filter { !$0.isEmpty }
    let code = lines.last.flatMap { Int($0.dropFirst("code=".count)) }
    return (try #require(code), lines.dropLast().joined(separator: "\n"))
  }
}
