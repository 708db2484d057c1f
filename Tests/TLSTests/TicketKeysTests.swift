// How long a ticket is good: as long as the key that sealed it, whatever the client does with it.

import COpenSSL
import Platform
import Support
import Testing

@testable import TLS

struct TicketKeysTests {
  private let authority: TestAuthority
  private let client: TLSContext
  private let server: TLSContext

  init() throws {
    authority = try TestAuthority()
    client = try TLSContext(clientTrusting: .file(authority.file))
    server = try authority.server("example.org")
  }

  private func use(_ version: Int32) {
    _ = SSL_CTX_ctrl(client.context, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(version), nil)
  }

  /// A handshake.
  private func shake(with ticket: TLSTicket? = nil) throws -> (isResumed: Bool, ticket: TLSTicket?)
  {
    let pair = try Pair(client: client, server: server, ticket: ticket)
    try #require(pair.shake().client == .done)
    _ = pair.client.read()
    // OpenSSL makes no second use of a session whose connection has just been dropped.
    pair.client.finish()
    return (pair.client.agreement?.isResumed == true, pair.client.takeTicket())
  }

  @Test(
    "a ticket is good under its own key and under the next one, which gives a new ticket, and then no more",
    arguments: [TLS1_2_VERSION, TLS1_3_VERSION])
  func renewed(version: Int32) throws {
    use(version)
    let start = Instant.now()
    // A client uses each ticket of TLS 1.3 once.
    let tickets = try (0..<4).map { _ in try shake().ticket }
    #expect(try shake(with: tickets[0]).isResumed)
    let early: Duration = TicketKeys.interval - .seconds(60)
    server.renewTicketKeys(now: start + early)
    #expect(try shake(with: tickets[1]).isResumed)
    server.renewTicketKeys(now: start + TicketKeys.interval)
    let third = try shake(with: tickets[2])
    #expect(third.isResumed)
    server.renewTicketKeys(now: start + TicketKeys.interval * 2)
    #expect(try !shake(with: tickets[3]).isResumed)
    // OpenSSL's client does not tell of the one that it gets with TLS 1.2.
    if version == TLS1_3_VERSION { #expect(try shake(with: third.ticket).isResumed) }
  }

  @Test(
    "of keys that nobody renewed in time none is kept", arguments: [TLS1_2_VERSION, TLS1_3_VERSION])
  func late(version: Int32) throws {
    use(version)
    let ticket = try shake().ticket
    server.renewTicketKeys(now: Instant.now() + TicketKeys.interval * 2)
    #expect(try !shake(with: ticket).isResumed)
  }

  @Test("a context that goes takes its tickets with it, and still shakes hands")
  func forgotten() throws {
    let ticket = try shake().ticket
    server.forgetTickets()
    let next = try shake(with: ticket)
    #expect(!next.isResumed)
    #expect(try shake(with: next.ticket).isResumed)
  }

  @Test("a ticket that was tampered with is worth nothing", arguments: [0, 20, 60])
  func tampered(place: Int) throws {
    use(TLS1_2_VERSION)
    let ticket = try #require(try shake().ticket)
    // As it is stored by a client.
    var length = Int(i2d_SSL_SESSION(ticket.session, nil))
    var encoded = [UInt8](repeating: 0, count: length)
    encoded.withUnsafeMutableBufferPointer { buffer in
      var at = buffer.baseAddress
      i2d_SSL_SESSION(ticket.session, &at)
    }
    var bytes: UnsafePointer<UInt8>?
    SSL_SESSION_get0_ticket(ticket.session, &bytes, &length)
    let sealed = Array(UnsafeBufferPointer(start: bytes, count: length))
    let start = try #require(encoded.firstRange(of: sealed)?.lowerBound)
    encoded[start + place] ^= 1
    let changed = encoded.withUnsafeBufferPointer { buffer in
      var at = buffer.baseAddress
      return d2i_SSL_SESSION(nil, &at, buffer.count)
    }
    let forged = TLSTicket(adopting: try #require(changed))
    #expect(try !shake(with: forged).isResumed)
  }
}
