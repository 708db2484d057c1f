// Vary and the fields that stay behind (UnkeyedFields.swift): an answer that varies on one of them was not asked for
// with what this client sent, and is no answer to its request (RFC 9111 §4.1).
//
//   answers are not known to vary   ─▶ asked without the field
//     Vary names it after all       ─▶ asked once more, with it; a third and last time if yet another one is named
//   a stored variant names it       ─▶ asked with it at once
//   asked with it, Vary names it    ─▶ stored as the variant of those who send the same
//   asked with it, Vary does not    ─▶ for this client alone: stored, it would answer those who did not send it
//
// So a value is part of a variant only if the origin saw it, and an answer that a value might have shaped is given to
// nobody who sent another.

import Caching
import HTTP

/// Fields that go along with a fetch although they stay behind as a rule, because answers vary on them.
struct VariedFields {
  private let request: FieldSection
  /// What the configuration lets through.
  private let allowed: FieldNames
  /// What goes along beyond that, for being known to vary.
  private(set) var carried: FieldNames

  /// - Parameters:
  ///   - request: all that the client sent.
  ///   - carried: names of its fields that answers are known to vary on.
  init(_ request: FieldSection, allowed: FieldNames, carried: FieldNames = []) {
    self.request = request
    self.allowed = allowed
    self.carried = carried
  }

  /// What may go along of the fields that stay behind as a rule.
  var forwarded: FieldNames { carried.isEmpty ? allowed : allowed.union(carried) }

  /// Takes note of what a stored answer varies on.
  mutating func learn(from variance: Variance) {
    guard !variance.selectors.isEmpty else { return }
    carried.formUnion(leftBehind(variance))
  }

  /// What an answer's Vary means for a fetch that went with `forwarded`.
  enum Verdict: Equatable {
    /// It was asked for with all that selects it.
    case inOrder
    /// To be asked for once more, with these along.
    case askWith(FieldNames)
    /// It may have been shaped by a field that it does not name.
    case forOneClient
  }

  /// - Parameter fields: of the answer. One that confirms or completes what is stored, and has no Vary, says nothing
  ///   new about it (`isWhole` is false then).
  func judge(_ fields: FieldSection, isWhole: Bool = true) -> Verdict {
    guard fields.contains(.vary) else {
      return isWhole && !carried.isEmpty ? .forOneClient : .inOrder
    }
    // `*`, or unreadable: not stored in any case.
    let variance = Variance(response: fields, request: FieldSection())
    guard !variance.matchesNothing else { return .inOrder }
    let missing = leftBehind(variance)
    // Once for what is named; if that was not all of it, with all there is.
    if !missing.isEmpty { return .askWith(carried.isEmpty ? missing : leftBehind().union(carried)) }
    let isCovered = carried.allSatisfy { name in variance.selectors.contains { $0.name == name } }
    return isCovered ? .inOrder : .forOneClient
  }

  /// Of the fields that a variance names, those the client sent and the fetch goes without.
  private func leftBehind(_ variance: Variance) -> FieldNames {
    var names: FieldNames = []
    for selector in variance.selectors where isLeftBehind(selector.known, selector.name[...]) {
      if request.combinedValue(named: selector.name[...]) != nil { names.insert(selector.name) }
    }
    return names
  }

  private func leftBehind() -> FieldNames {
    var names: FieldNames = []
    for index in 0..<request.count
    where isLeftBehind(request.known(at: index), request.name(at: index)) {
      names.insert(request.name(at: index).map(\.lowercased))
    }
    return names
  }

  private func isLeftBehind(_ known: FieldName, _ name: ArraySlice<UInt8>) -> Bool {
    UnkeyedFields.isLeftBehind(known, name, forwarding: forwarded)
  }

  /// Whether a fetch for all would go without something of the request.
  static func areInside(_ request: FieldSection, forwarding allowed: FieldNames) -> Bool {
    (0..<request.count).contains {
      UnkeyedFields.isLeftBehind(request.known(at: $0), request.name(at: $0), forwarding: allowed)
    }
  }

  /// The client's fields as the origin saw them: what selects the answer. The others count as absent.
  var selecting: FieldSection {
    var fields = request
    fields.removeAll { known, name, _ in isLeftBehind(known, name) }
    return fields
  }
}
