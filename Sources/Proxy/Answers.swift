// The heads of all answers: from the store, from a growing body, from an origin, and the proxy's own. Says
// `Age`, `Cache-Status`, `Content-Range` and the framing; the conditions of a request are answered here too
// (RFC 9110 §13.2, §14.2). Composes into the worker's scratch buffer.

import Caching
import HTTP

enum Answers {
  /// What to send for a request that a stored or growing response answers.
  struct Plan {
    enum Kind {
      /// The response with all of its content.
      case whole
      /// 206 with this part.
      case part(Range<Int64>)
      /// 206 with these parts (multipart/byteranges).
      case parts(MultipartRanges)
      case notModified
      case preconditionFailed
      case unsatisfiable
    }

    var kind: Kind
    var status: Status
    /// The part of the representation to be sent; nil for none, `Int64.max` as its end for all there
    /// will be. Empty for several parts, which `kind` has.
    var content: Range<Int64>?

    /// Bytes behind the head, if that is known.
    var contentLength: Int64 {
      if case .parts(let parts) = kind { return parts.contentLength }
      return content.map { $0.upperBound - $0.lowerBound } ?? 0
    }
  }

  /// Bytes that the heads of several parts may add to what the whole would take: what a list of many small
  /// ranges can cost beyond that is not worth sending in parts (RFC 9110 §14.2).
  private static let partsAllowance: Int64 = 8 << 10

  /// How far into content of unknown length a range may reach for its answer to wait until it is there.
  private static let waitLimit: Int64 = 8 << 20

  /// Decides how a response answers a request.
  /// - Parameters:
  ///   - length: of the representation; nil while it is not known.
  ///   - received: how much of it is there, while its length is not known.
  ///   - isGrowing: its content is still coming, so that parts are sent in the order in which they come.
  static func plan(
    _ request: ClientRequest, _ response: StoredResponse, length: Int64?, received: Int64,
    isGrowing: Bool = false, now: Int64
  ) -> Plan {
    let outcome = Preconditions.evaluate(
      request.fields, method: request.method, status: response.status,
      validators: response.validators, now: now)
    switch outcome {
    case .notModified:
      return Plan(kind: .notModified, status: .notModified, content: nil)
    case .failed:
      return Plan(kind: .preconditionFailed, status: .preconditionFailed, content: nil)
    case .proceed:
      break
    }
    let all: Range<Int64>? =
      request.method == .head || response.status.forbidsContent ? nil : 0..<(length ?? .max)
    let whole = Plan(kind: .whole, status: response.status, content: all)
    guard request.method == .get, response.status == .ok, request.fields.contains(.range),
      let field = request.fields.only(.range),
      Preconditions.allowsRange(request.fields, validators: response.validators, now: now)
    else { return whole }
    switch RangeField(field.span).resolve(length: length, received: received) {
    case .whole, .needsLength:
      return whole
    case .multiple(let ranges):
      guard let length,
        let parts = multipart(ranges, of: response, length: length, isGrowing: isGrowing)
      else { return whole }
      return Plan(kind: .parts(parts), status: .partialContent, content: 0..<0)
    case .single(let range):
      return Plan(kind: .part(range), status: .partialContent, content: range)
    case .unsatisfiable:
      return Plan(kind: .unsatisfiable, status: .rangeNotSatisfiable, content: nil)
    }
  }

  private static func multipart(
    _ ranges: [Range<Int64>], of response: StoredResponse, length: Int64, isGrowing: Bool
  ) -> MultipartRanges? {
    var ranges = ranges
    // The order asked for is a matter of politeness (RFC 9110 §15.3.7.2); what has yet to come cannot be
    // sent before what is there already, and who reads along never goes back.
    if isGrowing { ranges.sort { $0.lowerBound < $1.lowerBound } }
    let parts = MultipartRanges(
      ranges, completeLength: length, contentType: response.fields.first(.contentType),
      boundary: (.random(in: .min ... .max), .random(in: .min ... .max)))
    return parts.contentLength > length + partsAllowance ? nil : parts
  }

  /// How much of content of unknown length has to be there before `plan` can give the range that is asked
  /// for; nil when waiting would not help, or would take too long.
  static func contentNeeded(
    by request: ClientRequest, of response: StoredResponse, now: Int64
  ) -> Int64? {
    guard request.method == .get, response.status == .ok,
      let field = request.fields.only(.range),
      case .single(.bounded(_, through: let last)) = RangeField(field.span), last < waitLimit,
      case .proceed = Preconditions.evaluate(
        request.fields, method: .get, validators: response.validators, now: now),
      Preconditions.allowsRange(request.fields, validators: response.validators, now: now)
    else { return nil }
    return last + 1
  }

  // MARK: Heads

  /// What to send in place of an answer that came for one client alone, when that client's conditions, which
  /// its fetch went without, say so: the head of a 304 or 412. Nil when the answer is to be sent.
  static func conditional(
    _ head: ResponseHead, for request: ClientRequest, now: Int64
  ) -> ResponseHead? {
    let outcome = Preconditions.evaluate(
      request.fields, method: request.method, status: head.status,
      validators: Validators(head.fields, receivedAt: now), now: now)
    var answer = head
    switch outcome {
    case .proceed: return nil
    case .notModified:
      answer.status = .notModified
      answer.framing = .none
    case .failed:
      answer.status = .preconditionFailed
      answer.framing = .length(0)
    }
    // The answer was made for this client, cookies and leave to read it (CORS) included; only its content is not sent.
    let isCORS = Array("access-control-".utf8)
    answer.fields.removeAll { known, name, _ in
      let start = name.prefix(isCORS.count)
      return !isKeptBy304(known) && known != .setCookie
        && !start.span.equalsIgnoringCase(isCORS.span)
    }
    return answer
  }

  /// How an answer's content is delimited.
  enum Delimiter: Equatable {
    /// Content-Length is among the fields already, or there is no content and no field for it.
    case asIs
    case length(Int64)
    case chunked
    /// By the end of the connection: HTTP/1.0 clients, content of unknown length.
    case close
  }

  /// The head of an answer from a stored or growing response.
  static func head(
    for plan: Plan, of response: StoredResponse, length: Int64?, age: Int64,
    cacheStatus: CacheStatus, delimiter: Delimiter, keepsAlive: Bool, version: Version
  ) -> [UInt8] {
    var head: [UInt8] = []
    head.reserveCapacity(response.fields.bytes.count + 256)
    MessageWriter.appendStatusLine(plan.status, to: &head)
    var fields = response.fields
    switch plan.kind {
    case .whole:
      // A 204 is stored with the length it has, but may not say it (RFC 9110 §8.6).
      if delimiter != .asIs || plan.status.forbidsContent { fields.remove(.contentLength) }
    case .part(let range):
      fields.remove(.contentLength)
      var value: [UInt8] = []
      ContentRange(range: range, completeLength: length).serialise(into: &value)
      fields.set(.contentRange, value)
    case .parts(let parts):
      // The parts say their ranges; the answer itself must not have one (RFC 9110 §15.3.7.2).
      fields.remove(.contentLength)
      fields.remove(.contentRange)
      fields.set(.contentType, parts.contentType)
    case .notModified:
      // RFC 9110 §15.4.5: what a cache downstream needs to freshen its copy, and no more.
      fields.removeAll { name, _, _ in !isKeptBy304(name) }
    case .preconditionFailed:
      fields.removeAll { name, _, _ in !isKeptBy304(name) }
    case .unsatisfiable:
      fields.removeAll { name, _, _ in !isKeptBy304(name) }
      var value: [UInt8] = []
      ContentRange(range: nil, completeLength: length).serialise(into: &value)
      fields.set(.contentRange, value)
    }
    // Told when it is true (RFC 9110 §14.3): not of content whose length is yet to be seen.
    if response.status == .ok, length != nil, !fields.contains(.acceptRanges) {
      switch plan.kind {
      case .whole, .part, .parts: fields.append(.acceptRanges, "bytes")
      case .notModified, .preconditionFailed, .unsatisfiable: break
      }
    }
    fields.serialise(into: &head)
    head.append(contentsOf: "Age: ".utf8)
    MessageWriter.appendDecimal(UInt64(max(0, age)), to: &head)
    head.append(contentsOf: [13, 10])
    finish(&head, cacheStatus, delimiter, keepsAlive: keepsAlive, version: version)
    return head
  }

  private static func isKeptBy304(_ name: FieldName) -> Bool {
    switch name {
    case .cacheControl, .contentLocation, .date, .etag, .expires, .vary, .lastModified, .via,
      .cacheStatus:
      true
    default: false
    }
  }

  /// The head of an answer that is relayed.
  static func relayed(
    _ response: ResponseHead, fields: FieldSection, cacheStatus: CacheStatus, delimiter: Delimiter,
    keepsAlive: Bool, version: Version
  ) -> [UInt8] {
    var fields = fields
    if delimiter != .asIs { fields.remove(.contentLength) }
    var head: [UInt8] = []
    head.reserveCapacity(fields.bytes.count + 256)
    MessageWriter.appendStatusLine(response.status, to: &head)
    fields.serialise(into: &head)
    finish(&head, cacheStatus, delimiter, keepsAlive: keepsAlive, version: version)
    return head
  }

  private static func finish(
    _ head: inout [UInt8], _ cacheStatus: CacheStatus, _ delimiter: Delimiter, keepsAlive: Bool,
    version: Version
  ) {
    head.append(contentsOf: "Cache-Status: ".utf8)
    cacheStatus.serialise(into: &head)
    head.append(contentsOf: [13, 10])
    switch delimiter {
    case .asIs, .close: break
    case .length(let length):
      MessageWriter.appendField(.contentLength, UInt64(max(0, length)), to: &head)
    case .chunked: head.append(contentsOf: "Transfer-Encoding: chunked\r\n".utf8)
    }
    appendConnection(&head, keepsAlive: keepsAlive, version: version)
    head.append(contentsOf: [13, 10])
  }

  private static func appendConnection(_ head: inout [UInt8], keepsAlive: Bool, version: Version) {
    if !keepsAlive {
      head.append(contentsOf: "Connection: close\r\n".utf8)
    } else if version == .http10 {
      head.append(contentsOf: "Connection: keep-alive\r\n".utf8)
    }
  }

  /// An interim answer (RFC 9110 §15.2).
  static func informational(status: Status, fields: FieldSection) -> [UInt8] {
    var fields = fields
    HopByHop.removeAll(from: &fields)
    fields.remove(.contentLength)
    var head: [UInt8] = []
    MessageWriter.appendStatusLine(status, to: &head)
    fields.serialise(into: &head)
    head.append(contentsOf: [13, 10])
    return head
  }

  /// A whole answer of the proxy's own: what went wrong, in plain text.
  static func error(
    _ error: ProxyError, cacheStatus: CacheStatus?, date: Int64, keepsAlive: Bool, isHead: Bool,
    version: Version
  ) -> [UInt8] {
    let phrase = error.status.reasonPhrase
    let body =
      "\(error.status) \(phrase)\n\n\(capitalised(error.detail)).\n\nHoldfast (\(error.type.rawValue))\n"
    var head: [UInt8] = []
    MessageWriter.appendStatusLine(error.status, to: &head)
    head.append(contentsOf: "Date: ".utf8)
    head.append(contentsOf: HTTPDate.bytes(date))
    head.append(
      contentsOf: "\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n".utf8)
    head.append(contentsOf: "Proxy-Status: ".utf8)
    ProxyStatus(error: error.type, details: error.detail).serialise(into: &head)
    head.append(contentsOf: [13, 10])
    if let cacheStatus {
      head.append(contentsOf: "Cache-Status: ".utf8)
      cacheStatus.serialise(into: &head)
      head.append(contentsOf: [13, 10])
    }
    if error.status == .serviceUnavailable || error.status == .gatewayTimeout
      || error.status == .tooManyRequests
    {
      head.append(contentsOf: "Retry-After: 5\r\n".utf8)
    }
    if let challenge = error.challenge { head.append(contentsOf: challenge.line.utf8) }
    if error.status == .methodNotAllowed {
      // RFC 9110 §15.5.6 demands the list. Only CONNECT and TRACE are ever refused for their method; methods
      // unknown here pass as well, but a list has an end.
      head.append(contentsOf: "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n".utf8)
    }
    MessageWriter.appendField(.contentLength, UInt64(body.utf8.count), to: &head)
    appendConnection(&head, keepsAlive: keepsAlive, version: version)
    head.append(contentsOf: [13, 10])
    if !isHead { head.append(contentsOf: body.utf8) }
    return head
  }

  /// A whole answer of the proxy's own, when nothing went wrong.
  static func local(
    _ local: LocalAnswer, date: Int64, keepsAlive: Bool, version: Version
  ) -> [UInt8] {
    var head: [UInt8] = []
    MessageWriter.appendStatusLine(local.status, to: &head)
    head.append(contentsOf: "Date: ".utf8)
    head.append(contentsOf: HTTPDate.bytes(date))
    head.append(contentsOf: "\r\nCache-Control: no-store\r\nProxy-Status: ".utf8)
    ProxyStatus(error: .proxyInternalResponse).serialise(into: &head)
    head.append(contentsOf: [13, 10])
    if let type = local.contentType { MessageWriter.appendField(.contentType, type, to: &head) }
    if let location = local.location {
      head.append(contentsOf: "Location: ".utf8)
      head += location + [13, 10]
    }
    if local.allows { MessageWriter.appendField(.allow, LocalAnswer.methods, to: &head) }
    MessageWriter.appendField(.contentLength, UInt64(local.content.count), to: &head)
    appendConnection(&head, keepsAlive: keepsAlive, version: version)
    head.append(contentsOf: [13, 10])
    return head + local.content
  }

  /// The detail as a sentence of its own. A host's name at its start keeps its case.
  private static func capitalised(_ sentence: String) -> String {
    let isWord = sentence.prefix { $0 != " " }.utf8.allSatisfy { $0 >= 0x61 && $0 <= 0x7A }
    var text = isWord ? sentence.prefix(1).uppercased() + sentence.dropFirst() : sentence
    if text.hasSuffix(".") { text.removeLast() }
    return text
  }
}
