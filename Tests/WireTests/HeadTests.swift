// HEAD: answered from what GET stored, else relayed, and what its answer says about what is stored.

import Support
import Testing

@Suite struct HeadTests {
  private let stale = [
    "Cache-Control: max-age=0", "ETag: \"v\"", "Last-Modified: Mon, 02 Mar 2026 10:11:12 GMT",
  ]

  private func store(_ origin: WireOrigin, _ proxy: TestProxy, _ fields: [String]) throws {
    let client = try proxy.connect().get(origin.url("/"))
    try origin.serve(200, fields + ["Connection: close"], "content")
    try client.expectResponse(200, content: "content")
    try proxy.expectStored()
  }

  private func head(
    _ origin: WireOrigin, _ proxy: TestProxy, _ fields: [String]
  ) throws {
    let client = try proxy.connect().request("HEAD", origin.url("/"))
    let upstream = try origin.accept()
    try upstream.expectRequest("HEAD / HTTP/1.1")
    try upstream.send(head: 200, fields + ["Connection: close"])
    try client.expectResponse(200, isHead: true)
  }

  @Test("a HEAD that finds nothing is relayed as it is and fetches nothing")
  func miss() throws {
    try wire { origin, proxy in
      for _ in 0..<2 {
        try head(origin, proxy, ["Cache-Control: max-age=600", "Content-Length: 7"])
      }
      try store(origin, proxy, ["Cache-Control: max-age=600"])
      try proxy.connect().request("HEAD", origin.url("/"))
        .expectResponse(200, ["Content-Length": "7"], isHead: true)
      try origin.expectNothingElse()
    }
  }

  @Test(
    "an answer that describes what is stored makes it fresh again, with the new fields",
    arguments: [
      ["ETag: \"v\"", "Content-Length: 7"], ["ETag: W/\"v\""],
      ["ETag: \"v\"", "Last-Modified: Mon, 02 Mar 2026 10:11:12 GMT"],
    ])
  func confirms(fields: [String]) throws {
    try wire { origin, proxy in
      try store(origin, proxy, stale + ["X-Round: 1"])
      try head(origin, proxy, fields + ["Cache-Control: max-age=600", "X-Round: 2"])
      try proxy.connect().get(origin.url("/")).expectResponse(
        200, ["X-Round": "2", "Content-Length": "7", "ETag": "\"v\""], content: "content")
      try origin.expectNothingElse()
    }
  }

  @Test(
    "one that describes something else makes it stale, to be validated",
    arguments: [["ETag: \"w\""], ["Content-Length: 8"], ["ETag: \"v\"", "Content-Length: 8"]])
  func supersedes(fields: [String]) throws {
    try wire { origin, proxy in
      try store(origin, proxy, ["Cache-Control: max-age=600", "ETag: \"v\""])
      // A fresh answer is what HEAD gets, unless the client insists.
      let client = try proxy.connect().request("HEAD", origin.url("/"), ["Cache-Control: no-cache"])
      let upstream = try origin.accept()
      try upstream.expectRequest("HEAD / HTTP/1.1")
      try upstream.send(head: 200, fields + ["Connection: close"])
      try client.expectResponse(200, isHead: true)
      try client.get(origin.url("/"))
      let request = try origin.serve(200, ["Cache-Control: max-age=600"], "other")
      #expect(request["If-None-Match"] == "\"v\"")
      try client.expectResponse(200, content: "other")
    }
  }

  @Test(
    "one that says nothing about it leaves it alone",
    arguments: [(200, ["X: y"]), (404, ["ETag: \"w\""]), (403, ["Content-Length: 1"])])
  func saysNothing(status: Int, fields: [String]) throws {
    try wire { origin, proxy in
      try store(origin, proxy, ["Cache-Control: max-age=600", "ETag: \"v\""])
      let client = try proxy.connect().request("HEAD", origin.url("/"), ["Cache-Control: no-cache"])
      let upstream = try origin.accept()
      try upstream.expectRequest("HEAD / HTTP/1.1")
      try upstream.send(head: status, fields + ["Connection: close"])
      try client.expectResponse(status, isHead: true)
      try client.get(origin.url("/")).expectResponse(200, content: "content")
      try origin.expectNothingElse()
    }
  }
}
