// What is remembered of flows, for how long, and how it is found again.

import Platform
import SeededRandom
import Testing

@testable import Packets

@Suite("Remembering flows")
struct FlowIndexTests {
  @Test("a connection is found from both ends, with its packets in order and both sides' ways")
  func bothEnds() throws {
    let index = FlowIndex(mode: .full)
    var talk = Conversation(index)
    talk.handshake()
    talk.ask(100)
    talk.answer(3000)
    talk.answer(200)
    let flow = try #require(talk.flow)
    #expect(flow.packets.count == 6)
    #expect(
      flow.packets.map { flow.direction(of: $0) } == [
        .sent, .received, .sent, .sent, .received, .received,
      ])
    #expect(flow.received.contentBytes == 3200)
    #expect(flow.received.hopLimit == 60)
    #expect(flow.received.handshakeHopLimit == 60)
    #expect(flow.received.offersTimestamps == true)
    #expect(flow.received.maximumSegmentSize == 1460)
    #expect(flow.received.initialSequence == SequenceNumber(90_000))
    #expect(flow.received.nextSequence == SequenceNumber(93_201))
    #expect(flow.received.acknowledged == SequenceNumber(5101))
    #expect(flow.sent.nextSequence == SequenceNumber(5101))
    let other = try #require(index.packets(local: talk.peer, peer: talk.local))
    #expect(other.sent == flow.received)
    #expect(other.packets == flow.packets)
    #expect(other.direction(of: other.packets[0]) == .received)
  }

  @Test("the numbers of packets count on where a large one was cut up")
  func identifications() throws {
    let index = FlowIndex(mode: .full)
    var talk = Conversation(index)
    talk.handshake()
    for count in [100, 14_600, 20, 60_000, 5] { talk.answer(count) }
    let received = try #require(talk.flow?.received)
    #expect(received.identificationsFollow == true)
    #expect(received.identificationsOutOfStep == 0)
    #expect(received.isNextIdentification(talk.fromServer.identification) == true)
    #expect(received.isNextIdentification(talk.fromServer.identification &+ 40) == false)
  }

  @Test("only the last packets are kept, and how many there were")
  func depth() throws {
    let index = FlowIndex(mode: .full, bounds: .init(flows: 16, depth: 8))
    var talk = Conversation(index)
    talk.handshake()
    for _ in 0..<100 { talk.answer(10) }
    let flow = try #require(talk.flow)
    #expect(flow.total == 103)
    #expect(flow.packets.count == 8)
    #expect(flow.packets.last?.header.tcp?.sequence.rawValue == talk.fromServer.sequence &- 10)
  }

  @Test("nothing of what a connection carries is kept, but what a reset says")
  func contents() throws {
    let index = FlowIndex(mode: .full)
    var talk = Conversation(index)
    talk.handshake()
    talk.answer(40)
    var reset = talk.fromServer
    reset.flags = .reset
    reset.content = 5
    talk.see(reset)
    let flow = try #require(talk.flow)
    #expect(flow.packets.map(\.content.count) == [0, 0, 0, 0, 5])
    #expect(flow.packets.allSatisfy { $0.header.tcp?.headerLength == 20 || $0.bytes.count >= 54 })
    #expect(flow.packets[3].header.tcp?.contentLength == 40)
    #expect(flow.packets[3].header.tcp?.timestamps != nil)
    #expect(flow.packets[3].sighting.length == 14 + 20 + 32 + 40)
    #expect(flow.resets.first?.packet.content.count == 5)
  }

  @Test("a reset stays, however many packets follow it")
  func resetsStay() throws {
    let index = FlowIndex(mode: .full)
    var talk = Conversation(index)
    talk.handshake()
    talk.answer(10)
    for number in 0..<6 {
      var reset = talk.fromServer
      reset.flags = .reset
      reset.sequence &+= UInt32(number)
      talk.see(reset)
      talk.pass(200_000_000)
      for _ in 0..<50 { talk.answer(10) }
    }
    let flow = try #require(talk.flow)
    #expect(flow.received.resets == 6)
    // The first two and the last two.
    #expect(flow.resets.count == 4)
    #expect(flow.resets.map { flow.segmentsAfter($0) } == [300, 250, 100, 50])
    #expect(flow.resets[0].sender.segments == 2)
  }

  @Test("a flood of resets is counted, and the first ones are kept")
  func flood() throws {
    let index = FlowIndex(mode: .full)
    var talk = Conversation(index)
    talk.handshake()
    var reset = talk.fromServer
    reset.flags = .reset
    for number in 0..<1000 {
      reset.identification = UInt16(number)
      index.see(reset, at: 2_000_000_000 + Int64(number) * 1000, outgoing: false)
    }
    let flow = try #require(talk.flow)
    #expect(flow.received.resets == 1000)
    #expect(flow.resets.map(\.packet.header.identification) == [0, 1, 2, 3])
  }

  @Test("of resets on many flows the last thousand and some are kept")
  func manyResets() {
    let index = FlowIndex(mode: .lite)
    func flow(_ number: Int) -> Packet {
      var packet = Packet()
      packet.source = SocketAddress(packet.source.ip, port: UInt16(1000 + number))
      packet.flags = .reset
      return packet
    }
    for number in 0..<3000 { index.see(flow(number), at: Int64(number)) }
    let kept = (0..<3000).filter { number in
      let packet = flow(number)
      return index.packets(local: packet.source, peer: packet.destination)?.resets.isEmpty == false
    }
    #expect(kept == Array(3000 - 1024..<3000))
  }

  @Test("the same packet on another interface is no other packet, a retransmission is one")
  func copies() throws {
    let index = FlowIndex(mode: .full)
    let packet = Packet()
    #expect(index.see(packet, at: 0, interface: 1))
    #expect(!index.see(packet, at: 1000, interface: 2))
    #expect(!index.see(packet, at: 2000, interface: 3))
    #expect(index.see(packet, at: 3000, interface: 1))
    #expect(index.see(packet, at: 50_000_000, interface: 2))
    let flow = try #require(index.packets(local: packet.source, peer: packet.destination))
    #expect(flow.packets.map(\.copies) == [2, 0, 0])
    #expect(flow.sent.segments == 3)
  }

  @Test("flows of a local port are found without the peer, the newest first")
  func localPort() {
    let index = FlowIndex(mode: .lite)
    for number in 0..<5 {
      var packet = Packet()
      packet.destination = SocketAddress(IPAddress(v4: 0x0A00_0100 + UInt32(number)), port: 443)
      index.see(packet, at: Int64(number))
    }
    #expect(
      index.packets(localPort: 40000).map { $0.peer.ip.v4Number.map { $0 & 0xFF } ?? 0 } == [
        4, 3, 2, 1, 0,
      ])
    #expect(index.packets(localPort: 40000, limit: 2).count == 2)
    #expect(index.packets(localPort: 443).isEmpty)
    // On loopback both ends are ours.
    index.see(Packet(), at: 9, loopback: true)
    #expect(index.packets(localPort: 80).count == 1)
  }

  @Test("connections that have ended go first, and then those that were silent longest")
  func eviction() {
    let index = FlowIndex(mode: .lite, bounds: .init(flows: 16, depth: 4))
    var old = Conversation(index)
    old.handshake()
    for number in 0..<1000 {
      var packet = Packet()
      packet.destination = SocketAddress(IPAddress(v4: 0x0B00_0000 + UInt32(number)), port: 443)
      packet.flags = .synchronise
      index.see(packet, at: Int64(number) * 10 + 1)
      var reset = packet.back
      reset.flags = [.reset, .acknowledge]
      index.see(reset, at: Int64(number) * 10 + 2)
    }
    #expect(old.flow != nil)
    #expect(index.occupancy.flows == 16)
    #expect(index.occupancy.forgotten == 1001 - 16)
    #expect(index.packets(localPort: 40000).count == 16)
    for number in 0..<16 {
      var packet = Packet()
      packet.destination = SocketAddress(IPAddress(v4: 0x0C00_0000 + UInt32(number)), port: 443)
      index.see(packet, at: 100_000 + Int64(number))
    }
    #expect(old.flow == nil)
  }

  @Test("a new connection between the same ends is not taken for the old one")
  func again() throws {
    let index = FlowIndex(mode: .lite)
    var talk = Conversation(index)
    talk.handshake()
    var finish = talk.fromClient
    finish.flags = [.finish, .acknowledge]
    talk.see(finish)
    var answer = talk.fromServer
    answer.flags = [.finish, .acknowledge]
    talk.see(answer)
    #expect(talk.flow?.sent.hasFinished == true)
    talk.handshake()
    let flow = try #require(talk.flow)
    #expect(!flow.sent.hasFinished)
    #expect(!flow.received.hasFinished)
    #expect(flow.total == 3)
  }

  @Test(
    "a reset of an earlier connection is none of the next one's, and who asks about the earlier one finds it",
    arguments: PacketFilter.Mode.allCases)
  func earlierReset(mode: PacketFilter.Mode) throws {
    let index = FlowIndex(mode: mode)
    var talk = Conversation(index)
    talk.handshake()
    var reset = talk.fromServer
    reset.flags = .reset
    reset.options = []
    talk.see(reset)
    let ending = talk.time
    talk.pass(4_000_000_000)
    talk.handshake()
    let flow = try #require(talk.flow)
    #expect(flow.resets.isEmpty)
    #expect(flow.received.resets == 0)
    #expect(flow.total == 3)
    #expect(try #require(flow.began) > ending)
    let earlier = try #require(index.packets(local: talk.local, peer: talk.peer, at: ending))
    #expect(earlier.resets.map(\.packet.time) == [ending])
    #expect(earlier.resets.map { earlier.segmentsAfter($0) } == [0])
    #expect(index.packets(local: talk.local, peer: talk.peer, at: 0) == nil)
  }

  @Test("a connection whose beginning was not seen is found at any time")
  func unseenBeginning() throws {
    let index = FlowIndex(mode: .lite)
    var talk = Conversation(index)
    talk.answer(10)
    #expect(try #require(talk.flow).began == nil)
    #expect(index.packets(local: talk.local, peer: talk.peer, at: 0) != nil)
  }

  @Test("who connects again and again from one port takes two places")
  func againAndAgain() throws {
    let index = FlowIndex(mode: .lite)
    var talk = Conversation(index)
    for _ in 0..<1000 {
      talk.handshake()
      var reset = talk.fromServer
      reset.flags = .reset
      talk.see(reset)
    }
    #expect(index.occupancy.flows == 2)
    #expect(index.occupancy.forgotten == 0)
    #expect(try #require(talk.flow).total == 4)
  }

  @Test("a SYN in the peer's name changes nothing of what is known of a connection that lives")
  func strangeSYN() throws {
    let index = FlowIndex(mode: .full)
    var talk = Conversation(index)
    talk.handshake()
    talk.ask(100)
    talk.answer(1000)
    let before = try #require(talk.flow)
    var syn = talk.fromServer
    syn.flags = .synchronise
    syn.sequence = 7
    syn.hopLimit = 33
    talk.see(syn)
    let after = try #require(talk.flow)
    #expect(after.received == before.received)
    #expect(after.sent == before.sent)
    #expect(after.total == before.total + 1)
  }

  @Test("what our kernel throws away changes nothing of what is known of the peer")
  func strangers() throws {
    let index = FlowIndex(mode: .full)
    var talk = Conversation(index)
    talk.handshake()
    talk.ask(100)
    talk.answer(1000)
    talk.see(talk.fromClient)
    let before = try #require(talk.flow)
    func stranger(_ flags: TCPFlags, _ change: (inout Packet) -> Void) -> Packet {
      var packet = talk.fromServer
      packet.flags = flags
      packet.hopLimit = 5
      packet.identification = 9
      change(&packet)
      return packet
    }
    let packets = [
      // Off the window, and a number that was never sent.
      stranger(.acknowledge) { $0.sequence &+= 500_000_000 },
      stranger([.finish, .acknowledge]) { $0.sequence &+= 700_000_000 },
      stranger(.acknowledge) { $0.sequence &-= 100_000 },
      stranger(.acknowledge) { $0.acknowledgement &+= 1000 },
      stranger(.acknowledge) { $0.acknowledgement &-= 1 << 30 },
      stranger([.synchronise, .acknowledge]) { $0.sequence = 90_000 },
    ]
    for packet in packets { talk.see(packet) }
    let after = try #require(talk.flow)
    #expect(after.received == before.received)
    #expect(after.total == before.total + UInt64(packets.count))
    // And the peer's own do.
    talk.answer(10)
    #expect(try #require(talk.flow).received.segments == before.received.segments + 1)
  }

  @Test("what our side sends is its own, however far ahead: so all falls into place after a loss")
  func resynchronised() throws {
    let index = FlowIndex(mode: .full)
    var talk = Conversation(index)
    talk.handshake()
    talk.answer(1000)
    // Of 200 MB in both directions nothing is seen.
    var ours = talk.fromClient
    ours.sequence &+= 200_000_000
    ours.acknowledgement &+= 200_000_000
    talk.see(ours)
    var theirs = talk.fromServer
    theirs.sequence &+= 200_000_000
    theirs.acknowledgement &+= 200_000_000
    let before = try #require(talk.flow).received.segments
    talk.see(theirs)
    #expect(try #require(talk.flow).received.segments == before + 1)
  }

  @Test("in lite mode a FIN may be anybody's, and its hop limit says nothing")
  func liteFinish() throws {
    let index = FlowIndex(mode: .lite)
    let talk = Conversation(index)
    var syn = talk.fromClient
    syn.flags = .synchronise
    syn.acknowledgement = 0
    index.see(syn, at: 1)
    var answer = talk.fromServer
    answer.flags = [.synchronise, .acknowledge]
    answer.acknowledgement = syn.sequence &+ 1
    index.see(answer, at: 2)
    var finish = talk.fromServer
    finish.flags = [.finish, .acknowledge]
    finish.sequence &+= 700_000_000
    finish.hopLimit = 5
    index.see(finish, at: 3)
    let received = try #require(talk.flow).received
    #expect(received.hopLimit == 60)
    #expect(received.finish?.hopLimit == 5)
    #expect(received.finish?.hopLimitBefore == 60)
    #expect(received.finish?.next == SequenceNumber(finish.sequence &+ 1))
  }

  @Test("a FIN that its sender knows nothing of is seen by what comes behind it")
  func forgedFinish() throws {
    let index = FlowIndex(mode: .full)
    var talk = Conversation(index)
    talk.handshake()
    talk.ask(100)
    for _ in 0..<3 { talk.answer(1000) }
    talk.see(talk.fromClient)
    var forged = talk.fromServer
    forged.flags = [.finish, .acknowledge]
    forged.hopLimit = 200
    forged.fragment = 0
    forged.identification = 54321
    talk.see(forged)
    var confirmation = talk.fromClient
    confirmation.acknowledgement &+= 1
    talk.see(confirmation)
    let finish = try #require(talk.flow?.received.finish)
    #expect(finish.hopLimitBefore == 60)
    #expect(finish.lacksDoNotFragment)
    #expect(finish.isOutOfStep)
    #expect(talk.flow?.received.hasGoneOn == false)
    talk.answer(1000)
    #expect(talk.flow?.received.hasGoneOn == true)
  }

  @Test("a reset that fits is kept, however many that do not came before and after")
  func misfits() throws {
    let index = FlowIndex(mode: .full)
    var talk = Conversation(index)
    talk.handshake()
    talk.answer(1000)
    talk.see(talk.fromClient)
    var misfit = talk.fromServer
    misfit.flags = .reset
    misfit.sequence &+= 900_000_000
    func flood() {
      for number in 0..<50 {
        misfit.sequence &+= 1
        index.see(misfit, at: talk.time + Int64(number) * 1000, outgoing: false)
      }
    }
    flood()
    var own = talk.fromServer
    own.flags = [.reset, .acknowledge]
    index.see(own, at: talk.time + 60_000, outgoing: false)
    talk.pass(500_000_000)
    flood()
    let flow = try #require(talk.flow)
    #expect(flow.received.resets == 101)
    #expect(flow.resets.count == 4)
    #expect(
      flow.resets.compactMap { ResetFacts($0, mode: .full) }.filter { $0.sequence == .exact }.map(
        \.shape) == [.active])
  }

  @Test("where places are not known the last reset is kept too")
  func lastUnknown() throws {
    let index = FlowIndex(mode: .lite)
    var talk = Conversation(index)
    var syn = talk.fromClient
    syn.flags = .synchronise
    talk.see(syn)
    var answer = talk.fromServer
    answer.flags = [.synchronise, .acknowledge]
    talk.see(answer)
    for number in 0..<20 {
      var reset = talk.fromServer
      reset.flags = .reset
      reset.identification = UInt16(number)
      index.see(reset, at: talk.time + Int64(number) * 1000, outgoing: false)
    }
    #expect(try #require(talk.flow).resets.map(\.packet.header.identification) == [0, 1, 2, 19])
  }

  @Test("an ICMP error belongs to the flow it quotes, and to none if it quotes nonsense")
  func icmp() throws {
    let index = FlowIndex(mode: .lite)
    var talk = Conversation(index)
    talk.handshake()
    let router = IPAddress(v4: 0x0A00_00FE)
    index.see(
      talk.fromClient.error(type: 3, code: 1, from: router), at: 2_000_000_000, outgoing: false)
    var nonsense = Packet()
    nonsense.destination = SocketAddress(IPAddress(v4: 1), port: 1)
    index.see(nonsense.error(type: 3, code: 1, from: router), at: 2_000_000_000, outgoing: false)
    let flow = try #require(talk.flow)
    #expect(flow.packets.last?.header.icmp?.description == "host unreachable")
    #expect(flow.packets.last.map { flow.direction(of: $0) } == .received)
    let quoted = SequenceNumber(talk.fromClient.sequence)
    let way = FlowPackets.Outstanding(first: quoted, next: quoted + 1)
    let told = flow.unreachable(in: 0...3_000_000_000, outstanding: way, mode: .lite)
    #expect(told?.sender == router)
    #expect(told?.error.code == 1)
    for times: ClosedRange<Int64> in [0...1_999_999_999, 2_000_000_001...3_000_000_000] {
      #expect(flow.unreachable(in: times, outstanding: way, mode: .lite) == nil)
    }
    #expect(index.occupancy.flows == 1)
  }

  @Test(
    "an ICMP error that quotes what was never sent, or was confirmed, says nothing",
    arguments: [true, false])
  func forgedICMP(isAnswered: Bool) throws {
    for mode in PacketFilter.Mode.allCases {
      let index = FlowIndex(mode: mode)
      var talk = Conversation(index)
      let first = talk.fromClient.sequence
      if isAnswered {
        talk.handshake()
        if mode == .full { talk.ask(1000) }
      } else {
        var syn = talk.fromClient
        syn.flags = .synchronise
        talk.see(syn)
      }
      func believes(_ sequence: UInt32, cut: Bool = false) throws -> Bool {
        var quoted = talk.fromClient
        quoted.sequence = sequence
        var bytes = quoted.error(type: 3, code: 13, from: talk.peer.ip)
        if cut { bytes.removeLast(4) }
        index.see(bytes, at: 9_000_000_000, outgoing: false)
        return try #require(talk.flow).unreachable(in: 9_000_000_000...9_000_000_000, mode: mode)
          != nil
      }
      #expect(try !believes(0xDEAD_BEEF))
      // Who quotes ports alone has seen nothing.
      #expect(try !believes(first, cut: true))
      guard isAnswered else {
        #expect(try believes(first))
        continue
      }
      // Of what is sent later nothing is seen in lite mode.
      #expect(try !believes(first))
      if mode == .full {
        #expect(try believes(first &+ 501))
        talk.answer(10)
        #expect(try !believes(first &+ 501))
      }
    }
  }

  @Test("whatever comes, a small table stays whole")
  func churn() {
    var random = SeededGenerator(seed: 3)
    let index = FlowIndex(mode: .full, bounds: .init(flows: 16, depth: 4))
    for step in 0..<50_000 {
      var packet = Packet()
      packet.source = SocketAddress(
        IPAddress(v4: 0x0A00_0001 + .random(in: 0...3, using: &random)),
        port: .random(in: 1...4, using: &random))
      packet.destination = SocketAddress(
        IPAddress(v4: 0x0A00_0001 + .random(in: 0...3, using: &random)),
        port: .random(in: 1...4, using: &random))
      packet.flags = TCPFlags(rawValue: .random(in: 0...31, using: &random))
      packet.sequence = .random(in: .min ... .max, using: &random)
      index.see(
        packet, at: Int64(step), outgoing: .random(using: &random),
        interface: .random(in: 1...2, using: &random), loopback: step % 50 == 0)
      if step % 100 == 0 {
        var seen = 0
        for port in UInt16(1)...4 {
          var ends: [[SocketAddress]: Int] = [:]
          for flow in index.packets(localPort: port) {
            #expect(flow.local.port == port)
            // The last connection between two ends is found by them, and there is one before it at most.
            #expect(index.packets(local: flow.local, peer: flow.peer) != nil)
            if let began = flow.began {
              let then = index.packets(local: flow.local, peer: flow.peer, at: began)
              #expect(then?.total == flow.total)
            }
            ends[[flow.local, flow.peer], default: 0] += 1
            // Who talks to himself has both ends.
            let most = flow.local == flow.peer ? 4 : 2
            #expect(ends[[flow.local, flow.peer]] ?? 0 <= most)
            seen += 1
          }
        }
        // Each flow has at least one local end.
        #expect(seen >= index.occupancy.flows)
        #expect(seen <= index.occupancy.flows * 2)
      }
    }
    #expect(index.occupancy.flows == 16)
  }

  @Test("the bound on memory is what is written about it", arguments: PacketFilter.Mode.allCases)
  func memory(mode: PacketFilter.Mode) {
    #expect(FlowIndex.Bounds(mode).maximumBytes < 40 << 20)
  }
}
