// What is checked, what is remembered, and who is put off.

import Configuration
import Glibc
import HTTP
import IO
import Platform
import Testing

@testable import Proxy

@Suite struct AuthenticatorTests {
  private let mailbox: Mailbox

  init() throws { mailbox = try Mailbox() }

  private static func users(_ names: [String], cost: PasswordHash.Cost) throws -> PasswordTable {
    let lines = try names.map { name in
      "\(name):\(try #require(PasswordHash(of: Array("secret".utf8), cost: cost)).text)"
    }
    return PasswordTable.read(lines.joined(separator: "\n")).table
  }

  private func ask(
    _ authenticator: Authenticator, _ name: String, _ password: String = "secret",
    from client: IPAddress = .loopbackV4, at now: Instant = .now()
  ) throws -> Authenticator.Outcome {
    let field = Array("Basic \(Base64.encode(Array("\(name):\(password)".utf8)))".utf8)
    let span = field.span
    let read = BasicCredentials(span)
    let credentials = try #require(read)
    return authenticator.ask(
      credentials, field: span, from: client, now: now, reply: mailbox, ObjectID.none)
  }

  /// Asks until it is known.
  private func verdict(
    _ authenticator: Authenticator, _ name: String, _ password: String = "secret",
    at now: Instant = .now()
  ) throws -> String? {
    for _ in 0..<100_000 {
      switch try ask(authenticator, name, password, at: now) {
      case .known(.passed(let user)): return String(decoding: user.name, as: UTF8.self)
      case .known(.refused): return nil
      // Gives way to the thread that is to bring it about.
      case .checking, .busy: usleep(100)
      }
    }
    Issue.record("never known")
    return nil
  }

  @Test("right and wrong are remembered, each for its time")
  func remembers() throws {
    let authenticator = Authenticator()
    defer { authenticator.shutdown() }
    authenticator.use(try Self.users(["alice"], cost: .trifling))
    #expect(try verdict(authenticator, "alice") == "alice")
    #expect(try verdict(authenticator, "alice", "wrong") == nil)
    #expect(try verdict(authenticator, "mallory") == nil)
    for _ in 0..<10 {
      #expect(try verdict(authenticator, "alice") == "alice")
      #expect(try verdict(authenticator, "alice", "wrong") == nil)
    }
    #expect(authenticator.checks == 3)
    // A minute later only what was right is known.
    let later = Instant.now() + .seconds(60)
    guard case .known(.passed) = try ask(authenticator, "alice", at: later) else {
      Issue.record("forgotten too early")
      return
    }
    guard case .checking = try ask(authenticator, "alice", "wrong", at: later) else {
      Issue.record("remembered too long")
      return
    }
    guard case .checking = try ask(authenticator, "alice", at: later + .seconds(600)) else {
      Issue.record("remembered too long")
      return
    }
  }

  @Test("another file of users voids what was known, the same one does not")
  func generations() throws {
    let authenticator = Authenticator()
    defer { authenticator.shutdown() }
    let users = try Self.users(["alice", "bob"], cost: .trifling)
    authenticator.use(users)
    #expect(try verdict(authenticator, "alice") == "alice")
    let generation = authenticator.generation
    authenticator.use(users)
    #expect(authenticator.generation == generation)
    authenticator.use(try Self.users(["bob"], cost: .trifling))
    #expect(authenticator.generation != generation)
    #expect(try verdict(authenticator, "alice") == nil)
  }

  @Test("whoever tries many passwords at once fills their own part of the line only")
  func line() throws {
    var options = Authenticator.Options()
    options.lineLimit = 16
    options.lineLimitPerClient = 4
    let authenticator = Authenticator(options: options)
    defer { authenticator.shutdown() }
    // A check takes far longer than asking.
    authenticator.use(try Self.users(["alice"], cost: .standard))
    var checking = 0
    for number in 0..<100 {
      if case .checking = try ask(authenticator, "alice", "guess \(number)") { checking += 1 }
    }
    #expect(checking < 50)
    // Another client still gets in.
    guard case .checking = try ask(authenticator, "alice", from: .loopbackV6) else {
      Issue.record("the line is full for everybody")
      return
    }
    // A site with a network of its own is one client, as it is for connections and rates.
    var ofSite = 0
    for number in 1...60 {
      let address = try #require(IPAddress("2001:db8:1:2::\(String(number, radix: 16))"))
      if case .checking = try ask(authenticator, "alice", "site \(number)", from: address) {
        ofSite += 1
      }
    }
    #expect(ofSite < 8)
    guard
      case .checking = try ask(authenticator, "alice", "another", from: IPAddress(v4: 0x0A01_0000))
    else {
      Issue.record("one site filled the line")
      return
    }
    // All together there is an end as well.
    var busy = 0
    for number in 0..<200 {
      let client = IPAddress(v4: 0x0A00_0000 + UInt32(number))
      if case .busy = try ask(authenticator, "alice", "other \(number)", from: client) { busy += 1 }
    }
    #expect(busy > 100)
  }

  @Test("nothing begins once it is shut down")
  func shutdown() throws {
    let authenticator = Authenticator()
    authenticator.use(try Self.users(["alice"], cost: .trifling))
    authenticator.shutdown()
    guard case .busy = try ask(authenticator, "alice") else {
      Issue.record("a check was begun")
      return
    }
    #expect(authenticator.checks == 0)
  }

  @Test(
    "credentials are read as RFC 7617 writes them",
    arguments: [
      ("Basic YTpi", "a", "b"), ("basic YTpi", "a", "b"), ("BASIC   YTpi", "a", "b"),
      ("Basic YTpiOmM=", "a", "b:c"), ("Basic YTo=", "a", ""), ("Basic OmI=", "", "b"),
      ("Basic YQ==", nil, ""), ("Basic", nil, ""), ("Basic ", nil, ""), ("BasicYTpi", nil, ""),
      ("Basic YTpi YTpi", nil, ""), ("Bearer YTpi", nil, ""), ("Basic YTpi,", nil, ""),
      ("", nil, ""),
    ] as [(String, String?, String)])
  func credentials(text: String, name: String?, password: String) {
    let bytes = Array(text.utf8)
    let credentials = BasicCredentials(bytes.span)
    #expect(credentials.map { String(decoding: $0.name, as: UTF8.self) } == name)
    if let credentials {
      #expect(String(decoding: credentials.password, as: UTF8.self) == password)
    }
  }
}
