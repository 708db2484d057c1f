// Segments written by hand, read by the parser of the packet sensor.

import Packets
import Platform
import Testing

@testable import Lab

@Suite("Segments of the lab") struct SegmentTests {
  @Test(
    "what is written is what is read, and its sums are right",
    arguments: [("10.8.3.9", "10.8.2.2"), ("fd00:8:3::9", "fd00:8:2::2")])
  func parses(from: String, to: String) throws {
    let source = SocketAddress(try #require(IPAddress(from)), port: 8080)
    let destination = SocketAddress(try #require(IPAddress(to)), port: 41532)
    var segment = Segment(
      from: source, to: destination, sequence: 4_294_967_290, acknowledgement: 77,
      flags: Segment.pushAcknowledge)
    segment.hopLimit = 120
    segment.identification = 54321
    segment.timestamps = (1000, 2000)
    segment.content = [1, 2, 3]
    let bytes = segment.bytes
    let parsed = PacketParser.parse(bytes.span, link: .rawIP, length: bytes.count)
    let header = try #require(parsed)
    #expect(header.endpoints == PacketEndpoints(source: source, destination: destination))
    #expect(header.hopLimit == 120)
    let tcp = try #require(header.tcp)
    #expect(tcp.sequence.rawValue == 4_294_967_290)
    #expect(tcp.acknowledgement.rawValue == 77)
    #expect(tcp.timestamps == TCPHeader.Timestamps(value: 1000, echo: 2000))
    #expect(tcp.contentLength == 3)
    if source.ip.family == .v4 {
      #expect(header.identification == 54321)
      #expect(Segment.checksum(Array(bytes[..<20])) == 0)
      let pseudo = bytes[12..<20] + [0, 6, 0, UInt8(bytes.count - 20)]
      #expect(Segment.checksum(Array(pseudo + bytes[20...])) == 0)
    } else {
      let pseudo = bytes[8..<40] + [0, 0, 0, UInt8(bytes.count - 40), 0, 0, 0, 6]
      #expect(Segment.checksum(Array(pseudo + bytes[40...])) == 0)
    }
  }
}
