// The recorder on real packets: namespaces with a cable between them, every kind of reset the kernel makes.

import Glibc
import Platform
import Synchronization
import TestNetwork
import Testing

@testable import Packets

/// Two hosts, and a recorder on the first.
private struct Watched {
  let here: Host
  let there: Host
  let index: FlowIndex
  let recorder: PacketRecorder

  init(_ mode: PacketFilter.Mode, ports: [ClosedRange<UInt16>] = []) throws {
    here = try Host()
    there = try Host()
    try Host.join(here, there, network: 71)
    index = FlowIndex(mode: mode)
    recorder = try PacketRecorder.start(
      PacketRecorder.Options(
        filter: PacketFilter(mode: mode, ports: ports), namespacePath: here.path), index: index)
  }

  /// Once there is a reset on this connection: all about it.
  func reset(_ local: SocketAddress, _ peer: SocketAddress) throws -> (FlowPackets, ResetFacts) {
    let index = index
    #expect(recorder.wait { index.packets(local: local, peer: peer)?.resets.isEmpty == false })
    let flow = try #require(index.packets(local: local, peer: peer))
    let reset = try #require(flow.resets.first)
    let facts = try #require(ResetFacts(reset, mode: index.mode))
    return (flow, facts)
  }
}

private func isRequest(_ packet: RecordedPacket?) -> Bool { packet?.header.tcp?.contentLength == 4 }

@Suite(
  "Recording packets", .timeLimit(.minutes(2)), .serialized,
  .enabled(if: Host.obstacle == nil, Host.obstacle))
struct PacketRecorderTests {
  static let families = ["10.71.0.2:80", "[fd00:71::2]:80"]

  /// A connection from here to there, and a request on it that was read.
  private func connected(
    _ watched: Watched, _ text: String
  ) throws -> (
    client: Int32, server: Int32, listener: Int32, local: SocketAddress, peer: SocketAddress
  ) {
    let listener = try watched.there.listen(text)
    let peer = try #require(SocketAddress(text))
    let client = try watched.here.connect(peer)
    let server = try accept(listener)
    try waitUntilReady(client, .write)
    try send(client, "ask\n")
    try receive(server)
    try send(server, "answer\n")
    try receive(client)
    return (client, server, listener, try Socket.localAddress(client), peer)
  }

  @Test("a program that aborts looks active, in full mode exactly so", arguments: families)
  func active(text: String) throws {
    let watched = try Watched(.full)
    let (client, server, listener, local, peer) = try connected(watched, text)
    abort(server)
    let (flow, facts) = try watched.reset(local, peer)
    #expect(facts.shape == .active, "\(facts.oddities)")
    #expect(facts.sequence == .exact)
    #expect(facts.hasTimestamps)
    #expect(facts.hopLimitDifference == 0)
    #expect(facts.isNearer == false || facts.isNearer == nil)
    #expect(flow.direction(of: flow.resets[0]) == .received)
    #expect(flow.segmentsAfter(flow.resets[0]) == 0)
    #expect(flow.packets.count == Int(flow.total))
    #expect(flow.received.offersTimestamps == true)
    #expect(flow.received.contentBytes == 7)
    #expect(flow.sent.contentBytes == 4)
    #expect(watched.recorder.interfaceName(flow.packets[0].sighting.interface) == "v71a")
    watched.recorder.stop()
    #expect(watched.recorder.statistics.resetsReceived == 1)
    #expect(watched.recorder.statistics.dropped == 0)
    for fd in [client, listener] { FileDescriptor.close(raw: fd) }
  }

  @Test("so it does in lite mode, as far as can be told", arguments: families)
  func activeLite(text: String) throws {
    let watched = try Watched(.lite)
    let (client, server, listener, local, peer) = try connected(watched, text)
    abort(server)
    let (flow, facts) = try watched.reset(local, peer)
    #expect(facts.shape == .active, "\(facts.oddities)")
    #expect(facts.sequence == .unknown)
    #expect(facts.hopLimitDifference == 0)
    // SYN, SYN-ACK, RST and nothing else.
    #expect(flow.total == 3)
    watched.recorder.stop()
    for fd in [client, listener] { FileDescriptor.close(raw: fd) }
  }

  @Test("data for a socket that is gone draws a passive reset", arguments: families)
  func passive(text: String) throws {
    let watched = try Watched(.full)
    let (client, server, listener, local, peer) = try connected(watched, text)
    FileDescriptor.close(raw: server)
    // Their FIN, and then ours is data to nobody.
    #expect(try receive(client) == .endOfStream)
    try send(client, "more")
    let (flow, facts) = try watched.reset(local, peer)
    #expect(facts.shape == .passive, "\(facts.oddities)")
    #expect(facts.sequence == .exact)
    #expect(isRequest(facts.trigger))
    #expect((facts.afterTrigger ?? -1) >= 0)
    #expect(facts.hopLimitDifference == 0)
    #expect(flow.received.hasFinished)
    watched.recorder.stop()
    for fd in [client, listener] { FileDescriptor.close(raw: fd) }
  }

  @Test("a port without a listener refuses", arguments: families)
  func refused(text: String) throws {
    let watched = try Watched(.lite)
    let peer = try #require(SocketAddress(text))
    let client = try watched.here.connect(peer)
    let local = try Socket.localAddress(client)
    let (_, facts) = try watched.reset(local, peer)
    #expect(facts.shape == .replyToSYN, "\(facts.oddities)")
    #expect(facts.sequence == .exact)
    #expect(facts.trigger?.header.tcp?.flags.contains(.synchronise) == true)
    watched.recorder.stop()
    FileDescriptor.close(raw: client)
  }

  @Test("of 23 resets 23 are counted, and no packet is lost", arguments: PacketFilter.Mode.allCases)
  func calibration(mode: PacketFilter.Mode) throws {
    let watched = try Watched(mode, ports: [80...80])
    let listener = try watched.there.listen("10.71.0.2:80")
    let other = try watched.there.listen("10.71.0.2:81")
    let peer = try #require(SocketAddress("10.71.0.2:80"))
    var clients: [Int32] = []
    for number in 0..<46 {
      let client = try watched.here.connect(peer)
      let server = try accept(listener)
      clients.append(client)
      // Every second one ends as it should.
      if number % 2 == 0 { abort(server) } else { FileDescriptor.close(raw: server) }
      _ = try receive(client)
      // And as many again that are not to be looked at.
      let unseen = try watched.here.connect(SocketAddress(peer.ip, port: 81))
      abort(try accept(other))
      clients.append(unseen)
    }
    for client in clients { FileDescriptor.close(raw: client) }
    watched.recorder.stop()
    let statistics = watched.recorder.statistics
    #expect(statistics.resetsReceived == 23)
    #expect(statistics.resetsSent == 0)
    #expect(statistics.dropped == 0)
    #expect(statistics.freezes == 0)
    #expect(statistics.unreadable == 0)
    if mode == .lite { #expect(statistics.received == 46 * 2 + 23 + 23 * 2) }
    for fd in [listener, other] { FileDescriptor.close(raw: fd) }
  }

  @Test(
    "on loopback a packet is seen once, and both ends are ours",
    arguments: PacketFilter.Mode.allCases)
  func loopback(mode: PacketFilter.Mode) throws {
    let host = try Host()
    let index = FlowIndex(mode: mode)
    let recorder = try PacketRecorder.start(
      PacketRecorder.Options(filter: PacketFilter(mode: mode), namespacePath: host.path),
      index: index)
    let listener = try host.listen("127.0.0.1:80")
    let peer = try #require(SocketAddress("127.0.0.1:80"))
    let client = try host.connect(peer)
    let local = try Socket.localAddress(client)
    abort(try accept(listener))
    _ = try receive(client)
    #expect(recorder.wait { index.packets(local: local, peer: peer)?.resets.isEmpty == false })
    recorder.stop()
    let flow = try #require(index.packets(local: local, peer: peer))
    // SYN, SYN-ACK, (ACK,) RST.
    #expect(flow.total == (mode == .lite ? 3 : 4))
    #expect(
      flow.packets.map { flow.direction(of: $0) == .sent }
        == (mode == .lite ? [true, false, false] : [true, false, true, false]))
    #expect(recorder.statistics.resetsSent == 1)
    #expect(recorder.statistics.resetsReceived == 1)
    #expect(index.packets(localPort: 80).first?.peer == local)
    #expect(index.packets(localPort: local.port).first?.peer == peer)
    #expect(flow.packets.allSatisfy { $0.sighting.isLoopback })
    for fd in [client, listener] { FileDescriptor.close(raw: fd) }
  }

  @Test("an unreachable host's ICMP error is found with its flow")
  func icmp() throws {
    let watched = try Watched(.lite)
    try watched.there.command(
      "iptables -A INPUT -p tcp --dport 80 -j REJECT --reject-with icmp-host-prohibited")
    let peer = try #require(SocketAddress("10.71.0.2:80"))
    let client = try watched.here.connect(peer)
    let local = try Socket.localAddress(client)
    let index = watched.index
    #expect(
      watched.recorder.wait {
        index.packets(local: local, peer: peer)?.packets.contains { $0.header.icmp != nil } == true
      })
    let flow = try #require(index.packets(local: local, peer: peer))
    let error = try #require(flow.packets.first { $0.header.icmp != nil })
    #expect(error.header.icmp?.description == "host administratively prohibited")
    #expect(error.header.endpoints.source.ip == peer.ip)
    #expect(flow.direction(of: error) == .received)
    watched.recorder.stop()
    #expect(watched.recorder.statistics.errorsReceived >= 1)
    FileDescriptor.close(raw: client)
  }

  @Test("a reset written by hand is seen to be so, and the peer to be alive after it")
  func forged() throws {
    let watched = try Watched(.full)
    let (client, server, listener, local, peer) = try connected(watched, "10.71.0.2:80")
    for _ in 0..<4 {
      try send(server, "more\n")
      try receive(client)
    }
    // From the peer's host, but not by its kernel. Its checksum is wrong, so the connection survives.
    var packet = Packet()
    packet.source = peer
    packet.destination = local
    packet.flags = [.reset, .acknowledge]
    packet.hopLimit = 120
    packet.identification = 54321
    packet.isRaw = true
    let forged = packet
    try watched.there.run {
      let raw = socket(AF_INET, Int32(SOCK_RAW.rawValue), Int32(IPPROTO_RAW))
      defer { close(raw) }
      let bytes = forged.bytes
      let sent = forged.destination.withSockaddr { sendto(raw, bytes, bytes.count, 0, $0, $1) }
      #expect(sent == bytes.count)
    }
    let (_, facts) = try watched.reset(local, peer)
    #expect(facts.shape == .handMade)
    #expect(facts.oddities == [.timestampsMissing, .identificationOutOfStep])
    #expect(facts.hopLimitDifference == 56)
    // That is no way: nobody on it begins with such a number.
    #expect(!facts.isShorterWay)
    if case .behind = facts.sequence {
    } else if case .ahead = facts.sequence {
    } else {
      Issue.record("a place taken at random fits: \(facts.sequence)")
    }
    try send(server, "still here\n")
    try receive(client)
    watched.recorder.stop()
    let flow = try #require(watched.index.packets(local: local, peer: peer))
    let reset = try #require(flow.resets.first)
    #expect(flow.segmentsAfter(reset) > 0)
    for fd in [client, server, listener] { FileDescriptor.close(raw: fd) }
  }

  @Test("what finds no room in the ring is counted as lost")
  func losses() throws {
    let host = try Host()
    let index = FlowIndex(mode: .full)
    let gate = Monitor(false)
    let isHeld = Monitor(false)
    // Holds the recorder's thread up until the gate is opened.
    let detector = StrayDetector(index: index) { _ in
      isHeld.withLock { $0 = true }
      isHeld.wakeAll()
      _ = gate.wait { $0 ? true : nil }
    }
    let recorder = try PacketRecorder.start(
      PacketRecorder.Options(
        filter: PacketFilter(mode: .full), blocks: 2, namespacePath: host.path),
      index: index, detector: detector)
    let peer = try #require(SocketAddress("127.0.0.1:80"))
    let listener = try host.listen("127.0.0.1:80")
    detector.register(
      local: peer, peer: try #require(SocketAddress("127.0.0.1:9")), token: 1)
    let client = try host.connect(peer)
    FileDescriptor.close(raw: try accept(listener))
    try receive(client)
    try send(client, "to nobody")
    _ = isHeld.wait { $0 ? true : nil }

    let talker = try host.connect(peer)
    let hearer = try accept(listener)
    try waitUntilReady(talker, .write)
    let count = 4000
    for _ in 0..<count {
      try send(talker, "x")
      try receive(hearer)
    }
    gate.withLock { $0 = true }
    gate.wakeAll()
    recorder.stop()
    let statistics = recorder.statistics
    #expect(statistics.dropped > 0)
    #expect(statistics.freezes > 0)
    #expect(statistics.received + statistics.dropped >= UInt64(count))
    #expect(statistics.unreadable == 0)
    for fd in [client, talker, hearer, listener] { FileDescriptor.close(raw: fd) }
  }

  @Test("a namespace that is none is refused with what to do")
  func noNamespace() throws {
    let options = PacketRecorder.Options(
      filter: PacketFilter(mode: .lite), namespacePath: "/nowhere/at/all")
    let error = #expect(throws: PacketSensorError.self) {
      try PacketRecorder.start(options, index: FlowIndex(mode: .lite))
    }
    #expect(error?.description.contains("/run/netns/NAME") == true)
  }
}
