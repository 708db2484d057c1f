// Few descriptors, and peers that never finish: what the program does when it runs out, and that a drain ends in time
// whoever is in its way.

import Foundation
import Glibc
import Testing

extension WholeProgram {
  @Suite("Exhaustion")
  struct ExhaustionTests {
    /// Runs the rest of the words with so few descriptors, soft and hard.
    private static func withDescriptors(_ count: Int) -> [String] {
      ["/bin/sh", "-c", "ulimit -n \(count); exec \"$@\"", "sh"]
    }

    @Test("with few descriptors it says so, serves those it has, and recovers by itself")
    func descriptors() throws {
      let directory = try TemporaryDirectory()
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let holdfast = try HoldfastProcess(
        store: directory.path + "/store", wrapper: Self.withDescriptors(64))
      defer { holdfast.process.end() }
      let port = holdfast.port
      let kept = Resource(.length, 3000, "kept")
      let early = try Client(port: port)
      #expect(try early.get(kept, of: origin).isRight(kept))

      // More than there are descriptors for; all of them are in the queue before anyone is waited for.
      var clients: [Client] = []
      for _ in 0..<80 {
        let client = try Client(port: port)
        try client.ask(kept, of: origin)
        clients.append(client)
      }
      var right = 0
      var refused = 0
      for client in clients {
        let answer = try client.answer(kept)
        if answer.isRight(kept) {
          right += 1
        } else {
          #expect(answer.status == 503)
          #expect(answer.head.fields["proxy-status"]?.contains("raise its `ulimit -n`") == true)
          refused += 1
        }
      }
      #expect(right > 0 && refused > 0 && right + refused == 80)
      // Whoever got in gets all there is: connections to the origin, and files for what is fetched.
      #expect(try early.get(kept, of: origin).isRight(kept))
      for number in 0..<5 {
        let fresh = Resource(.length, 100_000, "fresh-\(number)")
        #expect(try early.get(fresh, of: origin).isRight(fresh))
      }

      clients = []
      try poll("end of the others") { try holdfast.status()["connections"] as? Int == 1 }
      for number in 0..<5 {
        let later = Resource(.chunked, 200_000, "later-\(number)")
        #expect(try Client(port: port).get(later, of: origin).isRight(later))
      }
    }

    @Test("tunnels take two descriptors each, and none from those who are being served")
    func tunnels() throws {
      let directory = try TemporaryDirectory()
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let holdfast = try HoldfastProcess(
        store: directory.path + "/store", configuration: .init(connectPorts: "[\(origin.port)]"),
        wrapper: Self.withDescriptors(64))
      defer { holdfast.process.end() }
      let early = try Client(port: holdfast.port)
      let kept = Resource(.length, 3000, "kept")
      #expect(try early.get(kept, of: origin).isRight(kept))

      var tunnels: [Client] = []
      var refused: [Client] = []
      for _ in 0..<60 {
        let client = try Client(port: holdfast.port)
        let authority = "127.0.0.1:\(origin.port)"
        try client.send("CONNECT \(authority) HTTP/1.1\r\nHost: \(authority)\r\n\r\n")
        let head = try client.readHead()
        if head.status == 200 {
          tunnels.append(client)
        } else {
          #expect(head.status == 503)
          #expect(head.fields["proxy-status"]?.contains("raise its `ulimit -n`") == true)
          refused.append(client)
        }
      }
      #expect(!tunnels.isEmpty && !refused.isEmpty)
      // There are descriptors for origins, and for files of what is fetched.
      for number in 0..<5 {
        let fresh = Resource(.length, 100_000, "fresh-\(number)")
        #expect(try early.get(fresh, of: origin).isRight(fresh))
      }
      // When tunnels end there is room for as many again.
      let count = tunnels.count
      tunnels = []
      refused = []
      try poll("end of the others") { try holdfast.status()["connections"] as? Int == 1 }
      for _ in 0..<count {
        let client = try Client(port: holdfast.port)
        let authority = "127.0.0.1:\(origin.port)"
        try client.send("CONNECT \(authority) HTTP/1.1\r\nHost: \(authority)\r\n\r\n")
        #expect(try client.readHead().status == 200)
        tunnels.append(client)
      }
    }

    @Test("a drain ends when its time is over, whoever does not read, send or answer")
    func stuckPeers() throws {
      let directory = try TemporaryDirectory()
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let store = directory.path + "/store"
      let holdfast = try HoldfastProcess(
        store: store, configuration: .init(drainTimeout: "1s"))
      defer { holdfast.process.end() }
      let port = holdfast.port
      let kept = Resource(.length, 3000, "kept")
      let large = Resource(.length, 64 << 20, "large")
      #expect(try Client(port: port).get(kept, of: origin).isRight(kept))
      #expect(try Client(port: port).get(large, of: origin).isRight(large))

      // A stored file and a growing one that nobody reads on, a request without an answer, one without its end.
      let notReading = try Client(port: port, receiveBuffer: 4096)
      try notReading.ask(large, of: origin)
      let first = try notReading.readHead()
      let growing = Resource(.length, 32 << 20, "growing")
      origin.hold(growing, at: 16 << 20)
      let halfway = try Client(port: port, receiveBuffer: 4096)
      try halfway.ask(growing, of: origin)
      let second = try halfway.readHead()
      let unanswered = Resource(.length, 1000, "unanswered")
      origin.hold(unanswered)
      let waiting = try Client(port: port)
      try waiting.ask(unanswered, of: origin)
      let unsent = Resource(.length, 1000, "unsent")
      origin.hold(unsent)
      let sending = try Client(port: port)
      try sending.send(
        "POST http://127.0.0.1:\(origin.port)\(unsent.path) HTTP/1.1\r\n"
          + "Host: 127.0.0.1:\(origin.port)\r\nContent-Length: 1000\r\n\r\nhardly any")
      try poll("all requests at the origin") {
        origin.requestCount(unanswered) == 1 && origin.requestCount(unsent) == 1
      }

      holdfast.process.signal(SIGTERM)
      #expect(try holdfast.process.waitForEnd(seconds: 60) == .exited(0))
      #expect(holdfast.process.lines.contains { $0.contains("still open; they are cut") })
      #expect(try notReading.readContent(first) { _, _ in } == false)
      #expect(try halfway.readContent(second) { _, _ in } == false)
      #expect(throws: Failure.self) { try waiting.readHead() }
      #expect(throws: Failure.self) { try sending.readHead() }
      #expect(try HoldfastProcess.verify(store: store).code == 0)
    }
  }
}
