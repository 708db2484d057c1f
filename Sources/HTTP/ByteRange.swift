// Byte ranges: Range, Content-Range and If-Range (RFC 9110 §14, §13.1.5).
//
// Reading a Range field and deciding what it means for some representation are apart: the field is
// read once, and resolved against a length that may not be known yet because the body is still
// growing. A Range that cannot be understood is ignored, which is always safe: the client gets the
// whole. Range has a meaning for GET only (§14.2); the caller looks at the method.

/// One range-spec as a client wrote it.
public enum ByteRange: Hashable, Sendable {
  /// `A-`
  case from(Int64)
  /// `A-B`, both included.
  case bounded(Int64, through: Int64)
  /// `-N`: the last N bytes.
  case suffix(Int64)
}

/// What a Range field asks for.
public enum RangeField: Hashable, Sendable {
  /// No range that has to be honoured: another unit, bad syntax, too many ranges.
  case ignored
  case single(ByteRange)
  case list([ByteRange])

  /// More ranges than this are taken for an attack on the sender's patience (RFC 9110 §17.15) and
  /// the field is ignored. Package clients that patch files ask for up to 256 at once.
  public static var maximumCount: Int { 256 }

  /// Reads the value of a Range field.
  public init(_ value: borrowing Span<UInt8>) {
    let range = value.trimmingWhitespace(0..<value.count)
    let text = value.extracting(range)
    guard text.count > 6, text[5] == 0x3D, text.extracting(0..<5).equalsToken("bytes") else {
      self = .ignored
      return
    }
    var single: ByteRange?
    var list: [ByteRange] = []
    var start = 6
    while start <= text.count {
      var end = start
      while end < text.count, text[end] != 0x2C { end += 1 }
      let element = text.trimmingWhitespace(start..<end)
      start = end + 1
      if element.isEmpty { continue }
      guard let spec = Self.specification(text, element), list.count < Self.maximumCount else {
        self = .ignored
        return
      }
      if let first = single {
        if list.isEmpty { list.append(first) }
        list.append(spec)
      } else {
        single = spec
      }
    }
    guard let single else {
      self = .ignored
      return
    }
    self = list.isEmpty ? .single(single) : .list(list)
  }

  private static func specification(
    _ text: borrowing Span<UInt8>, _ element: Range<Int>
  ) -> ByteRange? {
    var dash = element.lowerBound
    while dash < element.upperBound, text[dash] != 0x2D { dash += 1 }
    guard dash < element.upperBound else { return nil }
    let before = element.lowerBound..<dash
    let after = dash + 1..<element.upperBound
    if before.isEmpty { return text.decimal(in: after).map(ByteRange.suffix) }
    guard let first = text.decimal(in: before) else { return nil }
    if after.isEmpty { return .from(first) }
    // A range that ends before it begins is invalid (§14.1.1).
    guard let last = text.decimal(in: after), last >= first else { return nil }
    return .bounded(first, through: last)
  }

  // MARK: Meaning

  /// What a range asks of a particular representation.
  public enum Resolution: Hashable, Sendable {
    /// Answer 200 with everything.
    case whole
    /// Answer 206 with these bytes and Content-Range.
    case single(Range<Int64>)
    /// Answer 206 with multipart/byteranges, the parts in this order. There are at least two, and none lies over
    /// another.
    case multiple([Range<Int64>])
    /// Answer 416 with `Content-Range: bytes */LENGTH`.
    case unsatisfiable
    /// It depends on a length that is not known yet: wait for more, or answer with everything.
    case needsLength
  }

  /// Resolves the field against a representation.
  ///
  /// - Parameters:
  ///   - length: the complete length, or nil while nobody knows it.
  ///   - received: how many bytes are there already, while `length` is nil.
  public func resolve(length: Int64?, received: Int64 = 0) -> Resolution {
    switch self {
    case .ignored: .whole
    case .single(let range): Self.resolve(range, length: length, received: received)
    case .list(let ranges): Self.resolve(ranges, length: length, received: received)
    }
  }

  private static func resolve(
    _ range: ByteRange, length: Int64?, received: Int64
  ) -> Resolution {
    guard let length else {
      // Only a range that lies wholly in what has arrived is certain.
      if case .bounded(let first, through: let last) = range, last < received {
        return .single(first..<last + 1)
      }
      return .needsLength
    }
    switch range {
    case .from(let first):
      return first < length ? .single(first..<length) : .unsatisfiable
    case .bounded(let first, through: let last):
      guard first < length else { return .unsatisfiable }
      return .single(first..<min(last, length - 1) + 1)
    case .suffix(let count):
      guard count > 0 else { return .unsatisfiable }
      // The last N bytes of nothing are satisfiable, but no Content-Range can say so.
      guard length > 0 else { return .whole }
      return .single(max(0, length - count)..<length)
    }
  }

  // Unsatisfiable ranges of a list are left out; the list is unsatisfiable when none remains (§14.1.2). A range
  // that overlaps or touches the one before is joined with it, and the parts keep the order in which they were
  // asked for (§15.3.7.2). If some still lie over others, the whole is sent: no byte goes out twice, however
  // often it was asked for (§14.2, §17.15).
  private static func resolve(
    _ ranges: [ByteRange], length: Int64?, received: Int64
  ) -> Resolution {
    var parts: [Range<Int64>] = []
    for range in ranges {
      switch resolve(range, length: length, received: received) {
      case .needsLength: return .needsLength
      case .whole: return .whole
      case .unsatisfiable, .multiple: continue
      case .single(let part):
        if let last = parts.last, part.lowerBound <= last.upperBound,
          last.lowerBound <= part.upperBound
        {
          parts[parts.count - 1] =
            min(last.lowerBound, part.lowerBound)..<max(last.upperBound, part.upperBound)
        } else {
          parts.append(part)
        }
      }
    }
    guard let first = parts.first else { return .unsatisfiable }
    if parts.count == 1 { return .single(first) }
    let ascending = parts.sorted { $0.lowerBound < $1.lowerBound }
    for (left, right) in zip(ascending, ascending.dropFirst())
    where right.lowerBound < left.upperBound {
      return .whole
    }
    return .multiple(parts)
  }
}

/// The value of Content-Range (RFC 9110 §14.4).
public struct ContentRange: Hashable, Sendable {
  /// The bytes enclosed; nil in a 416 answer.
  public var range: Range<Int64>?
  /// The length of the whole; nil when the sender did not know it.
  public var completeLength: Int64?

  public init(range: Range<Int64>?, completeLength: Int64?) {
    self.range = range
    self.completeLength = completeLength
  }

  /// Reads `bytes A-B/LENGTH`, `bytes A-B/*` or `bytes */LENGTH`.
  ///
  /// Nil for another unit, a range that ends before it begins or lies outside the length, numbers
  /// beyond `Int64`, and a value that says nothing at all. A recipient must not put together parts
  /// on the word of an invalid Content-Range.
  public init?(_ value: borrowing Span<UInt8>) {
    let trimmed = value.trimmingWhitespace(0..<value.count)
    let text = value.extracting(trimmed)
    guard text.count > 6, text[5] == 0x20, text.extracting(0..<5).equalsToken("bytes") else {
      return nil
    }
    var slash = 6
    while slash < text.count, text[slash] != 0x2F { slash += 1 }
    guard slash < text.count - 1 else { return nil }
    if slash + 2 == text.count, text[slash + 1] == 0x2A {
      completeLength = nil
    } else {
      guard let length = text.decimal(in: slash + 1..<text.count), length < Int64.max else {
        return nil
      }
      completeLength = length
    }
    if slash == 7, text[6] == 0x2A {
      guard completeLength != nil else { return nil }
      range = nil
      return
    }
    var dash = 6
    while dash < slash, text[dash] != 0x2D { dash += 1 }
    guard dash < slash, let first = text.decimal(in: 6..<dash),
      let last = text.decimal(in: dash + 1..<slash), first <= last, last < Int64.max
    else { return nil }
    if let completeLength, last >= completeLength { return nil }
    range = first..<last + 1
  }

  /// Appends the value as it is written on the wire.
  public func serialise(into output: inout [UInt8]) {
    output.append(contentsOf: "bytes ".utf8)
    if let range {
      output.appendDecimal(range.lowerBound)
      output.append(0x2D)
      output.appendDecimal(range.upperBound - 1)
    } else {
      output.append(0x2A)
    }
    output.append(0x2F)
    if let completeLength { output.appendDecimal(completeLength) } else { output.append(0x2A) }
  }
}

/// The condition on a Range: part if unchanged, else the whole (RFC 9110 §13.1.5).
public enum IfRange {
  /// Whether the Range beside this If-Range value may be honoured.
  ///
  /// An entity tag has to match strongly. A date has to equal Last-Modified exactly, and that has
  /// to be strong. Anything else, a broken value included, means no: the client then gets the
  /// whole, which is never wrong.
  public static func holds(
    _ value: borrowing Span<UInt8>, for validators: Validators, now: Int64
  ) -> Bool {
    if let tag = EntityTag(value) {
      return validators.entityTag.map { $0.matchesStrongly(tag) } ?? false
    }
    guard let date = HTTPDate.parse(value, now: now) else { return false }
    return validators.isLastModifiedStrong && validators.lastModified == date
  }
}
