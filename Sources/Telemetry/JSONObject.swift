// Writes JSON (RFC 8259), one object on a line. Only writing, and only what is needed.

/// A JSON object being put together; names are kept in the order they are added.
package struct JSONObject: Sendable {
  private var bytes: [UInt8] = [UInt8(ascii: "{")]

  package init() {}

  package var isEmpty: Bool { bytes.count == 1 }

  /// The object and a line feed.
  package var line: [UInt8] { bytes + Array("}\n".utf8) }

  package mutating func add(_ name: String, _ value: String) {
    begin(name)
    Self.append(value, to: &bytes)
  }

  package mutating func add(_ name: String, _ value: Int64) {
    begin(name)
    bytes += String(value).utf8
  }

  /// A number with three decimal places.
  package mutating func add(_ name: String, thousandths value: Int64) {
    begin(name)
    bytes += Self.fraction(value, places: 3).utf8
  }

  /// A number with two decimal places.
  package mutating func add(_ name: String, hundredths value: Int) {
    begin(name)
    bytes += Self.fraction(Int64(value), places: 2).utf8
  }

  private static func fraction(_ value: Int64, places: Int) -> String {
    let digits = String(value.magnitude)
    let padded = String(repeating: "0", count: max(0, places + 1 - digits.utf8.count)) + digits
    return (value < 0 ? "-" : "") + padded.dropLast(places) + "." + padded.suffix(places)
  }

  package mutating func add(_ name: String, _ value: Bool) {
    begin(name)
    bytes += (value ? "true" : "false").utf8
  }

  package mutating func add(_ name: String, _ value: JSONObject) {
    begin(name)
    bytes += value.bytes
    bytes.append(UInt8(ascii: "}"))
  }

  package mutating func add(_ name: String, _ values: [String]) {
    list(name, values) { Self.append($0, to: &$1) }
  }

  package mutating func add(_ name: String, _ values: [JSONObject]) {
    list(name, values) { value, bytes in
      bytes += value.bytes
      bytes.append(UInt8(ascii: "}"))
    }
  }

  private mutating func list<Value>(
    _ name: String, _ values: [Value], _ append: (Value, inout [UInt8]) -> Void
  ) {
    begin(name)
    bytes.append(UInt8(ascii: "["))
    for (index, value) in values.enumerated() {
      if index > 0 { bytes.append(UInt8(ascii: ",")) }
      append(value, &bytes)
    }
    bytes.append(UInt8(ascii: "]"))
  }

  private mutating func begin(_ name: String) {
    if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
    Self.append(name, to: &bytes)
    bytes.append(UInt8(ascii: ":"))
  }

  /// A string with its quotes. RFC 8259 §7 wants `"`, `\` and control characters escaped.
  private static func append(_ text: String, to bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        bytes.append(UInt8(ascii: "\\"))
        bytes.append(byte)
      case 0..<0x20, 0x7F:
        let digits = String(byte, radix: 16)
        bytes += ("\\u00" + (digits.count == 1 ? "0" : "") + digits).utf8
      default:
        bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }
}
