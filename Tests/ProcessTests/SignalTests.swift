// Signals under load: SIGHUP changes the configuration and no connection; SIGTERM lets everything begun end
// well and begins nothing new; a second one does not wait.

import Foundation
import Glibc
import Testing

extension WholeProgram {
  @Suite("Signals under load")
  struct SignalTests {
    @Test("reading the configuration again drops no connection and no answer")
    func reload() throws {
      let directory = try TemporaryDirectory()
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let store = directory.path + "/store"
      let holdfast = try HoldfastProcess(store: store)
      defer { holdfast.process.end() }
      let port = holdfast.port
      let slow = Resource(.length, 8 << 20, "slow")
      origin.hold(slow, at: 1 << 20)

      // One answer is under way during all of it, and six clients never pause.
      let download = Crew(1) { _ in try Client(port: port).get(slow, of: origin) }
      let isOver = Shared(false)
      let served = Shared([Int](repeating: 0, count: 6))
      let traffic = Crew(6) { index in
        let client = try Client(port: port)
        var number = 0
        while !isOver.withLock({ $0 }) {
          number += 1
          // Hits, and now and then a miss.
          let resource =
            number % 10 == 0
            ? Resource(.chunked, 30_000, "c\(index)-\(number)")
            : Resource(.length, 2000, "h\(index)")
          let answer = try client.get(resource, of: origin)
          guard answer.isRight(resource) else { throw Failure("\(resource): \(answer)") }
          served.withLock { $0[index] += 1 }
        }
      }
      var configuration = HoldfastProcess.Configuration()
      for round in 1...8 {
        configuration.clients = round % 2 == 1 ? "[127.0.0.0/8, 10.0.0.0/8]" : "[127.0.0.0/8]"
        try configuration.text.write(toFile: store + ".yaml", atomically: true, encoding: .utf8)
        holdfast.process.signal(SIGHUP)
        try holdfast.process.wait(for: "reload \(round)") { lines in
          lines.count { $0.contains("configuration read again") } >= round ? () : nil
        }
        // Everybody has been answered under the new configuration.
        let before = served.withLock { $0 }
        try served.wait(for: "traffic after reload \(round)") { served in
          zip(served, before).allSatisfy { $0 > $1 + 1 } || traffic.isFinished ? () : nil
        }
      }
      // A mistake in the file changes nothing.
      try "clients: nonsense\n".write(toFile: store + ".yaml", atomically: true, encoding: .utf8)
      holdfast.process.signal(SIGHUP)
      try holdfast.process.wait(for: "a refusal") { lines in
        lines.contains { $0.contains("stays as it was") } ? () : nil
      }
      isOver.withLock { $0 = true }
      for result in traffic.results() {
        #expect(throws: Never.self) { try result.get() }
      }
      origin.letGo(slow, at: 1 << 20)
      #expect(try download.results()[0].get().isRight(slow))
    }

    @Test(
      "SIGTERM finishes what is begun, refuses what is new, ends with 0, and leaves a store that serves"
    )
    func drain() throws {
      let directory = try TemporaryDirectory()
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let store = directory.path + "/store"
      let holdfast = try HoldfastProcess(store: store)
      defer { holdfast.process.end() }
      let port = holdfast.port
      let kept = Resource(.length, 3000, "kept")
      #expect(try Client(port: port).get(kept, of: origin).isRight(kept))

      // Under way: bodies in every framing, and a request that has no answer yet.
      let begun = [
        Resource(.length, 4 << 20, "begun"), Resource(.chunked, 2 << 20, "begun"),
        Resource(.close, 1 << 20, "begun"), Resource(.length, 500_000, "unanswered"),
      ]
      for resource in begun[..<3] { origin.hold(resource, at: resource.size / 2) }
      origin.hold(begun[3])
      let idle = try Client(port: port)
      #expect(try idle.get(kept, of: origin).isRight(kept))
      let hasBegun = Shared(0)
      let downloads = Crew(begun.count) { index in
        let client = try Client(port: port)
        try client.ask(begun[index], of: origin)
        if index == 3 { hasBegun.withLock { $0 += 1 } }
        let head = try client.readHead()
        var answer = Answer(head: head)
        let content = begun[index].content
        answer.isComplete = try client.readContent(head) { bytes, offset in
          if offset == 0, index < 3 { hasBegun.withLock { $0 += 1 } }
          answer.received += bytes.count
          answer.difference = answer.difference ?? content.difference(bytes, at: offset)
        }
        return answer
      }
      try hasBegun.wait(for: "all to have begun") { $0 == begun.count ? () : nil }
      try poll("all requests at the origin") { begun.allSatisfy { origin.requestCount($0) == 1 } }

      holdfast.process.signal(SIGTERM)
      #expect(try idle.isAtEnd(), "an idle connection ends at once")
      try poll("refusal of new connections") { (try? Client(port: port)) == nil }
      #expect(try holdfast.readiness() == 503)
      #expect(holdfast.process.ending == nil)
      for resource in begun[..<3] { origin.letGo(resource, at: resource.size / 2) }
      origin.letGo(begun[3])
      for (resource, result) in zip(begun, downloads.results()) {
        let answer = try result.get()
        #expect(answer.isRight(resource), "\(resource): \(answer)")
      }
      #expect(try holdfast.process.waitForEnd() == .exited(0))

      origin.setReachable(false)
      let again = try HoldfastProcess(store: store)
      defer { again.process.end() }
      try again.waitUntilRecovered()
      for resource in begun + [kept] {
        let answer = try Client(port: again.port).get(resource, of: origin)
        #expect(answer.isRight(resource) && answer.head.isHit, "\(resource): \(answer)")
      }
    }

    @Test("a second SIGTERM ends at once, and what it cuts cannot be taken for whole")
    func second() throws {
      let directory = try TemporaryDirectory()
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let store = directory.path + "/store"
      var configuration = HoldfastProcess.Configuration()
      configuration.logAccess = directory.path + "/access.log"
      configuration.resets = directory.path + "/resets.jsonl"
      let holdfast = try HoldfastProcess(store: store, configuration: configuration)
      defer { holdfast.process.end() }
      let port = holdfast.port
      let kept = Resource(.length, 3000, "kept")
      #expect(try Client(port: port).get(kept, of: origin).isRight(kept))
      let begun = [Resource(.length, 2 << 20, "begun"), Resource(.chunked, 2 << 20, "begun")]
      for resource in begun { origin.hold(resource, at: 1 << 20) }
      let hasBegun = Shared(0)
      let downloads = Crew(begun.count) { index in
        let client = try Client(port: port)
        try client.ask(begun[index], of: origin)
        let head = try client.readHead()
        hasBegun.withLock { $0 += 1 }
        return try client.readContent(head) { _, _ in }
      }
      try hasBegun.wait(for: "all to have begun") { $0 == begun.count ? () : nil }
      holdfast.process.signal(SIGTERM)
      try holdfast.process.wait(for: "the drain") { lines in
        lines.contains { $0.contains("finishing what is begun") } ? () : nil
      }
      #expect(holdfast.process.ending == nil)
      holdfast.process.signal(SIGTERM)
      #expect(try holdfast.process.waitForEnd(seconds: 20) == .exited(0))
      for result in downloads.results() { #expect(try result.get() == false) }
      // Nobody has to guess why.
      let log = try String(contentsOfFile: configuration.logAccess, encoding: .utf8)
      #expect(log.split(separator: "\n").count { $0.contains(" shutdown record=") } == 2)
      let records = try String(contentsOfFile: configuration.resets, encoding: .utf8)
        .split(separator: "\n").filter { $0.contains("\"stage\":\"final\"") }
      #expect(records.count == 2, "\(records)")
      #expect(records.allSatisfy { $0.contains("proxy-aborted") })

      #expect(try HoldfastProcess.verify(store: store).code == 0)
      origin.setReachable(false)
      let again = try HoldfastProcess(store: store)
      defer { again.process.end() }
      try again.waitUntilRecovered()
      #expect(HoldfastProcess.strays(store: store).isEmpty)
      #expect(try Client(port: again.port).get(kept, of: origin).isRight(kept))
      for resource in begun {
        #expect(try Client(port: again.port).get(resource, of: origin).status >= 500)
      }
    }
  }
}
