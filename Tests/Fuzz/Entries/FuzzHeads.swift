// What must hold for the head of any request or response: how it is cut does not matter, every
// range lies inside, and what was accepted reads the same when it is written and read again.

import HTTP

private typealias Parse = (
  _ bytes: borrowing Span<UInt8>, _ head: inout ParsedHead, _ cursor: inout HeadCursor
) -> HeadOutcome

func fuzzRequest(_ bytes: [UInt8]) {
  var head = ParsedHead()
  guard
    let consumed = accepted(
      bytes, &head,
      { bytes, head, cursor in
        MessageParser.parseRequest(bytes, into: &head, resuming: &cursor)
      })
  else { return }
  mustHold(head.targetRange.upperBound <= consumed, "the target lies inside the head")
  _ = MessageFraming.ofRequest(head, in: bytes.span)
  checkTarget(head, bytes)

  // RFC 9112 §3: written again it is the same request. What was HTTP/1.0 is written as 1.1, where
  // other rules hold for Host.
  guard head.version == .http11 else { return }
  let fields = FieldSection(copying: head, of: bytes.span)
  var written: [UInt8] = []
  MessageWriter.appendRequest(
    method: bytes.span.extracting(head.methodRange),
    target: bytes.span.extracting(head.targetRange), fields: fields, to: &written)
  var again = ParsedHead()
  let limits = HeadLimits(startLine: written.count, head: written.count, fieldCount: 128)
  let outcome = MessageParser.parseRequest(written.span, into: &again, limits: limits)
  mustHold(outcome == .complete(consumed: written.count), "a written request parses: \(outcome)")
  mustHold(again.method == head.method, "the method survives")
  mustHold(
    bytes[head.targetRange] == written[again.targetRange], "the target survives")
  sameFields(fields, FieldSection(copying: again, of: written.span))
}

func fuzzResponse(_ bytes: [UInt8]) {
  var head = ParsedHead()
  guard
    let consumed = accepted(
      bytes, &head,
      { bytes, head, cursor in
        MessageParser.parseResponse(bytes, into: &head, resuming: &cursor)
      })
  else { return }
  mustHold(head.reasonRange.upperBound <= consumed, "the reason phrase lies inside the head")
  for method: Method in [.get, .head, .connect] {
    _ = MessageFraming.ofResponse(head, in: bytes.span, to: method)
  }

  let fields = FieldSection(copying: head, of: bytes.span)
  var written: [UInt8] = []
  MessageWriter.appendResponse(head.status, fields: fields, to: &written)
  var again = ParsedHead()
  let limits = HeadLimits(startLine: written.count, head: written.count, fieldCount: 128)
  let outcome = MessageParser.parseResponse(written.span, into: &again, limits: limits)
  mustHold(outcome == .complete(consumed: written.count), "a written response parses: \(outcome)")
  mustHold(again.status == head.status, "the status survives")
  sameFields(fields, FieldSection(copying: again, of: written.span))
}

/// Parses whole and in pieces. How many bytes the head takes, or nil if it is not accepted.
private func accepted(_ bytes: [UInt8], _ head: inout ParsedHead, _ parse: Parse) -> Int? {
  var cursor = HeadCursor()
  for end in cuts(of: bytes) {
    let outcome = parse(bytes.span.extracting(0..<end), &head, &cursor)
    if outcome == .needsMoreBytes { continue }
    var fresh = HeadCursor()
    let whole = parse(bytes.span, &head, &fresh)
    mustHold(whole == outcome, "cut at \(end) it is \(outcome), whole it is \(whole)")
    break
  }
  var fresh = HeadCursor()
  let whole = parse(bytes.span, &head, &fresh)
  guard case .complete(let consumed) = whole else { return nil }
  mustHold(consumed <= bytes.count, "no more is consumed than there is")
  for index in 0..<head.count {
    let slot = head.slot(at: index)
    mustHold(slot.name.upperBound <= slot.value.lowerBound, "a name ends before its value")
    mustHold(slot.value.upperBound <= consumed, "a value ends inside the head")
  }
  return consumed
}

/// The fast way to a key and the plain one agree, and a key is its own key.
private func checkTarget(_ head: borrowing ParsedHead, _ bytes: [UInt8]) {
  var room = [UInt8](repeating: 0, count: TargetKey.roomNeeded)
  let outcome = room.withUnsafeMutableBufferPointer {
    unsafe TargetKey.write(head, in: bytes.span, origin: Span(), into: $0)
  }
  do {
    let target = try TargetURI.of(head, in: bytes.span)
    guard case .key(let count, let pathStart) = outcome else {
      fatalError("broken promise: a target URI without a key: \(outcome)")
    }
    mustHold(Array(room[..<count]) == target.key, "both ways make one key")
    mustHold(pathStart == target.keyPathStart, "both ways know where the path begins")
    let again = try TargetURI.parse(target.key)
    mustHold(again.key == target.key, "the key of a key is that key")
  } catch {
    switch outcome {
    case .key(let count, _):
      fatalError("broken promise: \(error) for \(String(decoding: room[..<count], as: UTF8.self))")
    case .notKeyed: break
    case .refused(let refusal):
      mustHold(refusal == error, "both ways refuse alike: \(refusal), \(error)")
    }
  }
}

private func sameFields(_ one: FieldSection, _ other: FieldSection) {
  mustHold(one.count == other.count, "no field is lost or added")
  for index in 0..<one.count {
    mustHold(one.name(at: index) == other.name(at: index), "names survive")
    mustHold(one.value(at: index) == other.value(at: index), "values survive")
  }
}
