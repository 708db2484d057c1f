// From a parsed head to a request the slow paths can work with, or a refusal: everything that is checked
// before anything is done. Who may ask for what is decided here.

import Caching
import HTTP
import Mirrors
import Platform

enum RequestIntake {
  case request(ClientRequest)
  case tunnel(Authority)
  /// The request was meant for this proxy.
  case answered(LocalAnswer, keepsAlive: Bool)
  /// `keepsAlive`: where the request ends is certain, so that another may follow on the connection.
  case refused(ProxyError, keepsAlive: Bool)

  static func read(
    _ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>, role: ListenerRole,
    worker: Worker
  ) -> RequestIntake {
    let framing = MessageFraming.ofRequest(head, in: bytes)
    // Where this request ends is certain, and the next one begins.
    let ends = framing == .none || framing == .length(0)
    let persists =
      ends && head.method != .connect && ConnectionOptions.persists(head, in: bytes)
    do throws(ProxyError) {
      if case .refused(let refusal) = framing { throw ProxyError(refusal) }
      if head.method == .connect {
        // RFC 9110 §9.3.6: what it announced would be taken for the tunnel's first bytes.
        guard ends else { throw ProxyError(Refusal(.contentWithConnect, .request)) }
        guard !worker.via.isLoop(head, in: bytes) else { throw .loop }
        let authority = try tunnel(head, in: bytes, role: role, worker)
        return .tunnel(authority)
      }
      if let answer = try localAnswer(head, ends: ends, in: bytes, role: role) {
        return .answered(answer, keepsAlive: persists)
      }
      if let location = worker.router.redirect(head, in: bytes, role: role) {
        if let fault = Authority.faultOfHost(head, in: bytes) { throw ProxyError(fault) }
        return .answered(.redirect(to: location), keepsAlive: persists)
      }
      return .request(try request(head, framing, in: bytes, role: role, worker))
    } catch {
      return .refused(error, keepsAlive: persists)
    }
  }

  /// TRACE and OPTIONS that go no further (RFC 9110 §7.6.2). Before loops are looked for, because finding them is
  /// what Max-Forwards is good for.
  private static func localAnswer(
    _ head: borrowing ParsedHead, ends: Bool, in bytes: borrowing Span<UInt8>, role: ListenerRole
  ) throws(ProxyError) -> LocalAnswer? {
    guard head.method == .trace || head.method == .options else { return nil }
    if let fault = Authority.faultOfHost(head, in: bytes) { throw ProxyError(fault) }
    let hops = MaxForwards(head, in: bytes)
    if case .malformed = hops { throw .malformedMaxForwards }
    if head.method == .trace {
      guard ends else { throw ProxyError(Refusal(.contentWithTrace, .request)) }
      guard hops == .hops(0) else { throw .traceNotForwarded }
      return .trace(head, in: bytes)
    }
    if hops == .hops(0) { return .options }
    // About the server that is asked: this proxy, unless it stands for one origin.
    if case .proxy = role, case .asterisk = RequestTarget.parse(head, in: bytes) { return .options }
    return nil
  }

  /// Whether OPTIONS asks about the origin as a whole: `*`, or a URI with neither path nor query (RFC 9112 §3.2.4).
  private static func asksForServer(
    _ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>
  ) -> Bool {
    guard head.method == .options else { return false }
    return switch RequestTarget.parse(head, in: bytes) {
    case .asterisk: true
    case .absolute(_, _, let pathAndQuery): pathAndQuery.isEmpty
    case .origin, .authority, .refused: false
    }
  }

  private static func request(
    _ head: borrowing ParsedHead, _ framing: MessageFraming, in bytes: borrowing Span<UInt8>,
    role: ListenerRole, _ worker: Worker
  ) throws(ProxyError) -> ClientRequest {
    guard !worker.via.isLoop(head, in: bytes) else { throw .loop }
    if let fault = Authority.faultOfHost(head, in: bytes) { throw ProxyError(fault) }
    if case .length(let length) = framing, length > worker.settings.contentLimit {
      throw .contentTooLarge(worker.settings.contentLimit)
    }
    if case .unknown = RequestExpectation.of(head, in: bytes) { throw .unknownExpectation }

    let route = try worker.router.route(head, in: bytes, role: role)
    // CONNECT was asked before the last reload, perhaps.
    if case .intercepted(let host) = role,
      !worker.settings.destinations.allows(connectPort: host.authority.port)
    {
      throw .deniedTunnel(host.authority.port)
    }
    if !route.isConfigured,
      !worker.settings.destinations.allows(host: route.target.authority.bareHost)
    {
      throw .deniedHost(route.target.host)
    }
    if !route.isConfigured,
      !worker.settings.destinations.allows(unresolved: route.target.authority.bareHost)
    {
      throw .prohibited(route.target.host, IPAddress(route.target.authority.bareHost).map { [$0] })
    }
    var fields = FieldSection(copying: head, of: bytes)
    if route.isOfAnotherHost { leaveBehindCredentials(&fields) }
    if head.method == .options, case .hops(let hops) = MaxForwards(head, in: bytes) {
      var value: [UInt8] = []
      MessageWriter.appendDecimal(UInt64(max(0, hops - 1)), to: &value)
      fields.set(.maxForwards, value)
    }
    // On mirrors nobody speaks anything but HTTP.
    let mayUpgrade =
      (framing == .none || framing == .length(0))
      && [.forward, .origin, .intercept].contains(route.way)
    let upgrade = mayUpgrade ? ProtocolUpgrade.offer(in: fields, version: head.version) : nil
    // Nor does anybody in the operator's name.
    let credential = upgrade == nil ? shown(head.method, route, fields: &fields) : nil
    var resource = worker.settings.rules.classify(route.target.key.span, below: route.below)
    if credential?.isShared == false { resource.terms.policy.kind = .passed }
    var links: MirrorLinks?
    if resource.kind?.hasLinks == true, head.method == .get || head.method == .head {
      links = route.links
    }
    var request = ClientRequest(
      method: head.method, methodName: head.method == .other ? bytes.copy(head.methodRange) : [],
      version: head.version, fields: fields, framing: framing,
      route: route, directives: RequestDirectives(head, of: bytes),
      key: CacheKey(
        route.target.key + (credential?.keySuffix ?? []), hasher: worker.hasher),
      credential: credential, resource: resource, links: links,
      leavesFieldsBehind: VariedFields.areInside(
        fields, forwarding: worker.settings.forwardFields),
      isOffline: worker.settings.isOffline,
      keepsAlive: ConnectionOptions.persists(head, in: bytes), upgrade: upgrade,
      asksForServer: asksForServer(head, in: bytes))
    // What is written anew has to be read first, and a digest is that of the file as it is.
    if links != nil
      || (head.method == .get || head.method == .head)
        && request.expectedDigest(worker.shared.digests, hasher: worker.hasher) != nil
    {
      request.fields.set(.acceptEncoding, "identity")
    }
    return request
  }

  /// What a client shows this proxy it means for one of the hosts behind it, and shows for all of them: it goes by the
  /// origin that it sees (RFC 9110 §11.5, RFC 6265 §5.4). Without, what is fetched is for everybody.
  private static func leaveBehindCredentials(_ fields: inout FieldSection) {
    fields.removeAll { known, name, _ in
      known == .authorization || UnkeyedFields.isCredential(known, name)
    }
  }

  /// What the origin is shown for a request. Only what reads: the operator's name is not for clients to write with.
  private static func shown(
    _ method: Method, _ route: Route, fields: inout FieldSection
  ) -> ShownCredential? {
    guard method == .get || method == .head, let credential = route.credential else { return nil }
    switch route.way {
    case .forward, .intercept:
      // Whoever speaks to the origin itself may speak for himself.
      guard !fields.contains(.authorization) else { return nil }
    case .mirror, .prefix, .origin, .tunnel:
      // It was for the mirror.
      fields.remove(.authorization)
    }
    return credential
  }

  private static func tunnel(
    _ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>, role: ListenerRole,
    _ worker: Worker
  ) throws(ProxyError) -> Authority {
    guard case .proxy = role else { throw .noTunnelHere }
    let authority: Authority
    do {
      authority = try Authority.ofConnect(head, in: bytes)
    } catch {
      throw ProxyError(error)
    }
    let destinations = worker.settings.destinations
    guard destinations.allows(host: authority.bareHost) else { throw .deniedHost(authority.host) }
    guard destinations.allows(connectPort: authority.port) else {
      throw .deniedTunnel(authority.port)
    }
    return authority
  }
}
