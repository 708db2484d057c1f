// The operator's credentials for origins, and which requests get them. What they open is not for everyone: a response
// that was fetched with one is kept under a key of its own, the target URI with `#credentials` behind it. No request
// can name such a key, because a target with a fragment is refused, so a client that comes another way never meets it,
// whatever the short way, a running fetch, or a purge make of keys.

import Configuration
import HTTP

/// A credential as a request takes it along.
struct ShownCredential: Sendable {
  /// How messages call it.
  let name: String
  /// The value of Authorization.
  let value: [UInt8]
  /// Behind the keys of what is fetched with it.
  let keySuffix: [UInt8]
  /// For everybody who asks the same way; else for nobody but who asked.
  let isShared: Bool
}

struct UpstreamCredentials: Sendable {
  /// Behind the target URI. Two, because what forward clients may see must not come from an entry that is for mirrors.
  private static let mark = Array("#credentials".utf8)
  private static let forwardMark = Array("#credentials-forward".utf8)

  private struct Entry: Sendable {
    var settings: UpstreamCredential
    var name: String
    var value: [UInt8]
  }

  private let entries: [Entry]
  /// Requests of the forward proxy and of decrypted tunnels may get one.
  let concernForward: Bool

  init(_ credentials: [UpstreamCredential]) {
    entries = credentials.enumerated().compactMap { index, settings in
      guard let secret = settings.secret else { return nil }
      let value =
        settings.user.map { BasicAuthorization.value(user: $0.text, password: secret.revealed) }
        ?? "Bearer \(secret.revealed)"
      let hosts = settings.hosts.map(\.text).joined(separator: ", ")
      return Entry(
        settings: settings, name: "upstream.credentials[\(index)] (\(hosts))",
        value: Array(value.utf8))
    }
    concernForward = entries.contains { $0.settings.isForForward }
  }

  var isEmpty: Bool { entries.isEmpty }

  /// What a request for this target, come this way, takes along: the first entry that is for it.
  func credential(for target: TargetURI, way: Route.Way) -> ShownCredential? {
    guard !entries.isEmpty else { return nil }
    let isForward: Bool
    switch way {
    case .mirror, .prefix, .origin: isForward = false
    case .forward, .intercept: isForward = true
    case .tunnel: return nil
    }
    let host = target.authority.bareHost
    guard
      let entry = entries.first(where: { entry in
        (target.scheme == .https || entry.settings.isInsecure)
          && (!isForward || entry.settings.isForForward) && entry.settings.isFor(host: host)
      })
    else { return nil }
    return ShownCredential(
      name: entry.name, value: entry.value,
      keySuffix: entry.settings.isForForward ? Self.forwardMark : Self.mark,
      isShared: entry.settings.isShared ?? (way == .mirror))
  }

  /// The target URI in a key.
  func target(of key: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    guard !entries.isEmpty, let end = key.firstIndex(of: 0x23) else { return key }
    return UnsafeRawBufferPointer(rebasing: key[..<end])
  }

  /// Every key under which something may be stored for a target.
  static func keys(of key: [UInt8]) -> [[UInt8]] { [key, key + mark, key + forwardMark] }
}

extension ProxyError {
  /// The origin does not take what the configuration has us show. Passed on, its answer would ask the client for a
  /// password that is none of its business.
  static func credentialsRefused(_ authority: String, _ name: String, _ status: Status)
    -> ProxyError
  {
    ProxyError(
      .proxyConfigurationError,
      "\(authority) answered \(status) to the credentials of \(name): see whether they are right, and"
        + " what they may see",
      status: .badGateway)
  }
}
