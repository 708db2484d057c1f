// What the tests of this target need beyond hosts and cables: a node that translates, and answers that come from
// another thread.

import Platform
import TestNetwork
import Testing

@testable import KernelSensors

/// What somebody's thread will say.
final class Answer<Value: Sendable>: Sendable {
  private let value = Monitor<Value?>(nil)

  func set(_ new: Value) {
    value.withLock { $0 = new }
    value.wakeAll()
  }

  /// Waits until it is said.
  func wait() -> Value { value.wait { $0 } }
}

extension Host {
  /// A connection that is established.
  func connect(_ text: String) throws -> Int32 {
    let fd = try connect(#require(SocketAddress(text)))
    try waitUntilReady(fd, .write)
    return fd
  }
}

func close(_ fds: Int32...) { for fd in fds { FileDescriptor.close(raw: fd) } }

/// A proxy behind a node that translates the address of a Service, and two origins behind it.
///
///   proxy 10.81.0.1 ── 10.81.0.2 node 10.82.0.1 ── 10.82.0.2 origin
///                                     10.83.0.1 ── 10.83.0.2 other
struct ServiceNetwork {
  static let service = "10.96.0.10:80"
  static let serviceV6 = "[fd00:96::10]:80"

  let proxy: Host
  let node: Host
  let origin: Host
  let other: Host

  init() throws {
    proxy = try Host()
    node = try Host()
    origin = try Host()
    other = try Host()
    try Host.join(proxy, node, network: 81)
    try Host.join(node, origin, network: 82)
    try Host.join(node, other, network: 83)
    try shell(
      """
      ip -n \(proxy.name) route add default via 10.81.0.2
      ip -n \(proxy.name) route add default via fd00:81::2
      for host in \(origin.name):82 \(other.name):83; do
        ip -n ${host%:*} route add default via 10.${host#*:}.0.1
        ip -n ${host%:*} route add default via fd00:${host#*:}::1
      done
      """)
    try node.command("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    try lead(to: 82)
  }

  /// From now on the Service leads there.
  func lead(to network: Int) throws {
    try node.command(
      """
      iptables -t nat -F PREROUTING
      ip6tables -t nat -F PREROUTING
      iptables -t nat -A PREROUTING -d 10.96.0.10 -p tcp --dport 80 -j DNAT --to 10.\(network).0.2:8080
      ip6tables -t nat -A PREROUTING -d fd00:96::10 -p tcp --dport 80 -j DNAT --to [fd00:\(network)::2]:8080
      """)
  }
}
