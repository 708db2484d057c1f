// The client side of a connection: reads request heads, answers what the store has ready in the same
// turn, hands everything else to a TransactionDriver, and keeps order between pipelined requests. What it
// sends is one head after another, each with content from one of the sources in ContentSource.swift.
//
//   (securing) ─▶ waiting
//   waiting ─▶ answering ─▶ waiting …            kept alive, request after request
//      │           └─▶ lingering ─▶ closed       said all, waits for the client to have read it
//      └─▶ tunnel                                CONNECT: the socket belongs to Tunnel.swift
//
// Here are its state and its events. What they lead to: RequestReading.swift, HitPath.swift (the short way),
// ClientSecuring.swift (TLS), AnswerSending.swift, ContentSource.swift, ClientWaiting.swift, ConnectionEnding.swift, ClientAuthentication.swift.
// An idle connection owns its two small queues and nothing else.

import HTTP
import IO
import Platform
import Storage
import TLS
import Telemetry

final class ClientConnection: LoopObject, Throttled {
  enum Phase: UInt8 {
    /// TLS is being agreed upon.
    case securing
    /// For a request's head, or its rest.
    case waiting
    /// A request is being answered; the next one waits, unread or in `input`.
    case answering
    /// The last answer is out and our side is shut; what still comes is thrown away, because closing
    /// over unread bytes would make the kernel send RST and tear the answer out of the client's hands.
    case lingering
    case closed
  }

  let worker: Worker
  /// The listener's; that of one host, once a tunnel to it is decrypted.
  var role: ListenerRole
  /// The client's: of a listener behind a load balancer, as that says.
  let peer: SocketAddress
  /// The other end of the socket, which packets come from.
  let socketPeer: SocketAddress
  var stream: SocketStream
  var phase = Phase.waiting
  /// The request being answered, when that takes more than the store's memory.
  var driver: TransactionDriver?
  /// For CONNECT, until it takes the socket.
  var tunnel: Tunnel?
  /// What is sent once `output` has gone.
  var content = ContentSource()
  /// The answer under way, for the access log; nil when the driver keeps it.
  var record: AccessRecord?
  /// Who was asking last, where clients have to say so.
  var authentication = AuthenticationMemory()
  var keepsAlive = true
  /// Requests begun on this connection.
  var requests = 0
  /// Bytes of the current answer that the socket took, head included.
  var sentBytes: UInt64 = 0
  /// Read, and not yet dealt with.
  var input = ByteQueue()
  /// Not yet taken by the socket.
  var output = ByteQueue()
  /// What lies in `output` waits for what follows it, and not for the socket.
  var isHolding = false
  /// What a call said when the client was found gone.
  var lostBy: Errno?
  /// Who ends it while nothing is asked.
  var idleEnding = HealthyEnding.idleClose
  var cursor = HeadCursor()
  /// Bytes thrown away while lingering.
  var discarded = 0
  /// `advance` is under way, or follows anyway.
  var isAdvancing = false
  /// The request that is being read, or answered, is the last one.
  var takesNoMore = false
  /// The answer that is being sent is the last one.
  var endsAfterOutput = false
  /// What is to be sent waits for room in the socket, or for the rate.
  var waitsForSocket = false
  /// The request in `input` is put off until its credentials have been checked.
  var awaitsAuthentication = false
  var throttle: Throttle?
  var deadlines = AnswerDeadlines()
  /// The client's progress in sending content, and in taking the answer.
  var reading = ProgressMeter()
  var writing = WriteWatch()

  init(
    worker: Worker, role: ListenerRole, peer: SocketAddress, socketPeer: SocketAddress,
    descriptor: Int32
  ) {
    self.worker = worker
    self.role = role
    self.peer = peer
    self.socketPeer = socketPeer
    stream = SocketStream(descriptor)
    super.init(loop: worker.loop)
  }

  var descriptor: Int32 { stream.descriptor }

  /// - Parameter context: for a listener that speaks TLS.
  /// - Returns: false when the kernel refuses to watch the descriptor, or there is no memory for TLS; the descriptor
  ///   stays the caller's then.
  func start(securing context: TLSContext? = nil) -> Bool {
    if let context {
      guard let session = try? TLSSession(server: context, descriptor: descriptor) else {
        unregister()
        phase = .closed
        return false
      }
      stream.secure(session)
      phase = .securing
    }
    guard (try? loop.watch(descriptor, self, .read)) != nil else {
      unregister()
      phase = .closed
      return false
    }
    loop.arm(
      self, after: context == nil ? worker.settings.idleTimeout : worker.settings.headerTimeout)
    if worker.settings.isRated { throttle = Throttle(worker: worker, client: peer.ip, owner: self) }
    return true
  }

  // MARK: Events

  override func ready(_ events: Readiness) {
    // In a handshake the client's reason may lie before its end, and then it is what is to be told.
    if phase != .waiting, phase != .securing, !events.isDisjoint(with: [.error, .hangUp]) {
      close(phase == .lingering ? .finished : .clientLeft)
      return
    }
    let hasRoom = events.contains(.write) && resumesReading()
    if hasRoom || phase == .securing
      || !events.isDisjoint(with: [.read, .peerFinish, .error, .hangUp])
    {
      switch phase {
      case .securing: shakeHands(isLast: !events.isDisjoint(with: [.error, .hangUp]))
      case .waiting: read()
      case .answering: readContent()
      case .lingering: discard()
      case .closed: return
      }
    }
    advance()
  }

  override func timerFired() {
    switch phase {
    case .waiting where !output.isEmpty:
      takesNothing()
    case .waiting where input.isEmpty:
      worker.metrics.add(.timeouts, .idle)
      close(.finished)
    case .waiting:
      worker.metrics.add(.timeouts, .requestHead)
      refuse(.headTimedOut(worker.settings.limits.headerTimeout))
    case .answering where awaitsAuthentication:
      awaitsAuthentication = false
      phase = .waiting
      refuse(.authenticatorBusy)
    case .answering:
      if deadlines.takeContent(loop.now), let driver, driver.wantsContent {
        worker.metrics.add(.timeouts, .requestContent)
        driver.contentTimedOut()
      } else if deadlines.takeWrite(loop.now), !output.isEmpty || content.isBlocked {
        takesNothing()
      } else {
        armDeadlines()
      }
    case .securing:
      worker.metrics.add(.downstreamHandshakes, .timedOut)
      record?.ending = .clientStalled
      close(.finished)
    case .lingering:
      close(.finished)
    case .closed:
      break
    }
  }

  /// The content being sent has news: a growing body grew, or a cold piece of a file is in memory.
  override func receive(_ letter: Letter) {
    guard phase == .answering else { return }
    if letter.subject == LetterSubject.authenticated.rawValue {
      authenticationEnded()
      return
    }
    content.isWaiting = false
    advance()
  }

  override func turnEnded() {
    isHolding = false
    if hasWantedUnread {
      if phase == .waiting { read() } else { readContent() }
    }
    advance()
  }

  override func loopEnding() { close(.shutdown) }

  /// Does all that can be done now: sends what waits, and begins the next request when the one before
  /// is answered. Safe to call at any time, also from below itself.
  func advance() {
    guard !isAdvancing else { return }
    isAdvancing = true
    defer {
      isAdvancing = false
      if hasWantedUnread { loop.afterTurn(self) }
    }
    while phase != .closed {
      pump()
      continueEarly()
      if phase == .answering, !input.isEmpty { offerInput() }
      guard phase == .waiting, output.isEmpty, !input.isEmpty else { return }
      let used = process(input.bytes)
      input.consume(used)
      if used == 0, output.isEmpty { return }
    }
  }
}
