// A Service as a cluster has it: an address that no machine owns, translated by the node into that of a backend. The rules
// are shaped like those that kube-proxy makes: a chain for all Services, one for each, one for each backend, chosen by chance.

package struct Service: Sendable {
  package struct Backend: Sendable {
    package var address: String
    package var address6: String
    package var port: UInt16
  }

  package enum Kind: String, Sendable, CaseIterable {
    case iptables, nftables
  }

  package var name: String
  package var address: String
  package var address6: String
  package var port: UInt16
  package var backends: [Backend]
  package var kind = Kind.iptables

  /// The lines of shell that set it up on a node.
  package var rules: String { kind == .iptables ? iptables : nftables }

  /// Without backends it is refused, as kube-proxy does it.
  var iptables: String {
    (family(
      "iptables", address, backends.map { "\($0.address):\($0.port)" }, "icmp-port-unreachable")
      + family(
        "ip6tables", address6, backends.map { "[\($0.address6)]:\($0.port)" },
        "icmp6-port-unreachable")).joined(separator: "\n")
  }

  private func family(
    _ command: String, _ address: String, _ backends: [String], _ refusal: String
  ) -> [String] {
    guard !backends.isEmpty else {
      return [
        "\(command) -A FORWARD -d \(address) -p tcp --dport \(port) -j REJECT --reject-with \(refusal)"
      ]
    }
    let nat = "\(command) -t nat"
    var lines = [
      "\(nat) -N KUBE-SERVICES", "\(nat) -A PREROUTING -j KUBE-SERVICES",
      "\(nat) -A OUTPUT -j KUBE-SERVICES",
      "\(nat) -N KUBE-SVC-\(name)",
      "\(nat) -A KUBE-SERVICES -d \(address) -p tcp --dport \(port) -j KUBE-SVC-\(name)",
    ]
    for (index, backend) in backends.enumerated() {
      let chain = "KUBE-SEP-\(name)-\(index)"
      let left = backends.count - index
      let chance =
        left > 1 ? "-m statistic --mode random --probability \(Self.fraction(1, of: left)) " : ""
      lines += [
        "\(nat) -N \(chain)",
        "\(nat) -A \(chain) -p tcp -j DNAT --to-destination \(backend)",
        "\(nat) -A KUBE-SVC-\(name) \(chance)-j \(chain)",
      ]
    }
    return lines
  }

  private static func fraction(_ part: Int, of whole: Int) -> String {
    "0." + String(1_000_000 * part / whole + 1_000_000).dropFirst()
  }

  /// The same as a table of nftables, with the backends in a verdict map.
  var nftables: String {
    guard !backends.isEmpty else {
      return """
        nft add table inet lab
        nft 'add chain inet lab forward { type filter hook forward priority 0; }'
        nft add rule inet lab forward ip daddr \(address) tcp dport \(port) reject with icmp port-unreachable
        nft add rule inet lab forward ip6 daddr \(address6) tcp dport \(port) reject with icmpv6 port-unreachable
        """
    }
    var lines: [String] = []
    for (table, field, address, addresses) in [
      ("ip", "ip", address, backends.map(\.address)),
      ("ip6", "ip6", address6, backends.map(\.address6)),
    ] {
      lines += [
        "nft add table \(table) lab",
        "nft 'add chain \(table) lab services { type nat hook prerouting priority -100; }'",
        "nft add chain \(table) lab service",
        "nft add rule \(table) lab services \(field) daddr \(address) tcp dport \(port) goto service",
      ]
      for (index, backend) in backends.enumerated() {
        lines += [
          "nft add chain \(table) lab backend\(index)",
          "nft add rule \(table) lab backend\(index) meta l4proto tcp dnat to "
            + (table == "ip" ? addresses[index] : "[\(addresses[index])]") + ":\(backend.port)",
        ]
      }
      let choices = backends.indices.map { "\($0) : goto backend\($0)" }.joined(separator: ", ")
      lines.append(
        "nft 'add rule \(table) lab service numgen random mod \(backends.count) vmap { \(choices) }'"
      )
    }
    return lines.joined(separator: "\n")
  }
}
