// What can be broken on the way, as values: a rule or a setting of a machine, with what takes it back. Segments written by
// hand are in Segment.swift; what ends a process or a socket is said where it happens.

import Platform

package struct Fault: Sendable {
  /// Where it is.
  package let role: Role
  /// Lines of shell that make it, and that take it back.
  package let lines: String
  package let undo: String
  /// The command that shows its packet counter, for rules.
  fileprivate let counter: String?

  private init(_ role: Role, _ lines: String, undo: String, counter: String? = nil) {
    self.role = role
    self.lines = lines
    self.undo = undo
    self.counter = counter
  }

  /// A rule of iptables at the head of a chain, or of ip6tables where an address says so.
  package static func rule(
    _ role: Role, table: String = "filter", chain: String = "FORWARD", _ words: String
  ) -> Fault {
    let command = words.contains("::") ? "ip6tables" : "iptables"
    return Fault(
      role, "\(command) -t \(table) -I \(chain) 1 \(words)",
      undo: "\(command) -t \(table) -D \(chain) \(words)",
      counter: "\(command) -t \(table) -nvxL \(chain) 1 | awk '{ print $1 }'")
  }

  /// The node lets go of packets that fit.
  package static func drop(_ match: String) -> Fault { rule(.node, "-p tcp \(match) -j DROP") }

  /// The node refuses them.
  package static func reject(_ match: String, with reason: String) -> Fault {
    rule(.node, "-p tcp \(match) -j REJECT --reject-with \(reason)")
  }

  /// Of the packets that fit every nth is passed on as it is.
  package static func untracked(_ match: String, every count: Int) -> Fault {
    rule(
      .node, table: "raw", chain: "PREROUTING",
      "-p tcp \(match) -m statistic --mode nth --every \(count) --packet 0 -j CT --notrack")
  }

  /// The node forgets the connections that lead to an address.
  package static func forget(_ address: String) -> Fault {
    let family = address.contains(":") ? "ipv6" : "ipv4"
    return Fault(.node, "conntrack -D -f \(family) --orig-dst \(address)", undo: "true")
  }
}

extension Stage {
  package func make(_ fault: Fault) throws { try network[fault.role].shell(fault.lines) }

  package func undo(_ fault: Fault) throws { try network[fault.role].shell(fault.undo) }

  /// Waits until a rule has met so many packets.
  package func wait(for fault: Fault, toMeet count: Int) throws {
    guard let counter = fault.counter else { return }
    let host = try network[fault.role]
    try patiently("waited for a rule of the \(fault.role) to meet \(count) packets") {
      let text = try host.shell(counter).split(whereSeparator: \.isWhitespace).first
      return Int(text ?? "") ?? 0 >= count
    }
  }

  /// Waits until a counter of a machine's kernel has grown.
  package func wait(for counter: String, of host: Host, toPass count: Int64) throws {
    try patiently("waited for \(counter) of \(host.role) to pass \(count)") {
      try host.counters()[counter] ?? 0 > count
    }
  }

  /// Sends what lies beyond any window from the origin's end of a connection.
  package func injectBeyondWindow(_ connection: LabConnection, distance: Int64 = 10_000_000) throws
  {
    let state = try ConnectionState(connection)
    let segment = Segment.beyondWindow(of: connection, at: state, distance: distance)
    try segment.send(from: try origin)
  }
}
