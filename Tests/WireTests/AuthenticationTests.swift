// Names and passwords: asked for, checked off the loop, remembered, never passed on.

import Configuration
import Foundation
import Platform
import Support
import Telemetry
import Testing

@Suite struct AuthenticationTests {
  private let fresh = ["Cache-Control: max-age=600"]
  private static let alice = "Basic " + Data("alice:open:sesame".utf8).base64EncodedString()
  private static let bob = "Basic " + Data("bob:builder".utf8).base64EncodedString()

  private static func users(_ names: [(String, String)]) throws -> PasswordTable {
    let lines = try names.map { name, password in
      let hash = try #require(PasswordHash(of: Array(password.utf8), cost: .trifling))
      return "\(name):\(hash.text)"
    }
    return PasswordTable.read(lines.joined(separator: "\n")).table
  }

  private func guarded(
    _ configure: @escaping (inout Configuration, WireOrigin) throws -> Void = { _, _ in },
    _ body: (WireOrigin, TestProxy) throws -> Void
  ) throws {
    try wire(
      configure: { configuration, origin in
        configuration.auth.file = "users"
        configuration.auth.users = try Self.users([("alice", "open:sesame"), ("bob", "builder")])
        try configure(&configuration, origin)
      }, body)
  }

  @Test("a proxy request without credentials is asked for them, and served with them")
  func asks() throws {
    try guarded { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let answer = try client.expectError(407, "asks for a name and a password")
      #expect(answer["Proxy-Authenticate"] == "Basic realm=\"Holdfast\", charset=\"UTF-8\"")
      #expect(answer["WWW-Authenticate"] == nil)
      // The same connection goes on.
      try client.get(origin.url("/"), "Proxy-Authorization: \(Self.alice)")
      let request = try origin.serve(200, fresh, "in")
      #expect(request.head["Proxy-Authorization"] == nil)
      #expect(request.head["Authorization"] == nil)
      try client.expectResponse(200, content: "in")
      try proxy.expectStored()
      // A hit is checked like everything else.
      try client.get(origin.url("/")).expectError(407, "")
      try client.get(origin.url("/"), "Proxy-Authorization: \(Self.bob)")
      try client.expectResponse(200, content: "in")
      try client.get(origin.url("/"), "Proxy-Authorization: \(Self.alice)")
      try client.expectResponse(200, content: "in")
      try origin.expectNothingElse()
    }
  }

  @Test(
    "what is not a known name with its password is refused",
    arguments: [
      "Basic " + Data("alice:open".utf8).base64EncodedString(),
      "Basic " + Data("alice:".utf8).base64EncodedString(),
      "Basic " + Data("mallory:open:sesame".utf8).base64EncodedString(),
      "Basic " + Data("Alice:open:sesame".utf8).base64EncodedString(),
      "Basic " + Data("alice".utf8).base64EncodedString(), "Basic", "Basic ====", "Basic a b",
      "Bearer abc", "Digest username=\"alice\"", "", "Basic \(String(repeating: "A", count: 2000))",
    ])
  func refuses(credentials: String) throws {
    try guarded { origin, proxy in
      let client = try proxy.connect()
      for _ in 0..<2 {
        try client.get(origin.url("/"), "Proxy-Authorization: \(credentials)")
        let answer = try client.expectError(407, "")
        #expect(answer["Proxy-Authenticate"] != nil)
        #expect(!answer.text.contains("sesame"))
      }
      try client.get(
        origin.url("/"), "Proxy-Authorization: \(Self.alice)", "Proxy-Authorization: \(Self.alice)")
      try client.expectError(407, "")
      try origin.expectNothingElse()
    }
  }

  @Test("a path on our own address is asked by 401, and its Authorization goes no further")
  func mirrors() throws {
    try guarded { configuration, origin in
      let url = try OriginURL(reading: origin.url("/pool/"))
      configuration.mirrors = Mirrors([Mirror(name: "debian", url: url)])
    } _: { origin, proxy in
      for (path, target) in [("/debian/a", "/pool/a"), ("/\(origin.authority)/b", "/b")] {
        let client = try proxy.connect().get(path)
        let answer = try client.expectError(401, "asks for a name and a password")
        #expect(answer["WWW-Authenticate"] == "Basic realm=\"Holdfast\", charset=\"UTF-8\"")
        #expect(answer["Proxy-Authenticate"] == nil)
        try client.get(path, "Authorization: \(Self.alice)")
        let connection = try origin.accept()
        let request = try connection.expectRequest("GET \(target) HTTP/1.1")
        #expect(request.head["Authorization"] == nil)
        try connection.respond(200, fresh + ["Connection: close"], "a")
        try client.expectResponse(200, content: "a")
        try proxy.expectStored()
        // Shared, since it was not asked for with anybody's credentials.
        try proxy.connect().get(path, "Authorization: \(Self.bob)").expectResponse(
          200, content: "a")
        // Credentials for us in one field leave the other to the origin, where the operator named it.
        try client.get(path, "Proxy-Authorization: \(Self.alice)", "Authorization: Bearer x")
        try client.expectResponse(200, content: "a")
        try client.get("\(path)2", "Proxy-Authorization: \(Self.alice)", "Authorization: Bearer x")
        let own = try origin.accept()
        let isNamed = path.hasPrefix("/debian/")
        #expect(
          try own.expectRequest().head["Authorization"] == (isNamed ? "Bearer x" : nil))
        try own.respond(200, ["Connection: close"], "mine")
        try client.expectResponse(200, content: "mine")
      }
    }
  }

  @Test("a tunnel is opened for those who may, and for nobody else")
  func tunnels() throws {
    try guarded { origin, proxy in
      let stranger = try proxy.connect()
      try stranger.send("CONNECT \(origin.authority) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n")
      try stranger.expectError(407, "", closes: true)
      let client = try proxy.connect()
      try client.send(
        "CONNECT \(origin.authority) HTTP/1.1\r\nHost: \(origin.authority)\r\n"
          + "Proxy-Authorization: \(Self.alice)\r\n\r\nearly")
      let far = try origin.accept()
      try far.expectBytes("early")
      try client.expectBytes("HTTP/1.1 200 Connection established\r\n\r\n")
      client.close()
      try far.expectEnd()
      try origin.expectNothingElse()
    }
  }

  @Test("a listener for one origin leaves Authorization to that origin")
  func reverse() throws {
    try guarded { configuration, origin in
      configuration.listeners = [
        ListenerSettings(
          address: .loopback(port: 0), origin: try OriginURL(reading: origin.url("/")))
      ]
    } _: { origin, proxy in
      let client = try proxy.connect().get("/", "Authorization: Bearer x")
      #expect(try origin.serve(200, [], "a").head["Authorization"] == "Bearer x")
      try client.expectResponse(200, content: "a")
    }
  }

  @Test("many requests with the same credentials cost one check, whatever they come in")
  func once() throws {
    try guarded { origin, proxy in
      let first = try proxy.connect().get(origin.url("/"), "Proxy-Authorization: \(Self.alice)")
      try origin.serve(200, fresh, "a")
      try first.expectResponse(200, content: "a")
      try proxy.expectStored()
      // Pipelined behind one another, with a stranger's in between; the order is kept.
      let client = try proxy.connect()
      for credentials in [Self.alice, Self.bob, "Basic eDp5", Self.bob, Self.alice] {
        try client.get(origin.url("/"), "Proxy-Authorization: \(credentials)")
      }
      for status in [200, 200, 407, 200, 200] { try client.expectResponse(status) }
      for _ in 0..<20 {
        let other = try proxy.connect()
        try other.get(origin.url("/"), "Proxy-Authorization: \(Self.bob)").expectResponse(200)
        other.close()
      }
      #expect(proxy.server.passwordChecks == 3)
    }
  }

  @Test(
    "a request that comes in pieces while its credentials are checked is answered once, and whole")
  func pieces() throws {
    try guarded { origin, proxy in
      let client = try proxy.connect()
      let request =
        "POST \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n"
        + "Proxy-Authorization: \(Self.alice)\r\nContent-Length: 10\r\n\r\n01234"
      for byte in request.utf8 { try client.send([byte]) }
      try client.send("56789")
      #expect(try origin.serve(200, [], "done").content == Array("0123456789".utf8))
      try client.expectResponse(200, content: "done")
    }
  }

  @Test("a client that leaves while its password is checked leaves nothing behind")
  func leaves() throws {
    try guarded { origin, proxy in
      for number in 0..<10 {
        let credentials = Data("alice:\(number)".utf8).base64EncodedString()
        let client = try proxy.connect()
        try client.get(origin.url("/"), "Proxy-Authorization: Basic \(credentials)")
        client.abort()
      }
      try proxy.expectQuiet()
    }
  }

  @Test("a reload brings other users, also to connections that are open")
  func reload() throws {
    try guarded { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"), "Proxy-Authorization: \(Self.alice)")
      try origin.serve(200, fresh, "a")
      try client.expectResponse(200)
      try proxy.expectStored()
      let only = try Self.users([("bob", "builder")])
      proxy.reload { $0.auth.users = only }
      try client.get(origin.url("/"), "Proxy-Authorization: \(Self.alice)").expectError(
        407, "wrong")
      try client.get(origin.url("/"), "Proxy-Authorization: \(Self.bob)").expectResponse(200)
      proxy.reload { $0.auth.file = nil }
      try proxy.script.wait("the proxy", for: "the new settings", .here(#fileID, #line)) {
        (try? client.get(origin.url("/")).expectAnyResponse().status) == 200
      }
    }
  }

  @Test("the log has the name of who asked, and never a password")
  func log() throws {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-log-")
    defer { try? File.removeTree(directory) }
    for format in LogFormat.allCases {
      let path = "\(directory)/\(format.rawValue).log"
      try guarded { configuration, _ in
        configuration.log.access = .file(path)
        configuration.log.format = format
      } _: { origin, proxy in
        let client = try proxy.connect().get(origin.url("/"), "Proxy-Authorization: \(Self.alice)")
        try origin.serve(200, fresh, "a")
        try client.expectResponse(200)
        try proxy.expectStored()
        try client.get(origin.url("/"), "Proxy-Authorization: \(Self.alice)").expectResponse(200)
        try client.get(origin.url("/"), "Proxy-Authorization: Basic eDp5").expectError(407, "")
        client.close()
        proxy.server.stop()
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        let mark = format == .text ? " user=alice" : "\"user.name\":\"alice\""
        #expect(lines.map { $0.contains(mark) } == [true, true, false], "\(lines)")
        #expect(!lines.contains { $0.contains("sesame") || $0.contains("YWxpY2U") })
      }
    }
  }
}
