// A reset of our own to somebody no socket is connected to: found at once, and only then.

import Platform
import Synchronization
import Testing

@testable import Packets

/// Keeps what it was told.
final class Strays: Sendable {
  let seen = Mutex<[Stray]>([])
  var all: [Stray] { seen.withLock { $0 } }
  func add(_ stray: Stray) { seen.withLock { $0.append(stray) } }
}

@Suite("Strays")
struct StrayDetectorTests {
  static let origin = SocketAddress(IPAddress(v4: 0x0A48_0002), port: 8080)

  /// What our kernel answers an untranslated packet with.
  private static func reset(_ talk: Conversation, sequence: UInt32) -> Packet {
    var packet = Packet()
    packet.source = talk.local
    packet.destination = origin
    packet.flags = .reset
    packet.sequence = sequence
    return packet
  }

  private static func look(_ detector: StrayDetector, _ packet: Packet, outgoing: Bool = true) {
    guard let header = parse(packet.bytes) else { return }
    detector.look(
      PacketSighting(time: 5, interface: 1, link: .ethernet, isOutgoing: outgoing, length: 54),
      header)
  }

  @Test("our reset to a foreign address at the flow's place names flow and origin")
  func found() throws {
    for mode in PacketFilter.Mode.allCases {
      let strays = Strays()
      let index = FlowIndex(mode: mode)
      let detector = StrayDetector(index: index) { strays.add($0) }
      var talk = Conversation(index)
      talk.handshake()
      if mode == .full { talk.ask(100) }
      detector.register(local: talk.local, peer: talk.peer, token: 7)
      Self.look(detector, Self.reset(talk, sequence: talk.client))
      let stray = try #require(strays.all.first)
      #expect(strays.all.count == 1)
      #expect(stray.token == 7)
      #expect(stray.origin == Self.origin)
      #expect(stray.peer == talk.peer)
      #expect(stray.certainty == (mode == .full ? .sequenceFits : .sequencePlausible))
      #expect(detector.strays == 1)
    }
  }

  @Test("nothing else is a stray")
  func nothingElse() {
    let strays = Strays()
    let index = FlowIndex(mode: .full)
    let detector = StrayDetector(index: index) { strays.add($0) }
    var talk = Conversation(index)
    talk.handshake()
    talk.ask(100)
    talk.answer(100)
    talk.see(talk.fromClient)
    let good = Self.reset(talk, sequence: talk.client)
    Self.look(detector, good)
    #expect(strays.all.isEmpty, "nobody is registered")
    detector.register(local: talk.local, peer: talk.peer, token: 7)
    var packet = good
    packet.flags = [.reset, .acknowledge]
    Self.look(detector, packet)
    packet = good
    packet.flags = .acknowledge
    Self.look(detector, packet)
    packet = good
    packet.destination = talk.peer
    Self.look(detector, packet)
    packet = good
    packet.source = SocketAddress(talk.local.ip, port: 40001)
    Self.look(detector, packet)
    packet = good
    packet.source = SocketAddress(IPAddress(v4: 0x0A00_0009), port: talk.local.port)
    Self.look(detector, packet)
    Self.look(detector, good, outgoing: false)
    for far: UInt32 in [1, 1 << 20, 1 << 31] {
      Self.look(detector, Self.reset(talk, sequence: talk.client &+ far))
      Self.look(detector, Self.reset(talk, sequence: talk.client &- 200 &- far))
    }
    #expect(strays.all.isEmpty)
    Self.look(detector, good)
    #expect(strays.all.count == 1)
    detector.unregister(local: talk.local, token: 7)
    Self.look(detector, good)
    #expect(strays.all.count == 1)
    #expect(detector.count == 0)
  }

  @Test("a segment that confirms what was never sent opens no window for strangers")
  func poisoned() {
    let strays = Strays()
    let index = FlowIndex(mode: .full)
    let detector = StrayDetector(index: index) { strays.add($0) }
    var talk = Conversation(index)
    talk.handshake()
    talk.ask(100)
    talk.answer(1000)
    talk.see(talk.fromClient)
    detector.register(local: talk.local, peer: talk.peer, token: 7)
    var spoofed = talk.fromServer
    spoofed.acknowledgement &+= 1000
    talk.see(spoofed)
    for number: UInt32 in [0x1357_2468, 1, 1 << 31, .max] {
      Self.look(detector, Self.reset(talk, sequence: number))
    }
    Self.look(detector, Self.reset(talk, sequence: talk.client &+ 500))
    #expect(strays.all.isEmpty)
    Self.look(detector, Self.reset(talk, sequence: talk.client))
    #expect(strays.all.map(\.certainty) == [.sequenceFits])
    #expect(strays.all.first?.initialSequence == SequenceNumber(5000))
  }

  @Test("of flows that share a port the one is meant whose place it is")
  func sharing() {
    let strays = Strays()
    let index = FlowIndex(mode: .full)
    let detector = StrayDetector(index: index) { strays.add($0) }
    var talk = Conversation(index)
    talk.handshake()
    let unknown = SocketAddress(IPAddress(v4: 0x0A00_0077), port: 80)
    detector.register(local: talk.local, peer: unknown, token: 8)
    detector.register(local: talk.local, peer: talk.peer, token: 9)
    Self.look(detector, Self.reset(talk, sequence: talk.client))
    #expect(strays.all.map(\.token) == [9])
    // Elsewhere, it can only be the one nothing is known of.
    Self.look(detector, Self.reset(talk, sequence: talk.client &+ 999_999))
    #expect(strays.all.map(\.token) == [9, 8])
    #expect(strays.all.last?.certainty == .portAlone(candidates: 1))
    // The other's peer is no stranger.
    var packet = Self.reset(talk, sequence: talk.client)
    packet.destination = unknown
    Self.look(detector, packet)
    #expect(strays.all.count == 2)
  }

  @Test("an address of IPv4 that a socket has in the form of IPv6 is the same")
  func mapped() throws {
    let strays = Strays()
    let index = FlowIndex(mode: .full)
    let detector = StrayDetector(index: index) { strays.add($0) }
    var talk = Conversation(index)
    talk.handshake()
    detector.register(
      local: try #require(SocketAddress("[::ffff:10.0.0.1]:40000")),
      peer: try #require(SocketAddress("[::ffff:10.0.0.2]:80")), token: 1)
    Self.look(detector, Self.reset(talk, sequence: talk.client))
    #expect(strays.all.first?.certainty == .sequenceFits)
    #expect(strays.all.first?.peer == talk.peer)
  }
}
