// The machine of one transaction, state by state and event by event.

import HTTP
import Testing

@testable import Proxy

@Suite struct TransactionTests {
  enum Event: Sendable {
    case begin
    case store(Transaction.Found)
    case fill(Transaction.FillNews, collapsed: Bool)
    case head, switched, failed, failedButStale, sent, contentFailed, left

    func apply(to machine: inout Transaction) -> Transaction.Effects {
      switch self {
      case .begin: machine.begin()
      case .store(let found): machine.storeAnswered(found)
      case .fill(let news, let collapsed): machine.fillSaid(news, collapsed: collapsed)
      case .head: machine.originHeadArrived()
      case .switched: machine.originSwitched()
      case .failed: machine.originFailed(TransactionTests.error)
      case .failedButStale: machine.originFailedButStale()
      case .sent: machine.answerSent()
      case .contentFailed: machine.storedContentFailed()
      case .left: machine.clientLeft()
      }
    }
  }

  static let error = ProxyError(.connectionRefused, "no")

  /// The states, by the events that lead there.
  enum State: CaseIterable {
    case idle, lookingUp, loading, awaitingFill, awaitingOrigin, answering, finished

    var path: [Event] {
      switch self {
      case .idle: []
      case .lookingUp: [.begin]
      case .loading: [.begin, .store(.cold)]
      case .awaitingFill: [.begin, .store(.nothing)]
      case .awaitingOrigin: [.begin, .store(.nothing), .fill(.notForYou, collapsed: true)]
      case .answering: [.begin, .store(.fresh)]
      case .finished: [.begin, .store(.fresh), .sent]
      }
    }

    /// HEAD has no fill, so that a miss brings it to the origin by itself.
    var traits: RequestTraits { self == .awaitingOrigin ? TransactionTests.head : .retrieval }
  }

  static let head = RequestTraits(
    isCacheable: true, mayFill: false, mayCollapse: true, onlyIfCached: false)

  static func machine(in state: State) -> Transaction {
    var machine = Transaction(state.traits)
    let path = state == .awaitingOrigin ? [.begin, .store(.nothing)] : state.path
    for event in path { _ = event.apply(to: &machine) }
    return machine
  }

  /// Effects in words: client, store, origin, and whether the transaction is over.
  static func words(_ effects: Transaction.Effects) -> String {
    var words: [String] = []
    switch effects.client {
    case .answerStored: words.append("answer stored")
    case .answerGrowing: words.append("answer growing")
    case .relayHead: words.append("relay")
    case .sendError(let error): words.append("error \(error.status)")
    case .abort: words.append("abort")
    case nil: break
    }
    if let store = effects.store { words.append(store == .lookUp ? "look up" : "load") }
    switch effects.origin {
    case .follow: words.append("follow")
    case .fillAlone: words.append("fill alone")
    case .relay: words.append("ask")
    case .drop: words.append("drop")
    case nil: break
    }
    if effects.isFinished { words.append("over") }
    return words.joined(separator: ", ")
  }

  static let table: [(State, Event, String)] = [
    (.idle, .begin, "look up"),
    (.idle, .left, "over"),

    (.lookingUp, .store(.nothing), "follow"),
    (.lookingUp, .store(.cold), "load"),
    (.lookingUp, .store(.fresh), "answer stored"),
    (.lookingUp, .store(.staleAllowed), "answer stored"),
    (.lookingUp, .store(.stale), "follow"),
    (.lookingUp, .store(.otherVariant), "follow"),
    (.lookingUp, .left, "over"),

    (.loading, .store(.nothing), "follow"),
    // Lost on the way from the disk: a miss, not another try.
    (.loading, .store(.cold), "follow"),
    (.loading, .store(.fresh), "answer stored"),
    (.loading, .store(.staleAllowed), "answer stored"),
    (.loading, .store(.stale), "follow"),
    (.loading, .store(.otherVariant), "follow"),
    (.loading, .left, "over"),

    (.awaitingFill, .fill(.growing, collapsed: false), "answer growing"),
    (.awaitingFill, .fill(.stored, collapsed: false), "answer stored"),
    (.awaitingFill, .fill(.confirmed, collapsed: false), "answer stored"),
    (.awaitingFill, .fill(.yoursAlone, collapsed: false), "relay"),
    (.awaitingFill, .fill(.notForYou, collapsed: true), "fill alone"),
    (.awaitingFill, .fill(.failed(error), collapsed: true), "error 502"),
    (.awaitingFill, .fill(.failedButStale, collapsed: false), "answer stored"),
    (.awaitingFill, .left, "over"),

    (.awaitingOrigin, .head, "relay"),
    (.awaitingOrigin, .switched, "over"),
    (.awaitingOrigin, .failed, "error 502"),
    (.awaitingOrigin, .failedButStale, "answer stored, drop"),
    (.awaitingOrigin, .left, "drop, over"),

    (.answering, .fill(.growing, collapsed: false), ""),
    (.answering, .fill(.failed(error), collapsed: false), ""),
    (.answering, .failed, "abort, over"),
    (.answering, .sent, "over"),
    (.answering, .contentFailed, "abort, over"),
    (.answering, .left, "drop, over"),

    // Late news about something that is over.
    (.finished, .store(.fresh), ""),
    (.finished, .fill(.stored, collapsed: false), ""),
    (.finished, .head, "drop"),
    (.finished, .switched, ""),
    (.finished, .failed, ""),
    (.finished, .failedButStale, ""),
    (.finished, .sent, ""),
    (.finished, .contentFailed, ""),
    (.finished, .left, ""),
  ]

  @Test("in each state each event has its effects", arguments: table.indices)
  func transition(index: Int) {
    let (state, event, expected) = Self.table[index]
    var machine = Self.machine(in: state)
    #expect(Self.words(event.apply(to: &machine)) == expected, "\(event) in \(state)")
  }

  @Test("a request that is not for the store goes to the origin at once")
  func bypass() {
    var machine = Transaction(
      RequestTraits(isCacheable: false, mayFill: false, mayCollapse: true, onlyIfCached: false))
    #expect(Self.words(machine.begin()) == "ask")
    #expect(machine.handling == .bypass)
  }

  @Test("a request that speaks for one client only is not followed by others")
  func alone() {
    var machine = Transaction(
      RequestTraits(isCacheable: true, mayFill: true, mayCollapse: false, onlyIfCached: false))
    _ = machine.begin()
    #expect(Self.words(machine.storeAnswered(.nothing)) == "fill alone")
  }

  @Test(
    "only-if-cached never goes to the origin",
    arguments: [Transaction.Found.nothing, .stale, .otherVariant])
  func onlyIfCached(found: Transaction.Found) {
    var machine = Transaction(
      RequestTraits(isCacheable: true, mayFill: true, mayCollapse: true, onlyIfCached: true))
    _ = machine.begin()
    #expect(Self.words(machine.storeAnswered(found)) == "error 504")
    #expect(machine.isAnswering)
  }

  @Test(
    "offline nothing goes to the origin, and what may be used is used",
    arguments: [true, false], [true, false])
  func offline(isCacheable: Bool, mayFill: Bool) {
    let traits = RequestTraits(
      isCacheable: isCacheable, mayFill: mayFill, mayCollapse: mayFill, onlyIfCached: false,
      isOffline: true)
    var machine = Transaction(traits)
    let first = machine.begin()
    guard isCacheable else {
      #expect(Self.words(first) == "error 504")
      return
    }
    for found in [Transaction.Found.nothing, .otherVariant, .stale, .cold] {
      var machine = machine
      if found == .cold { _ = machine.storeAnswered(.cold) }
      #expect(Self.words(machine.storeAnswered(found)) == "error 504")
      #expect(machine.isAnswering && !machine.isForwarded)
    }
    #expect(Self.words(machine.storeAnswered(.staleAllowed)) == "answer stored")
  }

  @Test("a fill that was not for this request is not waited for again")
  func notTwice() {
    var machine = Self.machine(in: .awaitingFill)
    #expect(Self.words(machine.fillSaid(.notForYou, collapsed: true)) == "fill alone")
    #expect(Self.words(machine.fillSaid(.notForYou, collapsed: false)) == "fill alone")
  }

  @Test("how the answer came about is told by one word")
  func handling() {
    let cases: [([Event], Transaction.Handling)] = [
      ([.begin, .store(.fresh)], .hit), ([.begin, .store(.staleAllowed)], .stale),
      ([.begin, .store(.nothing), .fill(.growing, collapsed: false)], .miss),
      ([.begin, .store(.nothing), .fill(.growing, collapsed: true)], .collapsed),
      ([.begin, .store(.stale), .fill(.stored, collapsed: false)], .miss),
      ([.begin, .store(.stale), .fill(.confirmed, collapsed: false)], .validated),
      ([.begin, .store(.stale), .fill(.confirmed, collapsed: true)], .collapsed),
      ([.begin, .store(.nothing), .fill(.yoursAlone, collapsed: false)], .miss),
      ([.begin, .store(.stale), .fill(.failedButStale, collapsed: false)], .stale),
      ([.begin, .store(.nothing), .fill(.failed(Self.error), collapsed: false)], .error),
      (
        [
          .begin, .store(.stale), .fill(.notForYou, collapsed: true),
          .fill(.failedButStale, collapsed: false),
        ],
        .stale
      ),
    ]
    for (events, expected) in cases {
      var machine = Transaction(.retrieval)
      for event in events { _ = event.apply(to: &machine) }
      #expect(machine.handling == expected, "\(events)")
      #expect(machine.isAnswering)
    }
  }

  @Test("whatever happens, a transaction ends at most once", arguments: State.allCases)
  func endsOnce(state: State) {
    var machine = Self.machine(in: state)
    let first = machine.clientLeft()
    #expect(first.isFinished == (state != .finished))
    #expect(!machine.clientLeft().isFinished)
    #expect(!machine.answerSent().isFinished)
    #expect(!machine.originFailed(Self.error).isFinished)
  }

  #if os(Linux)
    @Test("an answer that was sent before there was one stops the program")
    func sentTooEarly() async {
      await #expect(processExitsWith: .failure) {
        var machine = TransactionTests.machine(in: .awaitingFill)
        _ = machine.answerSent()
      }
    }

    @Test("a transaction that begins twice stops the program")
    func beginsTwice() async {
      await #expect(processExitsWith: .failure) {
        var machine = TransactionTests.machine(in: .lookingUp)
        _ = machine.begin()
      }
    }

    @Test("a second head for one request stops the program")
    func secondHead() async {
      await #expect(processExitsWith: .failure) {
        var machine = TransactionTests.machine(in: .answering)
        _ = machine.originHeadArrived()
      }
    }
  #endif
}

extension RequestTraits {
  static let retrieval = RequestTraits(
    isCacheable: true, mayFill: true, mayCollapse: true, onlyIfCached: false)
}
