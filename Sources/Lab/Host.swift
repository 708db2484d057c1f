// A machine of the lab: a network namespace with a name, gone with the value. A thread inside opens sockets, which stay
// there whoever uses them; processes started inside belong to it too.

import CLab
import Glibc
import Platform
import Synchronization

package final class Host: Sendable {
  /// What the scenario calls it: `origin`.
  package let role: String
  /// The namespace.
  package let name: String
  package var path: String { "/run/netns/\(name)" }

  package init(_ role: String, of run: LabRun) throws {
    self.role = role
    name = "\(run.name)-\(role)"
    try Shell.run("ip netns add \(name); ip -n \(name) link set lo up")
  }

  deinit { _ = try? Shell.runAnyway("ip netns del \(name)") }

  /// Runs `body` on a thread inside, and waits for it.
  package func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) throws -> Value
  {
    let outcome = Mailbox<Value>()
    let path = path
    let thread = try WorkerThread.start(name: "lab-\(role)") {
      let result = Result {
        try Self.enter(path)
        return try body()
      }
      outcome.result.withLock { $0 = result }
    }
    thread.join()
    guard let result = outcome.result.withLock({ $0 }) else {
      throw LabError("nothing came of a thread in \(role)")
    }
    return try result.get()
  }

  /// Moves the calling thread, for good.
  private static func enter(_ path: String) throws {
    let namespace = try File.open(path)
    let entered = lab_enter_namespace(namespace.rawValue)
    guard entered == 0 else {
      throw LabError("cannot enter \(path): \(Errno(rawValue: Int32(0 - entered)))")
    }
  }

  /// Runs lines of shell inside.
  @discardableResult
  package func shell(_ lines: String) throws -> String {
    try run { try Shell.run(lines) }
  }

  /// Starts a process inside. It does not outlive this one, however this one ends: the kernel kills it when the thread
  /// that has started it is gone, which waits for nothing else.
  package func spawn(_ arguments: [String], input: Int32? = nil, output: Int32? = nil) throws
    -> Child
  {
    let started = Monitor<Result<Child, any Error>?>(nil)
    let path = path
    _ = try WorkerThread.start(name: "lab-\(role)") {
      let result = Result {
        try Self.enter(path)
        return try Child(
          ["setpriv", "--pdeathsig", "KILL"] + arguments, input: input, output: output)
      }
      let id = (try? result.get())?.id
      started.withLock { $0 = result }
      started.wakeAll()
      guard let id else { return }
      var information = siginfo_t()
      while waitid(P_PID, id_t(id), &information, WEXITED | WNOWAIT) < 0 && errno == EINTR {}
    }
    return try started.wait { $0 }.get()
  }

  /// Sets a sysctl of this namespace: `net.ipv4.tcp_syncookies`.
  package func set(_ setting: String, to value: String) throws {
    let file = "/proc/sys/" + setting.split(separator: ".").joined(separator: "/")
    try shell("echo '\(value)' > \(file)")
  }

  /// The counters of the kernel's TCP in this namespace, by their names in `/proc/net/{snmp,netstat}`.
  package func counters() throws -> [String: Int64] {
    let text = try shell("cat /proc/thread-self/net/snmp /proc/thread-self/net/netstat")
    var counters: [String: Int64] = [:]
    var names: [Substring] = []
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ").dropFirst()
      if let first = words.first, Int64(first) == nil {
        names = Array(words)
      } else {
        for (name, value) in zip(names, words) { counters[String(name)] = Int64(value) }
      }
    }
    return counters
  }
}

/// What a thread leaves for the one that waits for it.
private final class Mailbox<Value: Sendable>: Sendable {
  let result = Mutex<Result<Value, any Error>?>(nil)
}
