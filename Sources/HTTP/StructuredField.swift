// Structured field values (RFC 9651): items, lists, dictionaries and their parameters.
//
// The parser follows the algorithms of RFC 9651 §4.2: one error anywhere and the whole field is as
// if it had not been sent, which is what makes such fields safe to act upon. It works on bytes, goes
// over them once and does not recurse. The writer gives the canonical form.

/// Names for the types of structured fields.
public enum StructuredField {
  /// A value without parameters.
  public enum BareItem: Hashable, Sendable {
    /// Within ±999,999,999,999,999.
    case integer(Int64)
    /// In thousandths.
    case decimal(thousandths: Int64)
    case string(String)
    case token(String)
    case bytes([UInt8])
    case boolean(Bool)
    /// Unix seconds.
    case date(Int64)
    case displayString(String)
  }

  /// Keys and values in order; a key occurs once.
  public struct Parameters: Hashable, Sendable {
    public private(set) var pairs: [Pair] = []

    public struct Pair: Hashable, Sendable {
      public var key: String
      public var value: BareItem
    }

    public init() {}

    public subscript(key: String) -> BareItem? { pairs.first { $0.key == key }?.value }

    /// Sets a value; a key that is there already keeps its place.
    public mutating func set(_ key: String, _ value: BareItem) {
      if let index = pairs.firstIndex(where: { $0.key == key }) {
        pairs[index].value = value
      } else {
        pairs.append(Pair(key: key, value: value))
      }
    }
  }

  public struct Item: Hashable, Sendable {
    public var value: BareItem
    public var parameters: Parameters

    public init(_ value: BareItem, _ parameters: Parameters = Parameters()) {
      self.value = value
      self.parameters = parameters
    }
  }

  /// What a list or a dictionary holds.
  public enum Member: Hashable, Sendable {
    case item(Item)
    case innerList([Item], Parameters)

    /// The bare value of an item; nil for an inner list.
    public var value: BareItem? {
      if case .item(let item) = self { return item.value }
      return nil
    }
  }

  /// Keys and members in order; a key occurs once, the last occurrence decides.
  public struct Dictionary: Hashable, Sendable {
    public private(set) var pairs: [Pair] = []

    public struct Pair: Hashable, Sendable {
      public var key: String
      public var member: Member
    }

    public init() {}

    public subscript(key: String) -> Member? { pairs.first { $0.key == key }?.member }

    public mutating func set(_ key: String, _ member: Member) {
      if let index = pairs.firstIndex(where: { $0.key == key }) {
        pairs[index].member = member
      } else {
        pairs.append(Pair(key: key, member: member))
      }
    }
  }

  /// Why a value is not a structured field: it breaks the syntax somewhere. The standard knows no
  /// degrees, and nobody acts on more.
  public struct Malformed: Error, Hashable, Sendable {}

  /// Parses the combined value of a field that is an item.
  public static func item(_ bytes: borrowing Span<UInt8>) throws(Malformed) -> Item {
    var parser = Parser()
    parser.skipSpaces(bytes)
    let item = try parser.item(bytes)
    try parser.expectEnd(bytes)
    return item
  }

  /// Parses the combined value of a field that is a list. Empty bytes are an empty list.
  public static func list(_ bytes: borrowing Span<UInt8>) throws(Malformed) -> [Member] {
    var parser = Parser()
    var members: [Member] = []
    parser.skipSpaces(bytes)
    while !parser.atEnd(bytes) {
      members.append(try parser.member(bytes))
      guard try parser.skipComma(bytes) else { break }
    }
    return members
  }

  /// Parses the combined value of a field that is a dictionary. Empty bytes are an empty one.
  public static func dictionary(_ bytes: borrowing Span<UInt8>) throws(Malformed) -> Dictionary {
    var parser = Parser()
    var dictionary = Dictionary()
    parser.skipSpaces(bytes)
    while !parser.atEnd(bytes) {
      let key = try parser.key(bytes)
      if parser.take(0x3D, bytes) {
        dictionary.set(key, try parser.member(bytes))
      } else {
        // A key alone means true, and may have parameters.
        dictionary.set(key, .item(Item(.boolean(true), try parser.parameters(bytes))))
      }
      guard try parser.skipComma(bytes) else { break }
    }
    return dictionary
  }

  // MARK: - Writing

  /// Appends a quoted string. Bytes a string cannot hold (anything but visible ASCII and spaces)
  /// become `?`.
  public static func write(string: String, into output: inout [UInt8]) {
    output.append(0x22)
    for byte in string.utf8 {
      switch byte {
      case 0x22, 0x5C:
        output.append(0x5C)
        output.append(byte)
      case 0x20..<0x7F: output.append(byte)
      default: output.append(0x3F)
      }
    }
    output.append(0x22)
  }
}

// MARK: - Parsing

extension StructuredField {
  private struct Parser {
    var position = 0

    func atEnd(_ bytes: borrowing Span<UInt8>) -> Bool { position >= bytes.count }

    func peek(_ bytes: borrowing Span<UInt8>) -> UInt8? {
      position < bytes.count ? bytes[position] : nil
    }

    mutating func take(_ byte: UInt8, _ bytes: borrowing Span<UInt8>) -> Bool {
      guard position < bytes.count, bytes[position] == byte else { return false }
      position += 1
      return true
    }

    mutating func next(_ bytes: borrowing Span<UInt8>) throws(Malformed) -> UInt8 {
      guard position < bytes.count else { throw Malformed() }
      position += 1
      return bytes[position - 1]
    }

    mutating func skipSpaces(_ bytes: borrowing Span<UInt8>) {
      while position < bytes.count, bytes[position] == 0x20 { position += 1 }
    }

    mutating func skipWhitespace(_ bytes: borrowing Span<UInt8>) {
      while position < bytes.count, bytes[position].isWhitespace { position += 1 }
    }

    mutating func expectEnd(_ bytes: borrowing Span<UInt8>) throws(Malformed) {
      skipSpaces(bytes)
      guard atEnd(bytes) else { throw Malformed() }
    }

    // True when another member has to follow, false at the end. A comma at the end is an error.
    mutating func skipComma(_ bytes: borrowing Span<UInt8>) throws(Malformed) -> Bool {
      skipWhitespace(bytes)
      if atEnd(bytes) { return false }
      guard take(0x2C, bytes) else { throw Malformed() }
      skipWhitespace(bytes)
      guard !atEnd(bytes) else { throw Malformed() }
      return true
    }

    mutating func member(_ bytes: borrowing Span<UInt8>) throws(Malformed) -> Member {
      guard take(0x28, bytes) else { return .item(try item(bytes)) }
      var items: [Item] = []
      while true {
        skipSpaces(bytes)
        if take(0x29, bytes) { return .innerList(items, try parameters(bytes)) }
        items.append(try item(bytes))
        guard let byte = peek(bytes), byte == 0x20 || byte == 0x29 else { throw Malformed() }
      }
    }

    mutating func item(_ bytes: borrowing Span<UInt8>) throws(Malformed) -> Item {
      let value = try bareItem(bytes)
      return Item(value, try parameters(bytes))
    }

    mutating func parameters(_ bytes: borrowing Span<UInt8>) throws(Malformed) -> Parameters {
      var parameters = Parameters()
      while take(0x3B, bytes) {
        skipSpaces(bytes)
        let key = try key(bytes)
        parameters.set(key, take(0x3D, bytes) ? try bareItem(bytes) : .boolean(true))
      }
      return parameters
    }

    mutating func key(_ bytes: borrowing Span<UInt8>) throws(Malformed) -> String {
      let start = position
      guard let first = peek(bytes), isLowerCase(first) || first == 0x2A else {
        throw Malformed()
      }
      while let byte = peek(bytes),
        isLowerCase(byte) || byte.isDigit || byte == 0x5F || byte == 0x2D || byte == 0x2E
          || byte == 0x2A
      {
        position += 1
      }
      return text(bytes, start..<position)
    }

    func isLowerCase(_ byte: UInt8) -> Bool { byte &- 0x61 < 26 }

    func text(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) -> String {
      String(decoding: [UInt8](span: bytes.extracting(range)), as: UTF8.self)
    }

    mutating func bareItem(_ bytes: borrowing Span<UInt8>) throws(Malformed) -> BareItem {
      guard let first = peek(bytes) else { throw Malformed() }
      switch first {
      case 0x2D, 0x30...0x39: return try number(bytes)
      case 0x22: return .string(try string(bytes))
      case 0x2A: return token(bytes)
      case _ where first.isLetter: return token(bytes)
      case 0x3A: return .bytes(try byteSequence(bytes))
      case 0x3F: return .boolean(try boolean(bytes))
      case 0x40:
        position += 1
        guard case .integer(let seconds) = try number(bytes) else { throw Malformed() }
        return .date(seconds)
      case 0x25: return .displayString(try displayString(bytes))
      default: throw Malformed()
      }
    }

    // At most 15 digits, or 12 before and 3 after the point: never more than an Int64 can hold.
    mutating func number(_ bytes: borrowing Span<UInt8>) throws(Malformed) -> BareItem {
      let sign: Int64 = take(0x2D, bytes) ? -1 : 1
      var number: Int64 = 0
      var digits = 0
      while let byte = peek(bytes), byte.isDigit {
        digits += 1
        guard digits <= 15 else { throw Malformed() }
        number = number * 10 + Int64(byte &- 0x30)
        position += 1
      }
      guard digits > 0 else { throw Malformed() }
      guard take(0x2E, bytes) else { return .integer(sign * number) }
      guard digits <= 12 else { throw Malformed() }
      var fraction = 0
      while let byte = peek(bytes), byte.isDigit {
        fraction += 1
        guard fraction <= 3 else { throw Malformed() }
        number = number * 10 + Int64(byte &- 0x30)
        position += 1
      }
      guard fraction > 0 else { throw Malformed() }
      for _ in fraction..<3 { number *= 10 }
      return .decimal(thousandths: sign * number)
    }

    mutating func string(_ bytes: borrowing Span<UInt8>) throws(Malformed) -> String {
      position += 1
      var content: [UInt8] = []
      while true {
        let byte = try next(bytes)
        switch byte {
        case 0x22: return String(decoding: content, as: UTF8.self)
        case 0x5C:
          let escaped = try next(bytes)
          guard escaped == 0x22 || escaped == 0x5C else { throw Malformed() }
          content.append(escaped)
        case 0x20..<0x7F: content.append(byte)
        default: throw Malformed()
        }
      }
    }

    mutating func token(_ bytes: borrowing Span<UInt8>) -> BareItem {
      let start = position
      while let byte = peek(bytes), byte.isTokenCharacter || byte == 0x3A || byte == 0x2F {
        position += 1
      }
      return .token(text(bytes, start..<position))
    }

    mutating func boolean(_ bytes: borrowing Span<UInt8>) throws(Malformed) -> Bool {
      position += 1
      switch try next(bytes) {
      case 0x30: return false
      case 0x31: return true
      default: throw Malformed()
      }
    }

    // Base64 between colons. Missing padding and non-zero bits at the end are let pass, as
    // RFC 9651 §4.2.7 advises.
    mutating func byteSequence(_ bytes: borrowing Span<UInt8>) throws(Malformed) -> [UInt8] {
      position += 1
      var content: [UInt8] = []
      var bits: UInt32 = 0
      var count = 0
      var padding = 0
      while true {
        let byte = try next(bytes)
        if byte == 0x3A { break }
        if byte == 0x3D {
          padding += 1
          continue
        }
        guard padding == 0, let value = Self.base64Value(byte) else { throw Malformed() }
        bits = bits << 6 | UInt32(value)
        count += 6
        if count >= 8 {
          count -= 8
          content.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
        }
      }
      // One character left over carries no byte; more than two `=` are no padding.
      guard count < 6, padding <= 2 else { throw Malformed() }
      return content
    }

    static func base64Value(_ byte: UInt8) -> UInt8? {
      switch byte {
      case 0x41...0x5A: byte - 0x41
      case 0x61...0x7A: byte - 0x61 + 26
      case 0x30...0x39: byte - 0x30 + 52
      case 0x2B: 62
      case 0x2F: 63
      default: nil
      }
    }

    // %"…" with %xx (small hexadecimal digits) for everything that is not printable ASCII.
    mutating func displayString(_ bytes: borrowing Span<UInt8>) throws(Malformed) -> String {
      position += 1
      guard take(0x22, bytes) else { throw Malformed() }
      var content: [UInt8] = []
      while true {
        let byte = try next(bytes)
        switch byte {
        case 0x22:
          guard let text = String(validating: content, as: UTF8.self) else { throw Malformed() }
          return text
        case 0x25:
          let (high, low) = (try next(bytes), try next(bytes))
          guard let first = high.hexadecimalValue, let second = low.hexadecimalValue,
            high.isDigit || isLowerCase(high), low.isDigit || isLowerCase(low)
          else { throw Malformed() }
          content.append(first << 4 | second)
        case 0x20..<0x7F: content.append(byte)
        default: throw Malformed()
        }
      }
    }
  }
}
