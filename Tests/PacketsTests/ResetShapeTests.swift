// Resets of every kind, each against the flow it ends.

import Platform
import Testing

@testable import Packets

@Suite("Shapes of resets")
struct ResetShapeTests {
  /// A change to what a server's reset would be, and what it is then taken for.
  struct Case: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var shape: ResetShape
    var oddities: [ResetOddity] = []
    var mode = PacketFilter.Mode.full
    var isV6 = false
    var hasTimestamps = true
    var change: @Sendable (inout Packet) -> Void
  }

  static func active(_ packet: inout Packet) { packet.flags = [.reset, .acknowledge] }

  static func passive(_ packet: inout Packet) {
    packet.flags = .reset
    packet.acknowledgement = 0
    packet.window = 0
    packet.options = []
    packet.identification = 0
  }

  static let cases: [Case] = [
    Case(testDescription: "an abort", shape: .active) { active(&$0) },
    Case(testDescription: "an abort over IPv6", shape: .active, isV6: true) { active(&$0) },
    Case(testDescription: "an abort without time stamps", shape: .active, hasTimestamps: false) {
      active(&$0)
    },
    Case(testDescription: "an abort in lite mode", shape: .active, mode: .lite) { active(&$0) },
    Case(testDescription: "an abort with a window of none", shape: .active) {
      active(&$0)
      $0.window = 0
    },
    Case(testDescription: "for want of a connection", shape: .passive) { passive(&$0) },
    Case(testDescription: "the same over IPv6", shape: .passive, isV6: true) { passive(&$0) },
    Case(testDescription: "the same in lite mode", shape: .passive, mode: .lite) { passive(&$0) },
    Case(
      testDescription: "by hand: no time stamps", shape: .handMade, oddities: [.timestampsMissing]
    ) {
      active(&$0)
      $0.options = []
    },
    Case(
      testDescription: "by hand: time stamps from nowhere", shape: .handMade,
      oddities: [.timestampsUnexpected], hasTimestamps: false
    ) {
      active(&$0)
      $0.options = Packet.timestamps(9, 9)
    },
    Case(
      testDescription: "an odd number alone proves nothing", shape: .active,
      oddities: [.identificationOutOfStep]
    ) {
      active(&$0)
      $0.identification = 54321
    },
    Case(
      testDescription: "nor does one that is left out", shape: .active,
      oddities: [.identificationOutOfStep]
    ) {
      active(&$0)
      $0.identification = 0
    },
    Case(
      testDescription: "a number of its own, in lite mode: nothing to compare with", shape: .active,
      mode: .lite
    ) {
      active(&$0)
      $0.identification = 54321
    },
    Case(
      testDescription: "nor one in a passive reset, as other systems have it", shape: .passive,
      oddities: [.identificationInPassive]
    ) {
      passive(&$0)
      $0.identification = 54321
    },
    Case(
      testDescription: "by hand: DF left out", shape: .handMade, oddities: [.mayBeFragmented]
    ) {
      passive(&$0)
      $0.fragment = 0
    },
    Case(
      testDescription: "by hand: a window", shape: .handMade, oddities: [.windowInPassive]
    ) {
      passive(&$0)
      $0.window = 8192
    },
    Case(
      testDescription: "by hand: a number without ACK, and options", shape: .handMade,
      oddities: [.acknowledgementWithoutFlag, .optionsInPassive]
    ) {
      passive(&$0)
      $0.acknowledgement = 77
      $0.options = [2, 4, 5, 180]
    },
    Case(
      testDescription: "by hand: flags that make no sense", shape: .handMade,
      oddities: [.unusualFlags]
    ) {
      active(&$0)
      $0.flags.formUnion([.synchronise, .push])
    },
  ]

  @Test("a reset is known by what is in it", arguments: cases)
  func shapes(_ row: Case) throws {
    var talk = Conversation(FlowIndex(mode: row.mode))
    talk.isV6 = row.isV6
    talk.hasTimestamps = row.hasTimestamps
    talk.handshake()
    if row.mode == .full {
      talk.ask(100)
      for _ in 0..<4 { talk.answer(1000) }
      talk.see(talk.fromClient)
    }
    var reset = talk.fromServer
    row.change(&reset)
    talk.see(reset)
    let sighting = try #require(talk.flow?.resets.first)
    let facts = try #require(ResetFacts(sighting, mode: row.mode))
    #expect(facts.shape == row.shape)
    #expect(facts.oddities == row.oddities)
    #expect(facts.sequence == (row.mode == .full ? .exact : .unknown))
    #expect(facts.hopLimitDifference == 0)
    #expect(facts.isNearer == false || facts.isNearer == nil)
  }

  @Test("who refuses a connection answers its SYN")
  func refusal() throws {
    for mode in PacketFilter.Mode.allCases {
      var talk = Conversation(FlowIndex(mode: mode))
      var syn = talk.fromClient
      syn.flags = .synchronise
      syn.acknowledgement = 0
      talk.see(syn)
      var reset = talk.fromServer
      Self.passive(&reset)
      reset.flags = [.reset, .acknowledge]
      reset.sequence = 0
      reset.acknowledgement = syn.sequence &+ 1
      talk.see(reset)
      let sighting = try #require(talk.flow?.resets.first)
      let facts = try #require(ResetFacts(sighting, mode: mode))
      #expect(facts.shape == .replyToSYN)
      #expect(facts.oddities.isEmpty)
      #expect(facts.sequence == .exact)
      #expect(facts.trigger?.header.tcp?.flags == .synchronise)
      #expect(facts.hopLimitBaseline == nil)
    }
  }

  @Test(
    "a reset beside the place the receiver is at is seen to be so",
    arguments: [(100, .ahead(100)), (-100, .behind(100)), (0, .exact)] as [(Int, SequenceFit)])
  func sequence(offset: Int, fit: SequenceFit) throws {
    var talk = Conversation(FlowIndex(mode: .full))
    talk.handshake()
    talk.ask(10)
    talk.answer(1000)
    talk.see(talk.fromClient)
    var reset = talk.fromServer
    Self.passive(&reset)
    reset.sequence = UInt32(truncatingIfNeeded: Int(reset.sequence) + offset)
    talk.see(reset)
    let sighting = try #require(talk.flow?.resets.first)
    #expect(ResetFacts(sighting, mode: .full)?.sequence == fit)
  }

  @Test("a passive reset names the segment that drew it, and how long that took")
  func trigger() throws {
    var talk = Conversation(FlowIndex(mode: .full))
    talk.handshake()
    talk.ask(10)
    talk.answer(1000)
    talk.pass(7_000_000_000)
    talk.ask(33)
    talk.pass(4_000_000)
    var reset = talk.fromServer
    Self.passive(&reset)
    talk.see(reset)
    let sighting = try #require(talk.flow?.resets.first)
    let facts = try #require(ResetFacts(sighting, mode: .full, minimumRoundTrip: 6_000_000))
    #expect(facts.trigger?.header.tcp?.contentLength == 33)
    #expect(facts.afterTrigger == 5_000_000)
    #expect(facts.silenceBeforeTrigger == 7_001_000_000)
    #expect(facts.isTooSoon == false)
    #expect(facts.isNearer == false)
    let hurried = try #require(ResetFacts(sighting, mode: .full, minimumRoundTrip: 20_000_000))
    #expect(hurried.isNearer == true)
  }

  @Test(
    "between hosts side by side time tells nothing: the shortest of few round trips may have been a slow one"
  )
  func neighbours() throws {
    var talk = Conversation(FlowIndex(mode: .full))
    talk.handshake()
    talk.ask(70)
    talk.pass(33_000)
    var reset = talk.fromServer
    Self.passive(&reset)
    talk.see(reset)
    let sighting = try #require(talk.flow?.resets.first)
    let facts = try #require(ResetFacts(sighting, mode: .full, minimumRoundTrip: 83_000))
    #expect(facts.isTooSoon == nil)
    #expect(facts.isNearer == nil)
  }

  @Test(
    "a reset that has come a shorter way than the peer's packets is from somebody nearer",
    arguments: [(61, true), (64, true), (60, nil), (59, nil), (120, nil)] as [(UInt8, Bool?)])
  func hopLimit(value: UInt8, isNearer: Bool?) throws {
    var talk = Conversation(FlowIndex(mode: .lite))
    talk.handshake()
    var reset = talk.fromServer
    Self.passive(&reset)
    reset.hopLimit = value
    talk.see(reset)
    let sighting = try #require(talk.flow?.resets.first)
    let facts = try #require(ResetFacts(sighting, mode: .lite))
    #expect(facts.hopLimitDifference == Int(value) - 60)
    #expect(facts.isNearer == isNearer)
  }

  /// A conversation in which the peer has answered, at a distance of 10 ms.
  private static func distant() -> Conversation {
    var talk = Conversation(FlowIndex(mode: .full))
    talk.handshake()
    talk.ask(100)
    talk.pass(10_000_000)
    talk.answer(20_000)
    return talk
  }

  private static let roundTrip: Int64 = 10_000_000

  @Test("who aborts answers nothing, and is not too near for that", arguments: [1, 20_000])
  func abortIsNotNear(count: Int) throws {
    var talk = Self.distant()
    // Our ACK leaves as its content comes, and the reset is right behind that.
    talk.answer(count)
    talk.see(talk.fromClient)
    var reset = talk.fromServer
    Self.active(&reset)
    talk.see(reset)
    let sighting = try #require(talk.flow?.resets.first)
    let facts = try #require(
      ResetFacts(sighting, mode: .full, minimumRoundTrip: Self.roundTrip))
    #expect(facts.shape == .active)
    #expect(facts.isTooSoon == nil)
    #expect(facts.isNearer == nil)
  }

  @Test("of an upload's segments any may be the one that is answered")
  func uploadIsNotNear() throws {
    var talk = Self.distant()
    for _ in 0..<20 { talk.ask(1000) }
    var reset = talk.fromServer
    Self.passive(&reset)
    talk.see(reset)
    let sighting = try #require(talk.flow?.resets.first)
    let facts = try #require(
      ResetFacts(sighting, mode: .full, minimumRoundTrip: Self.roundTrip))
    #expect(facts.shape == .passive)
    #expect(facts.isTooSoon == nil)
    #expect(facts.isNearer == nil)
    // What is shown as answered is the first that is left of them, and not the last.
    #expect(facts.afterTrigger == 4_000_000)
  }

  @Test("a large segment takes as many numbers as the narrower side has it cut into")
  func jumbo() throws {
    let index = FlowIndex(mode: .full)
    var talk = Conversation(index)
    talk.handshake(serverSegment: 8960)
    for _ in 0..<8 {
      talk.ask(80)
      talk.answer(90)
    }
    // Nine pieces; the reset has the number behind the last.
    talk.answer(12_000)
    var reset = talk.fromServer
    Self.active(&reset)
    talk.see(reset)
    let sighting = try #require(talk.flow?.resets.first)
    let facts = try #require(ResetFacts(sighting, mode: .full))
    #expect(facts.shape == .active)
    #expect(facts.oddities.isEmpty)
    #expect(facts.identification == .next)
  }

  @Test(
    "a peer whose program sets a hop limit of its own is not near for that: its kernel has another")
  func ownHopLimit() throws {
    for mode in PacketFilter.Mode.allCases {
      var talk = Conversation(FlowIndex(mode: mode))
      talk.serverHopLimit = 63
      talk.handshake()
      talk.serverHopLimit = 39
      talk.answer(100)
      var reset = talk.fromServer
      Self.passive(&reset)
      reset.hopLimit = 63
      talk.see(reset)
      let sighting = try #require(talk.flow?.resets.first)
      let facts = try #require(ResetFacts(sighting, mode: mode))
      #expect(facts.shape == .passive)
      #expect(!facts.isShorterWay)
    }
    // Nor where all of its packets have it.
    var talk = Conversation(FlowIndex(mode: .full))
    talk.serverHopLimit = 39
    talk.handshake()
    talk.answer(100)
    var reset = talk.fromServer
    Self.passive(&reset)
    reset.hopLimit = 63
    talk.see(reset)
    let sighting = try #require(talk.flow?.resets.first)
    #expect(try #require(ResetFacts(sighting, mode: .full)).isShorterWay == false)
  }

  @Test("where the sender's packets lack DF its resets may")
  func withoutDF() throws {
    var talk = Conversation(FlowIndex(mode: .full))
    talk.handshake()
    var packet = talk.fromServer
    packet.fragment = 0
    packet.content = 10
    talk.see(packet)
    var reset = talk.fromServer
    Self.passive(&reset)
    reset.sequence &+= 10
    reset.fragment = 0
    talk.see(reset)
    let sighting = try #require(talk.flow?.resets.first)
    #expect(try #require(ResetFacts(sighting, mode: .full)).oddities.isEmpty)
  }

  @Test("who is asked to connect takes a reset only for its own SYN")
  func strangeRefusal() throws {
    var talk = Conversation(FlowIndex(mode: .lite))
    var syn = talk.fromClient
    syn.flags = .synchronise
    syn.acknowledgement = 0
    talk.see(syn)
    var reset = talk.fromServer
    Self.passive(&reset)
    reset.flags = [.reset, .acknowledge]
    reset.sequence = 0
    reset.acknowledgement = syn.sequence &+ 77
    talk.see(reset)
    let sighting = try #require(talk.flow?.resets.first)
    #expect(try #require(ResetFacts(sighting, mode: .lite)).sequence == .ahead(76))
  }

  @Test("each oddity has a sentence")
  func sentences() {
    for oddity in ResetOddity.allCases { #expect(!oddity.sentence.isEmpty) }
  }
}
