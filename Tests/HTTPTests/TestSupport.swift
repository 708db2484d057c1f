// Helpers of this target: bytes from text, and a parsed head for the length of a call.

import Foundation
import FuzzEntries
import HTTP

/// The characters as bytes, one each: `é` is the byte 0xE9.
func bytes(_ text: String) -> [UInt8] {
  text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }
}

func text(_ bytes: some Collection<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }

/// Calls `body` with a parsed request head and its bytes; false when it is not complete.
@discardableResult
func withRequest(
  _ message: String, _ body: (borrowing ParsedHead, borrowing Span<UInt8>) throws -> Void
) rethrows -> Bool {
  let bytes = bytes(message)
  var head = ParsedHead()
  guard case .complete = MessageParser.parseRequest(bytes.span, into: &head) else { return false }
  try body(head, bytes.span)
  return true
}

/// The same for a response head.
@discardableResult
func withResponse(
  _ message: String, _ body: (borrowing ParsedHead, borrowing Span<UInt8>) throws -> Void
) rethrows -> Bool {
  let bytes = bytes(message)
  var head = ParsedHead()
  guard case .complete = MessageParser.parseResponse(bytes.span, into: &head) else { return false }
  try body(head, bytes.span)
  return true
}

/// A new seed for each run, which the tests print with what they find; `HOLDFAST_SEED` gives one
/// back.
func newSeed() -> UInt64 {
  ProcessInfo.processInfo.environment["HOLDFAST_SEED"].flatMap { UInt64($0) }
    ?? UInt64.random(in: 1...UInt64.max)
}
