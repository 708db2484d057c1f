// Who is asking: looked at before anything else about a request, when the configuration has `auth`.
//
// As a proxy we ask by 407 and read Proxy-Authorization. For a path on our own address (mirrors, hosts as
// prefix) we are the origin in the client's eyes: it is asked by 401, and its Authorization is ours then and goes no
// further. A client that shows Proxy-Authorization on such a request keeps its Authorization for the origin.
// Listeners that stand for one origin leave Authorization to that origin and go by `clients` alone.

import Configuration
import HTTP
import IO
import Platform
import Telemetry

/// What a client is told to show (RFC 9110 §11.6.1, §11.7.1).
enum Challenge: Sendable, Equatable {
  case proxy(realm: String)
  case origin(realm: String)

  /// The field line, with its end.
  var line: String {
    switch self {
    case .proxy(let realm):
      "Proxy-Authenticate: Basic realm=\"\(realm)\", charset=\"UTF-8\"\r\n"
    case .origin(let realm):
      "WWW-Authenticate: Basic realm=\"\(realm)\", charset=\"UTF-8\"\r\n"
    }
  }
}

/// Whose credentials were right on a connection last, so that the next request with the same ones costs a
/// short hash and no lock.
struct AuthenticationMemory {
  var user: AuthenticatedUser?
  /// Of the field's value, with the seed of the process's own that every `Hasher` has.
  var hash = 0

  static func hash(_ value: UnsafeRawBufferPointer) -> Int {
    var hasher = Hasher()
    hasher.combine(bytes: value)
    return hasher.finalize()
  }
}

extension ClientConnection {
  enum Authentication {
    /// - consumesAuthorization: the Authorization field was for this proxy and is not to be passed on.
    case passed(consumesAuthorization: Bool)
    case refused(ProxyError)
    /// A letter will say that it can be asked again.
    case pending
  }

  /// Whether requests here have to say whose they are.
  private var isGuarded: Bool {
    guard worker.settings.requiresAuthentication else { return false }
    return switch role {
    case .proxy: true
    // Inside a decrypted tunnel, it was asked for when the tunnel was.
    case .origin, .intercepted: false
    }
  }

  /// Whether the client is to see an origin in us, for the request whose head was parsed last.
  private func looksLikeOrigin(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let first = worker.parsedHead.pointee.targetRange.first else { return false }
    return bytes[first] == 0x2F
  }

  /// Where the credentials of the request are whose head was parsed last; nil if there are none, or too many.
  private func credentialField(_ bytes: UnsafeRawBufferPointer) -> (FieldName, Range<Int>)? {
    let head = worker.parsedHead
    let name: FieldName =
      head.pointee.contains(.proxyAuthorization) || !looksLikeOrigin(bytes)
      ? .proxyAuthorization : .authorization
    guard let slot = head.pointee.first(name), head.pointee.occurrences(of: name) == 1 else {
      return nil
    }
    return (name, slot.value)
  }

  /// The field with the same credentials as the request before on this connection, which were right.
  private func rememberedField(_ bytes: UnsafeRawBufferPointer) -> FieldName? {
    guard let user = authentication.user, let (name, value) = credentialField(bytes),
      user.generation == worker.shared.authenticator.generation, loop.now < user.until,
      AuthenticationMemory.hash(UnsafeRawBufferPointer(rebasing: bytes[value]))
        == authentication.hash
    else { return nil }
    return name
  }

  /// The quick way, for hits.
  /// - Returns: whether the request may be answered without a closer look.
  func isKnownToBeAllowed(_ bytes: UnsafeRawBufferPointer) -> Bool {
    let hasAuthorization = worker.parsedHead.pointee.contains(.authorization)
    // Whoever is not asked for it has it for the origin, and that is not for the quick way.
    guard isGuarded else { return !hasAuthorization }
    guard let name = rememberedField(bytes) else { return false }
    return name == .authorization || !hasAuthorization
  }

  /// Judges the request whose head was parsed last.
  func authenticate(_ bytes: UnsafeRawBufferPointer) -> Authentication {
    guard isGuarded else {
      if case .origin = role { authentication = AuthenticationMemory() }
      return .passed(consumesAuthorization: false)
    }
    let settings = worker.settings
    let realm = settings.configuration.auth.realm.text
    let challenge: Challenge =
      looksLikeOrigin(bytes) ? .origin(realm: realm) : .proxy(realm: realm)
    if let name = rememberedField(bytes) {
      return .passed(consumesAuthorization: name == .authorization)
    }
    authentication.user = nil
    guard let (name, range) = credentialField(bytes) else {
      worker.metrics.add(.authentications, .missing)
      return .refused(.unauthenticated(challenge, isWrong: false))
    }
    let value = UnsafeRawBufferPointer(rebasing: bytes[range])
    let span = Span<UInt8>(_unsafeBytes: value)
    guard let credentials = BasicCredentials(span) else {
      worker.metrics.add(.authentications, .refused)
      return .refused(.unauthenticated(challenge, isWrong: true))
    }
    let outcome = worker.shared.authenticator.ask(
      credentials, field: span, from: peer.ip, now: loop.now, reply: loop.mailbox, id)
    switch outcome {
    case .known(.passed(let user)):
      worker.metrics.add(.authentications, .passed)
      authentication = AuthenticationMemory(user: user, hash: AuthenticationMemory.hash(value))
      return .passed(consumesAuthorization: name == .authorization)
    case .known(.refused):
      worker.metrics.add(.authentications, .refused)
      return .refused(.unauthenticated(challenge, isWrong: true))
    case .checking:
      return .pending
    case .busy:
      worker.metrics.add(.authentications, .busy)
      return .refused(.authenticatorBusy)
    }
  }
}
