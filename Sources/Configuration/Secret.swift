// Bytes that are compared and never shown.

/// A token that a peer has to know.
package struct Secret: Sendable, Equatable, CustomStringConvertible {
  private let bytes: [UInt8]

  /// Shorter ones can be guessed.
  package static let shortest = 16

  /// Reads the first line of a file: visible ASCII, at least 16 characters (RFC 6750 §2.1 allows no spaces).
  package init(reading text: String) throws(Misreading) {
    let line = text.prefix { !$0.isNewline }
    guard line.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
      throw Misreading(
        "holds spaces or other characters that a token cannot have in its first line")
    }
    guard line.utf8.count >= Self.shortest else {
      throw Misreading(
        "holds a token of fewer than \(Self.shortest) characters; `openssl rand -hex 24` makes a good one"
      )
    }
    bytes = Array(line.utf8)
  }

  /// Whether these bytes are it; takes the same time for all of one length.
  package func matches(_ candidate: borrowing Span<UInt8>) -> Bool {
    Self.areEqual(bytes.span, candidate)
  }

  /// The bytes, for whoever has to send them.
  package var revealed: String { String(decoding: bytes, as: UTF8.self) }

  package var description: String { "a secret" }

  /// Compares all bytes whatever the first ones are, so that time tells nothing of where they differ.
  static func areEqual(_ left: borrowing Span<UInt8>, _ right: borrowing Span<UInt8>) -> Bool {
    guard left.count == right.count else { return false }
    var difference: UInt8 = 0
    for index in 0..<left.count { difference |= left[index] ^ right[index] }
    return difference == 0
  }
}
