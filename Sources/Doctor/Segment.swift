// The kinds of segment that rules are asked about, and what is known of each whatever its addresses are. A rule that asks for
// something that is known matches always or never; one that asks for anything else matches `sometimes`.
//
//   stray   connection tracking calls it INVALID and translates nothing: it has ACK, neither SYN nor RST, and no connection
//   first   the first segment of a connection, the only one that chains for translation see: TCP, and no more is known
//   reset   what our kernel answers a stray with, for want of a socket: RST and nothing else

package enum Segment: Sendable, CaseIterable {
  case stray, first, reset

  /// The state that rules are told; nil where it is not known. A reset begins no connection (`tcp_new` in the kernel's
  /// nf_conntrack_proto_tcp.c refuses it), and that which it answers had none.
  var state: String? { self == .first ? nil : "invalid" }

  /// Whether it has a flag; nil where it may and may not.
  private func has(_ flag: String) -> Bool? {
    switch self {
    case .first: nil
    case .stray: flag == "ack" ? true : flag == "syn" || flag == "rst" ? false : nil
    case .reset: flag == "rst"
    }
  }

  /// Of the flags in the mask it has exactly these.
  func match(mask: Set<String>, flags: Set<String>) -> RuleMatch {
    if self == .first { return .sometimes }
    guard flags.isSubset(of: mask) else { return .never }
    return mask.reduce(.always) { match, flag in
      guard let has = has(flag) else { return match.and(.sometimes) }
      return match.and(has == flags.contains(flag) ? .always : .never)
    }
  }

  /// Of the flags in the mask it has one or more.
  func match(anyOf mask: Set<String>) -> RuleMatch { match(mask: mask, flags: []).negated }
}

package enum RuleMatch: Sendable, Equatable {
  case never, sometimes, always

  init(_ isSo: Bool) { self = isSo ? .always : .never }

  func and(_ other: RuleMatch) -> RuleMatch {
    if self == .never || other == .never { return .never }
    return self == .always ? other : self
  }

  func or(_ other: RuleMatch) -> RuleMatch { negated.and(other.negated).negated }

  var negated: RuleMatch {
    switch self {
    case .never: .always
    case .sometimes: .sometimes
    case .always: .never
    }
  }
}

/// What a rule makes of each kind of segment.
package struct Matches: Sendable, Equatable {
  package var stray: RuleMatch
  package var first: RuleMatch
  package var reset: RuleMatch

  package static let always = Matches { _ in .always }
  package static let sometimes = Matches { _ in .sometimes }
  package static let never = Matches { _ in .never }

  init(_ match: (Segment) -> RuleMatch) {
    (stray, first, reset) = (match(.stray), match(.first), match(.reset))
  }

  package subscript(_ segment: Segment) -> RuleMatch {
    switch segment {
    case .stray: stray
    case .first: first
    case .reset: reset
    }
  }

  func and(_ other: Matches) -> Matches { Matches { self[$0].and(other[$0]) } }
  func or(_ other: Matches) -> Matches { Matches { self[$0].or(other[$0]) } }
  var negated: Matches { Matches { self[$0].negated } }

  /// For what neither strays nor resets have, while of a first segment nothing can be said.
  static let notOfStrays = Matches { $0 == .first ? .sometimes : .never }
}

/// A set of ports.
package struct Ports: Sendable, Equatable {
  package static let all = 0...65535

  /// In order, with gaps between them.
  package let ranges: [ClosedRange<Int>]

  package init(_ ranges: [ClosedRange<Int>]) {
    var merged: [ClosedRange<Int>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound })
    where range.overlaps(Self.all) {
      let range = range.clamped(to: Self.all)
      if let last = merged.last, range.lowerBound <= last.upperBound + 1 {
        merged[merged.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
      } else {
        merged.append(range)
      }
    }
    self.ranges = merged
  }

  package var inverted: Ports {
    var gaps: [ClosedRange<Int>] = []
    var next = 0
    for range in ranges {
      if range.lowerBound > next { gaps.append(next...range.lowerBound - 1) }
      next = range.upperBound + 1
    }
    if next <= Self.all.upperBound { gaps.append(next...Self.all.upperBound) }
    return Ports(gaps)
  }

  /// What a rule that asks for these makes of a segment whose port is one of those.
  func match(_ ports: ClosedRange<Int>) -> RuleMatch {
    if ranges.contains(where: {
      $0.lowerBound <= ports.lowerBound && $0.upperBound >= ports.upperBound
    }) {
      return .always
    }
    return ranges.contains { $0.overlaps(ports) } ? .sometimes : .never
  }
}
