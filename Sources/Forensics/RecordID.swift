// A record's name: 26 letters and digits that sort by time, are the same in the log of a failed build, in the answer that
// the build got and in the records, and can be read out over a telephone (the ULID layout: 48 bits of milliseconds, 80
// random ones, in Crockford's base 32, which has no I, L, O and U).

public struct RecordID: Hashable, Sendable, CustomStringConvertible {
  public let text: String

  private static let digits = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ".utf8)

  /// - Parameters:
  ///   - milliseconds: since 1970.
  ///   - random: of which 80 bits are used.
  public init(milliseconds: Int64, random: (UInt64, UInt64)) {
    var bytes = [UInt8](repeating: 0, count: 26)
    var time = UInt64(clamping: milliseconds)
    for index in (0..<10).reversed() {
      bytes[index] = Self.digits[Int(time & 31)]
      time >>= 5
    }
    // Five bits a digit: eight digits of either word.
    for index in 0..<8 {
      bytes[10 + index] = Self.digits[Int(random.0 >> (5 * UInt64(index)) & 31)]
      bytes[18 + index] = Self.digits[Int(random.1 >> (5 * UInt64(index)) & 31)]
    }
    text = String(decoding: bytes, as: UTF8.self)
  }

  /// Reads what a person typed: letters of either case.
  public init?(_ text: some StringProtocol) {
    let upper = text.uppercased()
    guard upper.utf8.count == 26, upper.utf8.allSatisfy({ Self.digits.contains($0) }) else {
      return nil
    }
    self.text = upper
  }

  public var description: String { text }
}
