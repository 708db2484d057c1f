// What the `format` file of a tracepoint says: where each field of its records lies, and by what names its numbers go.
// Both change with kernels, so nothing of it is taken for granted (trace/events.rst §3).
//
//   field:enum sk_rst_reason reason;	offset:28;	size:4;	signed:0;
//   print fmt: "… reason=%s", …, __print_symbolic(REC->reason, { 0, "NOT_SPECIFIED" }, { 1, "NO_SOCKET" }, …)

package struct TraceFormat: Sendable {
  struct Field: Hashable, Sendable {
    var offset: Int
    var size: Int
    var isSigned: Bool
  }

  package let name: String
  /// What records of it begin with.
  package let id: Int
  let fields: [String: Field]
  /// Names of numbers, by field.
  let symbols: [String: [Int64: String]]

  /// Nil when it is no such file.
  package init?(_ text: String) {
    var name: String?
    var id: Int?
    var fields: [String: Field] = [:]
    var symbols: [String: [Int64: String]] = [:]
    for line in text.split(separator: "\n") {
      if let rest = line.remainder(behind: "name:") {
        name = rest.trimmed
      } else if let rest = line.remainder(behind: "ID:") {
        id = Int(rest.trimmed)
      } else if let rest = line.remainder(behind: "print fmt:") {
        symbols = Self.symbols(rest)
      } else if let (name, field) = Self.field(line) {
        fields[name] = field
      }
    }
    guard let name, let id, id > 0, !fields.isEmpty else { return nil }
    self.name = name
    self.id = id
    self.fields = fields
    self.symbols = symbols
  }

  private static func field(_ line: Substring) -> (String, Field)? {
    var declaration: Substring?
    var numbers: [Substring: Int] = [:]
    for part in line.split(separator: ";") {
      let part = part.trimmedSubstring
      guard let colon = part.firstIndex(of: ":") else { continue }
      let value = part[part.index(after: colon)...]
      if part[..<colon] == "field" {
        declaration = value
      } else {
        numbers[part[..<colon]] = Int(value)
      }
    }
    guard let declaration, let offset = numbers["offset"], let size = numbers["size"],
      // Records are smaller than a page; what is not cannot be read.
      (0..<4096).contains(offset), (1..<4096).contains(size)
    else { return nil }
    // The name is the last word, without the brackets of an array.
    guard let word = declaration.split(whereSeparator: { $0 == " " || $0 == "*" }).last,
      let name = word.split(separator: "[").first
    else { return nil }
    return (
      String(name), Field(offset: offset, size: size, isSigned: numbers["signed"] == 1)
    )
  }

  // MARK: Names of numbers

  private static func symbols(_ text: Substring) -> [String: [Int64: String]] {
    var symbols: [String: [Int64: String]] = [:]
    var rest = text
    while let found = rest.behind("__print_symbolic(") {
      rest = found
      guard let record = rest.behind("REC->") else { break }
      let field = record.prefix { $0.isLetter || $0.isNumber || $0 == "_" }
      rest = record.dropFirst(field.count)
      var names: [Int64: String] = [:]
      // { number, "NAME" } and so on until the parenthesis.
      while let brace = rest.firstIndex(where: { $0 == "{" || $0 == ")" || $0 == "\"" }),
        rest[brace] == "{"
      {
        rest = rest[rest.index(after: brace)...]
        guard let comma = rest.firstIndex(of: ","), let quoted = rest[comma...].behind("\""),
          let end = quoted.firstIndex(of: "\"")
        else { break }
        let value = rest[..<comma].trimmedSubstring
        let name = String(quoted[..<end])
        if let number = number(value) ?? states[name] { names[number] = name }
        rest = quoted[quoted.index(after: end)...]
        guard let close = rest.firstIndex(of: "}") else { break }
        rest = rest[rest.index(after: close)...]
      }
      if !field.isEmpty, !names.isEmpty { symbols[String(field)] = names }
    }
    return symbols
  }

  private static func number(_ text: Substring) -> Int64? {
    if let digits = text.remainder(behind: "0x") { return Int64(digits, radix: 16) }
    return Int64(text)
  }

  /// Some kernels write a state's name where its number should stand (tcp_states.h; they never change).
  private static let states: [String: Int64] = [
    "TCP_ESTABLISHED": 1, "TCP_SYN_SENT": 2, "TCP_SYN_RECV": 3, "TCP_FIN_WAIT1": 4,
    "TCP_FIN_WAIT2": 5, "TCP_TIME_WAIT": 6, "TCP_CLOSE": 7, "TCP_CLOSE_WAIT": 8,
    "TCP_LAST_ACK": 9, "TCP_LISTEN": 10, "TCP_CLOSING": 11, "TCP_NEW_SYN_RECV": 12,
  ]

  // MARK: Reading records

  /// A number in a record; nil when the kernel has no such field, or the record ends before it.
  func number(_ field: String, in record: ArraySlice<UInt8>) -> UInt64? {
    guard let field = fields[field] else { return nil }
    switch field.size {
    case 1:
      return field.offset < record.count ? UInt64(record[record.startIndex + field.offset]) : nil
    case 2: return record.native16(field.offset).map(UInt64.init)
    case 4: return record.native32(field.offset).map(UInt64.init)
    case 8: return record.native64(field.offset)
    default: return nil
    }
  }

  /// The name of the number in a field; the number where it has none.
  func symbol(_ field: String, in record: ArraySlice<UInt8>) -> String? {
    guard let number = number(field, in: record) else { return nil }
    return symbols[field]?[Int64(bitPattern: number)] ?? "\(number)"
  }

  func bytes(_ field: String, in record: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    guard let field = fields[field], field.offset + field.size <= record.count else { return nil }
    return record.dropFirst(field.offset).prefix(field.size)
  }
}

extension Substring {
  fileprivate func remainder(behind prefix: String) -> Substring? {
    hasPrefix(prefix) ? dropFirst(prefix.count) : nil
  }

  /// What follows the first occurrence of `mark`.
  fileprivate func behind(_ mark: String) -> Substring? {
    // By bytes: formats of drops have thousands of characters.
    let text = utf8
    let mark = Array(mark.utf8)
    var start = text.startIndex
    while let index = text[start...].firstIndex(of: mark[0]) {
      if text[index...].starts(with: mark) {
        return self[text.index(index, offsetBy: mark.count)...]
      }
      start = text.index(after: index)
    }
    return nil
  }

  fileprivate var trimmedSubstring: Substring {
    let start = drop { $0.isWhitespace }
    guard let last = start.lastIndex(where: { !$0.isWhitespace }) else { return "" }
    return start[...last]
  }

  fileprivate var trimmed: String { String(trimmedSubstring) }
}
