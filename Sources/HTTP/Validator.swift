// Validators: what tells one state of a representation from another (RFC 9110 §8.8).
//
// An entity tag is compared strongly (same bytes guaranteed) or weakly (equivalent); a modification
// date is weak unless enough time has passed since. Which comparison a rule wants is what protects
// a resumed download from being glued together out of two versions, so both are spelled out here.
// An ETag without its quotes is not an entity tag and is never compared.

/// An entity tag (RFC 9110 §8.8.3).
public struct EntityTag: Hashable, Sendable, CustomStringConvertible {
  public let isWeak: Bool
  /// What stands between the quotes.
  public let opaque: [UInt8]

  public init(_ opaque: String, isWeak: Bool = false) {
    self.isWeak = isWeak
    self.opaque = Array(opaque.utf8)
  }

  /// Reads a field value that must be one entity tag, `"…"` or `W/"…"`.
  public init?(_ bytes: borrowing Span<UInt8>) {
    let range = bytes.trimmingWhitespace(0..<bytes.count)
    guard let tag = Self.scan(bytes, from: range.lowerBound), tag.end == range.upperBound else {
      return nil
    }
    isWeak = tag.isWeak
    opaque = Array(span: bytes.extracting(tag.opaque))
  }

  /// Both are strong and the same (RFC 9110 §8.8.3.2): the bytes are the same.
  public func matchesStrongly(_ other: EntityTag) -> Bool {
    !isWeak && !other.isWeak && opaque == other.opaque
  }

  /// The same but for weakness: one will do for the other.
  public func matchesWeakly(_ other: EntityTag) -> Bool { opaque == other.opaque }

  /// As it is written in a field.
  public var serialised: [UInt8] { (isWeak ? [0x57, 0x2F, 0x22] : [0x22]) + opaque + [0x22] }

  public var description: String { String(decoding: serialised, as: UTF8.self) }

  /// What a list of entity tags in If-Match or If-None-Match says about one tag.
  public enum ListAnswer: Sendable {
    /// `*`: any representation will do.
    case any
    case contains
    case lacks
  }

  /// Looks for `tag` in the value of If-Match (`strongly`) or If-None-Match, without building the
  /// list.
  ///
  /// Reading stops at the first thing that is no entity tag; what was found before it counts. So a
  /// broken list can only make a client fetch what it may have already.
  public static func search(
    _ list: borrowing Span<UInt8>, for tag: EntityTag?, strongly: Bool
  ) -> ListAnswer {
    let range = list.trimmingWhitespace(0..<list.count)
    if range.count == 1, list[range.lowerBound] == 0x2A { return .any }
    guard let tag, !(strongly && tag.isWeak) else { return .lacks }
    let wanted = tag.opaque.span
    var position = range.lowerBound
    while position < range.upperBound {
      // Empty elements are to be ignored (RFC 9110 §5.6.1.2).
      if list[position] == 0x2C || list[position].isWhitespace {
        position += 1
        continue
      }
      guard let found = scan(list, from: position) else { return .lacks }
      if !(strongly && found.isWeak), list.extracting(found.opaque).equals(wanted) {
        return .contains
      }
      position = found.end
      while position < range.upperBound, list[position].isWhitespace { position += 1 }
      guard position == range.upperBound || list[position] == 0x2C else { return .lacks }
    }
    return .lacks
  }

  private static func scan(
    _ bytes: borrowing Span<UInt8>, from start: Int
  ) -> (isWeak: Bool, opaque: Range<Int>, end: Int)? {
    var position = start
    // `W/` is case-sensitive.
    let isWeak =
      position + 1 < bytes.count && bytes[position] == 0x57 && bytes[position + 1] == 0x2F
    if isWeak { position += 2 }
    guard position < bytes.count, bytes[position] == 0x22 else { return nil }
    position += 1
    let opaque = position
    while position < bytes.count {
      let byte = bytes[position]
      if byte == 0x22 { return (isWeak, opaque..<position, position + 1) }
      // etagc: visible characters and obs-text.
      guard byte >= 0x21, byte != 0x7F else { return nil }
      position += 1
    }
    return nil
  }
}

/// The validators of one response.
public struct Validators: Sendable, Hashable {
  public var entityTag: EntityTag?
  /// Unix seconds.
  public var lastModified: Int64?
  /// When the origin made the response: its Date, else when it was received.
  public var date: Int64

  public init(entityTag: EntityTag? = nil, lastModified: Int64? = nil, date: Int64) {
    self.entityTag = entityTag
    self.lastModified = lastModified
    self.date = date
  }

  /// Reads ETag, Last-Modified and Date. What is malformed or repeated counts as absent.
  ///
  /// - Parameter received: Unix seconds at which the response arrived; taken for a missing Date.
  public init(_ fields: FieldSection, receivedAt received: Int64) {
    entityTag = fields.only(.etag).flatMap { EntityTag($0.span) }
    lastModified = fields.only(.lastModified).flatMap { HTTPDate.parse($0.span, now: received) }
    date = fields.only(.date).flatMap { HTTPDate.parse($0.span, now: received) } ?? received
  }

  public var isEmpty: Bool { entityTag == nil && lastModified == nil }

  /// Seconds between Last-Modified and Date from which the date is trusted as a strong validator.
  ///
  /// RFC 9110 §8.8.2.2 is content with one second if both come from one clock, which a cache cannot
  /// know, or else asks for a difference large enough that clocks do not matter; a minute is what
  /// RFC 7232 named.
  public static var clockMargin: Int64 { 60 }

  /// Whether two responses with this Last-Modified have the same bytes.
  public var isLastModifiedStrong: Bool {
    guard let lastModified else { return false }
    let (difference, overflow) = date.subtractingReportingOverflow(lastModified)
    return !overflow && difference >= Self.clockMargin
  }

  /// Whether a strong entity tag tells any two versions apart. A date only promises to: two versions may have been made in
  /// one second, and builds that set all dates to the same one are common.
  public var hasStrongTag: Bool { entityTag.map { !$0.isWeak } ?? false }

  /// Whether there is anything by which a part can be joined to another part safely.
  public var hasStrong: Bool {
    if let entityTag { return !entityTag.isWeak }
    return isLastModifiedStrong
  }
}

extension Array where Element == UInt8 {
  /// The bytes of a span, copied.
  @inlinable
  public init(span: borrowing Span<UInt8>) {
    self.init()
    reserveCapacity(span.count)
    append(span: span)
  }
}
