// Fields: where one lies in some bytes (`FieldSlot`), and an ordered section that owns its bytes
// (`FieldSection`).
//
// A section is two arrays, however many fields it has: all bytes one after another as they go on
// the wire, `Name: value CRLF`, and a slot per field. Copying a section is two retains, building
// one from a parsed head two allocations. Removing a field drops its slot only; `compact()` lets
// go of the bytes as well. Order is kept, and fields of one name are never merged: who wants the
// list asks for `combinedValue`.

/// Where one field lies: offsets into the bytes that came with it.
public struct FieldSlot: Sendable {
  public var nameStart: UInt32
  public var valueStart: UInt32
  public var valueCount: UInt32
  public var nameCount: UInt16
  public var known: FieldName

  @inlinable
  public init() {
    nameStart = 0
    valueStart = 0
    valueCount = 0
    nameCount = 0
    known = .other
  }

  @inlinable
  public init(known: FieldName, name: Range<Int>, value: Range<Int>) {
    nameStart = UInt32(truncatingIfNeeded: name.lowerBound)
    nameCount = UInt16(truncatingIfNeeded: name.count)
    valueStart = UInt32(truncatingIfNeeded: value.lowerBound)
    valueCount = UInt32(truncatingIfNeeded: value.count)
    self.known = known
  }

  @inlinable
  public var name: Range<Int> { Int(nameStart)..<Int(nameStart) &+ Int(nameCount) }

  /// The value without the white space around it.
  @inlinable
  public var value: Range<Int> { Int(valueStart)..<Int(valueStart) &+ Int(valueCount) }
}

/// An ordered list of fields that owns its bytes.
///
/// Names are compared without case. Nothing invalid gets in: a name that is no token, or a value
/// with a control byte, is refused and `append` or `set` returns false.
public struct FieldSection: Sendable {
  public private(set) var bytes: [UInt8] = []
  public private(set) var slots: [FieldSlot] = []
  /// Which known names occur.
  public private(set) var names = FieldNameSet()

  public init() {}

  /// The fields of a parsed head, copied out of the bytes it was parsed from.
  public init(copying head: borrowing ParsedHead, of source: borrowing Span<UInt8>) {
    slots.reserveCapacity(head.count)
    bytes.reserveCapacity(head.headCount + 4 * head.count)
    for index in 0..<head.count {
      let slot = head.slot(at: index)
      appendUnchecked(
        slot.known, name: source.extracting(slot.name), value: source.extracting(slot.value))
    }
  }

  public var count: Int { slots.count }
  public var isEmpty: Bool { slots.isEmpty }

  // MARK: Reading

  public func known(at index: Int) -> FieldName { slots[index].known }

  public func name(at index: Int) -> ArraySlice<UInt8> { bytes[slots[index].name] }

  /// The value, without white space around it. `.span` of the slice reads it in place.
  public func value(at index: Int) -> ArraySlice<UInt8> { bytes[slots[index].value] }

  public func contains(_ name: FieldName) -> Bool { names.contains(name) }

  public func contains(named name: String) -> Bool { firstIndex(named: name) != nil }

  /// The value of the first field called so.
  public func first(_ name: FieldName) -> ArraySlice<UInt8>? {
    guard names.contains(name) else { return nil }
    for slot in slots where slot.known == name { return bytes[slot.value] }
    return nil
  }

  public func first(named name: String) -> ArraySlice<UInt8>? {
    firstIndex(named: name).map { value(at: $0) }
  }

  /// The value, if there is exactly one field called so: for fields that must not be repeated.
  public func only(_ name: FieldName) -> ArraySlice<UInt8>? {
    let values = all(name)
    return values.count == 1 ? values[0] : nil
  }

  /// The values of all fields called so, in order.
  public func all(_ name: FieldName) -> [ArraySlice<UInt8>] {
    guard names.contains(name) else { return [] }
    return slots.filter { $0.known == name }.map { bytes[$0.value] }
  }

  public func all(named name: String) -> [ArraySlice<UInt8>] {
    let known = FieldName(name)
    if known != .other { return all(known) }
    return indices(named: Array(name.utf8)).map { value(at: $0) }
  }

  /// All values of one name joined by `, ` (RFC 9110 §5.3); nil when there is no such field.
  ///
  /// Not for Set-Cookie, whose values have commas of their own.
  public func combinedValue(_ name: FieldName) -> [UInt8]? { Self.joined(all(name)) }

  public func combinedValue(named name: String) -> [UInt8]? { Self.joined(all(named: name)) }

  /// The combined value of a name given as bytes, in any case.
  public func combinedValue(named name: ArraySlice<UInt8>) -> [UInt8]? {
    let known = FieldName.recognise(name.span)
    if known != .other { return combinedValue(known) }
    return Self.joined(indices(named: Array(name)).map { value(at: $0) })
  }

  /// The first value as text: for messages, logs and tests.
  public func text(_ name: FieldName) -> String? {
    first(name).map { String(decoding: $0, as: UTF8.self) }
  }

  public func text(named name: String) -> String? {
    first(named: name).map { String(decoding: $0, as: UTF8.self) }
  }

  // MARK: Changing

  /// Adds a field at the end. False, and nothing is added, when the value has a control byte.
  @discardableResult
  public mutating func append(_ name: FieldName, _ value: some Collection<UInt8>) -> Bool {
    guard name != .other, Self.isValue(value) else { return false }
    let start = bytes.count
    name.spelling.withUTF8Buffer { unsafe bytes.append(contentsOf: $0) }
    finishAppending(name, start: start, value: value)
    return true
  }

  @discardableResult
  public mutating func append(_ name: FieldName, _ value: String) -> Bool {
    append(name, value.utf8)
  }

  /// Adds a field under any name. False, and nothing is added, when the name is no token of at
  /// most 255 bytes or the value has a control byte.
  @discardableResult
  public mutating func append(
    named name: some Collection<UInt8>, _ value: some Collection<UInt8>
  ) -> Bool {
    guard Self.isName(name), Self.isValue(value) else { return false }
    let start = bytes.count
    bytes.append(contentsOf: name)
    let known = FieldName.recognise(bytes.span, at: start, count: bytes.count - start)
    finishAppending(known, start: start, value: value)
    return true
  }

  @discardableResult
  public mutating func append(named name: String, _ value: String) -> Bool {
    append(named: name.utf8, value.utf8)
  }

  /// Makes this the only field of its name; it takes the place at the end.
  @discardableResult
  public mutating func set(_ name: FieldName, _ value: some Collection<UInt8>) -> Bool {
    guard name != .other, Self.isValue(value) else { return false }
    remove(name)
    return append(name, value)
  }

  @discardableResult
  public mutating func set(_ name: FieldName, _ value: String) -> Bool { set(name, value.utf8) }

  @discardableResult
  public mutating func set(named name: String, _ value: String) -> Bool {
    guard Self.isName(name.utf8), Self.isValue(value.utf8) else { return false }
    remove(named: name)
    return append(named: name, value)
  }

  /// Removes all fields of a name.
  public mutating func remove(_ name: FieldName) {
    guard names.contains(name) else { return }
    removeSlots { _, slot in slot.known == name }
  }

  public mutating func remove(named name: String) {
    let known = FieldName(name)
    if known != .other { return remove(known) }
    let wanted = Array(name.utf8)
    removeSlots { section, slot in
      section.bytes.span.extracting(slot.name).equalsIgnoringCase(wanted.span)
    }
  }

  /// Removes every field for which `matches` says so; it is given the known name, the name's and
  /// the value's bytes.
  public mutating func removeAll(
    where matches: (FieldName, ArraySlice<UInt8>, ArraySlice<UInt8>) -> Bool
  ) {
    removeSlots { section, slot in
      matches(slot.known, section.bytes[slot.name], section.bytes[slot.value])
    }
  }

  /// Adds all fields of another section at the end.
  public mutating func append(contentsOf other: FieldSection) {
    for slot in other.slots {
      appendUnchecked(
        slot.known, name: other.bytes.span.extracting(slot.name),
        value: other.bytes.span.extracting(slot.value))
    }
  }

  /// Lets go of the bytes of removed fields. Worth it before a section is kept for long.
  public mutating func compact() {
    let live = slots.reduce(0) { $0 + Int($1.nameCount) + Int($1.valueCount) + 4 }
    guard live < bytes.count else { return }
    var tight = FieldSection()
    tight.bytes.reserveCapacity(live)
    tight.slots.reserveCapacity(slots.count)
    tight.append(contentsOf: self)
    self = tight
  }

  /// Writes `Name: value CRLF` for every field, and no empty line after them.
  public func serialise(into output: inout [UInt8]) {
    for slot in slots {
      // Name, colon, space, value and line end lie side by side.
      output.append(contentsOf: bytes[slot.name.lowerBound..<slot.value.upperBound + 2])
    }
  }

  // MARK: Inside

  mutating func appendUnchecked(
    _ known: FieldName, name: borrowing Span<UInt8>, value: borrowing Span<UInt8>
  ) {
    let start = bytes.count
    bytes.append(span: name)
    let nameEnd = bytes.count
    bytes.append(0x3A)
    bytes.append(0x20)
    let valueStart = bytes.count
    bytes.append(span: value)
    let valueEnd = bytes.count
    bytes.append(0x0D)
    bytes.append(0x0A)
    slots.append(FieldSlot(known: known, name: start..<nameEnd, value: valueStart..<valueEnd))
    names.insert(known)
  }

  private mutating func finishAppending(
    _ known: FieldName, start: Int, value: some Collection<UInt8>
  ) {
    let nameEnd = bytes.count
    bytes.append(0x3A)
    bytes.append(0x20)
    let valueStart = bytes.count
    bytes.append(contentsOf: value)
    let trimmed = bytes.span.trimmingWhitespace(valueStart..<bytes.count)
    if trimmed.count < bytes.count - valueStart {
      bytes.removeSubrange(trimmed.upperBound...)
      bytes.removeSubrange(valueStart..<trimmed.lowerBound)
    }
    let valueEnd = bytes.count
    bytes.append(0x0D)
    bytes.append(0x0A)
    slots.append(FieldSlot(known: known, name: start..<nameEnd, value: valueStart..<valueEnd))
    names.insert(known)
  }

  private mutating func removeSlots(where matches: (FieldSection, FieldSlot) -> Bool) {
    var kept: [FieldSlot] = []
    kept.reserveCapacity(slots.count)
    var keptNames = FieldNameSet()
    for slot in slots where !matches(self, slot) {
      kept.append(slot)
      keptNames.insert(slot.known)
    }
    slots = kept
    names = keptNames
  }

  private func firstIndex(named name: String) -> Int? {
    let known = FieldName(name)
    if known != .other { return slots.firstIndex { $0.known == known } }
    return indices(named: Array(name.utf8)).first
  }

  private func indices(named name: [UInt8]) -> [Int] {
    slots.indices.filter {
      slots[$0].known == .other && slots[$0].nameCount == name.count
        && bytes.span.extracting(slots[$0].name).equalsIgnoringCase(name.span)
    }
  }

  private static func joined(_ values: [ArraySlice<UInt8>]) -> [UInt8]? {
    guard let first = values.first else { return nil }
    var result = Array(first)
    for value in values.dropFirst() {
      result.append(0x2C)
      result.append(0x20)
      result.append(contentsOf: value)
    }
    return result
  }

  static func isName(_ name: some Collection<UInt8>) -> Bool {
    !name.isEmpty && name.count <= 255 && name.allSatisfy(\.isTokenCharacter)
  }

  static func isValue(_ value: some Collection<UInt8>) -> Bool {
    value.allSatisfy(\.isFieldValueCharacter)
  }
}

extension FieldSection: Equatable {
  /// The same fields in the same order; names without case, values exactly.
  public static func == (left: FieldSection, right: FieldSection) -> Bool {
    guard left.count == right.count else { return false }
    return left.slots.indices.allSatisfy { index in
      left.name(at: index).span.equalsIgnoringCase(right.name(at: index).span)
        && left.value(at: index).elementsEqual(right.value(at: index))
    }
  }
}

extension FieldSection: ExpressibleByDictionaryLiteral {
  /// For fixed sections and tests; a pair that is not a valid field is left out.
  public init(dictionaryLiteral elements: (String, String)...) {
    for (name, value) in elements { append(named: name, value) }
  }
}

extension FieldSection: CustomStringConvertible {
  public var description: String {
    var text: [UInt8] = []
    serialise(into: &text)
    return String(decoding: text, as: UTF8.self)
  }
}

extension FieldName {
  /// The known name with this spelling, in any case.
  public init(_ text: String) {
    let bytes = Array(text.utf8)
    self = FieldSection.isName(bytes) ? FieldName.recognise(bytes.span) : .other
  }
}

extension Array where Element == UInt8 {
  /// Appends the bytes of a span.
  @inlinable
  mutating func append(span: borrowing Span<UInt8>) {
    unsafe span.withUnsafeBufferPointer { unsafe append(contentsOf: $0) }
  }
}
