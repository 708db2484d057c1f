// Reloading, draining and stopping while clients are connected; starting again on the same store.

import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite struct LifecycleTests {
  private let fresh = ["Cache-Control: max-age=600"]

  @Test("a reload changes what connections that are open may ask for")
  func reload() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.get("/debian/a").expectError(404, "no mirror is configured")
      let mirror = Mirror(name: "debian", url: try OriginURL(reading: origin.url("/pool/")))
      proxy.reload { $0.mirrors = Mirrors([mirror]) }
      // A path that climbs is 400 below a mirror and 404 elsewhere.
      try proxy.script.wait("the proxy", for: "the new settings", .here(#fileID, #line)) {
        (try? client.get("/debian/../x").expectAnyResponse().status) == 400
      }
      try client.get("/debian/x")
      try origin.serve(200, fresh, "x")
      try client.expectResponse(200, content: "x")
    }
  }

  @Test("a reload does not touch answers under way")
  func reloadKeepsAnswers() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, fresh + ["Content-Length: 8"]).send("half")
      try client.expectHead(200)
      try client.expectContent("half")
      proxy.reload { configuration in configuration.destinations.allow = [] }
      // The worker has taken the new settings once it refuses by them.
      let other = try proxy.connect()
      try proxy.script.wait("the proxy", for: "the new settings", .here(#fileID, #line)) {
        (try? other.get("http://elsewhere.test:1/").expectAnyResponse().status) == 403
      }
      try upstream.send("half")
      try client.expectContent("half")
      try client.get(origin.url("/new")).expectError(403, "may not be reached")
    }
  }

  @Test("a reload says which settings take a restart")
  func reloadReports() throws {
    try wire { origin, proxy in
      #expect(proxy.reload { $0.limits.fields = 50 } == [])
      #expect(
        proxy.reload {
          $0.threads = .fixed(3)
          $0.store.size = .gib(1)
          $0.admin = .loopback(port: 1)
        } == ["admin", "threads", "store.size"])
      // Compared with what runs, not with what was read last: it takes a restart still.
      #expect(proxy.reload { $0.limits.fields = 60 } == ["admin", "threads", "store.size"])
      // Of the admin listener, only where it listens.
      #expect(
        proxy.reload {
          $0.threads = .fixed(1)
          $0.store.size = .mib(256)
          $0.admin = nil
        } == [])
    }
  }

  @Test("a drain lets idle connections go and busy ones finish")
  func drain() throws {
    try wire { origin, proxy in
      let idle = try proxy.connect()
      let used = try proxy.connect().get(origin.url("/nothing"))
      try origin.serve(200, fresh + ["Connection: close"], "stored")
      try used.expectResponse(200)
      let busy = try proxy.connect().get(origin.url("/a")).get(origin.url("/b"))
      let upstream = try origin.accept()
      try upstream.expectRequest("GET /a HTTP/1.1")
      let waiting = try proxy.connect().get(origin.url("/a"))
      try proxy.expect("all four") { $0.value(.connectionsOpen, .downstream) == 4 }
      proxy.server.drain()
      try idle.expectEnd()
      try used.expectEnd()
      #expect(!proxy.server.isDrained)
      try upstream.respond(200, fresh, "last")
      for client in [busy, waiting] {
        try client.expectResponse(200, ["Connection": "close"], content: "last")
        try client.expectEnd()
        client.close()
      }
      try proxy.script.wait("the proxy", for: "being drained", .here(#fileID, #line)) {
        proxy.server.isDrained
      }
      try proxy.connect().expectReset()
    }
  }

  @Test("a proxy with nobody connected is drained at once, with any number of workers")
  func drainEmpty() throws {
    try wire(configure: { configuration, _ in configuration.threads = .fixed(3) }) {
      origin, proxy in
      #expect(!proxy.server.isDrained)
      proxy.server.drain()
      try proxy.script.wait("the proxy", for: "being drained", .here(#fileID, #line)) {
        proxy.server.isDrained
      }
    }
  }

  @Test("a worker whose connections were all idle does not speak for the others")
  func drainCountsWorkers() throws {
    try wire(configure: { configuration, _ in configuration.threads = .fixed(2) }) {
      origin, proxy in
      let busy = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      // Enough that each worker has some.
      let idle = try (0..<16).map { _ in try proxy.connect() }
      try proxy.expect("all to be connected") { $0.value(.connectionsOpen, .downstream) == 17 }
      proxy.server.drain()
      for client in idle { try client.expectEnd() }
      try proxy.expect("one to be left") { $0.value(.connectionsOpen, .downstream) == 1 }
      // The other worker has had its say once it refuses connections, as all do then.
      try proxy.connect().expectReset()
      #expect(!proxy.server.isDrained)
      try upstream.respond(200, fresh, "last")
      try busy.expectResponse(200, ["Connection": "close"], content: "last")
    }
  }

  @Test("a drain waits for tunnels, also for those that are not open yet")
  func drainTunnel() throws {
    let gate = Monitor(false)
    func open() {
      gate.withLock { $0 = true }
      gate.wakeAll()
    }
    try wire(lookup: { _ in
      _ = gate.wait { $0 ? true : nil }
      return .success([.loopbackV4])
    }) { origin, proxy in
      defer { open() }
      let client = try proxy.connect().request("CONNECT", origin.authority)
      try proxy.expect("the request") { $0.value(.downstreamReceived) > 0 }
      proxy.server.drain()
      open()
      let upstream = try origin.accept()
      try client.expectHead(200, isHead: true)
      #expect(!proxy.server.isDrained)
      try client.send("through")
      try upstream.expectBytes("through")
      #expect(!proxy.server.isDrained)
      client.finish()
      upstream.finish()
      try client.expectEnd()
      try proxy.script.wait("the proxy", for: "being drained", .here(#fileID, #line)) {
        proxy.server.isDrained
      }
    }
  }

  @Test("a stop cuts what is under way, so that nobody takes it for whole")
  func stop() throws {
    try wire { origin, proxy in
      let half = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, fresh + ["Content-Length: 100000"])
      try upstream.send([UInt8](repeating: 0x61, count: 50_000))
      try half.expectHead(200)
      try half.expectContent(50_000)
      let tunnel = try proxy.connect().request("CONNECT", origin.authority)
      let far = try origin.accept()
      try tunnel.expectHead(200, isHead: true)
      let old = try proxy.connect()
      try old.send("GET \(origin.url("/")) HTTP/1.0\r\nHost: a\r\n\r\n")
      try old.expectHead(200)
      try old.expectContent(50_000)

      try proxy.restart()
      try half.expectIncomplete()
      try old.expectIncomplete()
      try tunnel.expectReset()
      try far.expectReset()
      // Half an answer is not served by whoever comes next.
      let again = try proxy.connect().get(origin.url("/"))
      origin.closeConnections()
      try origin.serve(200, fresh, "whole")
      try again.expectResponse(200, content: "whole")
    }
  }

  @Test("IPv6 clients are served, on a listener of their own")
  func listenerIPv6() throws {
    try wire(configure: { configuration, _ in
      configuration.listeners.append(ListenerSettings(address: SocketAddress(.loopbackV6, port: 0)))
    }) { origin, proxy in
      let client = try proxy.connect(listener: 1).get(origin.url("/"))
      try origin.serve(200, fresh, "six")
      try client.expectResponse(200, content: "six")
      try proxy.connect().get(origin.url("/")).expectResponse(200, content: "six")
    }
  }

  @Test(
    "the access log tells each request once, with what became of it", arguments: LogFormat.allCases)
  func accessLog(format: LogFormat) throws {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-log-")
    defer { try? File.removeTree(directory) }
    let path = directory + "/access.log"
    try wire(configure: { configuration, _ in
      configuration.log.access = .file(path)
      configuration.log.format = format
    }) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/a"))
      try origin.serve(200, fresh, "content")
      try client.expectResponse(200)
      try client.get(origin.url("/a")).expectResponse(200)
      try client.get("/nowhere").expectResponse(404)
      try client.send("GET /\"\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n").expectAnyResponse()
      try proxy.expectQuiet()
      proxy.server.stop()
      let file = try File.open(path, [.read])
      let size = Int(try File.status(file.rawValue).size)
      var bytes = [UInt8](repeating: 0, count: size)
      let count = try bytes.withUnsafeMutableBytes {
        try File.readFully(file.rawValue, into: $0, at: 0)
      }
      let text = String(decoding: bytes[..<count], as: UTF8.self)
      let lines = text.split(separator: "\n")
      #expect(lines.count == 4, "\(text)")
      guard lines.count == 4 else { return }
      switch format {
      case .text:
        #expect(lines[0].contains(" 127.0.0.1 GET \(origin.url("/a")) 200 miss "))
        #expect(lines[1].contains(" 127.0.0.1 GET \(origin.url("/a")) 200 hit "))
        #expect(lines[2].contains(" 127.0.0.1 GET /nowhere 404 refused "))
      case .json:
        #expect(lines[0].contains("\"url.full\":\"\(origin.url("/a"))\""))
        #expect(lines[0].contains("\"cache\":\"miss\""))
        #expect(lines[1].contains("\"cache\":\"hit\""))
        #expect(lines[2].contains("\"error.type\":\"destination_not_found\""))
      }
    }
  }
}
