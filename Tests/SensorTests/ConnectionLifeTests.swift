// What was seen of packets belongs to the connection it was seen on, and to no other one between the same ends.

import Forensics
import Platform
import Telemetry
import Testing

@testable import Packets
@testable import Proxy

@Suite("The life of a connection, and what belongs to it")
struct ConnectionLifeTests {
  private static let local = SocketAddress(IPAddress(v4: 0x0A00_0001), port: 50000)
  private static let peer = SocketAddress(IPAddress(v4: 0x0A00_0002), port: 80)
  private static let stranger = SocketAddress(IPAddress(v4: 0x0A00_0009), port: 8080)

  private static func packet(
    _ time: Int64, _ sequence: UInt32, _ flags: TCPFlags, from: SocketAddress, to: SocketAddress
  ) throws -> RecordedPacket {
    let header = PacketHeader(
      endpoints: try #require(PacketEndpoints(source: from, destination: to)), hopLimit: 64,
      identification: 0, doNotFragment: true, isFragment: false, length: 40,
      content: .tcp(TCPHeader(flags: flags, sequence: SequenceNumber(sequence))))
    let sighting = PacketSighting(
      time: time, interface: 1, link: .ethernet, isOutgoing: from == local, length: 54)
    return RecordedPacket(sighting: sighting, header: header, bytes: [])
  }

  private static func stray(_ time: Int64) throws -> Stray {
    let packet = try packet(time, 1, .reset, from: local, to: stranger)
    return Stray(
      token: 1, local: local, peer: peer, origin: stranger, certainty: .sequenceFits,
      sighting: packet.sighting, header: packet.header)
  }

  private static func record(
    _ ending: Ending, at time: Int64, age: Duration
  ) -> EndingRecord {
    var evidence = Evidence(ending)
    evidence.connection.age = age
    return EndingRecord(
      id: RecordID(milliseconds: 1, random: (1, 2)), time: time, evidence: evidence,
      transaction: .init())
  }

  @Test("a stray belongs to the socket that was watched over, however soon its port is used again")
  func strays() throws {
    var memory = StrayMemory()
    memory.add(try Self.stray(5_000), cookie: 7)
    func find(_ cookie: UInt64?, _ time: Int64) -> Stray? {
      memory.stray(local: Self.local, peer: Self.peer, cookie: cookie, in: time...)
    }
    #expect(find(7, 0)?.origin == Self.stranger)
    #expect(find(7, 6_000)?.origin == Self.stranger)
    #expect(find(8, 0) == nil)
    // Where sockets cannot be told apart, their times are.
    #expect(find(nil, 5_000) != nil)
    #expect(find(nil, 5_001) == nil)
    for _ in 0..<StrayMemory.capacity { memory.add(try Self.stray(6_000), cookie: 9) }
    #expect(find(7, 0) == nil)
  }

  @Test("a client may have used its port again before its ending was noticed, and we have not")
  func known() {
    // In microseconds; 10 s old.
    let client = ConnectionLife(
      Self.record(Ending(.downstream, .content, .reset), at: 20_000_000, age: .seconds(10)))
    #expect(client.known < 11_000_000_000)
    #expect(client.known >= 10_000_000_000)
    let origin = ConnectionLife(
      Self.record(Ending(.upstream, .content, .reset), at: 20_000_000, age: .seconds(10)))
    #expect(origin.known >= 20_000_000_000)
    #expect(origin.times(from: origin.beginning).contains(10_000_000_000))
    #expect(!origin.times(from: origin.beginning).contains(8_000_000_000))
    #expect(!origin.times(from: origin.beginning).contains(20_000_001_000))
    let new = ConnectionLife(
      Self.record(Ending(.upstream, .connect, .reset), at: 20_000_000, age: .zero))
    #expect(new.times(from: new.beginning).contains(20_000_000_000))
    #expect(!new.times(from: new.beginning).contains(18_000_000_000))
  }

  @Test("how far back counters are looked at rests on times that the connection has")
  func window() {
    var evidence = Evidence(Ending(.upstream, .tls, .timeout))
    evidence.socket.info = TCPInfo([UInt8](repeating: 0x10, count: 232))
    #expect(KernelSensor.window(evidence) == .seconds(120))
    evidence.socket.info = evidence.socket.info?.ofAttempt
    #expect(KernelSensor.window(evidence) < .seconds(1))
  }

  /// Resets by their times in milliseconds, and whether they fit.
  @Test(
    "of resets the one is told of that ended the connection",
    arguments: [
      // An abort, and what was on its way draws more.
      ([(9_990, .exact), (9_991, .exact), (9_992, .exact)], 9_990),
      // One that was refused long ago.
      ([(3_000, .exact), (9_990, .exact)], 9_990),
      ([(3_000, .behind(9)), (9_990, .exact), (9_995, .ahead(9))], 9_990),
      ([(9_980, .ahead(1)), (9_985, .unknown), (9_990, .exact), (9_995, .unknown)], 9_990),
      // What follows the ending is not its cause.
      ([(9_990, .exact), (10_500, .exact)], 9_990),
      // The clock of packets may be ahead.
      ([(10_001, .exact), (10_002, .exact)], 10_001),
      // Where places are not known, the last before the ending.
      ([(9_000, .unknown), (9_700, .unknown), (9_990, .unknown), (10_100, .unknown)], 9_990),
      // Those that the kernel refused have ended nothing.
      ([(9_990, .ahead(900_000_000)), (9_995, .behind(1))], nil),
      ([], nil),
    ] as [([(Int64, SequenceFit)], Int64?)])
  func telling(resets: [(Int64, SequenceFit)], expected: Int64?) throws {
    let life = ConnectionLife(
      Self.record(Ending(.downstream, .content, .reset), at: 10_000_000, age: .seconds(9)))
    let received = try resets.map { time, fit in
      let sighting = ResetSighting(
        packet: try Self.packet(time * 1_000_000, 5, .reset, from: Self.peer, to: Self.local),
        sender: FlowBaseline(), receiver: FlowBaseline(), candidates: [])
      var facts = try #require(ResetFacts(sighting, mode: .lite))
      facts.sequence = fit
      return (sighting, facts)
    }
    let told = PacketSensor.telling(received, life)
    #expect(told?.0.packet.time == expected.map { $0 * 1_000_000 })
  }
}
