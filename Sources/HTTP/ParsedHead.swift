// What the parser found in the head of a message: offsets into the bytes it was given, and the few
// facts everybody asks for.
//
// A head is meant to be one local of a loop's function, passed `inout` and used again for the next
// message. It never holds bytes: whoever asks for a field brings the bytes that were parsed.
//
// The slots are memory of the head's own, allocated once in its life. An InlineArray in their place
// is copied whole, 2 KiB, whenever one slot is read through a borrowed head: measured, that was
// half of the time a request took.

/// The HTTP/1 versions a message can have here.
public enum Version: UInt8, Sendable, Comparable {
  case http10 = 0
  /// HTTP/1.1, and every later minor version, which promises to be compatible (RFC 9110 §2.5).
  case http11 = 1

  @inlinable
  public static func < (left: Version, right: Version) -> Bool { left.rawValue < right.rawValue }
}

/// The start line and the fields of one message, as offsets.
@safe
public struct ParsedHead: ~Copyable {
  /// How many fields there is room for; `HeadLimits.fieldCount` may be lower.
  public static var capacity: Int { 128 }

  private let slots: UnsafeMutablePointer<FieldSlot>
  public internal(set) var count = 0
  /// Which known names occur.
  public internal(set) var names = FieldNameSet()

  public internal(set) var version = Version.http11
  /// Requests: the method, and where its name is.
  public internal(set) var method = Method.other
  var methodStart: UInt32 = 0
  var methodCount: UInt32 = 0
  var targetStart: UInt32 = 0
  var targetCount: UInt32 = 0
  /// Responses: the status, and where the reason phrase is.
  public internal(set) var status = Status(rawValue: 0)
  var reasonStart: UInt32 = 0
  var reasonCount: UInt32 = 0
  /// How many bytes the head takes, with the empty line, once it is complete.
  public internal(set) var headCount = 0

  public init() {
    unsafe slots = .allocate(capacity: Self.capacity)
    unsafe slots.initialize(repeating: FieldSlot(), count: Self.capacity)
  }

  deinit { unsafe slots.deallocate() }

  /// Forgets the fields. The parser does this by itself.
  public mutating func reset() {
    count = 0
    names = FieldNameSet()
    headCount = 0
  }

  /// The slot of the field at `index`, in the order of the message.
  public func slot(at index: Int) -> FieldSlot {
    precondition(index >= 0 && index < count)
    return unsafe slots[index]
  }

  public var methodRange: Range<Int> { Int(methodStart)..<Int(methodStart) + Int(methodCount) }
  public var targetRange: Range<Int> { Int(targetStart)..<Int(targetStart) + Int(targetCount) }
  public var reasonRange: Range<Int> { Int(reasonStart)..<Int(reasonStart) + Int(reasonCount) }

  public func contains(_ name: FieldName) -> Bool { names.contains(name) }

  /// The slot of the first field called so.
  public func first(_ name: FieldName) -> FieldSlot? {
    guard names.contains(name), let index = next(name, from: 0) else { return nil }
    return slot(at: index)
  }

  /// The index of the next field called so, at `start` or after it: for going through all of them
  /// without building an array.
  public func next(_ name: FieldName, from start: Int) -> Int? {
    var index = Swift.max(start, 0)
    while index < count {
      if unsafe slots[index].known == name { return index }
      index += 1
    }
    return nil
  }

  /// How many fields are called so.
  public func occurrences(of name: FieldName) -> Int {
    guard names.contains(name) else { return 0 }
    var found = 0
    for index in 0..<count where slot(at: index).known == name { found += 1 }
    return found
  }

  /// Puts a slot where `count` says that the next one goes, once `count` includes it. The caller
  /// has seen that there is room.
  mutating func setSlot(_ slot: FieldSlot, at index: Int) {
    precondition(index >= 0 && index < Self.capacity)
    unsafe slots[index] = slot
    names.insert(slot.known)
  }
}
