// What the parser found in the head of a message: offsets into the bytes it was given, and the few
// facts everybody asks for.
//
// A head is big (a slot for each of 128 fields) and is meant to be one local of a loop's function,
// passed `inout` and used again for the next message. `reset()` touches counters only. It never
// holds bytes: whoever asks for a field brings the bytes that were parsed.

/// The HTTP/1 versions a message can have here.
public enum Version: UInt8, Sendable, Comparable {
  case http10 = 0
  /// HTTP/1.1, and every later minor version, which promises to be compatible (RFC 9110 §2.5).
  case http11 = 1

  @inlinable
  public static func < (left: Version, right: Version) -> Bool { left.rawValue < right.rawValue }
}

/// The start line and the fields of one message, as offsets.
public struct ParsedHead: ~Copyable {
  /// How many fields there is room for; `HeadLimits.fieldCount` may be lower.
  public static var capacity: Int { 128 }

  var slots = InlineArray<128, FieldSlot>(repeating: FieldSlot())
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

  public init() {}

  /// Forgets the fields. The parser does this by itself.
  public mutating func reset() {
    count = 0
    names = FieldNameSet()
    headCount = 0
  }

  /// The slot of the field at `index`, in the order of the message.
  public func slot(at index: Int) -> FieldSlot {
    precondition(index < count)
    return slots[index]
  }

  public var methodRange: Range<Int> { Int(methodStart)..<Int(methodStart) + Int(methodCount) }
  public var targetRange: Range<Int> { Int(targetStart)..<Int(targetStart) + Int(targetCount) }
  public var reasonRange: Range<Int> { Int(reasonStart)..<Int(reasonStart) + Int(reasonCount) }

  public func contains(_ name: FieldName) -> Bool { names.contains(name) }

  /// The slot of the first field called so.
  public func first(_ name: FieldName) -> FieldSlot? {
    guard names.contains(name) else { return nil }
    return next(name, from: 0).map { slots[$0] }
  }

  /// The index of the next field called so, at `start` or after it: for going through all of them
  /// without building an array.
  public func next(_ name: FieldName, from start: Int) -> Int? {
    var index = start
    while index < count {
      if slots[index].known == name { return index }
      index += 1
    }
    return nil
  }

  /// How many fields are called so.
  public func occurrences(of name: FieldName) -> Int {
    guard names.contains(name) else { return 0 }
    var found = 0
    for index in 0..<count where slots[index].known == name { found += 1 }
    return found
  }
}
