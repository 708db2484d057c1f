import COpenSSL
import Glibc
import Platform
import SeededRandom
import Support
import Testing

@testable import TLS

struct TLSSessionTests {
  private func contexts(
    _ authority: TestAuthority, showing identity: TLSIdentity? = nil
  ) throws -> (client: TLSContext, server: TLSContext) {
    (
      try TLSContext(clientTrusting: .file(authority.file)),
      try TLSContext(serverShowing: identity ?? authority.identity("example.org"))
    )
  }

  @Test("a handshake agrees on TLS 1.3 and HTTP/1.1, and content goes both ways")
  func handshake() throws {
    let authority = try TestAuthority()
    let (client, server) = try contexts(authority)
    let pair = try Pair(client: client, server: server)
    let outcome = pair.shake()
    #expect(outcome.client == .done)
    #expect(outcome.server == .done)
    let agreement = try #require(pair.client.agreement)
    #expect(agreement.version == "TLSv1.3")
    #expect(agreement.applicationProtocol == "http/1.1")
    #expect(!agreement.isResumed)
    #expect(pair.server.serverName == "example.org")
    #expect(pair.client.write(Array("ping".utf8)) == .bytes(4))
    #expect(pair.server.read().1 == Array("ping".utf8))
    #expect(pair.server.write(Array("pong".utf8)) == .bytes(4))
    #expect(pair.client.read().1 == Array("pong".utf8))
    #expect(pair.client.read().0 == .wantsRead)
  }

  @Test(
    "what stands for a host stands in its certificate as it was given",
    arguments: ["a~b.example.org", "_x.example.org", "2001:db8::1", "10.0.0.1"])
  func names(host: String) throws {
    let identity = try TestAuthority().identity(host)
    #expect(identity.certificate.summary.names == [host])
  }

  @Test("a socket that takes a little at a time gets every byte once and in order")
  func partialWrites() throws {
    let authority = try TestAuthority()
    let (client, server) = try contexts(authority)
    let pair = try Pair(client: client, server: server)
    #expect(pair.shake().client == .done)
    var size: Int32 = 4096
    setsockopt(pair.serverSocket, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
    var random = SeededGenerator(seed: 7)
    let content = (0..<1_500_000).map { _ in UInt8.random(in: 0...255, using: &random) }
    var sent = 0
    var got: [UInt8] = []
    for _ in 0..<100_000 where got.count < content.count {
      let window = max(pair.server.repeatCount, Int.random(in: 1...150_000, using: &random))
      let rest = Array(content[sent...].prefix(window))
      if case .bytes(let count) = pair.server.write(rest) { sent += count }
      got += pair.client.read(Int.random(in: 1...5000, using: &random)).1
    }
    #expect(got == content)
  }

  @Test(
    "what the peer said before it stopped listening is read, to its end, after a write has failed",
    arguments: [100, 1_000_000])
  func readAfterFailedWrite(count: Int) throws {
    let authority = try TestAuthority()
    let (client, server) = try contexts(authority)
    let pair = try Pair(client: client, server: server)
    #expect(pair.shake().client == .done)
    #expect(pair.server.write(Array("too much".utf8)) == .bytes(8))
    pair.server.finish()
    shutdown(pair.serverSocket, Int32(SHUT_RD))
    let upload = [UInt8](repeating: 1, count: count)
    #expect(pair.client.write(upload) == .failed(.connection(.brokenPipe)))
    #expect(pair.client.write(upload) == .failed(.connection(.brokenPipe)), "it stays so")
    #expect(pair.client.read().1 == Array("too much".utf8))
    #expect(pair.client.read().0 == .endOfStream)
  }

  @Test("a client that wants small records (RFC 6066 §4) gets all of the content", arguments: 1...4)
  func smallRecords(mode: UInt8) throws {
    let authority = try TestAuthority()
    let (client, server) = try contexts(authority)
    #expect(SSL_CTX_set_tlsext_max_fragment_length(client.context, mode) == 1)
    let pair = try Pair(client: client, server: server)
    #expect(pair.shake().client == .done)
    var size: Int32 = 4096
    setsockopt(pair.serverSocket, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
    var random = SeededGenerator(seed: UInt64(mode))
    let content = (0..<400_000).map { _ in UInt8.random(in: 0...255, using: &random) }
    var sent = 0
    var got: [UInt8] = []
    for _ in 0..<100_000 where got.count < content.count {
      let window = max(pair.server.repeatCount, Int.random(in: 1...100_000, using: &random))
      let rest = Array(content[sent...].prefix(window))
      if case .bytes(let count) = pair.server.write(rest) {
        #expect(count <= rest.count)
        sent += count
      }
      got += pair.client.read(Int.random(in: 1...5000, using: &random)).1
    }
    #expect(sent == content.count)
    #expect(got == content)
  }

  @Test("what was decrypted and does not fit is told of, since the socket is silent about it")
  func unread() throws {
    let authority = try TestAuthority()
    let (client, server) = try contexts(authority)
    let pair = try Pair(client: client, server: server)
    #expect(pair.shake().client == .done)
    #expect(pair.server.write([UInt8](repeating: 1, count: 100)) == .bytes(100))
    #expect(pair.client.read(60).1.count == 60)
    #expect(pair.client.hasUnread)
    #expect(pair.client.read(60).1.count == 40)
  }

  @Test("a part of a record is nothing to come back for before the rest has come")
  func partOfRecord() throws {
    let authority = try TestAuthority()
    let (client, server) = try contexts(authority)
    let pair = try Pair(client: client, server: server)
    #expect(pair.shake().client == .done)
    // The tickets.
    #expect(pair.client.read().0 == .wantsRead)
    #expect(pair.server.write([UInt8](repeating: 1, count: 100)) == .bytes(100))
    var record = [UInt8](repeating: 0, count: 1000)
    let count = recv(pair.clientSocket, &record, record.count, 0)
    #expect(count > 100)
    _ = send(pair.serverSocket, record, 40, 0)
    #expect(pair.client.read().0 == .wantsRead)
    #expect(!pair.client.hasUnread)
    _ = send(pair.serverSocket, Array(record[40...]), count - 40, 0)
    #expect(pair.client.read().1.count == 100)
    #expect(!pair.client.hasUnread)
  }

  @Test("close_notify is an end; a FIN without it is a cut")
  func endings() throws {
    let authority = try TestAuthority()
    let (client, server) = try contexts(authority)
    let said = try Pair(client: client, server: server)
    #expect(said.shake().client == .done)
    #expect(said.server.write(Array("all".utf8)) == .bytes(3))
    said.server.finish()
    #expect(said.client.read().1 == Array("all".utf8))
    #expect(said.client.read().0 == .endOfStream)
    #expect(said.client.read().0 == .endOfStream)

    let cut = try Pair(client: client, server: server)
    #expect(cut.shake().client == .done)
    #expect(cut.server.write(Array("par".utf8)) == .bytes(3))
    shutdown(cut.serverSocket, Int32(SHUT_WR))
    #expect(cut.client.read().1 == Array("par".utf8))
    #expect(cut.client.read().0 == .failed(.truncated))
    #expect(cut.client.read().0 == .failed(.truncated))
  }

  @Test(
    "a ticket makes the next handshake shorter, and for another host, or another port of the same, does nothing",
    arguments: [
      "example.org:8443", "a.example.org:443", nil,
      // Longer than a context can be, with the same end.
      String(repeating: "a", count: 40) + ".example.org:443",
    ])
  func resumption(scope: String?) throws {
    let authority = try TestAuthority()
    let (client, server) = try contexts(authority)
    let own = "example.org:443"
    let first = try Pair(client: client, server: server, scope: own)
    #expect(first.shake().client == .done)
    // Tickets come behind the handshake.
    #expect(first.client.read().0 == .wantsRead)
    let ticket = try #require(first.client.takeTicket())
    #expect(first.client.takeTicket() == nil)
    let second = try Pair(client: client, server: server, ticket: ticket, scope: own)
    #expect(second.shake().client == .done)
    #expect(second.client.agreement?.isResumed == true)
    #expect(second.client.read().0 == .wantsRead)
    let newer = try #require(second.client.takeTicket())
    let other = try Pair(
      client: client, server: server, ticket: newer,
      identity: authority.identity("example.org"), scope: scope)
    #expect(other.shake().client == .done)
    #expect(other.client.agreement?.isResumed == false)
  }

  @Test("a certificate that is not right is refused, and the message names it and its fault")
  func certificates() throws {
    let authority = try TestAuthority()
    let stranger = try TestAuthority()
    let past = TestAuthority.now - 90 * 86_400
    let cases: [(TLSIdentity, String, String)] = [
      (try authority.identity("other.example"), "hostname mismatch", "CN=other.example"),
      (try authority.identity("example.org", now: past), "expired", "CN=example.org"),
      (
        try authority.identity("example.org", now: TestAuthority.now + 86_400), "not yet valid",
        "CN=example.org"
      ),
      (try stranger.identity("example.org"), "unable to get local issuer", "CN=example.org"),
    ]
    for (identity, reason, subject) in cases {
      let (client, server) = try contexts(authority, showing: identity)
      let pair = try Pair(client: client, server: server)
      let outcome = pair.shake()
      guard case .failed(.certificate(let problem)) = outcome.client else {
        Issue.record("\(reason): \(outcome.client)")
        continue
      }
      #expect(problem.reason.contains(reason))
      #expect(problem.certificate?.subject == subject)
      #expect(problem.certificate?.issuer == "CN=Holdfast test authority")
      // The server hears why.
      guard case .failed(.alertReceived(let alert)) = pair.server.handshake() else {
        Issue.record("\(reason): no alert")
        continue
      }
      #expect(alert.rejectsCertificate)
      // Taken all the same where it is not to be checked; what is wrong is known.
      let lax = try Pair(client: client, server: server, verifies: false)
      #expect(lax.shake().client == .done)
      #expect(lax.client.certificateProblem?.reason.contains(reason) == true)
    }
  }

  @Test("addresses are checked against addresses", arguments: ["127.0.0.1", "::1"])
  func addresses(address: String) throws {
    let authority = try TestAuthority()
    let (client, server) = try contexts(authority, showing: authority.identity(address))
    let right = try Pair(client: client, server: server, host: address, isAddress: true)
    #expect(right.shake().client == .done)
    #expect(right.server.serverName == nil)
    let wrong = try Pair(client: client, server: server, host: "127.0.0.2", isAddress: true)
    guard case .failed(.certificate) = wrong.shake().client else {
      Issue.record("taken for another address")
      return
    }
  }

  @Test("a client that names another host than it may is refused")
  func serverName() throws {
    let authority = try TestAuthority()
    let (client, server) = try contexts(authority)
    let pair = try Pair(client: client, server: server, expectedName: "other.example")
    let outcome = pair.shake()
    #expect(pair.server.alertSent == .unrecognizedName)
    #expect(outcome.client == .failed(.alertReceived(.unrecognizedName)))
    // Letters of either case are one name.
    let same = try Pair(client: client, server: server, expectedName: "Example.ORG")
    #expect(same.shake().client == .done)
  }

  @Test("HTTP in clear text on either side is told from a broken handshake")
  func clearText() throws {
    let authority = try TestAuthority()
    let (client, server) = try contexts(authority)
    let asked = try Pair(client: client, server: server)
    let request = Array("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n".utf8)
    _ = request.withUnsafeBytes { Glibc.write(asked.clientSocket, $0.baseAddress, $0.count) }
    #expect(asked.server.handshake() == .failed(.plainHTTP))
    let answered = try Pair(client: client, server: server)
    #expect(answered.client.handshake() == .wantsRead)
    let answer = Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8)
    _ = answer.withUnsafeBytes { Glibc.write(answered.serverSocket, $0.baseAddress, $0.count) }
    #expect(answered.client.handshake() == .failed(.notTLS))
  }

  @Test("an end or a reset in the middle of a handshake is that, and no protocol error")
  func brokenHandshake() throws {
    let authority = try TestAuthority()
    let (client, server) = try contexts(authority)
    let ended = try Pair(client: client, server: server)
    #expect(ended.client.handshake() == .wantsRead)
    shutdown(ended.serverSocket, Int32(SHUT_WR))
    #expect(ended.client.handshake() == .failed(.truncated))
    let reset = try Pair(client: client, server: server)
    #expect(reset.client.handshake() == .wantsRead)
    // A peer that closes over unread bytes resets, here as in TCP.
    shutdown(reset.clientSocket, Int32(SHUT_RDWR))
    let outcome = reset.client.handshake()
    #expect(outcome == .failed(.truncated) || outcome == .failed(.connection(.brokenPipe)))
  }

  @Test("random bytes in place of a handshake end it, whatever they are")
  func garbage() throws {
    let authority = try TestAuthority()
    let (client, server) = try contexts(authority)
    var random = SeededGenerator(seed: 11)
    for _ in 0..<300 {
      let pair = try Pair(client: client, server: server)
      _ = pair.client.handshake()
      var noise = (0..<Int.random(in: 6...200, using: &random)).map { _ in
        UInt8.random(in: 0...255, using: &random)
      }
      if Bool.random(using: &random) { noise.replaceSubrange(0..<3, with: [22, 3, 3]) }
      for socket in [pair.clientSocket, pair.serverSocket] {
        _ = noise.withUnsafeBytes { Glibc.write(socket, $0.baseAddress, $0.count) }
        shutdown(socket, Int32(SHUT_WR))
      }
      if case .done = pair.client.handshake() { Issue.record("noise was a handshake") }
      if case .done = pair.server.handshake() { Issue.record("noise was a handshake") }
    }
  }

  @Test("a handshake that arrives byte by byte is one all the same")
  func singleBytes() throws {
    let authority = try TestAuthority()
    let (client, server) = try contexts(authority)
    var inner: [Int32] = [0, 0]
    _ = socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0, &inner)
    defer { for descriptor in inner { close(descriptor) } }
    let pair = try Pair(client: client, server: server)
    let slow = try TLSSession(server: server, descriptor: inner[1])
    var progress = slow.handshake()
    var clientProgress = pair.client.handshake()
    var byte: UInt8 = 0
    for _ in 0..<20_000 where progress != .done || clientProgress != .done {
      // What the client says goes on byte by byte; what the server says at once.
      if read(pair.serverSocket, &byte, 1) == 1 { _ = write(inner[0], &byte, 1) }
      progress = slow.handshake()
      var answer = [UInt8](repeating: 0, count: 8192)
      let count = read(inner[0], &answer, answer.count)
      if count > 0 { _ = write(pair.serverSocket, answer, count) }
      clientProgress = pair.client.handshake()
      if case .failed = progress { break }
    }
    #expect(progress == .done)
    #expect(clientProgress == .done)
  }
}

struct CertificateAuthorityTests {
  @Test("what it makes can be written, read and used again")
  func roundTrip() throws {
    let made = try CertificateAuthority.make(
      name: "Holdfast", permitted: ["example.org", "*.example.net"], validFor: 365,
      now: TestAuthority.now)
    let certificate = try #require(Certificate.all(inPEM: made.certificate.pem).first)
    let key = try #require(PrivateKey(pem: made.key.pem))
    let authority = try CertificateAuthority(certificate: certificate, key: key)
    let identity = try authority.identity(for: "a.example.org", validFor: 7, now: TestAuthority.now)
    let summary = identity.certificate.summary
    #expect(summary.names == ["a.example.org"])
    #expect(summary.issuer == "CN=Holdfast")
    #expect(summary.notAfter == TestAuthority.now + 7 * 86_400)
    #expect(throws: TLSSetupError.keyOfAnother) {
      try CertificateAuthority(certificate: certificate, key: try PrivateKey.make())
    }
  }

  @Test("a certificate outside the names its authority may sign for convinces nobody")
  func constraints() throws {
    let authority = try TestAuthority(permitted: ["*.example.org"])
    let client = try TLSContext(clientTrusting: .file(authority.file))
    for (host, isRight) in [("a.example.org", true), ("example.org", true), ("example.net", false)]
    {
      let server = try TLSContext(serverShowing: authority.identity(host))
      let outcome = try Pair(client: client, server: server, host: host).shake().client
      if isRight {
        #expect(outcome == .done)
      } else if case .failed(.certificate(let problem)) = outcome {
        #expect(problem.reason.contains("permitted subtree"))
      } else {
        Issue.record("\(host): \(outcome)")
      }
    }
  }

  @Test(
    "an authority for names may not sign for addresses, nor one for addresses for names",
    arguments: [("example.org", "10.0.0.1"), ("10.0.0.1", "example.org"), ("10.0.0.1", "::1")])
  func otherKind(permitted: String, host: String) throws {
    let authority = try TestAuthority(permitted: [permitted])
    let client = try TLSContext(clientTrusting: .file(authority.file))
    for (name, isRight) in [(permitted, true), (host, false)] {
      let server = try TLSContext(serverShowing: authority.identity(name))
      let outcome = try Pair(
        client: client, server: server, host: name, isAddress: name != "example.org"
      ).shake().client
      if isRight {
        #expect(outcome == .done)
      } else if case .failed(.certificate(let problem)) = outcome {
        #expect(problem.reason.contains("subtree"))
      } else {
        Issue.record("\(name): \(outcome)")
      }
    }
    #expect(authority.authority.certificate.permittedNames == [permitted])
  }

  @Test("no leaf outlives its authority")
  func lifetime() throws {
    let authority = try TestAuthority(days: 3)
    let identity = try authority.identity("example.org", days: 30)
    #expect(identity.certificate.summary.notAfter == TestAuthority.now + 3 * 86_400)
  }

  @Test("PEM that is none, or a key of another certificate, is refused with the reason")
  func badFiles() throws {
    let authority = try TestAuthority()
    let identity = try authority.identity("example.org")
    let pem = identity.certificate.pem
    let key = identity.key.pem
    #expect(throws: TLSSetupError.noCertificate) {
      try TLSIdentity(certificates: Array("no PEM".utf8), key: key)
    }
    #expect(throws: TLSSetupError.noKey) { try TLSIdentity(certificates: pem, key: pem) }
    let other = try PrivateKey.make().pem
    #expect(throws: TLSSetupError.keyOfAnother) {
      try TLSIdentity(certificates: pem, key: other)
    }
    #expect(throws: Never.self) { try TLSIdentity(certificates: pem, key: key) }
  }
}
