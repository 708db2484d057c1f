// What can be done, as commands that a person can read and type, and as changes that can be made and taken back (`Cure`).

/// The cures that can be applied.
package enum CureKind: String, Sendable, CaseIterable, Codable {
  case beLiberal = "be-liberal"
  case dropInvalid = "drop-invalid"
  case shield
}

package struct Remedy: Sendable, Equatable {
  package var cure: CureKind
  /// What it does, in a sentence, and its price.
  package var words: String
  package var price: String
  package var commands: [String]
  /// The commands that take it back.
  package var undo: [String]

  package static let liberalSetting = "net.netfilter.nf_conntrack_tcp_be_liberal"
  /// The table of nftables that the cures make, one for each.
  package static func table(_ cure: CureKind) -> String { "holdfast-\(cure.rawValue)" }

  package static func of(_ cure: CureKind, facts: HostFacts) -> Remedy {
    let table = table(cure)
    switch cure {
    case .beLiberal:
      let before = facts.conntrack?.isLiberal == true ? 1 : 0
      return Remedy(
        cure: cure,
        words: "translate such segments all the same, and leave it to the receiver to ignore them",
        price:
          "connection tracking no longer holds segments against their window, so rules on INVALID see fewer",
        commands: ["sysctl -w \(liberalSetting)=1"],
        undo: ["sysctl -w \(liberalSetting)=\(before)"])
    case .dropInvalid:
      return Remedy(
        cure: cure,
        words: "drop such segments on all three ways; the sender repeats what mattered",
        price: "where packets take another way back than there, they are dropped too",
        commands: [
          "nft add table inet \(table)",
          "nft 'add chain inet \(table) forward { type filter hook forward priority -150; }'",
          "nft 'add chain inet \(table) input { type filter hook input priority -150; }'",
          "nft add rule inet \(table) forward meta l4proto tcp ct state invalid counter drop",
          "nft add rule inet \(table) input meta l4proto tcp ct state invalid counter drop",
        ], undo: ["nft delete table inet \(table)"])
    case .shield:
      let ports = "\(facts.localPorts.lowerBound)-\(facts.localPorts.upperBound)"
      return Remedy(
        cure: cure,
        words:
          "keep back resets that this namespace sends for want of a socket: the stray is lost, and repeated",
        price: "whoever talks to a socket that is gone runs into a timeout instead of a reset",
        commands: [
          "nft add table inet \(table)",
          "nft 'add chain inet \(table) output { type filter hook output priority 0; }'",
          "nft 'add rule inet \(table) output tcp sport \(ports) tcp flags & (rst|ack) == rst counter drop'",
        ], undo: ["nft delete table inet \(table)"])
    }
  }

  /// What helps against what was found, the best first.
  static func fitting(
    _ verdict: Verdict, _ paths: [PathFinding], _ translations: [Family: Translation],
    _ facts: HostFacts
  ) -> [Remedy] {
    if paths.contains(where: { !$0.state.isClosed }) {
      return [.of(.beLiberal, facts: facts), .of(.dropInvalid, facts: facts)]
    }
    let isShielded = translations.values.allSatisfy { $0.shield != nil }
    if verdict == .notExposed, !isShielded { return [.of(.shield, facts: facts)] }
    return []
  }
}
