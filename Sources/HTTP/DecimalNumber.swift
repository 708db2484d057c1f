// Decimal digits to numbers and back, for fields that carry counts and positions.
//
// Numbers from strangers may be longer than any integer. Readers here saturate instead of
// overflowing; who needs exactness compares with `Int64.max`.

extension Span where Element == UInt8 {
  /// The non-negative number written by all bytes of `range`, at most `Int64.max`; nil when the
  /// range is empty or holds anything but digits.
  @inlinable
  public func decimal(in range: Range<Int>) -> Int64? {
    guard range.lowerBound >= 0, range.upperBound <= count, !range.isEmpty else { return nil }
    var number: Int64 = 0
    for index in range {
      let byte = self[index]
      guard byte.isDigit else { return nil }
      let (shifted, overflow) = number.multipliedReportingOverflow(by: 10)
      let (sum, carry) = shifted.addingReportingOverflow(Int64(byte &- 0x30))
      number = overflow || carry ? Int64.max : sum
    }
    return number
  }

  /// The number the whole span spells, as `decimal(in:)` reads it.
  @inlinable
  public var decimal: Int64? { decimal(in: 0..<count) }
}

extension Array where Element == UInt8 {
  /// Appends the decimal digits of `number`, after `-` when it is negative.
  public mutating func appendDecimal(_ number: Int64) {
    if number < 0 { append(0x2D) }
    var rest = number.magnitude
    let start = count
    repeat {
      append(UInt8(truncatingIfNeeded: 0x30 + rest % 10))
      rest /= 10
    } while rest > 0
    self[start...].reverse()
  }
}
