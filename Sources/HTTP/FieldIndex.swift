// One view of fields for the two places where they live: a head just parsed, whose bytes belong to
// a connection, and a section that owns its bytes.
//
// Rules that read a few named fields (preconditions, directives, variance) are written once over
// this protocol and offered for both; the concrete entry points let the optimiser specialise them.

/// Fields found by name, as slots into bytes that the caller brings.
public protocol FieldIndex: ~Copyable {
  var count: Int { get }
  /// Which known names occur.
  var names: FieldNameSet { get }
  /// The slot of the field at `index`, in the order of the message.
  func slot(at index: Int) -> FieldSlot
  /// The index of the next field called so, at `start` or after it.
  func next(_ name: FieldName, from start: Int) -> Int?
}

extension ParsedHead: FieldIndex {}

extension FieldSection: FieldIndex {
  public func slot(at index: Int) -> FieldSlot { slots[index] }

  public func next(_ name: FieldName, from start: Int) -> Int? {
    guard names.contains(name) else { return nil }
    var index = start
    while index < slots.count {
      if slots[index].known == name { return index }
      index += 1
    }
    return nil
  }
}

extension FieldIndex where Self: ~Copyable {
  /// The slot of the field called so, when there is exactly one: for fields that must not be
  /// repeated, where two lines mean that nobody can say which one was meant.
  public func singleton(_ name: FieldName) -> FieldSlot? {
    guard names.contains(name), let index = next(name, from: 0), next(name, from: index + 1) == nil
    else { return nil }
    return slot(at: index)
  }
}
