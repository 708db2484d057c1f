// From a parsed head to a request the slow paths can work with, or a refusal: everything that is checked
// before anything is done. Who may ask for what is decided here.

import Caching
import HTTP
import Mirrors
import Platform

enum RequestIntake {
  case request(ClientRequest)
  case tunnel(Authority)
  /// `keepsAlive`: where the request ends is certain, so that another may follow on the connection.
  case refused(ProxyError, keepsAlive: Bool)

  static func read(
    _ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>, role: ListenerRole,
    worker: Worker
  ) -> RequestIntake {
    let framing = MessageFraming.ofRequest(head, in: bytes)
    do throws(ProxyError) {
      if head.method == .connect {
        guard !worker.via.isLoop(head, in: bytes) else { throw .loop }
        return .tunnel(try tunnel(head, in: bytes, role: role, worker))
      }
      return .request(try request(head, framing, in: bytes, role: role, worker))
    } catch {
      let ends = framing == .none || framing == .length(0)
      return .refused(
        error,
        keepsAlive: ends && head.method != .connect && ConnectionOptions.persists(head, in: bytes))
    }
  }

  private static func request(
    _ head: borrowing ParsedHead, _ framing: MessageFraming, in bytes: borrowing Span<UInt8>,
    role: ListenerRole, _ worker: Worker
  ) throws(ProxyError) -> ClientRequest {
    if case .refused(let refusal) = framing { throw ProxyError(refusal) }
    guard !worker.via.isLoop(head, in: bytes) else { throw .loop }
    if case .length(let length) = framing, length > worker.settings.contentLimit {
      throw .contentTooLarge(worker.settings.contentLimit)
    }
    if case .unknown = RequestExpectation.of(head, in: bytes) { throw .unknownExpectation }

    let route = try worker.router.route(head, in: bytes, role: role)
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
    guard route.target.scheme == .http else { throw .secureOrigin }
    return ClientRequest(
      method: head.method, methodName: head.method == .other ? bytes.copy(head.methodRange) : [],
      version: head.version, fields: FieldSection(copying: head, of: bytes), framing: framing,
      route: route, directives: RequestDirectives(head, of: bytes),
      key: CacheKey(route.target.key, hasher: worker.hasher),
      policy: PackageRules.policy(of: route.target.key.span),
      keepsAlive: ConnectionOptions.persists(head, in: bytes))
  }

  private static func tunnel(
    _ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>, role: ListenerRole,
    _ worker: Worker
  ) throws(ProxyError) -> Authority {
    guard case .proxy = role else { throw .noTunnelHere }
    let authority: Authority
    do {
      authority = try Authority.parse(bytes, head.targetRange)
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
