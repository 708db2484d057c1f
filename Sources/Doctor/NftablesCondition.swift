// What one comparison of nft asks for (libnftables-json(5), MATCH STATEMENT), and what each kind of segment makes of it. The
// elements of named sets count as if they stood in the rule, unless they come and go by themselves.

/// Contents of named sets and maps, by table and name.
struct NftablesSets {
  struct Contents {
    var elements: [Any]
    /// Whether elements come and go without anybody's changing the rules.
    var isFleeting: Bool
  }

  private var known: [String: Contents] = [:]

  /// - Parameter isWritten: whether rules put elements in.
  mutating func add(_ object: [String: Any], in table: String, isWritten: Bool) {
    guard let name = object["name"] as? String else { return }
    let flags = NftablesValue.words(object["flags"])
    let isFleeting =
      isWritten || object["timeout"] != nil || !flags.isDisjoint(with: ["timeout", "dynamic"])
    known["\(table) \(name)"] = Contents(
      elements: object["elem"] as? [Any] ?? [], isFleeting: isFleeting)
  }

  /// - Parameter reference: `@name`.
  func contents(_ reference: String, in table: String) -> Contents? {
    known["\(table) \(reference.dropFirst())"]
  }

  /// - Returns: nil if it is not known what is in it.
  func elements(_ reference: String, in table: String) -> [Any]? {
    contents(reference, in: table).flatMap { $0.isFleeting ? nil : $0.elements }
  }
}

/// Values as they stand in JSON.
enum NftablesValue {
  /// `"a"`, `["a", "b"]`.
  static func words(_ value: Any?) -> Set<String> {
    switch value {
    case let word as String: [word]
    case let words as [Any]: Set(words.compactMap { $0 as? String })
    default: []
    }
  }

  /// Names of bits: `"a"`, `["a", "b"]`, `{"|": ["a", {"|": […]}]}`, 0; nil for what is written otherwise.
  static func bits(_ value: Any?) -> Set<String>? {
    switch value {
    case let word as String: return [word]
    case let number as Int: return number == 0 ? [] : nil
    case let list as [Any]:
      return list.reduce(Set<String>()) { bits, part in
        guard let bits, let more = Self.bits(part) else { return nil }
        return bits.union(more)
      }
    case let object as [String: Any]: return object["|"].flatMap(bits)
    default: return nil
    }
  }

  /// An element without what is said about it: `{"elem": {"val": …, "comment": …}}`.
  static func bare(_ element: Any) -> Any {
    guard let object = (element as? [String: Any])?["elem"] as? [String: Any] else {
      return element
    }
    return object["val"] ?? element
  }

  /// `80`, `{"range": [80, 90]}`.
  static func range(_ value: Any) -> ClosedRange<Int>? {
    if let number = value as? Int { return number...number }
    guard let ends = (value as? [String: Any])?["range"] as? [Int], ends.count == 2,
      ends[0] <= ends[1]
    else { return nil }
    return ends[0]...ends[1]
  }
}

/// What is looked at: the left side of a comparison, a part of the key of a map.
enum NftablesSubject {
  case state
  /// Something else about the connection.
  case connection
  case transport
  /// IPv4 or IPv6, by its name there.
  case network(String)
  case interface
  case address
  case sourcePort, destinationPort
  case flags
  /// A header that no TCP segment of this family has.
  case absent
  case unknown

  init(_ expression: Any?, _ family: Family) {
    let object = expression as? [String: Any] ?? [:]
    if let tracked = object["ct"] as? [String: Any] {
      self = tracked["key"] as? String == "state" ? .state : .connection
    } else if let meta = object["meta"] as? [String: Any] {
      switch meta["key"] as? String {
      case "l4proto": self = .transport
      case "nfproto": self = .network(family == .v4 ? "ipv4" : "ipv6")
      case "protocol": self = .network(family == .v4 ? "ip" : "ip6")
      case "iif", "oif", "iifname", "oifname": self = .interface
      default: self = .unknown
      }
    } else if let payload = object["payload"] as? [String: Any] {
      self = Self.payload(
        payload["protocol"] as? String ?? "", payload["field"] as? String ?? "", family)
    } else {
      self = .unknown
    }
  }

  private static func payload(_ header: String, _ field: String, _ family: Family)
    -> NftablesSubject
  {
    switch (header, field) {
    case ("ip", _) where family == .v6, ("ip6", _) where family == .v4: .absent
    case ("ip", "protocol"), ("ip6", "nexthdr"): .transport
    case ("ip", "saddr"), ("ip", "daddr"), ("ip6", "saddr"), ("ip6", "daddr"): .address
    case ("tcp", "sport"), ("th", "sport"): .sourcePort
    case ("tcp", "dport"), ("th", "dport"): .destinationPort
    case ("tcp", "flags"): .flags
    case ("udp", _), ("udplite", _), ("icmp", _), ("icmpv6", _), ("sctp", _), ("dccp", _),
      ("arp", _), ("igmp", _):
      .absent
    default: .unknown
    }
  }

  /// Whether it is the same for each segment of one direction of a connection.
  var isSteady: Bool {
    switch self {
    case .transport, .network, .address, .sourcePort, .destinationPort, .absent: true
    case .state, .connection, .interface, .flags, .unknown: false
    }
  }

  private static let states: Set<String> = [
    "invalid", "established", "related", "new", "untracked",
  ]

  /// Whether it is exactly this: one element of a set.
  func matches(_ element: Any) -> Matches {
    let value = NftablesValue.bare(element)
    if value as? String == "*" { return .always }
    switch self {
    case .state:
      guard let bits = NftablesValue.bits(value), !bits.isEmpty, bits.isSubset(of: Self.states)
      else { return .sometimes }
      return Matches { $0.state.map { RuleMatch(bits == [$0]) } ?? .sometimes }
    case .connection: return .notOfStrays
    case .absent: return .never
    case .transport:
      if let name = value as? String { return name == "tcp" || name == "6" ? .always : .never }
      return NftablesValue.range(value).map { $0.contains(6) ? .always : .never } ?? .sometimes
    case .network(let name):
      guard let other = value as? String else { return .sometimes }
      return other == name ? .always : .never
    case .interface: return value as? String == "lo" ? .notOfStrays : .sometimes
    case .address: return Self.isLoopback(value) ? .notOfStrays : .sometimes
    case .flags:
      guard let bits = NftablesValue.bits(value) else { return .sometimes }
      return Matches { $0.match(mask: Self.allFlags, flags: bits) }
    case .sourcePort, .destinationPort, .unknown: return .sometimes
    }
  }

  private static let allFlags: Set<String> = [
    "fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr",
  ]

  /// Whether it has one of these bits, which are no element of a set.
  func matches(anyOf bits: Any?) -> Matches {
    switch self {
    case .connection: return .notOfStrays
    case .state:
      guard let bits = NftablesValue.bits(bits), bits.isSubset(of: Self.states) else {
        return .sometimes
      }
      return Matches { $0.state.map { RuleMatch(bits.contains($0)) } ?? .sometimes }
    case .flags:
      guard let bits = NftablesValue.bits(bits) else { return .sometimes }
      return Matches { $0.match(anyOf: bits) }
    default: return .sometimes
    }
  }

  /// Whether of the bits in the mask it has exactly these.
  func matches(mask: Any, bits: Any) -> Matches {
    guard let mask = NftablesValue.bits(mask), let bits = NftablesValue.bits(bits) else {
      return .sometimes
    }
    switch self {
    case .state where mask.isSubset(of: Self.states):
      return Matches { $0.state.map { RuleMatch(mask.intersection([$0]) == bits) } ?? .sometimes }
    case .flags: return Matches { $0.match(mask: mask, flags: bits) }
    default: return .sometimes
    }
  }

  var isAbsent: Bool { if case .absent = self { true } else { false } }
  var isConnection: Bool { if case .connection = self { true } else { false } }

  private static func isLoopback(_ value: Any) -> Bool {
    if let prefix = (value as? [String: Any])?["prefix"] as? [String: Any] {
      return (prefix["addr"] as? String).map(IptablesRule.isLoopback) == true
        && prefix["len"] as? Int ?? 0 >= 8
    }
    return (value as? String).map(IptablesRule.isLoopback) ?? false
  }
}

/// The conditions of a rule, taken together.
struct NftablesConditions {
  let family: Family
  let table: String
  let sets: NftablesSets
  private(set) var matches = Matches.always
  private(set) var asksForInvalid = false
  private(set) var asksForReset = false
  private(set) var isSteady = true
  private(set) var sourcePorts: [Ports] = []
  private(set) var destinationPorts: [Ports] = []

  init(family: Family, table: String, sets: NftablesSets) {
    self.family = family
    self.table = table
    self.sets = sets
  }

  /// Something that cannot be told.
  mutating func limit(mayAskForInvalid: Bool = false) {
    matches = matches.and(.sometimes)
    isSteady = false
    if mayAskForInvalid { asksForInvalid = true }
  }

  /// Something that no TCP segment of this family has.
  mutating func exclude() { matches = .never }

  mutating func add(_ match: [String: Any]) {
    let left = match["left"] as? [String: Any] ?? [:]
    let right = match["right"] as Any
    let operation = match["op"] as? String ?? "=="
    if let parts = left["&"] as? [Any], parts.count == 2 {
      let subject = NftablesSubject(parts[0], family)
      compare([subject], operation, elements(right)) { subject.matches(mask: parts[1], bits: $0) }
      return
    }
    if let parts = left["concat"] as? [Any] {
      let subjects = parts.map { NftablesSubject($0, family) }
      compare(subjects, operation, elements(right)) { Self.matches(subjects, $0) }
      return
    }
    let subject = NftablesSubject(left, family)
    switch (operation, subject) {
    case ("==", .sourcePort), ("!=", .sourcePort), ("==", .destinationPort),
      ("!=", .destinationPort):
      compare(port: subject, isNegated: operation == "!=", elements(right))
    case ("in", _) where !Self.isSet(right): compare(anyOf: right, subject, isNegated: false)
    case ("!", _): compare(anyOf: right, subject, isNegated: true)
    case ("==", _), ("!=", _), ("in", _):
      compare([subject], operation, elements(right)) { subject.matches($0) }
    default: limit()
    }
  }

  /// One element of the map that is looked up.
  mutating func add(key: Any?, element: Any) {
    if let parts = (key as? [String: Any])?["concat"] as? [Any] {
      let subjects = parts.map { NftablesSubject($0, family) }
      compare(subjects, "==", [element]) { Self.matches(subjects, $0) }
    } else {
      let subject = NftablesSubject(key, family)
      compare([subject], "==", [element]) { subject.matches($0) }
    }
  }

  // MARK: Comparing

  private static func isSet(_ value: Any) -> Bool {
    if let name = value as? String { return name.hasPrefix("@") }
    return (value as? [String: Any])?["set"] != nil
  }

  /// What may be on the right; nil if that is not known.
  private func elements(_ value: Any) -> [Any]? {
    if let name = value as? String, name.hasPrefix("@") { return sets.elements(name, in: table) }
    guard let set = (value as? [String: Any])?["set"] else { return [value] }
    if let name = set as? String { return sets.elements(name, in: table) }
    return set as? [Any]
  }

  private mutating func compare(
    _ subjects: [NftablesSubject], _ operation: String, _ elements: [Any]?,
    _ match: (Any) -> Matches
  ) {
    var found = Matches.sometimes
    // What is not there cannot be compared, so that the opposite is not so either.
    if subjects.contains(where: \.isConnection) {
      found = .notOfStrays
    } else if let elements, operation == "==" || operation == "!=" || operation == "in" {
      found = elements.reduce(.never) { $0.or(match($1)) }
      if operation == "!=" { found = found.negated }
    }
    if subjects.contains(where: \.isAbsent) { found = .never }
    if !subjects.allSatisfy(\.isSteady) { isSteady = isSteady && isLocal(subjects, found) }
    if elements == nil { isSteady = false }
    note(subjects, found)
    matches = matches.and(found)
  }

  /// Of interfaces only the machine's own is the same for all segments.
  private func isLocal(_ subjects: [NftablesSubject], _ found: Matches) -> Bool {
    guard subjects.count == 1, case .interface = subjects[0] else { return false }
    return found.stray != .sometimes
  }

  private mutating func compare(anyOf bits: Any, _ subject: NftablesSubject, isNegated: Bool) {
    let any = subject.matches(anyOf: bits)
    let found = isNegated && !subject.isConnection ? any.negated : any
    isSteady = false
    note([subject], found)
    matches = matches.and(found)
  }

  private mutating func compare(
    port subject: NftablesSubject, isNegated: Bool, _ elements: [Any]?
  ) {
    let ranges = (elements ?? []).map { NftablesValue.range(NftablesValue.bare($0)) }
    guard elements != nil, !ranges.contains(nil) else {
      if elements == nil { isSteady = false }
      matches = matches.and(.sometimes)
      return
    }
    let ports = Ports(ranges.compactMap { $0 })
    let asked = isNegated ? ports.inverted : ports
    let isSource = if case .sourcePort = subject { true } else { false }
    if isSource { sourcePorts.append(asked) } else { destinationPorts.append(asked) }
    // Of the other end nothing is known.
    matches = matches.and(
      Matches { segment in
        switch segment {
        case .stray: isSource ? .sometimes : .always
        case .reset: isSource ? .always : .sometimes
        case .first: .sometimes
        }
      })
  }

  private mutating func note(_ subjects: [NftablesSubject], _ found: Matches) {
    for subject in subjects {
      switch subject {
      case .state where found.stray != .never: asksForInvalid = true
      case .flags where found.reset != .never && found.stray == .never: asksForReset = true
      default: break
      }
    }
  }

  /// A whole of several parts.
  private static func matches(_ subjects: [NftablesSubject], _ element: Any) -> Matches {
    let bare = NftablesValue.bare(element)
    if bare as? String == "*" { return .always }
    guard let parts = (bare as? [String: Any])?["concat"] as? [Any], parts.count == subjects.count
    else { return .sometimes }
    return zip(subjects, parts).reduce(.always) { $0.and($1.0.matches($1.1)) }
  }
}
