// What changes in a message on its way through: connection fields go, Via comes, and the request that fills
// the store asks for the whole representation, whatever part of it this client wants.

import Caching
import HTTP
import Storage

enum Forwarding {
  /// Fields that make a request ask for less than the whole. A fill does without them: the store answers
  /// conditions and ranges itself.
  private static func isAboutPart(_ name: FieldName) -> Bool {
    switch name {
    case .range, .ifRange, .ifMatch, .ifNoneMatch, .ifModifiedSince, .ifUnmodifiedSince: true
    default: false
    }
  }

  /// Takes away what makes a request ask for less than the whole.
  static func askForWhole(_ fields: inout FieldSection) {
    fields.removeAll { known, _, _ in isAboutPart(known) }
  }

  /// The request for one client alone: as it came, less what was about its connection.
  static func relayedRequest(_ request: ClientRequest, via: Via) -> OriginRequest {
    var fields = request.fields
    HopByHop.removeAll(from: &fields, keepingTrailer: request.framing == .chunked)
    // HTTP/1.0 clients cannot wait for 100, and without content there is nothing to wait with (§10.1.1).
    if request.version == .http10 || !request.hasContent { fields.remove(.expect) }
    if request.acceptsTrailers {
      fields.append(.te, "trailers")
      fields.append(.connection, "TE")
    }
    if let upgrade = request.upgrade {
      fields.append(.connection, "upgrade")
      fields.append(.upgrade, upgrade)
    }
    var made = make(
      request, fields: fields, method: request.methodBytes, framing: request.framing, via: via)
    made.upgrade = request.upgrade
    return made
  }

  /// The request whose answer may be stored for all.
  /// - Parameters:
  ///   - stale: a stored answer to be confirmed by 304 (RFC 9111 §4.3.1).
  ///   - allowed: names that go along although the key does not tell them, in small letters.
  static func fillRequest(
    _ request: ClientRequest, validating stale: StoredResponse?, via: Via,
    forwarding allowed: FieldNames = []
  ) -> OriginRequest {
    requestForAll(request, via, allowed) { fields in
      if let stale { Validation.addConditions(for: stale, to: &fields) }
    }
  }

  /// The request for the end of an answer whose beginning is kept, or for all of it if it has changed
  /// (RFC 9111 §3.4).
  /// - Parameter isConditional: with a strong validator; without, what comes has to be compared.
  static func restRequest(
    _ request: ClientRequest, of response: StoredResponse, from offset: Int64,
    isConditional: Bool = true, via: Via, forwarding allowed: FieldNames = []
  ) -> OriginRequest {
    requestForAll(request, via, allowed) { fields in
      Completion.ask(for: response, from: offset, isConditional: isConditional, in: &fields)
    }
  }

  /// The same for what is left of an answer that was passed on to one client after all.
  static func fillRequest(
    _ request: ClientRequest, for relayed: RelayedContent?, _ way: Healing.Way, via: Via,
    forwarding allowed: FieldNames
  ) -> OriginRequest {
    requestForAll(request, via, allowed) { fields in relayed?.ask(way, in: &fields) }
  }

  /// GET with what of a client's request may have a say in an answer for all.
  private static func requestForAll(
    _ request: ClientRequest, _ via: Via, _ allowed: FieldNames,
    _ change: (inout FieldSection) -> Void
  ) -> OriginRequest {
    var fields = request.fields
    HopByHop.removeAll(from: &fields)
    fields.removeAll { known, name, _ in
      isAboutPart(known) || known == .expect
        || UnkeyedFields.isLeftBehind(known, name, forwarding: allowed)
    }
    change(&fields)
    var request = request
    request.method = .get
    return make(request, fields: fields, method: Array("GET".utf8), framing: .none, via: via)
  }

  private static func make(
    _ request: ClientRequest, fields: FieldSection, method: [UInt8], framing: MessageFraming,
    via: Via
  ) -> OriginRequest {
    var fields = fields
    fields.remove(.host)
    fields.remove(.contentLength)
    if let credential = request.credential { fields.set(.authorization, credential.value) }
    via.append(to: &fields, receivedAs: request.version)
    var head = start(
      method, request.target, asterisk: request.asksForServer, fields: fields)
    switch framing {
    case .length(let count): MessageWriter.appendField(.contentLength, count, to: &head)
    case .chunked: head.append(contentsOf: "Transfer-Encoding: chunked\r\n".utf8)
    case .none, .untilClose, .refused: break
    }
    head.append(contentsOf: [13, 10])
    let isContentFree = framing == .none || framing == .length(0)
    return OriginRequest(
      origin: request.origin, method: request.method, asked: request.target.key, head: head,
      framing: isContentFree ? .none : framing,
      mayRepeat: isContentFree && request.method.isIdempotent,
      endsConnection: !isContentFree && (request.method == .get || request.method == .head)
        || ConnectionAuthentication.isUsed(by: fields),
      credential: request.credential?.name,
      redirects: request.followsRedirects
        ? RedirectChain(
          request.target, isConfigured: request.route.isConfigured, fields: fields,
          scope: request.credential?.scope) : nil)
  }

  /// Request line, Host and the other fields.
  private static func start(
    _ method: [UInt8], _ target: TargetURI, asterisk: Bool = false, fields: FieldSection
  ) -> [UInt8] {
    var head: [UInt8] = []
    head.reserveCapacity(fields.bytes.count + target.pathAndQuery.count + 128)
    head.append(contentsOf: method)
    head.append(UInt8(ascii: " "))
    if asterisk {
      head.append(UInt8(ascii: "*"))
    } else {
      head.append(contentsOf: target.pathAndQuery)
    }
    head.append(contentsOf: " HTTP/1.1\r\nHost: ".utf8)
    head.append(contentsOf: target.hostField.utf8)
    head.append(contentsOf: [13, 10])
    fields.serialise(into: &head)
    return head
  }

  /// The same request at the place where redirects have led it.
  static func redirected(_ request: OriginRequest, along chain: RedirectChain) -> OriginRequest {
    var request = request
    request.origin = chain.origin
    request.head =
      start(
        request.method.spelling.withUTF8Buffer { Array($0) }, chain.target, fields: chain.fields)
      + [13, 10]
    request.redirects = chain
    if chain.hasCrossed { request.credential = nil }
    return request
  }

  /// Takes from a response what was about the origin's connection, and adds what every hop adds.
  static func tidyResponse(
    _ fields: inout FieldSection, version: Version, via: Via, keepingTrailer: Bool = false
  ) {
    HopByHop.removeAll(from: &fields, keepingTrailer: keepingTrailer)
    via.append(to: &fields, receivedAs: version)
  }
}
