// A scenario is a story: which machines there are, what happens step by step, and which records must come of it.

import Forensics
import Platform

/// What is done against untranslated packets, on the node or in the proxy's machine.
package enum Fix: String, Sendable, CaseIterable {
  case none
  /// The node drops what its connection tracking calls INVALID.
  case dropInvalid = "drop-invalid"
  /// The node translates it all the same.
  case beLiberal = "be-liberal"
  /// The proxy's machine does not send resets for want of a socket from the ports it connects from.
  case shield

  /// Lines of shell, and where.
  func apply(to network: Network) throws {
    switch self {
    case .none: break
    case .dropInvalid:
      // With a rule that looks at states there is connection tracking, if there was none before.
      for command in ["iptables", "ip6tables"] {
        try network[.node].shell(
          """
          \(command) -I FORWARD -m conntrack --ctstate INVALID -j DROP
          \(command) -I INPUT -m conntrack --ctstate INVALID -j DROP
          """)
      }
    case .beLiberal:
      try network[.node].set("net.netfilter.nf_conntrack_tcp_be_liberal", to: "1")
    case .shield:
      for command in ["iptables", "ip6tables"] {
        try network[.proxy].shell(
          "\(command) -A OUTPUT -p tcp --sport 32768:60999 --tcp-flags RST,ACK RST -j DROP")
      }
    }
  }
}

package struct Scenario: Sendable {
  /// `L03`
  package let name: String
  /// What happens, in a line.
  package let title: String
  package let topology: Topology
  package var options = ProxyOptions()
  /// Those with which this story is told the same way, or has a way of its own. Others would tell nothing.
  package var fixes: Set<Fix> = [.none]
  /// Why it cannot be played here, in a sentence, if so.
  package var needs: @Sendable () -> String? = { nil }
  /// The records, in the order of the endings.
  package let expected: @Sendable (Fix) -> [Expectation]
  package let story: @Sendable (Stage) throws -> Void

  package init(
    _ name: String, _ title: String, on topology: Topology,
    fixes: Set<Fix> = [.none],
    options: ProxyOptions = ProxyOptions(),
    needs: @escaping @Sendable () -> String? = { nil },
    expected: @escaping @Sendable (Fix) -> [Expectation],
    story: @escaping @Sendable (Stage) throws -> Void
  ) {
    self.name = name
    self.title = title
    self.topology = topology
    self.options = options
    self.fixes = fixes
    self.needs = needs
    self.expected = expected
    self.story = story
  }

  package init(
    _ name: String, _ title: String, on topology: Topology,
    options: ProxyOptions = ProxyOptions(),
    expecting expected: Expectation...,
    story: @escaping @Sendable (Stage) throws -> Void
  ) {
    self.init(
      name, title, on: topology, options: options, expected: { _ in expected }, story: story)
  }
}
