// Heads of messages as the models read them: plainly and strictly, with no code of the program.

struct MessageHead {
  var startLine: String
  var fields: [String: String] = [:]

  /// The head at the front of `bytes`, and how long it is; nil while it is not complete.
  static func read(_ bytes: [UInt8], from start: Int) -> (head: MessageHead, end: Int)? {
    var at = start
    while at + 3 < bytes.count {
      if bytes[at] == 13, bytes[at + 1] == 10, bytes[at + 2] == 13, bytes[at + 3] == 10 {
        return (parse(bytes, start, at), at + 4)
      }
      at += 1
    }
    return nil
  }

  private static func parse(_ bytes: [UInt8], _ start: Int, _ end: Int) -> MessageHead {
    var head: MessageHead?
    var lineStart = start
    var at = start
    while at <= end {
      if at == end || bytes[at] == 13 {
        if head == nil {
          head = MessageHead(startLine: text(bytes, lineStart, at))
        } else if let colon = bytes[lineStart..<at].firstIndex(of: 58) {
          let name = text(bytes, lineStart, colon).lowercased()
          var valueStart = colon + 1
          while valueStart < at, bytes[valueStart] == 32 { valueStart += 1 }
          let value = text(bytes, valueStart, at)
          if let before = head?.fields[name] {
            head?.fields[name] = before + ", " + value
          } else {
            head?.fields[name] = value
          }
        }
        lineStart = at + 2
      }
      at += 1
    }
    return head ?? MessageHead(startLine: "")
  }

  private static func text(_ bytes: [UInt8], _ start: Int, _ end: Int) -> String {
    String(decoding: bytes[start..<max(start, end)], as: UTF8.self)
  }
}

/// Takes the chunked coding off.
struct ChunkReader {
  private enum State { case size, content, contentEnd, trailers, done }
  private var state = State.size
  private var line: [UInt8] = []
  private var left = 0
  private(set) var isBroken = false

  var isDone: Bool { state == .done }

  /// - Returns: how many bytes were taken; the content among them goes to `take`.
  mutating func read(
    _ bytes: UnsafeRawBufferPointer, _ take: (UnsafeRawBufferPointer) -> Void
  ) -> Int {
    var at = 0
    while at < bytes.count, state != .done, !isBroken {
      if state == .content {
        let count = min(left, bytes.count - at)
        take(UnsafeRawBufferPointer(rebasing: bytes[at..<at + count]))
        at += count
        left -= count
        if left == 0 { state = .contentEnd }
        continue
      }
      let byte = bytes[at]
      at += 1
      guard byte == 10 else {
        if byte != 13 { line.append(byte) }
        continue
      }
      lineEnded()
    }
    return at
  }

  private mutating func lineEnded() {
    let text = String(decoding: line, as: UTF8.self)
    line = []
    switch state {
    case .size:
      guard let size = Int(text, radix: 16) else {
        isBroken = true
        return
      }
      left = size
      state = size == 0 ? .trailers : .content
    case .contentEnd:
      if !text.isEmpty { isBroken = true }
      state = .size
    case .trailers:
      if text.isEmpty { state = .done }
    case .content, .done:
      break
    }
  }
}

/// IMF-fixdate, by the civil calendar.
enum HTTPDateText {
  private static let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
  private static let months = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
  ]

  static func make(_ seconds: Int64) -> String {
    let day = seconds / 86_400
    let rest = seconds % 86_400
    let shifted = day + 719_468
    let era = shifted / 146_097
    let ofEra = shifted % 146_097
    let yearOfEra = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
    let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let part = (5 * ofYear + 2) / 153
    let month = part < 10 ? part + 3 : part - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
    return "\(days[Int(day % 7)]), \(two(ofYear - (153 * part + 2) / 5 + 1)) "
      + "\(months[Int(month - 1)]) \(year) "
      + "\(two(rest / 3600)):\(two(rest / 60 % 60)):\(two(rest % 60)) GMT"
  }
}
