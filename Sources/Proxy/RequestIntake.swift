// From a parsed head to a request the slow paths can work with, or a refusal: everything that is checked
// before anything is done. Who may ask for what is decided here.

import Caching
import HTTP

enum RequestIntake {
  case request(ClientRequest)
  case tunnel(Authority)

  static func read(
    _ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>, role: ListenerRole, worker: Worker
  ) throws(ProxyError) -> RequestIntake {
    guard !worker.via.isLoop(head, in: bytes) else { throw .loop }
    if head.method == .connect { return .tunnel(try tunnel(head, in: bytes, role: role, worker)) }

    let framing = MessageFraming.ofRequest(head, in: bytes)
    if case .refused(let refusal) = framing { throw ProxyError(refusal) }
    if case .length(let length) = framing, length > worker.settings.contentLimit {
      throw .contentTooLarge(worker.settings.contentLimit)
    }
    let expectation = RequestExpectation.of(head, in: bytes)
    if case .unknown = expectation { throw .unknownExpectation }

    let route = try worker.router.route(head, in: bytes, role: role)
    if !route.isConfigured, !worker.settings.destinations.allows(host: route.target.authority.bareHost) {
      throw .deniedHost(route.target.host)
    }
    guard route.target.scheme == .http else { throw .secureOrigin }

    let method = head.method
    return .request(
      ClientRequest(
        method: method, methodName: method == .other ? bytes.copy(head.methodRange) : [],
        version: head.version, fields: FieldSection(copying: head, of: bytes), framing: framing,
        route: route, directives: RequestDirectives(head, of: bytes),
        key: CacheKey(route.target.key, hasher: worker.hasher),
        keepsAlive: ConnectionOptions.persists(head, in: bytes)))
  }

  private static func tunnel(
    _ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>, role: ListenerRole, _ worker: Worker
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
    guard destinations.allows(connectPort: authority.port) else { throw .deniedTunnel(authority.port) }
    return authority
  }
}
