// Small questions about bytes that every parser here asks: character classes, comparisons
// without case, searches eight bytes at a time.
//
// The word-wise functions are the only places in this module that leave the safe subset, always
// after a check of their own that the eight bytes are there. Words are read little-endian, so that
// the lowest byte is the first one.

// The names every RFC on HTTP uses.
// swift-format-ignore: AlwaysUseLowerCamelCase
@usableFromInline let CR: UInt8 = 0x0D
// swift-format-ignore: AlwaysUseLowerCamelCase
@usableFromInline let LF: UInt8 = 0x0A
// swift-format-ignore: AlwaysUseLowerCamelCase
@usableFromInline let SP: UInt8 = 0x20
// swift-format-ignore: AlwaysUseLowerCamelCase
@usableFromInline let HTAB: UInt8 = 0x09

extension Span where Element == UInt8 {
  /// The eight bytes from `offset`, the first one lowest.
  ///
  /// Stops the process when they are not all inside the span.
  @inlinable @inline(__always)
  func word(at offset: Int) -> UInt64 {
    precondition(offset >= 0 && offset <= count - 8)
    return unsafe withUnsafeBytes {
      UInt64(littleEndian: unsafe $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
  }

  /// The four bytes from `offset`, the first one lowest; checked as `word(at:)` is.
  @inlinable @inline(__always)
  func halfWord(at offset: Int) -> UInt32 {
    precondition(offset >= 0 && offset <= count - 4)
    return unsafe withUnsafeBytes {
      UInt32(littleEndian: unsafe $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }
  }

  /// Whether the bytes from `start` are `lowerCase` with its letters in any case; the caller has
  /// compared the lengths. The literal may have letters, digits and `-`.
  @inlinable @inline(__always)
  func equalsToken(_ lowerCase: StaticString, at start: Int) -> Bool {
    // The loads from the literal are folded into constants by the optimiser, and with them the
    // masks: 0x20 where the literal has a letter, so that nothing but its capital is let in.
    let length = lowerCase.utf8CodeUnitCount
    guard start >= 0, start <= count - length else { return false }
    let literal = unsafe UnsafeRawPointer(lowerCase.utf8Start)
    if length >= 8 {
      var offset = 0
      while offset < length {
        let step = Swift.min(offset, length - 8)
        let wanted = unsafe UInt64(
          littleEndian: literal.loadUnaligned(fromByteOffset: step, as: UInt64.self))
        let letters = (wanted & 0x4040_4040_4040_4040) &>> 1
        if word(at: start + step) | letters != wanted { return false }
        offset += 8
      }
      return true
    }
    if length >= 4 {
      let first = unsafe UInt32(
        littleEndian: literal.loadUnaligned(fromByteOffset: 0, as: UInt32.self))
      let last = unsafe UInt32(
        littleEndian: literal.loadUnaligned(fromByteOffset: length - 4, as: UInt32.self))
      return halfWord(at: start) | (first & 0x4040_4040) &>> 1 == first
        && halfWord(at: start + length - 4) | (last & 0x4040_4040) &>> 1 == last
    }
    var index = 0
    while index < length {
      let wanted = unsafe literal.load(fromByteOffset: index, as: UInt8.self)
      if self[start + index] | (wanted & 0x40) &>> 1 != wanted { return false }
      index += 1
    }
    return true
  }

  /// Whether the whole span is `lowerCase` with its letters in any case.
  @inlinable
  public func equalsToken(_ lowerCase: StaticString) -> Bool {
    count == lowerCase.utf8CodeUnitCount && equalsToken(lowerCase, at: 0)
  }

  /// Whether both hold the same bytes when ASCII letters are taken without their case.
  @inlinable
  public func equalsIgnoringCase(_ other: borrowing Span<UInt8>) -> Bool {
    guard count == other.count else { return false }
    for index in indices where self[index].lowercased != other[index].lowercased { return false }
    return true
  }

  /// Whether both hold the same bytes.
  @inlinable
  public func equals(_ other: borrowing Span<UInt8>) -> Bool {
    guard count == other.count else { return false }
    for index in indices where self[index] != other[index] { return false }
    return true
  }

  /// Whether the span holds exactly these bytes.
  @inlinable
  public func equals(_ literal: StaticString) -> Bool {
    guard count == literal.utf8CodeUnitCount else { return false }
    for index in indices {
      if unsafe self[index] != literal.utf8Start[index] { return false }
    }
    return true
  }

  @inlinable
  func contains(_ wanted: UInt8, in range: Range<Int>) -> Bool {
    firstIndex(of: wanted, in: range) < range.upperBound
  }

  /// The first position of a byte in the range, or the range's end.
  @inlinable @inline(__always)
  func firstIndex(of wanted: UInt8, in range: Range<Int>) -> Int {
    let pattern = UInt64(wanted) &* 0x0101_0101_0101_0101
    var at = range.lowerBound
    while at <= range.upperBound - 8 {
      let difference = word(at: at) ^ pattern
      let hits = (difference &- 0x0101_0101_0101_0101) & ~difference & 0x8080_8080_8080_8080
      if hits != 0 { return at + hits.trailingZeroBitCount / 8 }
      at += 8
    }
    while at < range.upperBound {
      if self[at] == wanted { return at }
      at += 1
    }
    return range.upperBound
  }

  /// The first position in `start..<end` with a control byte other than HTAB, or `end`.
  ///
  /// That is where a field value ends: at its CR, or at something that must not be there.
  @inlinable @inline(__always)
  func firstControl(from start: Int, to end: Int) -> Int {
    var at = start
    while at < end {
      if at <= end - 8 {
        let word = word(at: at)
        // Sets the highest bit of each byte below 0x20 or equal to 0x7F. A borrow can only make
        // bits above the first true one wrong, and only the lowest is used.
        let deletes = word ^ 0x7F7F_7F7F_7F7F_7F7F
        let hits =
          ((word &- 0x2020_2020_2020_2020) & ~word | (deletes &- 0x0101_0101_0101_0101) & ~deletes)
          & 0x8080_8080_8080_8080
        if hits == 0 {
          at += 8
          continue
        }
        at += hits.trailingZeroBitCount / 8
      }
      if !self[at].isFieldValueCharacter { return at }
      at += 1
    }
    return end
  }

  /// The first position in `start..<end` that is not a visible ASCII character, or `end`: where a
  /// request target ends.
  @inlinable
  func firstInvisible(from start: Int, to end: Int) -> Int {
    var at = start
    while at < end {
      if at <= end - 8 {
        let word = word(at: at)
        let deletes = word ^ 0x7F7F_7F7F_7F7F_7F7F
        let hits =
          ((word &- 0x2121_2121_2121_2121) & ~word | (deletes &- 0x0101_0101_0101_0101) & ~deletes
            | word) & 0x8080_8080_8080_8080
        if hits == 0 {
          at += 8
          continue
        }
        return at + hits.trailingZeroBitCount / 8
      }
      if self[at] <= SP || self[at] >= 0x7F { return at }
      at += 1
    }
    return end
  }

  /// The range without the spaces and tabs at both ends (OWS, RFC 9110 §5.6.3).
  @inlinable @inline(__always)
  public func trimmingWhitespace(_ range: Range<Int>) -> Range<Int> {
    var start = range.lowerBound
    var end = range.upperBound
    while start < end, self[start].isWhitespace { start += 1 }
    while end > start, self[end - 1].isWhitespace { end -= 1 }
    return start..<end
  }
}

extension UInt8 {
  /// SP or HTAB.
  @inlinable
  public var isWhitespace: Bool { self == 0x20 || self == 0x09 }

  @inlinable
  public var isDigit: Bool { self &- 0x30 < 10 }

  @inlinable
  public var isLetter: Bool { (self | 0x20) &- 0x61 < 26 }

  /// ASCII capitals made small, everything else as it is.
  @inlinable
  public var lowercased: UInt8 { self &- 0x41 < 26 ? self | 0x20 : self }

  /// The value of a hexadecimal digit, in either case.
  @inlinable
  public var hexadecimalValue: UInt8? {
    if isDigit { return self &- 0x30 }
    let letter = (self | 0x20) &- 0x61
    return letter < 6 ? letter + 10 : nil
  }

  /// tchar (RFC 9110 §5.6.2).
  @inlinable
  public var isTokenCharacter: Bool {
    // One bit per character of each half of ASCII: no table in memory, hence nothing to initialise.
    let low: UInt64 = 0x03FF_6CFA_0000_0000
    let high: UInt64 = 0x57FF_FFFF_C7FF_FFFE
    if self < 64 { return low & (1 &<< UInt64(self)) != 0 }
    return self < 128 && high & (1 &<< UInt64(self & 63)) != 0
  }

  /// What a field value may hold: visible characters, SP, HTAB and obs-text (RFC 9110 §5.5).
  @inlinable
  public var isFieldValueCharacter: Bool { (self >= 0x20 && self != 0x7F) || self == 0x09 }
}
