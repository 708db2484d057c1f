// Heads and whole messages as a peer sees them. Deliberately a second, plainer reading of HTTP than the
// program's own, so that a mistake there is not made here again.

/// A start line and fields, in the order they came.
package struct WireHead: Sendable {
  package let startLine: String
  package let fields: [(name: String, value: String)]

  /// Parses the bytes of a head, the empty line excluded.
  /// - Returns: nil when a line is not what it should be.
  init?(_ bytes: some Collection<UInt8>) {
    var lines: [String] = []
    var line: [UInt8] = []
    for byte in bytes {
      if byte == 0x0A {
        guard line.popLast() == 0x0D else { return nil }
        lines.append(String(decoding: line, as: UTF8.self))
        line = []
      } else {
        line.append(byte)
      }
    }
    guard line.isEmpty, let first = lines.first else { return nil }
    startLine = first
    var fields: [(name: String, value: String)] = []
    for line in lines.dropFirst() {
      guard let colon = line.firstIndex(of: ":"), colon > line.startIndex else { return nil }
      let value = line[line.index(after: colon)...]
      fields.append((String(line[..<colon]), String(value.drop { $0 == " " })))
    }
    self.fields = fields
  }

  /// All values of a field joined with commas; nil when it is not there.
  package subscript(_ name: String) -> String? {
    let values = all(name)
    return values.isEmpty ? nil : values.joined(separator: ", ")
  }

  package func all(_ name: String) -> [String] {
    fields.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
  }

  /// The parts of the start line between spaces, at most three.
  package var parts: [Substring] { startLine.split(separator: " ", maxSplits: 2) }

  package var status: Int { parts.count > 1 ? Int(parts[1]) ?? 0 : 0 }
  package var method: String { String(parts.first ?? "") }
  package var target: String { parts.count > 1 ? String(parts[1]) : "" }
}

/// A request as an origin got it.
package struct WireRequest: Sendable {
  package let head: WireHead
  package let content: [UInt8]
  package let trailers: [String]

  package var method: String { head.method }
  package var target: String { head.target }
  package subscript(_ name: String) -> String? { head[name] }
  package var text: String { String(decoding: content, as: UTF8.self) }
}

/// A whole response as a client got it.
package struct WireResponse: Sendable {
  package let head: WireHead
  package let content: [UInt8]
  package let trailers: [String]

  package init(head: WireHead, content: [UInt8], trailers: [String] = []) {
    self.head = head
    self.content = content
    self.trailers = trailers
  }

  package var status: Int { head.status }
  package subscript(_ name: String) -> String? { head[name] }
  package var text: String { String(decoding: content, as: UTF8.self) }
}

/// Where the content of a message ends, as its head says.
enum WireFraming: Equatable {
  case none
  case length(Int)
  case chunked
  case untilEnd

  /// Of a response; `isHead` when it answers HEAD.
  static func ofResponse(_ head: WireHead, isHead: Bool) -> WireFraming {
    if isHead || head.status < 200 || head.status == 204 || head.status == 304 { return .none }
    return announced(head) ?? .untilEnd
  }

  static func ofRequest(_ head: WireHead) -> WireFraming { announced(head) ?? .none }

  private static func announced(_ head: WireHead) -> WireFraming? {
    if head["Transfer-Encoding"] == "chunked" { return .chunked }
    return head["Content-Length"].flatMap { Int($0) }.map { .length($0) }
  }
}
