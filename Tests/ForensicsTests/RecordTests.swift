import Foundation
import Platform
import Telemetry
import Testing

@testable import Forensics

@Suite("Records") struct RecordTests {
  @Test("ids sort by time and read back in either case")
  func ids() throws {
    let early = RecordID(milliseconds: 1_772_446_272_345, random: (1, 2))
    let late = RecordID(milliseconds: 1_772_446_272_346, random: (0, 0))
    #expect(early.text < late.text)
    #expect(early.text.utf8.count == 26)
    #expect(RecordID(early.text.lowercased()) == early)
    #expect(RecordID("short") == nil)
    #expect(RecordID(String(repeating: "U", count: 26)) == nil)
    let extreme = RecordID(milliseconds: .min, random: (.max, .max))
    #expect(RecordID(extreme.text) == extreme)
  }

  @Test("a record is one line of JSON that says what was observed and what it means")
  func line() throws {
    var evidence = Evidence(Ending(.upstream, .content, .reset))
    evidence.socket.errno = .connectionReset
    evidence.socket.syscall = .recv
    evidence.socket.peer = SocketAddress(IPAddress(v4: 0x0A60_000A), port: 80)
    evidence.socket.local = SocketAddress(IPAddress(v4: 0x0A08_0007), port: 41532)
    var bytes = [UInt8](repeating: 0, count: 248)
    bytes[0] = 7
    bytes[128] = 10
    evidence.socket.info = TCPInfo(bytes)
    evidence.content.hasHead = true
    evidence.content.answerBytes = 5
    evidence.content.expected = 8_388_608
    evidence.content.received = 1_835_008
    evidence.connection.age = .milliseconds(4250)
    var transaction = EndingRecord.Transaction()
    transaction.method = "GET"
    transaction.url = "http://registry/\"big\".tar"
    var record = EndingRecord(
      id: RecordID(milliseconds: 1, random: (1, 1)), time: 1, evidence: evidence,
      transaction: transaction)
    record.resumption = .init(offset: 1_835_008, outcome: .resumed, after: .milliseconds(13))
    let line = record.line(timestamp: "2026-03-02T10:11:12.345678Z")
    #expect(line.last == 10 && !line.dropLast().contains(10))
    let json = try #require(
      try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any])
    #expect(json["errno"] as? String == "ECONNRESET")
    #expect(json["url.full"] as? String == "http://registry/\"big\".tar")
    #expect((json["connection"] as? [String: Any])?["age"] as? Double == 4.25)
    #expect((json["tcp_info"] as? [String: Any])?["bytes_received"] as? Int == 10)
    let verdict = try #require(json["verdict"] as? [String: Any])
    #expect(verdict["code"] as? String == "origin-aborted")
    #expect(verdict["confidence"] as? Double == 0.6)
    #expect((json["resume"] as? [String: Any])?["after"] as? Double == 0.013)
    #expect((json["remedy"] as? String)?.isEmpty == false)
  }

  @Test("TCP_INFO of any length reads without invention", arguments: [0, 103, 104, 232, 240, 280])
  func info(length: Int) {
    let info = TCPInfo([UInt8](repeating: 0xFF, count: length))
    #expect((info == nil) == (length < 104))
    guard let info else { return }
    // Of what was never established the kernel tells the machine's age.
    #expect(info.lastDataReceived == .max)
    #expect(info.fields.contains { $0.name == "last_ack_recv" })
    let attempt = info.ofAttempt
    #expect(attempt.lastDataReceived == nil)
    #expect(!attempt.fields.contains { $0.name.hasPrefix("last_") })
    #expect(attempt.fields.count == info.fields.count - 4)
    #expect((info.bytesReceived != nil) == (length >= 136))
    #expect((info.segmentsOut != nil) == (length >= 140))
    #expect(info.fields.count == Set(info.fields.map(\.name)).count)
  }

  @Test(
    "of a round trip the handshake alone is no measure: its SYN-ACK may have come late",
    arguments: [(0, nil), (1, nil), (2, 1_000_000)] as [(UInt8, UInt32?)])
  func roundTrip(acknowledged: UInt8, counts: UInt32?) throws {
    var bytes = [UInt8](repeating: 0, count: 232)
    bytes[120] = acknowledged
    for (index, byte) in [0x40, 0x42, 0x0F, 0x00].enumerated() { bytes[148 + index] = UInt8(byte) }
    let info = try #require(TCPInfo(bytes))
    #expect(info.minimumRoundTripTime == 1_000_000)
    #expect(info.confirmedRoundTripTime == counts)
  }

  @Test("idling is learned from what happened")
  func idling() {
    var survival = IdleSurvival()
    survival.survived(.seconds(1))
    survival.survived(.milliseconds(500))
    #expect(survival.longestSurvived == .seconds(1))
    survival.wasForgotten(after: .seconds(3))
    #expect(!survival.isForgetful(at: .seconds(3)))
    survival.wasForgotten(after: .seconds(4))
    #expect(survival.isForgetful(at: .seconds(3)))
    #expect(!survival.isForgetful(at: .seconds(2)))
    survival.survived(.seconds(5))
    #expect(!survival.isForgetful(at: .seconds(6)))
  }
}
