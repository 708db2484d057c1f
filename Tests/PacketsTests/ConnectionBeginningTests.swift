// Which SYN begins another connection between ends that had one.

import Testing

@testable import Packets

@Suite("Beginning of another connection")
struct ConnectionBeginningTests {
  struct Row: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let expected: ConnectionBeginning
    var flags: TCPFlags = .synchronise
    var sequence: UInt32 = 500
    var acknowledgement: UInt32 = 0
    var isEnded = false
    var isOurs = true
    /// Its sender and receiver in the flow so far.
    var sender = FlowBaseline()
    var receiver = FlowBaseline()
  }

  private static func side(
    _ initial: UInt32?, acknowledged: UInt32? = nil, segments: UInt32 = 1
  ) -> FlowBaseline {
    var side = FlowBaseline()
    side.initialSequence = initial.map { SequenceNumber($0) }
    side.acknowledged = acknowledged.map { SequenceNumber($0) }
    side.segments = segments
    return side
  }

  static let rows = [
    Row(testDescription: "the first packet of all", expected: .same),
    Row(
      testDescription: "a SYN that is sent again", expected: .same, sequence: 100, isEnded: true,
      sender: side(100, segments: 2)),
    Row(
      testDescription: "the answer to it", expected: .same, flags: [.synchronise, .acknowledge],
      acknowledgement: 101, isOurs: false, receiver: side(100)),
    Row(
      testDescription: "another answer to it, made without state", expected: .same,
      flags: [.synchronise, .acknowledge], acknowledgement: 101, sender: side(400),
      receiver: side(100)),
    Row(
      testDescription: "the SYN that was answered already, for all that was seen",
      expected: .same, sequence: 100, receiver: side(400, acknowledged: 101)),
    Row(
      testDescription: "both say SYN at a time", expected: .same, isOurs: false,
      receiver: side(100)),
    Row(
      testDescription: "our next SYN, though no end of the last connection was seen",
      expected: .another, sender: side(100, segments: 20), receiver: side(400, acknowledged: 131)),
    Row(
      testDescription: "the peer's next SYN behind an end", expected: .another, isEnded: true,
      isOurs: false, sender: side(100, segments: 20), receiver: side(400, acknowledged: 131)),
    Row(
      testDescription: "a SYN in the name of a peer who is connected", expected: .strange,
      isOurs: false, sender: side(100, segments: 20), receiver: side(400, acknowledged: 131)),
    Row(
      testDescription: "our answer to a SYN that was taken for strange", expected: .another,
      flags: [.synchronise, .acknowledge], acknowledgement: 778, sender: side(400, segments: 20),
      receiver: side(100, segments: 20)),
    Row(
      testDescription: "after an end of which the beginning had not been seen", expected: .another,
      isEnded: true, isOurs: false, receiver: side(nil, segments: 3)),
    Row(
      testDescription: "no SYN", expected: .same, flags: .acknowledge, isEnded: true,
      sender: side(100)),
  ]

  @Test("each SYN is taken for what it is", arguments: rows)
  func judge(row: Row) {
    var tcp = TCPHeader(
      flags: row.flags, sequence: SequenceNumber(row.sequence),
      acknowledgement: SequenceNumber(row.acknowledgement))
    tcp.contentLength = 0
    #expect(
      ConnectionBeginning(
        tcp, sender: row.sender, receiver: row.receiver, isEnded: row.isEnded, isOurs: row.isOurs)
        == row.expected)
  }
}
