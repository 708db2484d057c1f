// Which request fields stay behind when the store is filled, and which make a request its client's own.

import HTTP
import Testing

@testable import Proxy

@Suite struct UnkeyedFieldsTests {
  private func isLeftBehind(_ name: String) -> Bool {
    UnkeyedFields.isLeftBehind(FieldName(name), ArraySlice(name.utf8))
  }

  @Test(
    "names from which origins make answers are known in any case, and by their beginning",
    arguments: [
      "Forwarded", "X-Forwarded-For", "x-forwarded-host", "X-FORWARDED-NEW", "X-Original-URL",
      "x-rewrite-url", "X-HTTP-Method-Override", "X-Host", "Client-IP", "True-Client-Ip", "Origin",
      "Referer",
    ])
  func leftBehind(name: String) {
    #expect(isLeftBehind(name))
  }

  @Test(
    "what package clients say about themselves and what they want goes along",
    arguments: [
      "Accept", "Accept-Encoding", "User-Agent", "Authorization", "X-Forwarded-", "X-Originally",
      "npm-command", "X-Hf", "X-Spack-User", "X-Pip", "Git-Protocol", "X-Checksum-Sha1", "Cookie",
    ])
  func goesAlong(name: String) {
    #expect(!isLeftBehind(name))
  }

  @Test("a cookie or a token makes a request its client's own; Authorization has rules of its own")
  func personal() {
    for name in ["Cookie", "private-token", "JOB-TOKEN", "X-JFrog-Art-Api", "x-api-key"] {
      var fields = FieldSection()
      fields.append(named: name, "x")
      #expect(UnkeyedFields.areInside(fields), "\(name)")
    }
    #expect(!UnkeyedFields.areInside(["Authorization": "Basic x", "Accept": "*/*", "X-Mine": "1"]))
  }

  @Test(
    "a fill goes without part, condition, expectation and unkeyed fields; a relay with all of them")
  func forwarded() throws {
    let via = try #require(Via(pseudonym: "here"))
    let fields: FieldSection = [
      "Range": "bytes=0-1", "If-None-Match": "\"a\"", "X-Forwarded-For": "192.0.2.1",
      "Referer": "a", "Accept": "text/plain",
    ]
    func head(_ request: OriginRequest) -> String { String(decoding: request.head, as: UTF8.self) }
    let client = try request(.get, fields)
    let fill = head(Forwarding.fillRequest(client, validating: nil, via: via))
    #expect(
      fill == "GET /a HTTP/1.1\r\nHost: origin.test\r\nAccept: text/plain\r\nVia: 1.1 here\r\n\r\n")
    let allowed = head(
      Forwarding.fillRequest(
        client, validating: nil, via: via, forwarding: [Array("referer".utf8)]))
    #expect(allowed.contains("Referer: a\r\n") && !allowed.contains("X-Forwarded-For"))
    let relay = head(Forwarding.relayedRequest(client, via: via))
    for slot in 0..<fields.count {
      let name = String(decoding: fields.name(at: slot), as: UTF8.self)
      #expect(relay.contains("\r\n\(name): "))
    }
  }
}
