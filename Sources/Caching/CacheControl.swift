// Cache-Control, as bytes to directives (RFC 9111 §5.2): the scanner both kinds of directives share,
// and the reading of delta-seconds.
//
// Origins write this field in every wrong way there is, so the scanner never gives up: it cuts at
// commas outside quotes, and what it cannot make sense of is a directive nobody knows. The two
// directive types decide what that means; the rule is that nonsense makes a response less reusable,
// never more.

import HTTP

/// Seconds as Cache-Control, Age and the like write them (RFC 9111 §1.2.2).
public enum DeltaSeconds {
  /// What larger values count as, and the limit of every calculation with them: 2^31, as
  /// RFC 9111 §1.2.2 wants it, about 68 years.
  @inlinable
  public static var maximum: Int64 { 2_147_483_648 }

  /// Reads digits and nothing else; nil for a sign, a fraction, an empty value.
  public static func parse(_ bytes: borrowing Span<UInt8>) -> Int64? {
    bytes.decimal.map { min($0, maximum) }
  }

  /// A number of seconds brought into `0...maximum`.
  @inlinable
  public static func clamped(_ seconds: Int64) -> Int64 { min(max(seconds, 0), maximum) }

  /// `left - right` in `-maximum...maximum`, whatever the operands are.
  @inlinable
  public static func difference(_ left: Int64, _ right: Int64) -> Int64 {
    let (result, overflow) = left.subtractingReportingOverflow(right)
    if overflow { return left < right ? -maximum : maximum }
    return min(max(result, -maximum), maximum)
  }
}

/// Goes through the directives of one field value.
struct DirectiveScanner {
  struct Directive {
    var name: Range<Int>
    /// Without the quotes; nil when there was no `=`.
    var argument: Range<Int>?
    /// False when white space stood around the `=`, which the grammar does not allow.
    var isWellFormed: Bool
  }

  private var position = 0

  mutating func next(_ bytes: borrowing Span<UInt8>) -> Directive? {
    while position < bytes.count {
      let start = position
      let end = endOfElement(bytes, from: start)
      position = end + 1
      let element = bytes.trimmingWhitespace(start..<end)
      if element.isEmpty { continue }

      var equals = element.lowerBound
      while equals < element.upperBound, bytes[equals] != 0x3D { equals += 1 }
      guard equals < element.upperBound else {
        return Directive(name: element, argument: nil, isWellFormed: true)
      }
      let name = bytes.trimmingWhitespace(element.lowerBound..<equals)
      var argument = bytes.trimmingWhitespace(equals + 1..<element.upperBound)
      let isWellFormed = name.upperBound == equals && argument.lowerBound == equals + 1
      if argument.count >= 2, bytes[argument.lowerBound] == 0x22,
        bytes[argument.upperBound - 1] == 0x22
      {
        argument = argument.lowerBound + 1..<argument.upperBound - 1
      }
      return Directive(name: name, argument: argument, isWellFormed: isWellFormed)
    }
    return nil
  }

  // The next comma outside quotes. A quote that is never closed is no quote: what follows it must
  // not be hidden, it might be `no-store`.
  private func endOfElement(_ bytes: borrowing Span<UInt8>, from start: Int) -> Int {
    var index = start
    while index < bytes.count, bytes[index] != 0x2C {
      if bytes[index] == 0x22, let close = endOfQuote(bytes, from: index) { index = close }
      index += 1
    }
    return index
  }

  private func endOfQuote(_ bytes: borrowing Span<UInt8>, from open: Int) -> Int? {
    var index = open + 1
    while index < bytes.count {
      if bytes[index] == 0x22 { return index }
      // quoted-pair
      if bytes[index] == 0x5C { index += 1 }
      index += 1
    }
    return nil
  }
}
