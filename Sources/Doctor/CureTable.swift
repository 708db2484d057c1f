// The table of nftables that holds the rules of a cure: whether it is there, whether it is whole, and whose it is. One that
// was made here has an empty chain more than the commands that a person is told to type, and keep (`doctor --fix`): its name
// stays whatever becomes of the rules, it goes with the table, and it needs no file.

import Platform

struct CureTable: Sendable {
  private static let nft = Tool("nft", package: "nftables")
  /// Whose it is.
  private static let mark = "made-by-holdfast-doctor"

  private let kind: CureKind
  let name: String

  init(_ kind: CureKind) {
    self.kind = kind
    name = Remedy.table(kind)
  }

  // MARK: Looking

  func state(_ facts: HostFacts) throws(CureError) -> CureState {
    guard let listing = try listing() else { return .absent }
    return listing.fault(besides: expected(facts)).map { .altered($0) } ?? .inPlace
  }

  /// Nil if there is none.
  private func listing() throws(CureError) -> TableListing? {
    guard try exists() else { return nil }
    do {
      return TableListing(
        String(decoding: try Self.nft.run(["-s", "list", "table", "inet", name]), as: UTF8.self))
    } catch {
      // Just gone?
      guard try exists() else { return nil }
      throw .cannotLook(table: name, error)
    }
  }

  /// All are listed, because of one that is not there nft says only that it failed.
  private func exists() throws(CureError) -> Bool {
    do {
      let text = String(decoding: try Self.nft.run(["list", "tables", "inet"]), as: UTF8.self)
      return text.split(separator: "\n").contains {
        $0.split(separator: " ").last.map(String.init) == name
      }
    } catch {
      throw .cannotLook(table: name, error)
    }
  }

  /// How it is listed when it is whole.
  private func expected(_ facts: HostFacts) -> TableListing {
    var listing = TableListing("")
    for command in commands(facts) {
      let words = command.split(separator: " ").map(String.init)
      guard words.count > 4 else { continue }
      switch words[1] {
      case "chain":
        let hook = words.dropFirst(5).filter { $0 != "{" && $0 != "}" }
        listing.chains[words[4]] = [TableListing.canonical(hook.joined(separator: " "))]
      case "rule":
        listing.chains[words[4], default: []].append(
          TableListing.canonical(words.dropFirst(5).joined(separator: " ")))
      default: continue
      }
    }
    return listing
  }

  // MARK: Changing

  /// The commands that a person would type, as nft takes them.
  private func commands(_ facts: HostFacts) -> [String] {
    Remedy.of(kind, facts: facts).commands.map {
      String($0.dropFirst("nft ".count).filter { $0 != "'" })
    }
  }

  func make(_ facts: HostFacts) throws(CureError) -> String {
    let made = commands(facts) + ["add chain inet \(name) \(Self.mark)"]
    guard let listing = try listing() else {
      try run(made)
      return "made the table inet \(name)"
    }
    guard let fault = listing.fault(besides: expected(facts)) else {
      return "the table inet \(name) is there already; nothing was changed"
    }
    guard isOurs(listing) else { throw .othersTable(name, fault) }
    try run(["delete table inet \(name)"] + made)
    return "made the table inet \(name) anew (\(fault))"
  }

  /// - Returns: what was done; nil if there is none of ours.
  func unmake() throws(CureError) -> String? {
    guard let listing = try listing(), isOurs(listing) else { return nil }
    try run(["delete table inet \(name)"])
    return "deleted the table inet \(name)"
  }

  private func isOurs(_ listing: TableListing) -> Bool { listing.chains[Self.mark] != nil }

  /// All or nothing.
  private func run(_ commands: [String]) throws(CureError) {
    do {
      _ = try Self.nft.run([commands.joined(separator: "\n; ")])
    } catch {
      throw .tool(error)
    }
  }
}

/// What `nft -s list table` prints, as far as it matters: JSON says nothing of a table's flags that could be relied on.
struct TableListing: Equatable {
  var isDormant = false
  /// What each chain says of itself (its hook, its policy), and its rules.
  var chains: [String: [String]] = [:]

  init(_ text: String) {
    var chain: String?
    for line in text.split(separator: "\n") {
      let words = line.split(whereSeparator: \.isWhitespace)
      if words.first == "chain", words.count > 1 {
        chain = String(words[1])
        chains[String(words[1])] = []
      } else if words.first == "}" {
        chain = nil
      } else if let chain {
        chains[chain, default: []].append(Self.canonical(words.joined(separator: " ")))
      } else if words.first == "flags" {
        isDormant = words.contains { $0.hasPrefix("dormant") }
      }
    }
  }

  /// One way of saying what versions of nft say differently.
  static func canonical(_ line: String) -> String {
    var line = line
    for (other, ours) in [
      ("priority mangle;", "priority -150;"), ("priority filter;", "priority 0;"),
      (" policy accept;", ""), ("tcp flags rst / rst,ack", "tcp flags & (rst|ack) == rst"),
      ("tcp flags & (rst | ack) == rst", "tcp flags & (rst|ack) == rst"),
    ] {
      if let place = line.firstRange(of: other) { line.replaceSubrange(place, with: ours) }
    }
    return line
  }

  /// What keeps it from doing what a whole one does; nil if nothing does. Chains that others have added change nothing.
  func fault(besides whole: TableListing) -> String? {
    if isDormant { return "it was dormant" }
    for (chain, lines) in whole.chains.sorted(by: { $0.key < $1.key }) {
      guard let found = chains[chain] else { return "its chain \(chain) was gone" }
      if found != lines { return "its chain \(chain) had been changed" }
    }
    return nil
  }
}
