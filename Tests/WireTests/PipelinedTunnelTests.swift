// CONNECT in one piece with what comes before and behind it, all of it said at once, end included: whatever the
// requests before it have to wait for, everything arrives once and in order.

import Configuration
import Foundation
import Platform
import Support
import Testing

@Suite struct PipelinedTunnelTests {
  enum Before: CaseIterable, Sendable { case nothing, hits, miss, upload, error }

  enum Setting: CaseIterable, Sendable {
    case plain, rated, guarded, ratedAndGuarded

    var isRated: Bool { self == .rated || self == .ratedAndGuarded }
    var isGuarded: Bool { self == .guarded || self == .ratedAndGuarded }
  }

  private static let content = String(repeating: "a", count: 4096)
  private static let credentials = Data("alice:open:sesame".utf8).base64EncodedString()

  private func configure(_ configuration: inout Configuration, _ setting: Setting) throws {
    if setting.isRated { configuration.rate.connection = .perSecond(.kib(128)) }
    if setting.isGuarded {
      let hash = try #require(PasswordHash(of: Array("open:sesame".utf8), cost: .trifling))
      configuration.auth.file = "users"
      configuration.auth.users = PasswordTable.read("alice:\(hash.text)").table
    }
  }

  private func head(_ line: String, _ origin: WireOrigin, _ setting: Setting, _ more: String = "")
    -> String
  {
    "\(line) HTTP/1.1\r\nHost: \(origin.authority)\r\n\(more)"
      + (setting.isGuarded ? "Proxy-Authorization: Basic \(Self.credentials)\r\n" : "") + "\r\n"
  }

  @Test(
    "everything is answered in order, and the tunnel has what comes behind it, end included",
    arguments: Before.allCases, Setting.allCases)
  func order(before: Before, setting: Setting) throws {
    try wire(configure: { configuration, _ in try configure(&configuration, setting) }) {
      origin, proxy in
      if before == .hits {
        let warm = try proxy.connect().send(head("GET \(origin.url("/"))", origin, setting))
        try origin.serve(200, ["Cache-Control: max-age=600"], Self.content)
        try warm.expectResponse(200)
        try proxy.expectStored()
      }
      let first: String =
        switch before {
        case .nothing: ""
        case .hits:
          String(repeating: head("GET \(origin.url("/"))", origin, setting), count: 10)
        case .miss: head("GET \(origin.url("/"))", origin, setting)
        case .upload:
          head("POST \(origin.url("/"))", origin, setting, "Content-Length: 7\r\n") + "content"
        case .error: head("GET /nowhere", origin, setting)
        }
      let client = try proxy.connect()
      try client.send(first + head("CONNECT \(origin.authority)", origin, setting) + "early")
      client.finish()
      switch before {
      case .nothing: break
      case .hits: for _ in 0..<10 { try client.expectResponse(200, content: Self.content) }
      case .miss:
        try origin.serve(200, [], Self.content)
        try client.expectResponse(200, content: Self.content)
      case .upload:
        #expect(try origin.serve(200, [], Self.content).content == Array("content".utf8))
        try client.expectResponse(200, content: Self.content)
      case .error: try client.expectResponse(404)
      }
      let far = try origin.accept()
      try far.expectBytes("early").expectEnd()
      try client.expectBytes("HTTP/1.1 200 Connection established\r\n\r\n")
      let answer = patterned(20_000)
      let sender = try Background { try far.send(answer).finish() }
      try client.expectBytes(answer).expectEnd()
      try sender.join()
      try origin.expectNothingElse()
    }
  }

  @Test("a drain that begins while a tunnel waits behind answers cuts nothing that was begun")
  func drain() throws {
    try wire(configure: { configuration, _ in
      configuration.rate.connection = .perSecond(.kib(64))
    }) { origin, proxy in
      let warm = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, ["Cache-Control: max-age=600"], Self.content)
      try warm.expectResponse(200)
      try proxy.expectStored()
      let client = try proxy.connect()
      try client.send(
        String(repeating: head("GET \(origin.url("/"))", origin, .plain), count: 5)
          + head("CONNECT \(origin.authority)", origin, .plain))
      try client.expectResponse(200, content: Self.content)
      proxy.server.drain()
      for _ in 0..<4 { try client.expectResponse(200, content: Self.content) }
      // Each of the answers was made before the drain, and none says that it is the last.
      let far = try origin.accept()
      try client.expectBytes("HTTP/1.1 200 Connection established\r\n\r\n")
      try client.send("through")
      try far.expectBytes("through")
      client.close()
      try far.expectEnd()
      far.close()
      try proxy.script.wait("the proxy", for: "being drained", .here(#fileID, #line)) {
        proxy.server.isDrained
      }
    }
  }
}
