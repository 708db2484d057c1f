// When no file can be made for an answer that has begun: those who read it get it whole all the same, from memory, and
// nothing of it is stored.

import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite struct NoFileTests {
  private let fields = ["Cache-Control: max-age=600", "Transfer-Encoding: chunked"]

  /// From here on no body finds a place.
  private func takeAwayPlace(_ proxy: TestProxy) throws {
    try File.removeTree(proxy.scratchDirectory + "/store/partial")
  }

  @Test("an answer of unknown length reaches all who read along, however large it is")
  func chunked() throws {
    try wire { origin, proxy in
      try takeAwayPlace(proxy)
      let content = patterned(5 << 20)
      let clients = try (0..<3).map { _ in try proxy.connect().get(origin.url("/")) }
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, fields)
      try upstream.sendChunk(Array(content[..<100]))
      for client in clients {
        try client.expectHead(200)
        #expect(try client.expectContent(100) == Array(content[..<100]))
      }
      let sender = try Background {
        var rest = content[100...]
        while !rest.isEmpty {
          try upstream.sendChunk(Array(rest.prefix(50_000)))
          rest = rest.dropFirst(50_000)
        }
        try upstream.sendLastChunk()
      }
      let readers = try clients.map { client in try Background { try client.expectRest() } }
      for reader in readers { #expect(try reader.join() == Array(content[100...])) }
      try sender.join()
      try proxy.expectStored()
      #expect(proxy.registry.value(.relays, .space) == 1)
      // Nothing of it is there.
      let next = try proxy.connect().get(origin.url("/"))
      try upstream.expectRequest()
      try upstream.respond(200, [], "short")
      try next.expectResponse(200, content: "short")
    }
  }

  @Test("nor does it matter when its end is there before that is known", arguments: [true, false])
  func all(breaksOff: Bool) throws {
    try wire { origin, proxy in
      try takeAwayPlace(proxy)
      let content = patterned(40_000)
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, fields)
      try upstream.sendChunk(content)
      if breaksOff { upstream.abort() } else { try upstream.sendLastChunk() }
      try client.expectHead(200)
      if breaksOff {
        // What was on its way when the connection was reset may be lost.
        let begun = try client.expectIncomplete()
        #expect(begun == Array(content[..<begun.count]))
      } else {
        #expect(try client.expectRest() == content)
      }
      try proxy.expectStored()
    }
  }

  @Test("who waits for a part of it gets that from the origin")
  func range() throws {
    try wire { origin, proxy in
      try takeAwayPlace(proxy)
      let content = patterned(100_000)
      let client = try proxy.connect().get(origin.url("/"), "Range: bytes=60000-60009")
      let first = try origin.accept()
      #expect(try first.expectRequest()["Range"] == nil)
      try first.send(head: 200, fields)
      try first.sendChunk(Array(content[..<50_000]))
      let second = try origin.accept()
      #expect(try second.expectRequest()["Range"] == "bytes=60000-60009")
      try second.send(
        head: 206, ["Content-Range: bytes 60000-60009/100000", "Content-Length: 10"])
      try second.send(Array(content[60_000..<60_010]))
      try client.expectHead(206)
      #expect(try client.expectRest() == Array(content[60_000..<60_010]))
      try first.expectGone()
    }
  }
}
