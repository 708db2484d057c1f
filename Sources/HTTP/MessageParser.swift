// The head of a message: start line and fields, strictly by RFC 9112.
//
// Strict because the next hop may be lenient: whatever two parsers could read in two ways is
// refused here instead of guessed. Lines end with CR LF and nothing else; a name touches its
// colon; nothing is folded; no control bytes but HTAB.
//
// The parser goes through the bytes once, from left to right, and refuses at the first byte that
// is wrong, whether or not more is there. So the same message gets the same answer however it is
// cut into pieces. For heads that arrive in pieces a `HeadCursor` remembers the last complete line;
// complete lines are looked at once more when the head is whole, because the slots belong to a
// head that other connections use meanwhile.

/// The bounds for the head of a message.
public struct HeadLimits: Sendable {
  /// The longest request or status line, without its CR LF; beyond it 414.
  public var startLine: Int
  /// The largest head from the first byte of the start line to the empty line; beyond it 431.
  public var head: Int
  /// The most fields, never more than `ParsedHead.capacity`; beyond it 431.
  public var fieldCount: Int

  public init(startLine: Int = 8 << 10, head: Int = 32 << 10, fieldCount: Int = 100) {
    self.startLine = startLine
    self.head = head
    self.fieldCount = Swift.min(fieldCount, ParsedHead.capacity)
  }
}

/// What the parser says about the bytes so far.
public enum HeadOutcome: Hashable, Sendable {
  /// The head is whole and takes this many bytes from the start; content follows.
  case complete(consumed: Int)
  /// Nothing wrong so far. Call again with the same bytes and more after them.
  case needsMoreBytes
  case refused(Refusal)
}

/// How far a head that is not whole yet has been looked at. Belongs to one connection; start each
/// message with a new one.
public struct HeadCursor: Hashable, Sendable {
  /// Where the first line begins that is not complete.
  var lineStart: UInt32 = 0
  /// Up to where the last part of that line was searched.
  var scanned: UInt32 = 0
  var fieldCount: UInt16 = 0
  var emptyLines: UInt8 = 0
  var hasStartLine = false

  public init() {}
}

public enum MessageParser {
  /// Parses the head of a request at the start of `bytes`.
  ///
  /// Up to two empty lines before the request line are skipped (RFC 9112 §2.2). Complete means
  /// that the syntax is right and Host is as often there as it must be; `MessageFraming` and
  /// `RequestTarget` judge what the fields and the target say.
  public static func parseRequest(
    _ bytes: borrowing Span<UInt8>, into head: inout ParsedHead, limits: HeadLimits = HeadLimits()
  ) -> HeadOutcome {
    var cursor = HeadCursor()
    return parse(bytes, .request, into: &head, resuming: &cursor, limits)
  }

  /// The same for a head that arrives in pieces: `cursor` saves searching the first pieces again.
  public static func parseRequest(
    _ bytes: borrowing Span<UInt8>, into head: inout ParsedHead,
    resuming cursor: inout HeadCursor, limits: HeadLimits = HeadLimits()
  ) -> HeadOutcome {
    parse(bytes, .request, into: &head, resuming: &cursor, limits)
  }

  /// Parses the head of a response at the start of `bytes`.
  ///
  /// An empty or missing reason phrase is fine. Interim responses (1xx) are heads of their own.
  public static func parseResponse(
    _ bytes: borrowing Span<UInt8>, into head: inout ParsedHead, limits: HeadLimits = HeadLimits()
  ) -> HeadOutcome {
    var cursor = HeadCursor()
    return parse(bytes, .response, into: &head, resuming: &cursor, limits)
  }

  /// The same for a head that arrives in pieces.
  public static func parseResponse(
    _ bytes: borrowing Span<UInt8>, into head: inout ParsedHead,
    resuming cursor: inout HeadCursor, limits: HeadLimits = HeadLimits()
  ) -> HeadOutcome {
    parse(bytes, .response, into: &head, resuming: &cursor, limits)
  }

  // MARK: Lines

  private static func parse(
    _ bytes: borrowing Span<UInt8>, _ kind: MessageKind, into head: inout ParsedHead,
    resuming cursor: inout HeadCursor, _ limits: HeadLimits
  ) -> HeadOutcome {
    let resumes = cursor != HeadCursor() && Int(cursor.scanned) <= bytes.count
    if !resumes { cursor = HeadCursor() }
    var outcome = parseLines(bytes, kind, into: &head, &cursor, limits)
    if resumes, case .complete = outcome {
      // Also the guard against a cursor that belongs to other bytes: nothing is accepted that was
      // not parsed from its first byte.
      cursor = HeadCursor()
      outcome = parseLines(bytes, kind, into: &head, &cursor, limits)
    }
    if outcome != .needsMoreBytes { cursor = HeadCursor() }
    return outcome
  }

  private static func parseLines(
    _ bytes: borrowing Span<UInt8>, _ kind: MessageKind, into head: inout ParsedHead,
    _ cursor: inout HeadCursor, _ limits: HeadLimits
  ) -> HeadOutcome {
    head.reset()
    let isFromStart = cursor == HeadCursor()
    var at = Int(cursor.lineStart)
    if !cursor.hasStartLine {
      if kind == .request {
        while at < bytes.count, bytes[at] == CR {
          guard at + 1 < bytes.count else { return .needsMoreBytes }
          if bytes[at + 1] != LF { return .refused(Refusal(.bareCarriageReturn, kind)) }
          if cursor.emptyLines == 2 { return .refused(Refusal(.tooManyEmptyLines, kind)) }
          cursor.emptyLines += 1
          at += 2
          cursor.lineStart = UInt32(truncatingIfNeeded: at)
          cursor.scanned = cursor.lineStart
        }
      }
      let end = Swift.min(bytes.count, at &+ limits.startLine &+ 2)
      let step =
        kind == .request
        ? parseRequestLine(bytes, from: at, to: end, searched: Int(cursor.scanned), &head)
        : parseStatusLine(bytes, from: at, to: end, searched: Int(cursor.scanned), &head)
      switch step {
      case .next(let next):
        at = next
        cursor.hasStartLine = true
        cursor.lineStart = UInt32(truncatingIfNeeded: at)
        cursor.scanned = cursor.lineStart
      case .starved(let scanned):
        if end - at >= limits.startLine + 2 { return .refused(Refusal(.startLineTooLong, kind)) }
        cursor.scanned = UInt32(truncatingIfNeeded: scanned)
        return .needsMoreBytes
      case .refused(let reason):
        return .refused(Refusal(reason, kind))
      }
    }

    let headStart = 2 * Int(cursor.emptyLines)
    let end = Swift.min(bytes.count, headStart + limits.head)
    var count = Int(cursor.fieldCount)
    var searched = Int(cursor.scanned)
    while true {
      switch parseField(bytes, from: at, to: end, searched: searched) {
      case .field(let slot, let next):
        // One more than allowed is seen, but never written.
        if count >= Swift.min(limits.fieldCount, ParsedHead.capacity) {
          return .refused(Refusal(.tooManyFields, kind))
        }
        head.setSlot(slot, at: count)
        count += 1
        at = next
        searched = next
      case .end(let next):
        head.count = count
        head.headCount = next
        // When the parse was resumed the first slots are not this message's, and the head is about
        // to be parsed from its start.
        if isFromStart, let reason = faultOfHost(in: head, kind) {
          head.reset()
          return .refused(Refusal(reason, kind))
        }
        return .complete(consumed: next)
      case .starved(let scanned):
        head.reset()
        if end - headStart >= limits.head { return .refused(Refusal(.headTooLarge, kind)) }
        cursor.lineStart = UInt32(truncatingIfNeeded: at)
        cursor.scanned = UInt32(truncatingIfNeeded: scanned)
        cursor.fieldCount = UInt16(truncatingIfNeeded: count)
        return .needsMoreBytes
      case .refused(let reason):
        head.reset()
        return .refused(Refusal(reason, kind))
      }
    }
  }

  enum LineStep {
    case next(Int)
    case starved(scanned: Int)
    case refused(Refusal.Reason)
  }

  // request-line = method SP request-target SP HTTP-version (RFC 9112 §3)
  private static func parseRequestLine(
    _ bytes: borrowing Span<UInt8>, from start: Int, to end: Int, searched: Int,
    _ head: inout ParsedHead
  ) -> LineStep {
    var at = start
    while true {
      if at >= end { return .starved(scanned: start) }
      let byte = bytes[at]
      if byte.isTokenCharacter {
        if at - start == 32 { return .refused(.methodTooLong) }
        at += 1
        continue
      }
      if byte == SP, at > start { break }
      return .refused(faultInMethod(byte, isFirst: at == start))
    }
    head.methodStart = UInt32(truncatingIfNeeded: start)
    head.methodCount = UInt32(truncatingIfNeeded: at - start)
    head.method = Method.recognise(bytes, at: start, count: at - start)

    let target = at + 1
    at = bytes.firstInvisible(from: Swift.max(target, searched), to: end)
    if at >= end { return .starved(scanned: Swift.max(at, start)) }
    if bytes[at] != SP || at == target {
      // HTTP/0.9 had no version; a line without one is not HTTP/1.
      return .refused(faultInTarget(bytes[at]))
    }
    head.targetStart = UInt32(truncatingIfNeeded: target)
    head.targetCount = UInt32(truncatingIfNeeded: at - target)

    let version = at + 1
    let afterVersion = parseVersion(bytes, from: version, to: end, &head)
    guard case .next(let lineEnd) = afterVersion else {
      if case .starved = afterVersion { return .starved(scanned: at) }
      return afterVersion
    }
    return expectLineEnd(bytes, at: lineEnd, to: end, else: .malformedRequestLine, searched: at)
  }

  private static func faultInMethod(_ byte: UInt8, isFirst: Bool) -> Refusal.Reason {
    switch byte {
    case 0x16 where isFirst: .tlsInsteadOfHTTP
    case LF: .bareLineFeed
    case CR: .malformedRequestLine
    case SP where isFirst: .malformedRequestLine
    default: .malformedMethod
    }
  }

  /// A byte at which the target ends, or that it begins with.
  private static func faultInTarget(_ byte: UInt8) -> Refusal.Reason {
    switch byte {
    case LF: .bareLineFeed
    // A tab is meant as a space.
    case CR, SP, 0x09: .malformedRequestLine
    case 0x80...: .nonASCIITarget
    default: .controlByteInTarget
    }
  }

  // HTTP-version = "HTTP" "/" DIGIT "." DIGIT (RFC 9112 §2.3); case counts.
  private static func parseVersion(
    _ bytes: borrowing Span<UInt8>, from start: Int, to end: Int, _ head: inout ParsedHead
  ) -> LineStep {
    if end - start >= 8, bytes.word(at: start) == http11 {
      head.version = .http11
      return .next(start + 8)
    }
    var index = 0
    while index < 8 {
      if start + index >= end { return .starved(scanned: start) }
      let byte = bytes[start + index]
      let fits: Bool
      switch index {
      case 0: fits = byte == 0x48
      case 1, 2: fits = byte == 0x54
      case 3: fits = byte == 0x50
      case 4: fits = byte == 0x2F
      case 6: fits = byte == 0x2E
      default: fits = byte.isDigit
      }
      if !fits { return .refused(byte == LF ? .bareLineFeed : .malformedVersion) }
      index += 1
    }
    if bytes[start + 5] != 0x31 { return .refused(.unsupportedVersion) }
    head.version = bytes[start + 7] == 0x30 ? .http10 : .http11
    return .next(start + 8)
  }

  // status-line = HTTP-version SP status-code SP [ reason-phrase ] (RFC 9112 §4)
  private static func parseStatusLine(
    _ bytes: borrowing Span<UInt8>, from start: Int, to end: Int, searched: Int,
    _ head: inout ParsedHead
  ) -> LineStep {
    if start < end, bytes[start] == 0x15 || bytes[start] == 0x16 {
      return .refused(.tlsInsteadOfHTTP)
    }
    let afterVersion = parseVersion(bytes, from: start, to: end, &head)
    guard case .next(var at) = afterVersion else { return afterVersion }
    if at >= end { return .starved(scanned: start) }
    if bytes[at] != SP {
      return .refused(bytes[at] == LF ? .bareLineFeed : .malformedStatusLine)
    }
    at += 1
    var code: UInt16 = 0
    let codeEnd = at + 3
    while at < codeEnd {
      if at >= end { return .starved(scanned: start) }
      let byte = bytes[at]
      if !byte.isDigit { return .refused(byte == LF ? .bareLineFeed : .malformedStatusCode) }
      code = code &* 10 &+ UInt16(byte &- 0x30)
      if code == 0 { return .refused(.malformedStatusCode) }
      at += 1
    }
    head.status = Status(code)
    head.reasonStart = UInt32(truncatingIfNeeded: at)
    head.reasonCount = 0
    if at >= end { return .starved(scanned: start) }
    // Some origins leave out the space together with the phrase.
    if bytes[at] == CR {
      return expectLineEnd(bytes, at: at, to: end, else: .malformedStatusLine, searched: start)
    }
    if bytes[at] != SP {
      if bytes[at] == LF { return .refused(.bareLineFeed) }
      return .refused(bytes[at].isDigit ? .malformedStatusCode : .malformedStatusLine)
    }
    let reason = at + 1
    at = bytes.firstControl(from: Swift.max(reason, searched), to: end)
    if at >= end { return .starved(scanned: Swift.max(at, start)) }
    head.reasonStart = UInt32(truncatingIfNeeded: reason)
    head.reasonCount = UInt32(truncatingIfNeeded: at - reason)
    return expectLineEnd(bytes, at: at, to: end, else: .malformedStatusLine, searched: at)
  }

  private static func expectLineEnd(
    _ bytes: borrowing Span<UInt8>, at: Int, to end: Int, else reason: Refusal.Reason,
    searched: Int
  ) -> LineStep {
    if at >= end { return .starved(scanned: searched) }
    if bytes[at] != CR { return .refused(bytes[at] == LF ? .bareLineFeed : reason) }
    if at + 1 >= end { return .starved(scanned: searched) }
    if bytes[at + 1] != LF { return .refused(.bareCarriageReturn) }
    return .next(at + 2)
  }

  enum FieldStep {
    case field(FieldSlot, next: Int)
    /// The empty line after the last field.
    case end(next: Int)
    case starved(scanned: Int)
    case refused(Refusal.Reason)
  }

  // field-line = field-name ":" OWS field-value OWS (RFC 9112 §5); for heads and trailers alike.
  @inline(__always)
  static func parseField(
    _ bytes: borrowing Span<UInt8>, from start: Int, to end: Int, searched: Int
  ) -> FieldStep {
    if start >= end { return .starved(scanned: start) }
    if bytes[start] == CR {
      if start + 1 >= end { return .starved(scanned: start) }
      return bytes[start + 1] == LF ? .end(next: start + 2) : .refused(.bareCarriageReturn)
    }
    // A known name is recognised whole and needs no second look; only the others are gone through
    // byte by byte. The colon may be that of a later line: then what lies before it is no token.
    let nameLimit = Swift.min(end, start + 256)
    let colon = bytes.firstIndex(of: 0x3A, in: start..<nameLimit)
    let known =
      colon < nameLimit
      ? FieldName.recognise(bytes, at: start, count: colon - start) : .other
    if known == .other {
      var at = start
      while at < colon, bytes[at].isTokenCharacter { at += 1 }
      if at < colon { return .refused(faultInName(bytes[at], isFirst: at == start)) }
      if colon == start { return .refused(.missingFieldName) }
      if colon == nameLimit {
        return nameLimit == end && end < start + 256
          ? .starved(scanned: start) : .refused(.fieldNameTooLong)
      }
    }
    let name = start..<colon
    let at = bytes.firstControl(from: Swift.max(name.upperBound + 1, searched), to: end)
    if at + 1 >= end {
      if at < end, bytes[at] != CR {
        return .refused(bytes[at] == LF ? .bareLineFeed : .controlByteInField)
      }
      return .starved(scanned: at)
    }
    if bytes[at] != CR {
      return .refused(bytes[at] == LF ? .bareLineFeed : .controlByteInField)
    }
    if bytes[at + 1] != LF { return .refused(.bareCarriageReturn) }
    let value = bytes.trimmingWhitespace(name.upperBound + 1..<at)
    return .field(FieldSlot(known: known, name: name, value: value), next: at + 2)
  }

  private static func faultInName(_ byte: UInt8, isFirst: Bool) -> Refusal.Reason {
    switch byte {
    case LF: .bareLineFeed
    case CR: .missingColon
    case 0x3A: .missingFieldName
    case SP, HTAB: isFirst ? .foldedLine : .spaceBeforeColon
    default: .invalidFieldName
    }
  }

  // RFC 9112 §3.2: exactly one Host in HTTP/1.1, and never two.
  private static func faultOfHost(in head: borrowing ParsedHead, _ kind: MessageKind)
    -> Refusal.Reason?
  {
    guard kind == .request else { return nil }
    guard let first = head.next(.host, from: 0) else {
      return head.version == .http11 ? .missingHost : nil
    }
    return head.next(.host, from: first + 1) == nil ? nil : .repeatedHost
  }

  /// `HTTP/1.1` as one word.
  private static var http11: UInt64 { 0x312E_312F_5054_5448 }
}
