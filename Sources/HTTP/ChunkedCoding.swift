// The chunked transfer coding (RFC 9112 §7.1), both ways.
//
// The decoder takes whatever has arrived and leaves nothing behind: content comes back as ranges
// of the caller's own bytes, so nothing is copied, and the framing between is remembered as a few
// integers. Only trailer fields, which are rare, are collected in an array.
//
//   size ─▶ [extension] ─▶ sizeLF ─▶ content ─▶ contentCR ─▶ contentLF ─▶ size …
//                             └─ size was 0 ─▶ trailers ─▶ finished

/// Decodes one chunked content; make a new one for each message.
public struct ChunkedDecoder: Sendable {
  /// The most bytes all chunk extensions of one message may have.
  public static var extensionLimit: Int { 4 << 10 }
  /// The most bytes the trailer section may have, with its last empty line.
  public static var trailerLimit: Int { 8 << 10 }

  public enum Step: Hashable, Sendable {
    /// Content, as a range of the bytes given. Call again.
    case content(Range<Int>)
    /// All bytes given have been used up.
    case needsMoreBytes
    /// The message is over; what comes from the position on belongs to the next one.
    case finished
    case refused(Refusal)
  }

  private enum State {
    case sizeStart, size, extensions, sizeLF, content, contentCR, contentLF
    case trailersStart, trailersLF, trailers, finished, refused
  }

  private var state = State.sizeStart
  private let kind: MessageKind
  private var digits: UInt8 = 0
  private var fault = Refusal.Reason.malformedChunkSize
  /// Of the present chunk: its size while that is read, then what is left of it.
  private var remaining: UInt64 = 0
  private var extensionBytes = 0
  /// The trailer section so far, where its first incomplete line begins, how far that was searched.
  private var collected: [UInt8] = []
  private var lineStart = 0
  private var searched = 0

  /// The trailer fields that may be passed on, when finished. Those that a trailer must not carry
  /// are left out.
  public private(set) var trailers = FieldSection()

  public init(_ kind: MessageKind) { self.kind = kind }

  /// Whether the last chunk and the trailers have been seen.
  public var isFinished: Bool { state == .finished }

  /// Goes on from `position`, and moves it behind what was used.
  public mutating func step(_ bytes: borrowing Span<UInt8>, at position: inout Int) -> Step {
    while position < bytes.count {
      let byte = bytes[position]
      switch state {
      case .content:
        let available = UInt64(bytes.count - position)
        let count = Int(Swift.min(remaining, available))
        let range = position..<position + count
        position += count
        remaining -= UInt64(count)
        if remaining == 0 { state = .contentCR }
        return .content(range)
      case .sizeStart, .size:
        if let digit = byte.hexadecimalValue {
          if digits == 16 || remaining > UInt64(Int64.max) >> 4 { return refuse(.chunkTooLarge) }
          remaining = remaining << 4 | UInt64(digit)
          digits += 1
          state = .size
        } else if state == .sizeStart {
          return refuse(byte == LF ? .bareLineFeed : .malformedChunkSize)
        } else if byte == CR {
          state = .sizeLF
        } else if byte == 0x3B {
          state = .extensions
          extensionBytes += 1
          if extensionBytes > Self.extensionLimit { return refuse(.chunkExtensionsTooLong) }
        } else {
          // The white space some old servers put here is refused as well: it is where parsers
          // have been made to disagree.
          return refuse(byte == LF ? .bareLineFeed : .malformedChunkSize)
        }
      case .extensions:
        if byte == CR {
          state = .sizeLF
        } else if !byte.isFieldValueCharacter {
          return refuse(byte == LF ? .bareLineFeed : .malformedChunkExtension)
        } else {
          extensionBytes += 1
          if extensionBytes > Self.extensionLimit { return refuse(.chunkExtensionsTooLong) }
        }
      case .sizeLF:
        if byte != LF { return refuse(.bareCarriageReturn) }
        state = remaining == 0 ? .trailersStart : .content
      case .contentCR:
        if byte != CR { return refuse(.missingChunkEnd) }
        state = .contentLF
      case .contentLF:
        if byte != LF { return refuse(.missingChunkEnd) }
        state = .sizeStart
        digits = 0
      case .trailersStart:
        // Nearly always there are none, and nothing need be collected.
        if byte != CR {
          state = .trailers
          continue
        }
        state = .trailersLF
      case .trailersLF:
        if byte != LF { return refuse(.bareCarriageReturn) }
        state = .finished
        position += 1
        return .finished
      case .trailers:
        return collectTrailers(bytes, at: &position)
      case .finished:
        return .finished
      case .refused:
        return .refused(Refusal(fault, kind))
      }
      position += 1
    }
    switch state {
    case .finished: return .finished
    case .refused: return .refused(Refusal(fault, kind))
    default: return .needsMoreBytes
    }
  }

  private mutating func refuse(_ reason: Refusal.Reason) -> Step {
    state = .refused
    fault = reason
    return .refused(Refusal(reason, kind))
  }

  private mutating func collectTrailers(
    _ bytes: borrowing Span<UInt8>, at position: inout Int
  ) -> Step {
    let before = collected.count
    let count = Swift.min(bytes.count - position, Self.trailerLimit - before)
    collected.append(span: bytes.extracting(position..<position + count))
    while true {
      let step = MessageParser.parseField(
        collected.span, from: lineStart, to: collected.count, searched: searched)
      switch step {
      case .field(let slot, let next):
        if trailers.count == ParsedHead.capacity { return refuse(.trailersTooLarge) }
        if Self.mayBeTrailer(slot.known) {
          let source = collected
          trailers.appendUnchecked(
            slot.known, name: source.span.extracting(slot.name),
            value: source.span.extracting(slot.value))
        }
        lineStart = next
        searched = next
      case .end(let next):
        position += next - before
        collected = []
        state = .finished
        return .finished
      case .starved(let scanned):
        searched = scanned
        position += count
        return collected.count == Self.trailerLimit ? refuse(.trailersTooLarge) : .needsMoreBytes
      case .refused(let reason):
        return refuse(reason)
      }
    }
  }

  /// Whether a field of this name means anything, and no harm, after the content (RFC 9110 §6.5.1).
  ///
  /// The names the proxy knows are the ones somebody acts upon: framing, routing, request
  /// modifiers, authentication, caching. By the time a trailer arrives all of them have been
  /// decided, so only digests and notes about the transfer itself pass, beside names nobody here
  /// knows.
  public static func mayBeTrailer(_ name: FieldName) -> Bool {
    switch name {
    case .other, .contentDigest, .digest, .reprDigest, .proxyStatus, .link: true
    default: false
    }
  }
}

/// Writes chunks.
public enum ChunkedEncoding {
  /// The most bytes `writeChunkStart` needs.
  public static var longestChunkStart: Int { 18 }

  /// Appends the line before a chunk of `count` bytes. A chunk must not be empty; nothing is
  /// written for one, because it would end the message.
  public static func appendChunkStart(_ count: Int, to output: inout [UInt8]) {
    guard count > 0 else { return }
    var shift = (63 - count.leadingZeroBitCount) & ~3
    while shift >= 0 {
      output.append(hexadecimalDigit(UInt8(truncatingIfNeeded: count >> shift) & 15))
      shift -= 4
    }
    output.append(CR)
    output.append(LF)
  }

  /// The same into a buffer with at least `longestChunkStart` bytes of room; gives how many were
  /// written.
  @unsafe
  public static func writeChunkStart(_ count: Int, into buffer: UnsafeMutableRawBufferPointer)
    -> Int
  {
    guard count > 0, buffer.count >= longestChunkStart else { return 0 }
    var at = 0
    var shift = (63 - count.leadingZeroBitCount) & ~3
    while shift >= 0 {
      unsafe buffer[at] = hexadecimalDigit(UInt8(truncatingIfNeeded: count >> shift) & 15)
      at += 1
      shift -= 4
    }
    unsafe buffer[at] = CR
    unsafe buffer[at + 1] = LF
    return at + 2
  }

  /// Appends what follows the bytes of every chunk.
  public static func appendChunkEnd(to output: inout [UInt8]) {
    output.append(CR)
    output.append(LF)
  }

  /// Appends the last chunk, the trailers and the final empty line. Leaving this out is how a
  /// message is cut so that its recipient notices (RFC 9112 §8).
  public static func appendEnd(trailers: FieldSection = FieldSection(), to output: inout [UInt8]) {
    output.append(0x30)
    output.append(CR)
    output.append(LF)
    trailers.serialise(into: &output)
    output.append(CR)
    output.append(LF)
  }

  private static func hexadecimalDigit(_ value: UInt8) -> UInt8 {
    value < 10 ? 0x30 + value : 0x57 + value
  }
}
