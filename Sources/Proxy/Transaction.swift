// One request and its response. Decides and never does I/O: `TransactionDriver` turns the store, the
// fill, the origin and the client's socket into events, and carries out the effects.
//
//                        ┌──────────── fresh, or stale and allowed ──────────────┐
//                        │                                                       ▼
//   begin ─▶ lookingUp ──┼─ absent, stale ─▶ awaitingFill ─ growing, stored ─▶ answering ─▶ finished
//     │          ▲       │                        │ not to be shared             ▲
//     │          └ cold ─┘                        ▼                              │
//     └──── not for the store ────────────▶ awaitingOrigin ── head ──────────────┘
//
// A fill is one upstream request that any number of transactions follow (Fill.swift); `awaitingOrigin`
// is the transaction's own exchange, whose content is relayed and never stored.

/// What the machine needs to know of a request, worked out once when its head is complete.
struct RequestTraits: Equatable {
  /// GET or HEAD without content: an answer may come from the store (RFC 9110 §9.2.3).
  var isCacheable: Bool
  /// A miss may start a fill: GET, and the client did not say `no-store` (RFC 9111 §5.2.1.5).
  var mayFill: Bool
  /// Other requests may wait for this one's answer: nothing in it speaks for one client only.
  var mayCollapse: Bool
  /// RFC 9111 §5.2.1.7: answer from the store or say 504.
  var onlyIfCached: Bool
  /// The same by order of the operator, for whatever is asked.
  var isOffline = false
  /// It wants a part, or sets conditions. A fetch for all goes without both; once it is known that the answer is
  /// not for all, it is sent as it is.
  var asksForLess = false
  /// It has fields that stay behind when the store is filled (UnkeyedFields.swift).
  var leavesFieldsBehind = false
  /// Nothing in it makes the answer another one than a request without any such field would get.
  var asksForAll = false
  /// Its answer is gathered whole and written anew, so that nothing is gained by filling the store for it alone.
  var isRewritten = false

  /// A fetch for all would ask for something else than it does.
  var isBestAskedAsItIs: Bool { asksForLess || leavesFieldsBehind || isRewritten }
}

struct Transaction {
  /// What the store had for the request.
  enum Found: Equatable {
    case nothing
    /// Known, but its record is still on disk only.
    case cold
    /// May be used as it is.
    case fresh
    /// May be used though stale: the request or the response allows it (RFC 9111 §4.2.4).
    case staleAllowed
    /// May be used once the origin has confirmed it (RFC 9111 §4.3).
    case stale
    /// Variants are stored, but none that this request selects (RFC 9111 §4.1).
    case otherVariant
    /// Something is stored, but could not be read now. It is fetched like what is not there, but what comes does not
    /// take its place so easily.
    case unreadable
  }

  /// What a fill has to say to those who follow it.
  enum FillNews {
    /// The head is there and this request may read the content as it grows.
    case growing
    /// The answer is in the store, complete.
    case stored
    /// What was in the store is confirmed by a 304.
    case confirmed
    /// The answer is for one request only, and this one leads: it goes on as a relay.
    case yoursAlone
    /// The answer is not the one this request selects, and somebody else leads: ask for yourself.
    case notForYou
    /// Answers for this key are not for sharing: ask for yourself.
    case notForSharing
    case failed(ProxyError)
    /// It failed, but the stale answer in the store may be used instead (RFC 9111 §4.2.4).
    case failedButStale
  }

  enum ClientEffect {
    case answerStored
    case answerGrowing
    case relayHead
    case sendError(ProxyError)
    /// The head is out, so the only honest signal left is to cut the connection (RFC 9112 §8).
    case abort
  }

  enum StoreEffect: Equatable { case lookUp, load }

  enum OriginEffect: Equatable {
    /// Follow the fill for this key; start it if there is none.
    case follow
    /// Start a fill nobody else can follow: it may still be stored.
    case fillAlone
    /// Send the client's request as it is and relay the answer.
    case relay
    /// Nobody needs the answer any more.
    case drop
  }

  /// At most one thing to do for each neighbour.
  struct Effects {
    var client: ClientEffect?
    var store: StoreEffect?
    var origin: OriginEffect?
    var isFinished = false
  }

  /// How the answer came about: the word in the access log, the metrics and, by its rules, in
  /// `Cache-Status` (RFC 9211).
  enum Handling: String, CaseIterable {
    case hit, stale, validated, miss, collapsed, bypass, error
  }

  private enum State {
    case idle
    case lookingUp
    case loading
    case awaitingFill
    case awaitingOrigin
    case answering
    case finished
  }

  let traits: RequestTraits
  private var state = State.idle
  private(set) var handling = Handling.bypass
  /// What the store said last: the reason for going to the origin.
  private(set) var found = Found.nothing
  /// A fill that turned out not to be shareable is not waited for a second time.
  private var mayFollow: Bool
  /// The origin is asked, by this transaction or by a fill that it follows.
  private(set) var isForwarded = false

  init(_ traits: RequestTraits) {
    self.traits = traits
    mayFollow = traits.mayCollapse
  }

  /// The head of the answer is decided, or out.
  var isAnswering: Bool {
    switch state {
    case .answering, .finished: true
    case .idle, .lookingUp, .loading, .awaitingFill, .awaitingOrigin: false
    }
  }

  // MARK: Events

  mutating func begin() -> Effects {
    guard case .idle = state else {
      preconditionFailure("a transaction begins once, not in \(state)")
    }
    guard traits.isCacheable else {
      guard !traits.isOffline else { return fail(.offline) }
      state = .awaitingOrigin
      isForwarded = true
      return Effects(origin: .relay)
    }
    state = .lookingUp
    return Effects(store: .lookUp)
  }

  mutating func storeAnswered(_ answer: Found) -> Effects {
    switch state {
    case .lookingUp where answer == .cold:
      state = .loading
      return Effects(store: .load)
    case .lookingUp, .loading:
      found = answer
      return decide(answer)
    case .finished:
      return Effects()
    case .idle, .awaitingFill, .awaitingOrigin, .answering:
      preconditionFailure("the store answered in \(state)")
    }
  }

  /// `collapsed`: the fill was running before this request came.
  mutating func fillSaid(_ news: FillNews, collapsed: Bool) -> Effects {
    switch state {
    case .awaitingFill:
      switch news {
      case .growing:
        state = .answering
        handling = collapsed ? .collapsed : .miss
        return Effects(client: .answerGrowing)
      case .stored:
        state = .answering
        handling = collapsed ? .collapsed : .miss
        return Effects(client: .answerStored)
      case .confirmed:
        state = .answering
        handling = collapsed ? .collapsed : .validated
        return Effects(client: .answerStored)
      case .yoursAlone:
        state = .answering
        handling = .miss
        return Effects(client: .relayHead)
      case .notForYou:
        mayFollow = false
        return goUpstream()
      case .notForSharing:
        mayFollow = false
        guard traits.isBestAskedAsItIs else { return goUpstream() }
        state = .awaitingOrigin
        return Effects(origin: .relay)
      case .failed(let error):
        return fail(error)
      case .failedButStale:
        state = .answering
        handling = .stale
        return Effects(client: .answerStored)
      }
    case .answering, .finished:
      // From here on the content speaks for itself: it grows, ends, or is cut.
      return Effects()
    case .idle, .lookingUp, .loading, .awaitingOrigin:
      preconditionFailure("a fill spoke in \(state)")
    }
  }

  mutating func originHeadArrived() -> Effects {
    switch state {
    case .awaitingOrigin:
      state = .answering
      return Effects(client: .relayHead)
    case .finished:
      return Effects(origin: .drop)
    case .idle, .lookingUp, .loading, .awaitingFill, .answering:
      preconditionFailure("a head arrived in \(state)")
    }
  }

  /// The origin goes on in another protocol (RFC 9110 §7.8), and what follows is none of HTTP's business.
  mutating func originSwitched() -> Effects {
    switch state {
    case .awaitingOrigin:
      state = .finished
      return Effects(isFinished: true)
    case .finished:
      return Effects()
    case .idle, .lookingUp, .loading, .awaitingFill, .answering:
      preconditionFailure("the origin switched protocols in \(state)")
    }
  }

  mutating func originFailed(_ error: ProxyError) -> Effects {
    switch state {
    case .awaitingOrigin:
      return fail(error)
    case .answering:
      state = .finished
      return Effects(client: .abort, isFinished: true)
    case .finished:
      return Effects()
    case .idle, .lookingUp, .loading, .awaitingFill:
      preconditionFailure("the origin failed in \(state)")
    }
  }

  /// The origin failed, or answered that it does, but the stale answer in the store may be used instead
  /// (RFC 9111 §4.2.4, RFC 5861 §4).
  mutating func originFailedButStale() -> Effects {
    switch state {
    case .awaitingOrigin:
      state = .answering
      handling = .stale
      return Effects(client: .answerStored, origin: .drop)
    case .finished:
      return Effects()
    case .idle, .lookingUp, .loading, .awaitingFill, .answering:
      preconditionFailure("a stale answer stands in for the origin in \(state)")
    }
  }

  /// The last byte of the answer is with the socket.
  mutating func answerSent() -> Effects {
    switch state {
    case .answering:
      state = .finished
      return Effects(isFinished: true)
    case .finished:
      return Effects()
    case .idle, .lookingUp, .loading, .awaitingFill, .awaitingOrigin:
      preconditionFailure("an answer was sent in \(state)")
    }
  }

  /// The store cannot give the content it promised (a blob that fails its check, a read error).
  mutating func storedContentFailed() -> Effects {
    switch state {
    case .answering:
      state = .finished
      return Effects(client: .abort, isFinished: true)
    case .finished:
      return Effects()
    case .idle, .lookingUp, .loading, .awaitingFill, .awaitingOrigin:
      preconditionFailure("stored content failed in \(state)")
    }
  }

  /// The store cannot give the content it promised, and no byte of the answer is out: as if it had not been there.
  mutating func storedContentUnreadable() -> Effects {
    switch state {
    case .answering:
      found = .unreadable
      return decide(.unreadable)
    case .finished:
      return Effects()
    case .idle, .lookingUp, .loading, .awaitingFill, .awaitingOrigin:
      preconditionFailure("stored content could not be read in \(state)")
    }
  }

  /// The answer was to be written anew, and could not; no byte of it is out.
  mutating func rewritingFailed(_ error: ProxyError) -> Effects {
    switch state {
    case .answering:
      return fail(error)
    case .finished:
      return Effects()
    case .idle, .lookingUp, .loading, .awaitingFill, .awaitingOrigin:
      preconditionFailure("an answer was written anew in \(state)")
    }
  }

  /// The client's connection is gone. A fill goes on without it; an exchange of its own does not.
  mutating func clientLeft() -> Effects {
    switch state {
    case .finished:
      return Effects()
    case .awaitingOrigin, .answering:
      state = .finished
      return Effects(origin: .drop, isFinished: true)
    case .idle, .lookingUp, .loading, .awaitingFill:
      state = .finished
      return Effects(isFinished: true)
    }
  }

  // MARK: Decisions

  private mutating func decide(_ answer: Found) -> Effects {
    switch answer {
    case .fresh:
      state = .answering
      handling = .hit
      return Effects(client: .answerStored)
    case .staleAllowed:
      state = .answering
      handling = .stale
      return Effects(client: .answerStored)
    case .nothing, .stale, .otherVariant, .unreadable, .cold:
      // A record that is still cold after loading was lost on the way: a miss.
      guard !traits.onlyIfCached else {
        return fail(.nothingStored)
      }
      return goUpstream()
    }
  }

  private mutating func goUpstream() -> Effects {
    guard !traits.isOffline else { return fail(.offline) }
    isForwarded = true
    guard traits.mayFill else {
      state = .awaitingOrigin
      return Effects(origin: .relay)
    }
    state = .awaitingFill
    return Effects(origin: mayFollow ? .follow : .fillAlone)
  }

  private mutating func fail(_ error: ProxyError) -> Effects {
    state = .answering
    handling = .error
    return Effects(client: .sendError(error))
  }
}
