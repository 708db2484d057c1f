// What one wire test has seen so far, and for how long it waits for more.
//
// A test is a script: one thread plays all peers, one step after the other, so that the order of events
// is the order of the lines. Every wait has the same generous limit, which only a failing test ever meets;
// then the transcript says what each side sent and saw.

import Glibc
import Platform

/// Why a wire test failed: where, what was expected, and what had happened until then.
package struct WireFailure: Error, CustomStringConvertible {
  package let description: String
}

/// Where in a test something was expected.
package struct Place: Sendable {
  let file: String
  let line: UInt

  package static func here(_ file: String, _ line: UInt) -> Place { Place(file: file, line: line) }
}

/// The transcript and the patience of one test.
package final class Script: Sendable {
  /// How long a step may wait. Long, because the machine may be busy with other things.
  package static let patience: Duration = .seconds(20)
  private static let shownBytes = 300

  private let lines = Monitor<[String]>([])

  package init() {}

  /// Writes down what `who` did or saw.
  package func note(_ who: String, _ what: String) {
    lines.withLock { $0.append("\(who) \(what)") }
  }

  func note(_ who: String, _ verb: String, _ bytes: some Collection<UInt8>) {
    note(who, "\(verb) \(Self.shown(bytes))")
  }

  package func failure(_ who: String, _ what: String, _ place: Place) -> WireFailure {
    let story = lines.withLock { $0 }.suffix(60).map { "  " + $0 }.joined(separator: "\n")
    return WireFailure(
      description:
        "\(place.file):\(place.line): \(who) \(what)\nwhat happened until then:\n\(story)")
  }

  /// Looks again and again until `condition` holds.
  package func wait(_ who: String, for what: String, _ place: Place, _ condition: () -> Bool) throws
  {
    let deadline = Instant.precise() + Self.patience
    while !condition() {
      guard Instant.precise() < deadline else {
        throw failure(who, "waited in vain for \(what)", place)
      }
      // Gives way to the threads that are to bring it about.
      usleep(100)
    }
  }

  /// Bytes for people: line ends and controls escaped, long stretches cut.
  static func shown(_ bytes: some Collection<UInt8>) -> String {
    let start = bytes.prefix(shownBytes)
    if start.count(where: { $0 >= 0x7F }) > start.count / 4 { return "\(bytes.count) binary bytes" }
    var text = "\""
    for byte in start {
      switch byte {
      case 0x0D: text += "\\r"
      case 0x0A: text += "\\n"
      case 0x22: text += "\\\""
      case 0x20..<0x7F: text.unicodeScalars.append(Unicode.Scalar(byte))
      default: text += "\\x" + String(byte, radix: 16)
      }
    }
    return text + (bytes.count > shownBytes ? "…\" (\(bytes.count) bytes)" : "\"")
  }
}
