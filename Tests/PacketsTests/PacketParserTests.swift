// What headers say, and that nothing a stranger can put into a packet is more than a poorer answer.

import Platform
import SeededRandom
import Testing

@testable import Packets

@Suite("Reading packets")
struct PacketParserTests {
  @Test("a SYN tells its options", arguments: [false, true])
  func synOptions(isV6: Bool) throws {
    var packet = Packet()
    if isV6 {
      packet.source = SocketAddress(v6a, port: 40000)
      packet.destination = SocketAddress(v6b, port: 80)
    }
    packet.flags = .synchronise
    packet.window = 64240
    packet.identification = 7
    packet.options =
      [2, 4] + be(UInt16(1460)) + [4, 2] + [8, 10] + be(UInt32(5)) + be(UInt32(6)) + [1, 3, 3, 7]
    let header = try #require(packet.parsed())
    let tcp = try #require(header.tcp)
    #expect(header.endpoints.source == packet.source)
    #expect(header.endpoints.destination == packet.destination)
    #expect(header.hopLimit == 64)
    #expect(header.identification == (isV6 ? nil : 7))
    #expect(header.doNotFragment)
    #expect(tcp.flags == .synchronise)
    #expect(tcp.sequence == SequenceNumber(1000))
    #expect(tcp.window == 64240)
    #expect(tcp.maximumSegmentSize == 1460)
    #expect(tcp.windowScale == 7)
    #expect(tcp.permitsSelectiveAcknowledgement)
    #expect(tcp.timestamps == TCPHeader.Timestamps(value: 5, echo: 6))
    #expect(tcp.contentLength == 0)
    #expect(tcp.nextSequence == SequenceNumber(1001))
  }

  @Test(
    "link headers, tags and options of IP are stepped over",
    arguments: [
      ("tagged", [0x8100], false, 0), ("tagged twice", [0x88A8, 0x8100], false, 0),
      ("without link header", [], true, 0), ("with IP options", [], false, 8),
      ("all of it", [0x8100], false, 40),
    ] as [(String, [UInt16], Bool, Int)])
  func links(name: String, tags: [UInt16], isRaw: Bool, ipOptions: Int) throws {
    var packet = Packet()
    packet.tags = tags
    packet.isRaw = isRaw
    packet.ipOptions = ipOptions
    packet.content = 17
    let tcp = try #require(packet.parsed()?.tcp)
    #expect(tcp.contentLength == 17)
    #expect(tcp.sequence == SequenceNumber(1000))
  }

  @Test("three tags are not followed")
  func tooManyTags() {
    var packet = Packet()
    packet.tags = [0x8100, 0x8100, 0x8100]
    #expect(packet.parsed() == nil)
  }

  @Test(
    "extension headers of IPv6 are stepped over, but not without end",
    arguments: [
      ([0], true), ([60, 43], true), ([51], true), ([44], true),
      ([UInt8](repeating: 60, count: 9), false),
    ] as [([UInt8], Bool)])
  func extensions(numbers: [UInt8], isRead: Bool) throws {
    var packet = Packet()
    packet.source = SocketAddress(v6a, port: 40000)
    packet.destination = SocketAddress(v6b, port: 80)
    packet.extensions = numbers
    packet.content = 3
    let header = try #require(packet.parsed(captured: 4096))
    #expect((header.tcp != nil) == isRead)
    if isRead { #expect(header.tcp?.contentLength == 3) }
    #expect(header.isFragment == (numbers == [44]))
  }

  @Test("a later fragment has no ports to read")
  func laterFragment() throws {
    var packet = Packet()
    packet.fragment = 0x2000 | 100
    let header = try #require(packet.parsed())
    #expect(header.isFragment)
    #expect(header.content == .other(protocol: 6))
  }

  @Test("the content is as long as IP says, however little was captured")
  func snapped() throws {
    var packet = Packet()
    packet.content = 1400
    #expect(packet.parsed()?.tcp?.contentLength == 1400)
    // A segment that hardware cuts up may have no length.
    var bytes = packet.bytes
    bytes[16] = 0
    bytes[17] = 0
    let frame = Array(bytes.prefix(128))
    let header = parse(frame, length: bytes.count)
    #expect(header?.tcp?.contentLength == 1400)
  }

  @Test(
    "what a reset says in words is kept, as far as it was captured, without the padding of its frame"
  )
  func resetContent() throws {
    var packet = Packet()
    packet.flags = .reset
    packet.content = 3
    let bytes = packet.bytes + [0, 0, 0]
    let header = try #require(parse(bytes))
    func recorded(_ count: Int) -> RecordedPacket {
      let sighting = PacketSighting(
        time: 0, interface: 1, link: .ethernet, isOutgoing: false, length: UInt32(bytes.count))
      return RecordedPacket(
        sighting: sighting, header: header, bytes: Array(bytes.prefix(count)))
    }
    #expect(Array(recorded(60).content) == Array("aaa".utf8))
    #expect(Array(recorded(55).content) == Array("a".utf8))
    #expect(recorded(20).content.isEmpty)
  }

  @Test("an ICMP error names the packet it is about")
  func icmp() throws {
    let packet = Packet()
    let router = IPAddress(v4: 0x0A00_00FE)
    let bytes = packet.error(type: 3, code: 4, from: router, word: 1400)
    let header = try #require(
      parse(bytes))
    let error = try #require(header.icmp)
    #expect(header.endpoints.source.ip == router)
    #expect(error.description == "fragmentation needed")
    #expect(error.maximumPacket == 1400)
    #expect(error.quotation?.endpoints.source == packet.source)
    #expect(error.quotation?.endpoints.destination == packet.destination)
    #expect(error.quotation?.sequence == SequenceNumber(1000))
  }

  @Test("so does one of ICMPv6")
  func icmpV6() throws {
    var packet = Packet()
    packet.source = SocketAddress(v6a, port: 40000)
    packet.destination = SocketAddress(v6b, port: 80)
    let bytes = packet.error(type: 1, code: 4, from: v6b)
    let header = try #require(
      parse(bytes))
    let error = try #require(header.icmp)
    #expect(error.description == "port unreachable")
    #expect(error.quotation?.endpoints.source == packet.source)
    #expect(error.quotation?.endpoints.destination == packet.destination)
  }

  @Test("an echo is no error")
  func echo() {
    let bytes = Packet().error(type: 8, code: 0, from: IPAddress(v4: 1))
    let header = parse(bytes)
    #expect(header?.content == .other(protocol: 1))
  }

  @Test(
    "an option that leads out of its header is noticed",
    arguments: [[8, 60, 0, 0], [2, 1, 0, 0], [2, 0, 0, 0], [1, 1, 1, 8]] as [[UInt8]])
  func malformedOptions(options: [UInt8]) {
    var packet = Packet()
    packet.options = options
    #expect(packet.parsed()?.tcp?.optionsAreMalformed == true)
  }

  @Test("packets that are cut anywhere are read as far as they go")
  func truncated() {
    var packets: [(bytes: [UInt8], link: LinkType)] = []
    for isV6 in [false, true] {
      for tags in [[], [0x8100], [0x88A8, 0x8100]] as [[UInt16]] {
        var packet = Packet()
        if isV6 {
          packet.source = SocketAddress(v6a, port: 40000)
          packet.destination = SocketAddress(v6b, port: 80)
          packet.extensions = [0, 43, 60, 51, 44]
        }
        packet.tags = tags
        packet.options = Packet.timestamps(1, 2) + [2, 4, 5, 180]
        packet.content = 9
        packets.append((packet.bytes, .ethernet))
        packets.append(
          (packet.error(type: isV6 ? 1 : 3, code: 1, from: packet.destination.ip), .ethernet))
        packet.isRaw = true
        packets.append((packet.bytes, .rawIP))
      }
    }
    for (bytes, link) in packets {
      var richest = 0
      for count in 0...bytes.count {
        let frame = Array(bytes.prefix(count))
        let header = parse(frame, link: link, length: bytes.count)
        // More bytes never tell less.
        let wealth = header.map { $0.tcp == nil && $0.icmp == nil ? 1 : 2 } ?? 0
        #expect(wealth >= richest)
        richest = wealth
      }
      #expect(richest == 2)
    }
  }

  @Test("random bytes, and real packets with random changes, never trap")
  func noise() {
    var random = SeededGenerator(seed: 0x5EED)
    var seeds: [[UInt8]] = [Packet().bytes, Packet().error(type: 3, code: 1, from: v6a)]
    var packet = Packet()
    packet.source = SocketAddress(v6a, port: 40000)
    packet.destination = SocketAddress(v6b, port: 80)
    packet.extensions = [0, 44, 51]
    packet.options = Packet.timestamps(1, 2)
    seeds += [packet.bytes, packet.error(type: 2, code: 0, from: v6b)]
    for round in 0..<40_000 {
      var bytes: [UInt8]
      if round % 4 == 0 {
        bytes = (0..<Int.random(in: 0...160, using: &random)).map { _ in
          .random(in: 0...255, using: &random)
        }
      } else {
        bytes = seeds[Int.random(in: 0..<seeds.count, using: &random)]
        for _ in 0..<Int.random(in: 1...6, using: &random) {
          bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(
            in: 0...255, using: &random)
        }
        bytes.removeLast(Int.random(in: 0...min(60, bytes.count), using: &random))
      }
      let link: LinkType = round % 3 == 0 ? .rawIP : .ethernet
      let header = parse(bytes, link: link, length: .random(in: 0...70_000, using: &random))
      if let tcp = header?.tcp { #expect(tcp.headerLength >= 20) }
    }
  }

  @Test("places in a sequence wrap around")
  func sequenceNumbers() {
    let late = SequenceNumber(.max - 9)
    let early = late + 20
    #expect(early.rawValue == 10)
    #expect(early - late == 20)
    #expect(late - early == -20)
    #expect(late.later(early) == early)
    #expect(early.later(late) == early)
    #expect(SequenceNumber(.max).isBetween(late, early))
    #expect(SequenceNumber(0).isBetween(late, early))
    #expect(!SequenceNumber(11).isBetween(late, early))
    #expect(!SequenceNumber(.max - 10).isBetween(late, early))
    // Ends the wrong way round hold nothing between them, and so do ends further apart than any window.
    #expect(!SequenceNumber(1 << 31).isBetween(SequenceNumber(2000), SequenceNumber(1000)))
    #expect(!SequenceNumber(1000).isBetween(SequenceNumber(0), SequenceNumber(3 << 30)))
  }
}
