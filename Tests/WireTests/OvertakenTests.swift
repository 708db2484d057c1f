// What is fetched while the resource changes under it: the answer is for those who waited, and for nobody else.

import Configuration
import HTTP
import Platform
import Storage
import Support
import Telemetry
import Testing

@Suite struct OvertakenTests {
  private let fresh = ["Cache-Control: max-age=600", "ETag: \"old\""]

  /// What happens to the resource in the middle of the fetch.
  enum Change: CaseIterable, Sendable {
    case delete, putElsewhere, purge, purgePrefix

    func happen(_ origin: WireOrigin, _ proxy: TestProxy) throws {
      let store = proxy.server.store
      switch self {
      case .delete:
        let client = try proxy.connect().request("DELETE", origin.url("/a"))
        try origin.serve(204, ["Connection: close"])
        try client.expectResponse(204)
      case .putElsewhere:
        let client = try proxy.connect().request("POST", origin.url("/form"))
        try origin.serve(303, ["Location: /a", "Connection: close"])
        try client.expectResponse(303)
      case .purge:
        try store.purge(.exact(Array(origin.url("/a").utf8)))
      case .purgePrefix:
        try store.purge(.prefix(Array(origin.url("/").utf8)))
      }
    }
  }

  @Test(
    "an answer that began before the change is not stored",
    arguments: Change.allCases, [100, 100_000])
  func fill(change: Change, size: Int) throws {
    try wire { origin, proxy in
      let old = String(repeating: "o", count: size)
      let first = try proxy.connect().get(origin.url("/a"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, fresh + ["Content-Length: \(size)"])
      try upstream.send(String(old.dropLast()))
      try first.expectHead(200)
      try change.happen(origin, proxy)

      // Who comes now starts anew, though the first fetch still runs.
      let second = try proxy.connect().get(origin.url("/a"))
      try origin.serve(200, ["Cache-Control: max-age=600", "Connection: close"], "new")
      try second.expectResponse(200, content: "new")

      try upstream.send("o")
      upstream.close()
      #expect(try first.expectRest() == Array(old.utf8))
      try proxy.expectStored()
      try proxy.connect().get(origin.url("/a")).expectResponse(200, content: "new")
      try origin.expectNothingElse()
    }
  }

  @Test(
    "a 304 from before the change does not bring back what was removed", arguments: Change.allCases)
  func confirmation(change: Change) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/a"))
      try origin.serve(
        200, ["Cache-Control: max-age=0", "ETag: \"old\"", "Connection: close"], "old")
      try client.expectResponse(200)
      try proxy.expectStored()
      try client.get(origin.url("/a"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try change.happen(origin, proxy)
      try upstream.send(head: 304, fresh + ["Connection: close"])
      try client.expectResponse(200, content: "old")
      try proxy.expectStored()
      try client.get(origin.url("/a"))
      #expect(try origin.serve(200, fresh, "new")["If-None-Match"] == nil)
      try client.expectResponse(200, content: "new")
    }
  }

  @Test("an unsafe request removes all variants")
  func variants() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      for round in ["before", "after"] {
        for language in ["de", "en", "fr"] {
          try client.get(origin.url("/a"), "Accept-Language: \(language)")
          try origin.serve(
            200, fresh + ["Vary: Accept-Language", "Connection: close"], "\(language) \(round)")
          try client.expectResponse(200, content: "\(language) \(round)")
          try proxy.expectStored()
        }
        if round == "before" { try Change.delete.happen(origin, proxy) }
      }
    }
  }

  @Test("an unsafe request that fails removes nothing", arguments: [400, 404, 500, 503])
  func failed(status: Int) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/a"))
      try origin.serve(200, fresh + ["Connection: close"], "still there")
      try client.expectResponse(200)
      try client.request("DELETE", origin.url("/a"))
      try origin.serve(status, ["Connection: close"], "no")
      try client.expectResponse(status)
      try client.get(origin.url("/a")).expectResponse(200, content: "still there")
    }
  }
}
