// The keys that tickets for clients are sealed with. A ticket of TLS 1.2 holds the secrets of its session: whoever gets
// hold of its key can read what was recorded of all sessions under it. So a key seals tickets for some hours, opens them for
// as long again, and is then wiped; and with it goes what could be read later on (forward secrecy).

import COpenSSL
import Platform
import Synchronization

final class TicketKeys: Sendable {
  /// How long a key seals tickets: as long as OpenSSL takes a ticket back, so that each can be used for all of its time.
  static let interval: Duration = .seconds(2 * 3600)

  private struct State {
    var current: TicketKey
    var previous: TicketKey?
    var madeAt: Instant
  }

  /// All loops shake hands by one context.
  private let state: Mutex<State>

  /// Nil when there are no random numbers to be had.
  init?(now: Instant) {
    guard let key = TicketKey() else { return nil }
    state = Mutex(State(current: key, previous: nil, madeAt: now))
  }

  /// Replaces keys that have had their time.
  func renew(now: Instant) {
    state.withLock { state in
      let age = now - state.madeAt
      guard age >= Self.interval else { return }
      // Without a new key the old one goes on sealing, and nothing else does.
      guard let key = TicketKey() else {
        state.previous = nil
        return
      }
      state.previous = age >= Self.interval * 2 ? nil : state.current
      state.current = key
      state.madeAt = now
    }
  }

  /// No ticket so far is good any more: who uses these keys is about to go.
  func forget() {
    state.withLock { state in
      state.previous = nil
      if let key = TicketKey() { state.current = key }
    }
  }

  /// Called by OpenSSL for each ticket that is made or comes back.
  /// - Parameters:
  ///   - name: 16 bytes; the key's, to be written or read.
  ///   - iv: 16 bytes, to be written or read.
  /// - Returns: what SSL_CTX_set_tlsext_ticket_key_evp_cb(3) wants: 1, 2 for "give it a new one", 0 for a ticket that is of
  ///   no use, -1 for an error.
  func seal(
    name: UnsafeMutablePointer<UInt8>, iv: UnsafeMutablePointer<UInt8>, _ cipher: OpaquePointer?,
    _ mac: OpaquePointer?, isNew: Bool, isTLS13: Bool
  ) -> Int32 {
    renew(now: .now())
    let (current, previous) = state.withLock { ($0.current, $0.previous) }
    if isNew {
      guard RAND_bytes(iv, Int32(TicketKey.nameCount)) == 1 else { return -1 }
      name.update(from: current.name, count: TicketKey.nameCount)
      return holdfast_ticket_seal(cipher, mac, current.keys, iv, 1) == 1 ? 1 : -1
    }
    guard let key = [current, previous].compactMap(\.self).first(where: { $0.isNamed(name) }) else {
      return 0
    }
    guard holdfast_ticket_seal(cipher, mac, key.keys, iv, 0) == 1 else { return -1 }
    // A ticket of TLS 1.3 is used once, so there is always to be another one.
    return isTLS13 || key !== current ? 2 : 1
  }
}

/// A key with its name, wiped when the last who uses it is done.
private final class TicketKey: @unchecked Sendable {
  static let nameCount = 16
  private static let count = nameCount + 64

  // Written here and nowhere else.
  private let bytes: UnsafeMutablePointer<UInt8>

  init?() {
    bytes = .allocate(capacity: Self.count)
    guard RAND_priv_bytes(bytes, Int32(Self.count)) == 1 else {
      bytes.deallocate()
      return nil
    }
  }

  deinit {
    OPENSSL_cleanse(bytes, Self.count)
    bytes.deallocate()
  }

  var name: UnsafePointer<UInt8> { UnsafePointer(bytes) }
  /// 32 bytes to encrypt with, 32 to authenticate with.
  var keys: UnsafePointer<UInt8> { UnsafePointer(bytes + Self.nameCount) }

  func isNamed(_ other: UnsafePointer<UInt8>) -> Bool {
    // No secret: it stands in front of every ticket.
    UnsafeBufferPointer(start: name, count: Self.nameCount)
      .elementsEqual(UnsafeBufferPointer(start: other, count: Self.nameCount))
  }
}
