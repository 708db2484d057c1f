// Counters as kernels write them, and as they do not.

import Platform
import SeededRandom
import TestNetwork
import Testing

@testable import KernelSensors

private func values(groups text: String) -> [String: UInt64] {
  var values = [UInt64?](repeating: nil, count: KernelCounter.all.count)
  CounterParser.readGroups(Array(text.utf8), into: &values)
  return named(values)
}

private func values(table text: String) -> [String: UInt64] {
  var values = [UInt64?](repeating: nil, count: KernelCounter.all.count)
  CounterParser.readConnectionTable(Array(text.utf8), into: &values)
  return named(values)
}

private func named(_ values: [UInt64?]) -> [String: UInt64] {
  var named: [String: UInt64] = [:]
  for (counter, value) in zip(KernelCounter.all, values) { named[counter.name] = value }
  return named
}

@Suite("Reading the kernel's counters")
struct CounterParserTests {
  @Test("they are found by name, wherever their column is")
  func byName() {
    #expect(
      values(
        groups: "Ip: OutRsts\nIp: 9\nTcp: RtoMin OutRsts EstabResets MaxConn\nTcp: 200 7 3 -1\n")
        == ["OutRsts": 7, "EstabResets": 3])
    #expect(
      values(groups: "Tcp: EstabResets Younger OutRsts\nTcp: 3 1 18446744073709551615\n")
        == ["OutRsts": .max, "EstabResets": 3])
  }

  @Test("extended ones too, and only those that tell something")
  func extended() {
    #expect(
      values(
        groups:
          "TcpExt: TCPHPHits TCPAbortOnClose ListenOverflows\nTcpExt: 99 4 5\nIpExt: InOctets\nIpExt: 1\n"
      )
        == ["TCPAbortOnClose": 4, "ListenOverflows": 5])
  }

  @Test(
    "what makes no sense is passed over",
    arguments: [
      "", "\n\n", ":", "Tcp:", "Tcp: OutRsts", "Tcp: OutRsts\nUdp: 4\n", "Tcp: OutRsts\nTcp: x\n",
      "Tcp: OutRsts\nTcp: 99999999999999999999\n", "Tcp: OutRsts\nTcp: -1\n",
      "Tcp OutRsts\nTcp 4\n",
    ])
  func senseless(text: String) {
    #expect(values(groups: text).isEmpty)
    #expect(values(table: text).isEmpty)
  }

  @Test("fewer values than names are read as far as they go, and more are not")
  func uneven() {
    #expect(values(groups: "Tcp: OutRsts EstabResets\nTcp: 1\n") == ["OutRsts": 1])
    #expect(values(groups: "Tcp: OutRsts\nTcp: 1 2\n") == ["OutRsts": 1])
  }

  @Test("the connection table's are hexadecimal, and added up over processors")
  func table() {
    #expect(
      values(
        table: """
          entries  searched found new invalid ignore drop early_drop insert_failed
          00000005  00000000 00000000 00000000 0000000a 00000000 00000001 00000000 00000002
          00000005  00000000 00000000 00000000 00000010 00000000 00000000 00000003 ffffffff
          """) == [
          "conntrack.invalid": 26, "conntrack.drop": 1, "conntrack.early_drop": 3,
          "conntrack.insert_failed": 0x1_0000_0001,
        ])
  }

  @Test("no bytes make it trap")
  func hostile() {
    var random = SeededGenerator(seed: 3)
    let alphabet = Array("Tcp: OutRsts\n 019af-x".utf8) + [0, 0xFF]
    var values = [UInt64?](repeating: nil, count: KernelCounter.all.count)
    for _ in 0..<2000 {
      let bytes = (0..<Int.random(in: 0..<80, using: &random)).map { _ in
        alphabet[Int.random(in: 0..<alphabet.count, using: &random)]
      }
      CounterParser.readGroups(bytes, into: &values)
      CounterParser.readConnectionTable(bytes, into: &values)
    }
  }

  @Test("each counter has a name of its own, and is explained")
  func catalogue() {
    #expect(Set(KernelCounter.all.map(\.name)).count == KernelCounter.all.count)
    #expect(KernelCounter.all.allSatisfy { !$0.meaning.isEmpty })
  }
}

@Suite("Comparing counters")
struct CounterSnapshotTests {
  private func snapshot(_ seconds: Int64, _ growing: [String: UInt64]) -> CounterSnapshot {
    CounterSnapshot(
      time: Instant(nanoseconds: seconds * 1_000_000_000),
      values: KernelCounter.all.map { growing[$0.name] })
  }

  @Test("only what has grown is told")
  func growth() {
    let before = snapshot(1, ["OutRsts": 5, "EstabResets": 3, "InErrs": 9, "TCPTimeouts": .max])
    let after = snapshot(2, ["OutRsts": 7, "EstabResets": 3, "InErrs": 1, "ListenDrops": 4])
    #expect(after.growth(since: before) == ["OutRsts": 2])
    #expect(
      snapshot(3, ["InErrs": .max]).growth(since: snapshot(1, ["InErrs": 0])) == ["InErrs": .max])
  }

  @Test("an ending is compared with the youngest look before it, or the oldest there is")
  func baseline() {
    var history = CounterHistory()
    #expect(history.baseline(.distantFuture) == nil)
    for second in 0..<Int64(CounterHistory.limit * 3) {
      history.add(snapshot(second, ["OutRsts": UInt64(second)]))
    }
    func rsts(_ nanoseconds: Int64) -> UInt64? {
      history.baseline(Instant(nanoseconds: nanoseconds))?["OutRsts"]
    }
    #expect(rsts(300_000_000_000) == 300)
    #expect(rsts(300_999_999_999) == 300)
    #expect(rsts(.max) == 383)
    // Two minutes back at least.
    #expect(rsts(260_000_000_000) == 260)
    #expect((rsts(0) ?? 0) <= 256)
  }
}

@Suite(
  "The counter sensor", .timeLimit(.minutes(2)), .serialized,
  .enabled(if: Host.obstacle == nil, Host.obstacle))
struct CounterSensorTests {
  private func growth(_ sensor: CounterSensor, _ since: Instant) -> CounterSensor.Growth? {
    let outcome = Answer<CounterSensor.Growth?>()
    sensor.growth(since: since) { outcome.set($0) }
    return outcome.wait()
  }

  @Test("of 23 resets 23 are counted, and those of another namespace are not")
  func calibration() throws {
    let host = try Host()
    let other = try Host()
    let sensor = try CounterSensor.start(namespacePath: host.path)
    let start = Instant.precise()
    for host in [host, other, other] {
      let listener = try host.listen("127.0.0.1:80")
      for number in 0..<46 {
        let client = try host.connect("127.0.0.1:80")
        let server = try accept(listener)
        // Every second one ends as it should.
        if number % 2 == 0 { Socket.abort(raw: server) } else { close(server) }
        _ = try receive(client)
        close(client)
      }
      close(listener)
    }
    let told = growth(sensor, start)
    let growth = try #require(told)
    #expect(growth.counters["OutRsts"] == 23)
    #expect(growth.counters["TCPAbortOnData"] == 23)
    #expect(growth.counters["EstabResets"] == 46)
    #expect(growth.window > .zero)
    sensor.stop()
    #expect(self.growth(sensor, start) == nil)
  }

  @Test("resets for want of a socket are left when aborts are subtracted")
  func unclaimed() throws {
    let host = try Host()
    let sensor = try CounterSensor.start(namespacePath: host.path)
    let start = Instant.precise()
    let listener = try host.listen("127.0.0.1:80")
    // An abort, and a close with something unread.
    for isAbort in [true, false] {
      let client = try host.connect("127.0.0.1:80")
      let server = try accept(listener)
      if isAbort {
        Socket.abort(raw: server)
      } else {
        try send(client, "unread")
        try waitUntilReady(server, .read)
        close(server)
      }
      _ = try receive(client)
      close(client)
    }
    close(listener)
    // Nobody ever listened here. (The listener above may live on for a moment in a process that a test beside this one
    // is starting.)
    let refused = try host.run {
      try Socket.connect(to: SocketAddress(.loopbackV4, port: 81)).release()
    }
    #expect(try receive(refused) == .failed(.connectionRefused))
    close(refused)
    let told = growth(sensor, start)
    let growth = try #require(told)
    #expect(growth.counters["OutRsts"] == 3)
    #expect(growth.counters["TCPAbortOnClose"] == 1)
    #expect(growth.counters["TCPAbortOnData"] == 1)
    sensor.stop()
  }

  @Test("a thousand questions at once are all answered")
  func crowd() throws {
    let host = try Host()
    let sensor = try CounterSensor.start(namespacePath: host.path)
    let answered = Monitor(0)
    for _ in 0..<1000 {
      sensor.growth(since: Instant.precise()) { _ in
        answered.withLock { $0 += 1 }
        answered.wakeAll()
      }
    }
    answered.wait { $0 == 1000 ? () : nil }
    sensor.stop()
  }

  @Test("a namespace that is not there is named")
  func missing() {
    #expect(throws: KernelSensorError.namespace(path: "/nonexistent", .noSuchFile)) {
      try CounterSensor.start(namespacePath: "/nonexistent")
    }
  }
}
