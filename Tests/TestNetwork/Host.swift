// Two or three hosts on one machine: network namespaces joined by virtual cables, with names nobody else has, taken
// down with the value. Sockets are opened on a thread inside; they stay there and may be used from anywhere.

import Glibc
import Packets
import Platform
import Synchronization
import Testing

package struct CommandFailed: Error, CustomStringConvertible {
  package var description: String
}

/// Runs lines of shell; throws what they printed if one failed.
@discardableResult
package func shell(_ line: String) throws -> String {
  guard let process = popen("exec 2>&1; set -e; \(line)", "r") else {
    throw CommandFailed(description: line)
  }
  var output = ""
  var buffer = [CChar](repeating: 0, count: 4096)
  while fgets(&buffer, 4096, process) != nil {
    output += String(
      decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
  if pclose(process) != 0 { throw CommandFailed(description: "\(line): \(output)") }
  return output
}

/// What a thread leaves for the one that waits for it.
package final class Outcome<Value: Sendable>: Sendable {
  package let result = Mutex<Result<Value, any Error>?>(nil)

  package init() {}
}

/// A namespace of the test's own.
package final class Host: Sendable {
  package let name: String
  package var path: String { "/run/netns/\(name)" }

  private static let serial = Atomic<Int>(0)

  /// What test processes have left behind that did not live to take it down.
  private static let sweep: Void = {
    _ = try? shell(
      """
      for name in $(ls /run/netns 2>/dev/null | grep '^hfpk-'); do
        process=${name#hfpk-}
        kill -0 ${process%-*} 2>/dev/null || ip netns del $name || true
      done
      """)
  }()

  package init() throws {
    Self.sweep
    let number = Self.serial.add(1, ordering: .relaxed).newValue
    name = "hfpk-\(getpid())-\(number)"
    try shell("ip netns add \(name); ip -n \(name) link set lo up")
  }

  deinit {
    _ = try? shell("ip netns del \(name)")
  }

  /// Runs `body` on a thread inside.
  package func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) throws -> Value
  {
    let outcome = Outcome<Value>()
    let path = path
    let thread = try WorkerThread.start(name: "inside") {
      let result = Result {
        try NetworkNamespace.enter(path)
        return try body()
      }
      outcome.result.withLock { $0 = result }
    }
    thread.join()
    guard let result = outcome.result.withLock({ $0 }) else {
      throw CommandFailed(description: "the thread left nothing")
    }
    return try result.get()
  }

  package func command(_ line: String) throws {
    try shell("ip netns exec \(name) sh -c '\(line)'")
  }

  package func listen(_ address: String) throws -> Int32 {
    let address = try #require(SocketAddress(address))
    return try run { try Socket.listen(on: address).release() }
  }

  package func connect(_ address: SocketAddress) throws -> Int32 {
    try run { try Socket.connect(to: address).release() }
  }

  /// Joins two hosts by a cable, with an address of IPv4 and one of IPv6 at each end.
  package static func join(_ one: Host, _ other: Host, network: Int) throws {
    let names = ("v\(network)a", "v\(network)b")
    try shell(
      """
      ip -n \(one.name) link add \(names.0) type veth peer name \(names.1) netns \(other.name)
      ip -n \(one.name) addr add 10.\(network).0.1/24 dev \(names.0)
      ip -n \(other.name) addr add 10.\(network).0.2/24 dev \(names.1)
      ip -n \(one.name) addr add fd00:\(network)::1/64 dev \(names.0) nodad
      ip -n \(other.name) addr add fd00:\(network)::2/64 dev \(names.1) nodad
      ip -n \(one.name) link set \(names.0) up
      ip -n \(other.name) link set \(names.1) up
      """)
  }

  /// Why namespaces cannot be made here; nil where they can.
  package static let obstacle: Comment? = {
    guard geteuid() == 0 else { return "network namespaces need root" }
    do {
      try Host().run {}
      return nil
    } catch {
      return "network namespaces cannot be made here: \(String(describing: error))"
    }
  }()
}

/// Waits, as long as it takes, until a descriptor is ready.
package func waitUntilReady(_ fd: Int32, _ interest: Interest) throws {
  let epoll = try Epoll(capacity: 1)
  try epoll.add(fd, interest, token: 0)
  while try epoll.wait(milliseconds: -1) == 0 {}
}

package func accept(_ listener: Int32) throws -> Int32 {
  while true {
    switch Socket.accept(listener) {
    case .accepted(let fd, _): return fd
    case .wouldBlock: try waitUntilReady(listener, .read)
    case .failed(let errno): throw errno
    }
  }
}

package func send(_ fd: Int32, _ text: String) throws {
  let sent = Array(text.utf8).withUnsafeBytes { Socket.send(fd, $0) }
  #expect(sent == .bytes(text.utf8.count))
}

/// Reads once there is something; how it ended.
@discardableResult
package func receive(_ fd: Int32) throws -> Transfer {
  try waitUntilReady(fd, .read)
  return withUnsafeTemporaryAllocation(byteCount: 65536, alignment: 1) {
    Socket.receive(fd, into: $0)
  }
}

/// Closes with a reset.
package func abort(_ fd: Int32) { Socket.abort(raw: fd) }
