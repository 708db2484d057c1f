// Fuzz entries for message heads, and the properties they hold the parser to.
//
// Each check answers nil, or says which promise was broken. The entries stop the process on a
// broken promise; tests use the same checks on tables, corpora and random cuts.

import HTTP
import SeededRandom

/// What a parsed head says, without the offsets.
public struct HeadSummary: Equatable, Sendable {
  public var method: Method
  public var methodName: [UInt8]
  public var target: [UInt8]
  public var version: Version
  public var status: Status
  public var reason: [UInt8]
  public var fields: FieldSection

  init(_ head: borrowing ParsedHead, _ bytes: [UInt8], _ kind: MessageKind) {
    let isRequest = kind == .request
    method = isRequest ? head.method : .other
    methodName = isRequest ? Array(bytes[head.methodRange]) : []
    target = isRequest ? Array(bytes[head.targetRange]) : []
    version = head.version
    status = isRequest ? Status(rawValue: 0) : head.status
    reason = isRequest ? [] : Array(bytes[head.reasonRange])
    fields = FieldSection(copying: head, of: bytes.span)
  }
}

public enum HeadChecks {
  public typealias Result = (outcome: HeadOutcome, summary: HeadSummary?)

  /// Parses all bytes at once.
  public static func whole(
    _ bytes: [UInt8], _ kind: MessageKind, limits: HeadLimits = HeadLimits()
  ) -> Result {
    var head = ParsedHead()
    let outcome =
      kind == .request
      ? MessageParser.parseRequest(bytes.span, into: &head, limits: limits)
      : MessageParser.parseResponse(bytes.span, into: &head, limits: limits)
    return (outcome, summary(outcome, head, bytes, kind))
  }

  /// Parses the bytes as they arrive in pieces that end at `cuts`, in one head that another
  /// connection uses in between.
  public static func inPieces(
    _ bytes: [UInt8], cuts: [Int], _ kind: MessageKind, limits: HeadLimits = HeadLimits()
  ) -> Result {
    let stranger = Array("GET /other HTTP/1.1\r\nHost: other\r\nX: y\r\n\r\n".utf8)
    var head = ParsedHead()
    var cursor = HeadCursor()
    for cut in cuts + [bytes.count] {
      _ = MessageParser.parseRequest(stranger.span, into: &head)
      let arrived = bytes.span.extracting(0..<cut)
      let outcome =
        kind == .request
        ? MessageParser.parseRequest(arrived, into: &head, resuming: &cursor, limits: limits)
        : MessageParser.parseResponse(arrived, into: &head, resuming: &cursor, limits: limits)
      if outcome != .needsMoreBytes { return (outcome, summary(outcome, head, bytes, kind)) }
    }
    return (.needsMoreBytes, nil)
  }

  /// The same answer, and the same message, however the bytes are cut.
  public static func splitting(
    _ bytes: [UInt8], cuts: [Int], _ kind: MessageKind, limits: HeadLimits = HeadLimits()
  ) -> String? {
    let expected = whole(bytes, kind, limits: limits)
    let got = inPieces(bytes, cuts: cuts, kind, limits: limits)
    if got.outcome != expected.outcome {
      return "cut at \(cuts): \(got.outcome) instead of \(expected.outcome)"
    }
    return got.summary == expected.summary ? nil : "cut at \(cuts): another message"
  }

  /// A head that was accepted and is written again is accepted again and says the same.
  public static func roundTrip(_ bytes: [UInt8], _ kind: MessageKind) -> String? {
    guard case (.complete(let consumed), let summary?) = whole(bytes, kind) else { return nil }
    if consumed > bytes.count { return "consumed \(consumed) of \(bytes.count) bytes" }
    if whole(Array(bytes[..<consumed]), kind).outcome != .complete(consumed: consumed) {
      return "the answer depends on what follows the head"
    }
    var written: [UInt8] = []
    if kind == .request {
      // What leaves here is HTTP/1.1 and has to have a Host.
      if !summary.fields.contains(.host) { return nil }
      MessageWriter.appendRequest(
        method: summary.methodName.span, target: summary.target.span, fields: summary.fields,
        to: &written)
    } else {
      MessageWriter.appendStatusLine(summary.status, reason: summary.reason.span, to: &written)
      summary.fields.serialise(into: &written)
      MessageWriter.appendEndOfLine(to: &written)
    }
    // A space after each colon may make it longer than the limit of what was read.
    let again = whole(written, kind, limits: HeadLimits(startLine: 9 << 10, head: 40 << 10))
    if again.outcome != .complete(consumed: written.count) {
      return "written again it is \(again.outcome)"
    }
    var expected = summary
    expected.version = .http11
    return again.summary == expected ? nil : "written again it says something else"
  }

  /// The key made in place is the key of the owned target URI, and normalising it again changes
  /// nothing.
  public static func keys(_ bytes: [UInt8]) -> String? {
    var head = ParsedHead()
    guard case .complete = MessageParser.parseRequest(bytes.span, into: &head) else { return nil }
    let room = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: TargetKey.roomNeeded)
    defer { room.deallocate() }
    let none: [UInt8] = []
    let hot = TargetKey.write(head, in: bytes.span, origin: none.span, into: room)
    do throws(Refusal) {
      let target = try TargetURI.of(head, in: bytes.span)
      guard case .key(let count, let pathStart) = hot else { return "in place \(hot): \(target)" }
      if !room[..<count].elementsEqual(target.key) { return "two keys for \(target)" }
      if pathStart != target.keyPathStart { return "the path begins elsewhere in \(target)" }
      // Of a host that is called `https`, this path is how an https origin is asked for.
      if target.host == "https", target.pathAndQuery.starts(with: "///".utf8) { return nil }
      let again = try TargetURI.parse(target.key)
      if again.key != target.key { return "the key of \(target) is \(again)" }
    } catch {
      if hot != .refused(error), hot != .notKeyed { return "\(hot), but owned: \(error)" }
    }
    return nil
  }

  private static func summary(
    _ outcome: HeadOutcome, _ head: borrowing ParsedHead, _ bytes: [UInt8], _ kind: MessageKind
  ) -> HeadSummary? {
    guard case .complete = outcome else { return nil }
    return HeadSummary(head, bytes, kind)
  }
}

/// Feeds strangers' bytes to the request parser and everything that judges a request head.
public func fuzzRequestHead(_ bytes: [UInt8]) {
  require(HeadChecks.splitting(bytes, cuts: cuts(for: bytes), .request))
  require(HeadChecks.roundTrip(bytes, .request))
  require(HeadChecks.keys(bytes))
  var head = ParsedHead()
  if case .complete = MessageParser.parseRequest(bytes.span, into: &head) {
    _ = MessageFraming.ofRequest(head, in: bytes.span)
    _ = ConnectionOptions.persists(head, in: bytes.span)
    _ = RequestExpectation.of(head, in: bytes.span)
    _ = Via(pseudonym: "holdfast-1")?.isLoop(head, in: bytes.span)
    var fields = FieldSection(copying: head, of: bytes.span)
    HopByHop.removeAll(from: &fields)
    if case .authority(let range) = RequestTarget.parse(head, in: bytes.span) {
      _ = try? Authority.parse(bytes.span, range)
    }
  }
}

/// The same for responses.
public func fuzzResponseHead(_ bytes: [UInt8]) {
  require(HeadChecks.splitting(bytes, cuts: cuts(for: bytes), .response))
  require(HeadChecks.roundTrip(bytes, .response))
  var head = ParsedHead()
  if case .complete = MessageParser.parseResponse(bytes.span, into: &head) {
    for method in Method.allCases {
      _ = MessageFraming.ofResponse(head, in: bytes.span, to: method)
    }
    var fields = FieldSection(copying: head, of: bytes.span)
    HopByHop.removeAll(from: &fields)
  }
}

/// Cuts that depend on nothing but the bytes, so that a finding repeats.
func cuts(for bytes: [UInt8]) -> [Int] {
  guard bytes.count > 1 else { return [] }
  var seed = UInt64(bytes.count)
  for byte in bytes { seed = (seed ^ UInt64(byte)) &* 0x100_0000_01B3 }
  var random = SeededGenerator(seed: seed)
  return (0..<Int.random(in: 1...4, using: &random))
    .map { _ in Int.random(in: 0...bytes.count, using: &random) }.sorted()
}

func require(_ fault: String?) {
  if let fault { preconditionFailure(fault) }
}
