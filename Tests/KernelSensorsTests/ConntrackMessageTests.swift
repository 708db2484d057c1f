// Netlink's messages: what is asked, and entries read back, whole and broken.

import Platform
import SeededRandom
import Testing

@testable import KernelSensors

/// An entry as the kernel writes it.
func written(_ entry: ConntrackEntry, type: UInt16 = ConntrackMessage.created, sequence: UInt32 = 7)
  -> [UInt8]
{
  let isV6 = entry.original.source.ip.family == .v6
  var writer = NetlinkWriter(type: type, flags: 0, sequence: sequence, family: isV6 ? 10 : 2)
  for (number, tuple) in [(UInt16(1), entry.original), (2, entry.reply)] {
    // What a query has is what an entry has.
    let query = ConntrackMessage.query(tuple, sequence: 0)[...]
    let nested = NetlinkMessages(query).first { _ in true }?.attributes.first { _ in true }
    writer.add(0x8000 | number, Array(nested?.value ?? []))
  }
  writer.add(3, entry.status.rawValue.bytes)
  if let state = entry.state {
    writer.nest(4) { $0.nest(1) { $0.add(1, [state.rawValue]) } }
  }
  if let timeout = entry.timeout { writer.add(7, timeout.bytes) }
  if let mark = entry.mark { writer.add(8, mark.bytes) }
  if let id = entry.id { writer.add(12, id.bytes) }
  if let zone = entry.zone { writer.add(18, zone.bytes) }
  return writer.finish()
}

func tuple(_ source: String, _ destination: String) -> ConntrackTuple {
  let none = SocketAddress(.anyV4, port: 0)
  return ConntrackTuple(
    source: SocketAddress(source) ?? none, destination: SocketAddress(destination) ?? none)
}

/// A Service's flow.
func translated(id: UInt32 = 1, to real: String = "10.82.0.2:8080") -> ConntrackEntry {
  var entry = ConntrackEntry(
    original: tuple("10.81.0.1:40000", "10.96.0.10:80"), reply: tuple(real, "10.81.0.1:40000"))
  entry.id = id
  return entry
}

@Suite("Entries of the connection table")
struct ConntrackMessageTests {
  static let entries: [ConntrackEntry] = {
    var all = translated()
    all.status = [.seenReply, .assured, .confirmed, .destinationNAT]
    all.state = .established
    all.timeout = 431_999
    all.mark = 0x8000
    all.zone = 3
    var six = ConntrackEntry(
      original: tuple("[fd00:81::1]:40000", "[fd00:96::10]:80"),
      reply: tuple("[fd00:82::2]:8080", "[fd00:81::1]:40000"))
    six.state = .close
    return [all, six, translated()]
  }()

  @Test("what is written is read", arguments: entries)
  func roundTrip(entry: ConntrackEntry) throws {
    let bytes = written(entry)
    let messages = Array(NetlinkMessages((bytes + bytes)[...]))
    #expect(messages.count == 2)
    for message in messages {
      #expect(message.sequence == 7)
      #expect(ConntrackMessage.entry(message) == entry)
    }
  }

  @Test("a query is laid out as nfnetlink_conntrack.h has it")
  func layout() {
    let bytes = ConntrackMessage.query(tuple("10.0.0.1:258", "10.0.0.2:80"), sequence: 5)
    #expect(bytes.count == 72)
    #expect(Array(bytes[16..<20]) == [2, 0, 0, 0])
    #expect(bytes[28..<36].elementsEqual([8, 0, 1, 0, 10, 0, 0, 1]))
    #expect(bytes[56..<62].elementsEqual([6, 0, 2, 0, 1, 2]))
    #expect(bytes[64..<70].elementsEqual([6, 0, 3, 0, 0, 80]))
    // An IPv4 address in IPv6's clothes is the same.
    #expect(
      ConntrackMessage.query(tuple("[::ffff:10.0.0.1]:258", "10.0.0.2:80"), sequence: 5) == bytes)
  }

  @Test("who really is at the other end, from either side")
  func sides() {
    let entry = translated()
    #expect(entry.realPeer(of: entry.original) == SocketAddress("10.82.0.2:8080"))
    #expect(entry.translatedSource(of: entry.original) == nil)
    #expect(entry.realPeer(of: entry.reply) == SocketAddress("10.81.0.1:40000"))
    #expect(entry.translatedSource(of: entry.reply) == SocketAddress("10.96.0.10:80"))
    #expect(entry.realPeer(of: entry.original.reversed) == nil)
    var masqueraded = entry
    masqueraded.reply.destination = SocketAddress(IPAddress(v4: 0x0A52_0001), port: 1024)
    #expect(masqueraded.translatedSource(of: entry.original) == SocketAddress("10.82.0.1:1024"))
  }

  @Test("errors and acknowledgements")
  func acknowledgements() {
    func message(_ number: Int32) -> NetlinkMessage {
      var bytes: [UInt8] = []
      withUnsafeBytes(of: number) { bytes += $0 }
      return NetlinkMessage(type: 2, sequence: 1, content: bytes[...])
    }
    #expect(message(0).acknowledged == 0)
    #expect(message(-2).acknowledged == 2)
    #expect(message(.min).acknowledged == .min)
    #expect(NetlinkMessage(type: 2, sequence: 1, content: [1]).acknowledged == nil)
    #expect(NetlinkMessage(type: 3, sequence: 1, content: [0, 0, 0, 0]).acknowledged == nil)
  }

  @Test("cut anywhere or changed anywhere, it is read without trapping")
  func hostile() {
    var random = SeededGenerator(seed: 4)
    for entry in Self.entries {
      let bytes = written(entry)
      for end in 0...bytes.count {
        for message in NetlinkMessages(bytes[..<end]) { _ = ConntrackMessage.entry(message) }
      }
      for _ in 0..<5000 {
        var changed = bytes
        for _ in 0..<Int.random(in: 1...4, using: &random) {
          changed[Int.random(in: 0..<changed.count, using: &random)] = UInt8.random(
            in: 0...255, using: &random)
        }
        for message in NetlinkMessages(changed[...]) {
          _ = ConntrackMessage.entry(message)
          _ = LogMessage.invalidPacket(message, at: .distantFuture)
        }
      }
    }
  }

  @Test("an attribute that says it has no length, or too much of it, ends the reading")
  func lengths() {
    #expect(Array(NetlinkAttributes([0, 0, 1, 0, 8, 0, 1, 0])).isEmpty)
    #expect(Array(NetlinkAttributes([9, 0, 1, 0, 0, 0, 0, 0])).isEmpty)
    #expect(Array(NetlinkAttributes([4, 0, 1, 0, 5, 0, 2, 0, 7])).map(\.type) == [1, 2])
    #expect(Array(NetlinkMessages([15, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])).isEmpty)
  }
}

@Suite("Watching flows")
struct FlowWatchTests {
  private func lost(_ flows: FlowWatch) -> Bool? {
    flows.flow(translated().original).map { $0.lost != nil }
  }

  @Test("an entry that is made anew elsewhere is known after it is gone again")
  func switched() {
    var flows = FlowWatch()
    flows.watch(translated().original, translated())
    // The kernel tells of the first one too.
    flows.created(translated())
    #expect(flows.flow(translated().original)?.successor == nil)
    flows.deleted(translated())
    let second = translated(id: 2, to: "10.83.0.2:8080")
    flows.created(second)
    flows.deleted(second)
    let flow = flows.flow(translated().original)
    #expect(flow?.lost == translated())
    #expect(flow?.successor == second)
  }

  @Test("one with the same name after it was deleted is another all the same")
  func sameName() {
    var flows = FlowWatch()
    flows.watch(translated().original, translated())
    flows.deleted(translated())
    flows.created(translated())
    #expect(flows.flow(translated().original)?.successor == translated())
  }

  @Test("one that is picked up from the other side counts")
  func reversed() {
    var flows = FlowWatch()
    flows.watch(translated().original, translated())
    flows.deleted(translated())
    let reply = translated().reply
    var stray = ConntrackEntry(original: reply, reply: reply.reversed)
    stray.id = 9
    flows.created(stray)
    #expect(flows.flow(translated().original)?.successor == stray)
  }

  @Test("strangers, and flows whose ports are used again, change nothing")
  func others() {
    var flows = FlowWatch()
    flows.watch(translated().original, translated())
    var stranger = translated(id: 5)
    stranger.original.source = SocketAddress(.loopbackV4, port: 1)
    stranger.reply.destination = SocketAddress(.loopbackV4, port: 1)
    flows.created(stranger)
    flows.deleted(stranger)
    flows.deleted(translated(id: 6))
    #expect(lost(flows) == false)
    flows.deleted(translated())
    #expect(lost(flows) == true)
    flows.watch(translated().original, translated(id: 7))
    #expect(lost(flows) == false)
  }

  @Test("the oldest make room, and the youngest stay")
  func bounded() {
    var flows = FlowWatch()
    for number in 0..<UInt32(FlowWatch.limit * 5) {
      var entry = translated(id: number)
      entry.original.source = SocketAddress(IPAddress(v4: number), port: 1)
      entry.reply.destination = entry.original.source
      flows.watch(entry.original, entry)
    }
    #expect(flows.count <= FlowWatch.limit * 2)
    let last = SocketAddress(IPAddress(v4: UInt32(FlowWatch.limit * 5 - 1)), port: 1)
    #expect(
      flows.flow(
        ConntrackTuple(source: last, destination: translated().original.destination)) != nil)
  }
}

@Suite("Packets that a rule hands over")
struct InvalidPacketLogTests {
  private func handedOver(_ packet: [UInt8], type: UInt16 = LogMessage.packet) -> NetlinkMessage? {
    var writer = NetlinkWriter(type: type, flags: 0, sequence: 0, family: 2)
    writer.add(1, [0, 0, 0, 0])
    writer.add(9, packet)
    return NetlinkMessages(writer.finish()[...]).first { _ in true }
  }

  private static let four: [UInt8] =
    [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
    + [0x1F, 0x90, 0x9C, 0x40, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x14, 0, 0, 0, 0, 0, 0]

  @Test("who sent it to whom, and whether it was a reset")
  func reads() throws {
    let first = try #require(handedOver(Self.four))
    let packet = try #require(LogMessage.invalidPacket(first, at: .distantFuture))
    #expect(packet.tuple == tuple("10.0.0.1:8080", "10.0.0.2:40000"))
    #expect(packet.isReset)
    var six: [UInt8] = [0x60, 0, 0, 0, 0, 20, 6, 64]
    six += [0xFD] + [UInt8](repeating: 0, count: 14) + [1]
    six += [0xFD] + [UInt8](repeating: 0, count: 14) + [2]
    let second = try #require(handedOver(six + Self.four.dropFirst(20)))
    let other = try #require(LogMessage.invalidPacket(second, at: .distantFuture))
    #expect(other.tuple == tuple("[fd00::1]:8080", "[fd00::2]:40000"))
  }

  @Test("what is no TCP, or cut, is not")
  func others() throws {
    var udp = Self.four
    udp[9] = 17
    var short = Self.four
    short[0] = 0x44
    for packet in [udp, short, [], [0x45], Array(Self.four.prefix(33)), [0x60]] {
      let message = try #require(handedOver(packet))
      #expect(LogMessage.invalidPacket(message, at: .distantFuture) == nil)
    }
    for end in 0..<Self.four.count {
      let message = try #require(handedOver(Array(Self.four.prefix(end))))
      _ = LogMessage.invalidPacket(message, at: .distantFuture)
    }
    #expect(
      LogMessage.invalidPacket(try #require(handedOver(Self.four, type: 1)), at: .distantFuture)
        == nil
    )
  }
}
