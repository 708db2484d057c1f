// `holdfast probe` through the Service of the lab: it finds what is there, and nothing after each cure.

import Foundation
import Glibc
import Platform
import Testing

@testable import Doctor
@testable import Lab
@testable import Probe

@Suite(
  "Probe: through a Service", .timeLimit(.minutes(5)),
  .enabled(if: Requirements.obstacle == nil, Program.obstacle))
struct ProbeHostTests {
  private static let services = ["10.96.0.10:80", "[fd00:10:96::a]:80"]

  /// A line of machines with a probe server at its end.
  private func withServer(
    _ fix: Fix, on topology: Topology = .behindService,
    at addresses: [String] = ["10.8.3.9:8080", "[fd00:8:3::9]:8080"],
    _ body: (Network) throws -> Void
  ) throws {
    let run = try LabRun()
    defer { run.remove() }
    let network = try Network(topology, of: run)
    try fix.apply(to: network)
    let origin = try network[.origin]
    let server = try origin.spawn(
      [try Program.path(), "probe", "server", "--for", "5m"]
        + addresses.flatMap { ["--listen", $0] })
    defer {
      server.signal(SIGKILL)
      server.wait()
    }
    try patiently("waited for the server to listen") {
      try origin.shell("ss -Hltn").split(separator: "\n").count == addresses.count
    }
    try body(network)
  }

  private func kinds(_ report: [String: Any]) -> [String: String] {
    var kinds: [String: String] = [:]
    for kind in report["kinds"] as? [[String: Any]] ?? [] {
      kinds[kind["kind"] as? String ?? ""] = kind["verdict"] as? String
    }
    return kinds
  }

  @Test("without a cure it is exposed, over IPv4 and IPv6, and both sides are told")
  func exposed() throws {
    let isLate = KernelVersion(try Shell.run("uname -r").trimmed).ignoresEarlySegments
    try withServer(.none) { network in
      for service in Self.services {
        let ran = try Program.run("probe client \(service) --json", on: try network[.proxy])
        #expect(ran.code == 3, "\(ran.output)")
        let report = try #require(ran.objects.first)
        #expect(report["translated"] as? Bool == true)
        let kinds = kinds(report)
        #expect(kinds["control"] == "safe", "\(ran.output)")
        #expect(kinds["above-window"] == "exposed", "\(ran.output)")
        #expect(kinds["below-window"] == (isLate ? "safe" : "exposed"), "\(ran.output)")
        let list = report["kinds"] as? [[String: Any]] ?? []
        let above = try #require(list.first { $0["kind"] as? String == "above-window" })
        #expect(above["client"] as? String == "stalled")
        #expect(above["strays"] as? Int ?? 0 > 0)
        let server = try #require(above["server"] as? [String: Any])
        #expect(server["socket_dead"] as? Bool == true)
        #expect(server["exact_resets"] as? Int ?? 0 > 0)
        #expect(kinds["ack-beyond"] == "strayed", "\(ran.output)")
      }
      // The client needs no privilege.
      let ran = try Program.run(
        "probe client \(Self.services[0]) --kind above-window --json", on: try network[.proxy],
        as: Program.nobody)
      #expect(ran.code == 3, "\(ran.output)")
      #expect(kinds(ran.objects.first ?? [:]) == ["control": "safe", "above-window": "exposed"])
    }
  }

  @Test(
    "after each cure nothing passes, over IPv4 and IPv6",
    arguments: Fix.allCases.filter { $0 != .none })
  func cured(fix: Fix) throws {
    try withServer(fix) { network in
      for service in Self.services {
        let ran = try Program.run("probe client \(service) --json", on: try network[.proxy])
        let report = try #require(ran.objects.first, "\(ran.output)")
        #expect(ran.code == 0, "\(ran.output)")
        let kinds = kinds(report)
        #expect(
          !kinds.isEmpty && Set(kinds.values).isSubset(of: ["safe", "strayed"]), "\(ran.output)")
        // The shield is on the client's side: what passes still passes, and does no harm.
        if fix != .shield { #expect(kinds["above-window"] == "safe", "\(ran.output)") }
      }
    }
  }

  @Test("through a Service made of nftables it finds the same")
  func nftables() throws {
    var topology = Topology.behindService
    topology.services[0].kind = .nftables
    try withServer(.none, on: topology) { network in
      for service in Self.services {
        let ran = try Program.run("probe client \(service) --json", on: try network[.proxy])
        #expect(ran.code == 3, "\(ran.output)")
        #expect(kinds(ran.objects.first ?? [:])["above-window"] == "exposed", "\(ran.output)")
      }
    }
  }

  @Test(
    "a server that is killed or frozen in the middle leaves it open, and exposes nobody",
    arguments: [SIGKILL, SIGSTOP])
  func killed(signal: Int32) throws {
    try withServer(.none) { network in
      let (proxy, origin) = (try network[.proxy], try network[.origin])
      let output = "/tmp/\(proxy.name)-output"
      defer { unlink(output) }
      let client = try proxy.spawn([
        "/bin/sh", "-c", "'\(try Program.path())' probe client \(Self.services[0]) > \(output)",
      ])
      try patiently("waited for its connections") {
        try origin.shell("ss -Htn state established sport = :8080").split(separator: "\n").count
          == 6
      }
      for process in try origin.shell("ip netns pids \(origin.name)").split(separator: "\n") {
        if let id = pid_t(process),
          try Shell.run("cat /proc/\(id)/cmdline || true").contains("probe")
        {
          kill(id, signal)
        }
      }
      let code = client.wait()
      let text = try String(contentsOfFile: output, encoding: .utf8)
      #expect(code == 1, "\(text)")
      #expect(text.contains("UNKNOWN"), "\(text)")
    }
  }

  /// A sidecar's connection to the program is from one end of loopback to another, or between addresses of the pod.
  private static let relays = [
    ("127.0.0.1:3130", "127.0.0.6:0"), ("127.0.0.1:3130", nil), ("10.8.3.9:3130", nil),
  ]

  @Test(
    "through a proxy or sidecar nothing is called safe, with a cure or without: the way to it was not tried",
    arguments: relays, [Fix.none, .beLiberal])
  func relayed(relay: (server: String, source: String?), fix: Fix) throws {
    try withServer(fix, at: [relay.server]) { network in
      let sidecar = try Relay(
        on: try network[.origin], at: try #require(SocketAddress("10.8.3.9:8080")),
        to: try #require(SocketAddress(relay.server)),
        from: relay.source.flatMap { SocketAddress($0) })
      defer { sidecar.end() }
      let ran = try Program.run(
        "probe client \(Self.services[0])", on: try network[.proxy], as: Program.nobody)
      #expect(ran.code == 1, "\(ran.output)")
      #expect(ran.output.contains("UNKNOWN"), "\(ran.output)")
      #expect(ran.output.contains("a proxy or sidecar in between"), "\(ran.output)")
    }
  }

  @Test("where neither end has timestamps a proxy could not be told, and nothing is called safe")
  func timeless() throws {
    try withServer(.beLiberal) { network in
      try network[.proxy].set("net.ipv4.tcp_timestamps", to: "0")
      let ran = try Program.run("probe client \(Self.services[0])", on: try network[.proxy])
      #expect(ran.code == 1, "\(ran.output)")
      #expect(ran.output.contains("net.ipv4.tcp_timestamps=1"), "\(ran.output)")
    }
  }

  @Test("a source that is translated is told, and is exposed as any other")
  func masqueraded() throws {
    var topology = Topology.direct
    topology.masquerades = true
    let service = "10.8.3.9:8080"
    try withServer(.none, on: topology) { network in
      let ran = try Program.run("probe client \(service) --json", on: try network[.proxy])
      #expect(ran.code == 3, "\(ran.output)")
      let report = try #require(ran.objects.first)
      #expect(report["translated"] as? Bool == true)
      #expect(report["source_translated"] as? Bool == true)
      #expect(report["destination_translated"] as? Bool == false)
    }
    try withServer(.dropInvalid, on: topology) { network in
      let ran = try Program.run("probe client \(service)", on: try network[.proxy])
      #expect(ran.code == 0, "\(ran.output)")
      #expect(!ran.output.contains("nothing is translated"), "\(ran.output)")
      #expect(ran.output.contains("nothing passes untranslated from \(service)"), "\(ran.output)")
      #expect(ran.output.contains("seen there as  10.8.3.1:"), "\(ran.output)")
    }
  }

  @Test("strays to an address that this machine itself gives its connections are counted")
  func ownMasquerade() throws {
    try withServer(.none, on: .direct) { network in
      try network[.proxy].shell(
        "iptables -t nat -A POSTROUTING -p tcp -o to-node -j SNAT --to-source 10.8.1.2")
      let ran = try Program.run("probe client 10.8.3.9:8080 --json", on: try network[.proxy])
      #expect(ran.code == 3, "\(ran.output)")
      let list = ran.objects.first?["kinds"] as? [[String: Any]] ?? []
      let above = try #require(list.first { $0["kind"] as? String == "above-window" })
      #expect(above["strays"] as? Int ?? 0 > 0, "\(ran.output)")
    }
  }

  /// What may listen where a probe server should.
  enum Stranger: CaseIterable {
    case web, silent, closing, endless, colourful, boastful, owing, painting

    func meet(_ connection: LabConnection) {
      switch self {
      case .web:
        _ = connection.sendUntilCut(
          Array("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".utf8))
      case .silent: break
      case .closing: connection.close()
      case .endless: _ = connection.sendUntilCut([UInt8](repeating: 0x61, count: 1 << 20))
      case .boastful: answer(connection, "9223372036854775807")
      case .owing: answer(connection, "-1")
      case .painting:
        _ = connection.sendUntilCut(Array("ready x 1.2.3.4:5 \u{1B}[31m\u{9B}2J\n".utf8))
      case .colourful: _ = connection.sendUntilCut(Array("\u{1B}[2Jready steady go now\n".utf8))
      }
    }

    /// All lines of a server, with a count of its choice.
    private func answer(_ connection: LabConnection, _ count: String) {
      let sighting =
        "exact-resets=\(count) other-resets=1 answers=0 socket=alive clock=same"
      _ = connection.sendUntilCut(
        Array("ready x 10.8.3.9:8080 10.8.2.1:4000\ninjecting\ndone \(sighting)\n".utf8))
    }
  }

  @Test("who is no probe server is told so, and moves no cursor", arguments: Stranger.allCases)
  func stranger(stranger: Stranger) throws {
    let run = try LabRun()
    defer { run.remove() }
    let network = try Network(.behindService, of: run)
    let listener = try LabListener(
      try network[.origin], Stage.address(network.topology.originAddress, Topology.originPort))
    let (proxy, path) = (try network[.proxy], try Program.path())
    let output = "/tmp/\(proxy.name)-output"
    defer { unlink(output) }
    let client = try proxy.spawn([
      "/bin/sh", "-c",
      "'\(path)' probe client \(Self.services[0]) --kind above-window > \(output) 2>&1",
    ])
    var met: [LabConnection] = []
    for _ in 0..<2 { met.append(try listener.accept()) }
    for connection in met {
      connection.patience = 1_000
      stranger.meet(connection)
    }
    #expect(client.wait() == 1)
    let text = try String(contentsOfFile: output, encoding: .utf8)
    #expect(text.contains("UNKNOWN") && text.contains("probe server"), "\(text)")
    #expect(text.utf8.allSatisfy { $0 == 0x0A || (0x20..<0x7F).contains($0) })
    withExtendedLifetime(met) {}
  }

  @Test(
    "a server has a bound on what it takes: connections at a time, in all, and how long each may be idle"
  )
  func bounds() throws {
    let run = try LabRun()
    defer { run.remove() }
    let network = try Network(.direct, of: run)
    let address = try Stage.address(network.topology.originAddress, Topology.originPort)
    var limits = ProbeServer.Limits()
    (limits.atOnce, limits.inAll, limits.patience) = (2, 9, .seconds(2))
    let bounds = limits
    let server = try network[.origin].run { try ProbeServer(on: [address], limits: bounds) }
    let serving = try network[.origin].run {
      try WorkerThread.start(name: "server") { server.run(for: .seconds(60)) }
    }
    let idle = try (0..<2).map { _ in
      try LabConnection.connect(from: try network[.proxy], to: address)
    }
    let turnedAway = try LabConnection.connect(from: try network[.proxy], to: address)
    #expect(try turnedAway.ending().bytes.isEmpty)
    // Those that say nothing are let go of as well.
    for connection in idle { #expect(try connection.ending().bytes.isEmpty) }
    // What is not understood is answered once.
    let lost = try LabConnection.connect(from: try network[.proxy], to: address)
    try lost.send("GET / HTTP/1.1\n")
    #expect(String(decoding: try lost.ending().bytes, as: UTF8.self).contains("this is a probe"))
    for clock in ["", " 99999999999999999999", " -1", " noon"] {
      let odd = try LabConnection.connect(from: try network[.proxy], to: address)
      try odd.send("holdfast-probe 2 test above-window x\ngo\(clock)\n")
      let answer = String(decoding: try odd.ending().bytes, as: UTF8.self)
      #expect(answer.hasSuffix("error expected go and a clock\n"), "\(answer)")
    }
    // With the last it ends, long before its time.
    for _ in 0..<2 {
      let last = try LabConnection.connect(from: try network[.proxy], to: address)
      last.finish()
      _ = try last.ending()
    }
    serving.join()
  }

  @Test("a server ends by itself when its time is over")
  func ends() throws {
    let run = try LabRun()
    defer { run.remove() }
    let host = try Machine("server", of: run)
    let ran = try Program.run("probe server --listen 127.0.0.1:0 --for 100ms", on: host)
    #expect(ran.code == 0)
    #expect(ran.output.contains("listening on 127.0.0.1:"))
  }

  @Test("where nothing is translated nothing is exposed")
  func direct() throws {
    try withServer(.none, on: .direct) { network in
      let ran = try Program.run("probe client 10.8.3.9:8080", on: try network[.proxy])
      #expect(ran.code == 0, "\(ran.output)")
      #expect(ran.output.contains("nothing is translated between here and 10.8.3.9:8080"))
    }
  }

  @Test("what cannot be tried says why: no server, no privilege, something else behind the port")
  func obstacles() throws {
    let run = try LabRun()
    defer { run.remove() }
    let network = try Network(.behindService, of: run)
    let (proxy, origin) = (try network[.proxy], try network[.origin])
    let refused = try Program.run("probe client \(Self.services[0]) --kind above-window", on: proxy)
    #expect(refused.code == 1)
    #expect(refused.output.contains("holdfast probe server"))
    let powerless = try Program.run(
      "probe server --listen 10.8.3.9:8080", on: origin, as: Program.nobody)
    #expect(powerless.code == 1)
    #expect(powerless.output.contains("CAP_NET_RAW"))
    let taken = try Program.run("probe server --listen 192.0.2.1:8080", on: origin)
    #expect(taken.code == 1)
    #expect(taken.output.contains("--listen"))
    for words in ["x:80 --kind nonsense", "foo", "10.2.0.2:99999", "fd00::1:80"] {
      #expect(try Program.run("probe client \(words)", on: proxy).code == 2, "\(words)")
    }
    let nameless = try Program.run("probe client nowhere.invalid:80", on: proxy)
    #expect(nameless.code == 1, "\(nameless.output)")
    #expect(try Program.run("probe server --for never", on: proxy).code == 2)
  }
}
