// What is needed to decrypt tunnels: for which hosts, and the certificates that are shown for them, made when they are
// first needed. Part of the settings, so that another authority takes effect with a reload.

import Configuration
import HTTP
import Platform
import Synchronization
import TLS

final class Interception: Sendable {
  /// Short, because nobody can take one back; long enough that a build host with a slow clock lives with it.
  private static let validity = 7
  /// In seconds before its end, another one is made.
  private static let renewal: Int64 = 86_400
  /// Certificates kept; beyond it they are made again.
  private static let limit = 4096

  private struct Minted {
    var identity: TLSIdentity
    var end: Int64
  }

  private let settings: InterceptSettings
  private let authority: CertificateAuthority
  let context: TLSContext
  private let minted = Mutex<[String: Minted]>([:])

  /// Nil when nothing is to be decrypted.
  init?(_ settings: InterceptSettings) {
    guard let authority = settings.authority, !settings.hosts.isEmpty,
      let context = try? TLSContext(serverShowing: nil)
    else { return nil }
    self.settings = settings
    self.authority = authority
    self.context = context
  }

  func covers(_ authority: Authority) -> Bool { settings.covers(authority.bareHost) }

  /// Whether clients that do not take our certificate get their tunnel.
  var tunnelsRejected: Bool { settings.rejected == .tunnel }

  /// A certificate for a host, with its key. A new one takes two tenths of a millisecond.
  /// - Parameters:
  ///   - host: a name or an address, without brackets.
  ///   - now: Unix seconds.
  func identity(for host: String, now: Int64) throws(TLSFailure) -> TLSIdentity {
    if let known = minted.withLock({ $0[host] }), now < known.end - Self.renewal {
      return known.identity
    }
    // Not under the lock: two workers may make one each, and either is good.
    let identity = try authority.identity(for: host, validFor: Self.validity, now: now)
    let end = now + Int64(Self.validity) * 86_400
    minted.withLock { minted in
      if minted.count >= Self.limit { minted.removeAll() }
      minted[host] = Minted(identity: identity, end: end)
    }
    return identity
  }
}

/// Which clients have refused our certificate, and for which hosts: shared by all workers, kept for an hour.
final class Rejections: Sendable {
  private struct Key: Hashable {
    var client: IPAddress
    var host: String
  }

  private static let duration: Duration = .seconds(3600)
  private static let limit = 4096
  private let known = Mutex<[Key: Instant]>([:])

  /// - Returns: whether this is news.
  func note(_ client: IPAddress, _ host: String, now: Instant) -> Bool {
    known.withLock { known in
      if known.count >= Self.limit { known = known.filter { $0.value > now } }
      // Whoever fills this with made-up names gets no more than the certificate shown again.
      guard known.count < Self.limit else { return false }
      let old = known.updateValue(now + Self.duration, forKey: Key(client: client, host: host))
      return old.map { $0 <= now } ?? true
    }
  }

  func contains(_ client: IPAddress, _ host: String, now: Instant) -> Bool {
    known.withLock { known in
      known[Key(client: client, host: host)].map { $0 > now } ?? false
    }
  }
}
