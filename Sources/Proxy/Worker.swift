// One loop with all that lives on it: its listeners, the clients' connections, the pool of connections to
// origins, and the buffers they share. What workers have in common (the store, the table of running fills,
// the pools of threads) is in `Shared`. A worker is itself an object of its loop, so that the server can
// write to it.

import Caching
import Configuration
import Forensics
import HTTP
import IO
import Logging
import Platform
import Storage
import Synchronization
import Telemetry

/// What all workers of a server share.
final class Shared: Sendable {
  let store: Store
  let fills = FillTable()
  let gate: UpstreamGate
  let orphans = Orphans()
  let pages = RewrittenPages()
  let digests = FileDigests()
  let clients = ClientCounts()
  let disk: DiskPool
  let resolver: Resolver
  let registry: MetricRegistry
  let accessLog: AccessLogWriter?
  let logger: Logger
  let via: Via
  let own = OwnAddresses()
  let authenticator = Authenticator()
  let rates = RateLimits()
  let rejections = Rejections()
  let endings: EndingDesk
  let retries = RetryBudget()
  /// What is looked at beside the sockets.
  var packets: PacketSensor? { endings.sensors?.packets }
  var kernel: KernelSensor? { endings.sensors?.kernel }
  /// Clients' connections of all workers.
  let connectionCount = Atomic<Int>(0)
  /// Sockets of tunnels towards their hosts, of all workers: a tunnel takes a second descriptor, and more of them while
  /// it is being connected.
  let farSideCount = Atomic<Int>(0)
  /// Told when a worker has nothing left to finish.
  let onDrained: @Sendable () -> Void

  init(
    store: Store, disk: DiskPool, resolver: Resolver, registry: MetricRegistry,
    accessLog: AccessLogWriter?, endings: EndingDesk, logger: Logger, via: Via, gate: UpstreamGate,
    onDrained: @escaping @Sendable () -> Void
  ) {
    self.store = store
    self.gate = gate
    self.disk = disk
    self.resolver = resolver
    self.registry = registry
    self.accessLog = accessLog
    self.endings = endings
    self.logger = logger
    self.via = via
    self.onDrained = onDrained
  }
}

/// What the letters between threads are about.
enum LetterSubject: UInt32 {
  /// A fill or a growing body has changed.
  case fillNews = 100
  /// A record is in memory, or is not there.
  case loaded
  /// Whether a client's credentials are right is known now.
  case authenticated
  /// The first piece of a stored file was read, or could not be.
  case firstPieceRead
  /// The links of a page are written anew, or could not be.
  case pageRewritten
  /// To a worker: use these settings from now on.
  case settings
  /// To a worker: accept nothing more, and finish what is begun.
  case drain
  /// To an exchange: it is its turn at the gate.
  case admitted
  /// To a fill's driver: nobody wants its answer any more.
  case deserted
  /// To a connection with an origin: our own kernel has reset what is behind it.
  case stray
}

final class Worker: LoopObject {
  let number: Int
  let shared: Shared
  private(set) var settings: Settings
  private(set) var router: Router
  let metrics: MetricCells
  let hasher: KeyHasher
  let store: Store
  private(set) var isDraining = false
  /// The server counts workers, so each speaks once.
  private var hasToldDrained = false
  private(set) var connections: [ObjectID: ClientConnection] = [:]
  /// Connections that have not said yet whose they are.
  private var preambles: [ObjectID: ProxyPreamble] = [:]
  /// Connections that were turned away or cut and are still open.
  var farewells = 0
  private var tunnels: [ObjectID: Tunnel] = [:]
  private var listeners: [ProxyListener] = []
  private let logFormatter: AccessLogFormatter
  /// What is logged from here on is written at once.
  private var isEnding = false
  /// Records of endings wait to be judged for good.
  private var awaitsFinal = false
  private var logLines: [UInt8] = []

  /// The head that was parsed last; whoever parses uses it before anybody else can.
  let parsedHead: UnsafeMutablePointer<ParsedHead>
  /// Where keys of hits are made.
  let keyBuffer: UnsafeMutableBufferPointer<UInt8>
  /// Buffers for content that is being written.
  var pieces = PiecePool()
  /// Where answers are put together.
  let scratch = ScratchBuffer()
  private(set) var pool: OriginPool!
  /// Of handshakes with origins.
  var tickets = TicketBox()
  /// How often whom to trust has changed.
  private(set) var trust = 0
  let addressHosts = AddressHosts()
  /// `2026-03-02T10:11:12Z`, made once a second.
  private let timeText: UnsafeMutableRawBufferPointer
  private var timeTextSecond = Int64.min

  init(loop: EventLoop, number: Int, shared: Shared, settings: Settings) {
    self.number = number
    self.shared = shared
    self.settings = settings
    router = settings.router
    metrics = shared.registry.makeCells()
    store = shared.store
    hasher = shared.store.keyHasher
    logFormatter = AccessLogFormatter(format: settings.configuration.log.format)
    parsedHead = .allocate(capacity: 1)
    parsedHead.initialize(to: ParsedHead())
    keyBuffer = .allocate(
      capacity: TargetKey.roomNeeded + Int(clamping: settings.configuration.limits.head.bytes))
    timeText = .allocate(byteCount: 20, alignment: 8)
    super.init(loop: loop)
    pool = OriginPool(worker: self)
  }

  deinit {
    parsedHead.deinitialize(count: 1)
    parsedHead.deallocate()
    keyBuffer.deallocate()
    timeText.deallocate()
  }

  var fills: FillTable { shared.fills }
  var disk: DiskPool { shared.disk }
  var resolver: Resolver { shared.resolver }
  var via: Via { shared.via }

  // MARK: Orders

  func listen(_ socket: consuming FileDescriptor, for use: ListenerUse) throws(Errno) {
    listeners.append(try ProxyListener(worker: self, use: use, socket: socket))
  }

  #if DEBUG
    /// To a worker: its wall clock is moved by `value` seconds.
    static let clockStep: UInt32 = 99
  #endif

  override func receive(_ letter: Letter) {
    #if DEBUG
      if letter.subject == Self.clockStep { loop.wallStep &+= Int64(letter.value) }
    #endif
    switch LetterSubject(rawValue: letter.subject) {
    case .settings:
      guard let settings = letter.payload as? Settings else { return }
      let hasOtherRates =
        settings.configuration.rate != self.settings.configuration.rate
        || settings.upstream.rate != self.settings.upstream.rate
      let hasOtherTrust =
        settings.upstream.ca != self.settings.upstream.ca
        || settings.upstream.unverifiedHosts != self.settings.upstream.unverifiedHosts
      let hasOtherParents = settings.parents != self.settings.parents
      self.settings = settings
      router = settings.router
      addressHosts.forget()
      for connection in connections.values { connection.reconsiderTunnel() }
      pool.dropForbidden()
      if hasOtherParents { pool.dropAll() }
      if hasOtherTrust {
        // Whom was trusted then may be nobody now.
        trust &+= 1
        pool.dropAll()
        tickets.removeAll()
      }
      if hasOtherRates {
        for connection in connections.values { connection.ratesChanged() }
        for tunnel in tunnels.values { tunnel.ratesChanged() }
      }
    case .drain:
      drain()
    case .fillNews, .loaded, .firstPieceRead, .pageRewritten, .admitted, .deserted, .stray,
      .authenticated,
      nil:
      break
    }
  }

  private func drain() {
    guard !isDraining else { return }
    isDraining = true
    for listener in listeners {
      listener.turnRestAway()
      listener.stop()
    }
    listeners = []
    pool.dropAll()
    for preamble in preambles.values { preamble.end() }
    for connection in connections.values { connection.drain() }
    tellIfDrained()
  }

  private func tellIfDrained() {
    guard isDraining, !hasToldDrained, connections.isEmpty, tunnels.isEmpty else { return }
    hasToldDrained = true
    flushLog()
    shared.onDrained()
  }

  /// Once a second: what was put together for the log goes to its thread.
  override func timerFired() {
    flushLog()
    shared.endings.finishDue()
    if awaitsFinal, shared.endings.isAnyWaiting { scheduleLog() } else { awaitsFinal = false }
  }

  override func loopEnding() {
    isEnding = true
    flushLog()
  }

  // MARK: Connections

  func accept(_ descriptor: Int32, peer: SocketAddress, _ use: ListenerUse) {
    metrics.add(.connectionsAccepted)
    guard use.trust.expectsHeader(from: peer.ip) else {
      admit(descriptor, peer: peer, socketPeer: peer, use)
      return
    }
    guard fullness == nil else {
      metrics.add(.connectionsRefused, .limit)
      FileDescriptor.close(raw: descriptor)
      return
    }
    let preamble = ProxyPreamble(worker: self, use: use, peer: peer, descriptor: descriptor)
    guard preamble.start() else { return }
    shared.connectionCount.wrappingAdd(1, ordering: .relaxed)
    preambles[preamble.id] = preamble
  }

  func preambleEnded(_ preamble: ProxyPreamble) {
    guard preambles.removeValue(forKey: preamble.id) != nil else { return }
    shared.connectionCount.wrappingSubtract(1, ordering: .relaxed)
  }

  /// Takes a connection in, now that it is known whose it is.
  /// - Parameters:
  ///   - peer: the client: who connected, or whom a PROXY header named.
  ///   - socketPeer: who connected.
  func admit(
    _ descriptor: Int32, peer: SocketAddress, socketPeer: SocketAddress, _ use: ListenerUse
  ) {
    guard settings.configuration.allows(client: peer.ip) else {
      metrics.add(.connectionsRefused, .client)
      turnAway(descriptor, use, .notAllowedClient(peer))
      return
    }
    if let fullness {
      metrics.add(.connectionsRefused, .limit)
      turnAway(descriptor, use, fullness)
      return
    }
    let ofClient = settings.limits.connectionsPerClient
    guard shared.clients.enter(peer.ip, limit: ofClient) else {
      metrics.add(.connectionsRefused, .clientLimit)
      turnAway(descriptor, use, .tooManyConnectionsOfClient(peer.ip, ofClient))
      return
    }
    let security = settings.security(of: use.number)
    let connection = ClientConnection(
      worker: self, role: use.role, peer: peer, socketPeer: socketPeer, descriptor: descriptor)
    guard security.isUsable, connection.start(securing: security.context) else {
      shared.clients.leave(peer.ip)
      metrics.add(.connectionsRefused, .resources)
      turnAway(descriptor, use, .cannotWatch, isBrief: true)
      return
    }
    shared.connectionCount.wrappingAdd(1, ordering: .relaxed)
    metrics.add(.connectionsOpen, .downstream)
    connections[connection.id] = connection
  }

  /// What keeps another connection out, if anything does.
  private var fullness: ProxyError? {
    let count = shared.connectionCount.load(ordering: .relaxed)
    guard count < settings.limits.connections else {
      return .tooManyConnections(settings.limits.connections, isBudget: false)
    }
    return hasDescriptors(beside: count)
      ? nil : .tooManyConnections(settings.budget.clients, isBudget: true)
  }

  /// Whether there is a descriptor for another client, or for the far side of a tunnel.
  private func hasDescriptors(beside connections: Int) -> Bool {
    connections + shared.farSideCount.load(ordering: .relaxed) < settings.budget.clients
  }

  /// Counts descriptors of a tunnel towards its host, unless that would take them from those who are being served.
  func takeFarSides(_ count: Int) -> Bool {
    let connections = shared.connectionCount.load(ordering: .relaxed)
    guard hasDescriptors(beside: connections + count - 1) else { return false }
    shared.farSideCount.wrappingAdd(count, ordering: .relaxed)
    return true
  }

  func giveBackFarSides(_ count: Int) {
    shared.farSideCount.wrappingSubtract(count, ordering: .relaxed)
  }

  /// Says why, without making a connection of it.
  /// - Parameter isBrief: the descriptor is needed: nothing is waited for.
  func turnAway(
    _ descriptor: Int32, _ use: ListenerUse, _ error: ProxyError, isBrief: Bool = false
  ) {
    // Over TLS an answer would take a handshake first, which whoever is turned away is not worth.
    guard settings.security(of: use.number).isPlain else {
      FileDescriptor.close(raw: descriptor)
      return
    }
    let answer = Answers.error(
      error, cacheStatus: nil, date: loop.wallSeconds, keepsAlive: false, isHead: false,
      version: .http11)
    if isBrief || farewells >= settings.budget.farewells {
      Farewell.brief(descriptor, answer: answer, into: loop.receiveBuffer)
    } else {
      _ = Farewell(worker: self, descriptor: descriptor, answer: answer)
    }
  }

  func connectionClosed(_ connection: ClientConnection) {
    guard connections.removeValue(forKey: connection.id) != nil else { return }
    shared.connectionCount.wrappingSubtract(1, ordering: .relaxed)
    shared.clients.leave(connection.peer.ip)
    metrics.subtract(.connectionsOpen, .downstream)
    for listener in listeners where listener.isPaused { listener.descriptorFreed() }
    tellIfDrained()
  }

  func tunnelOpened(_ tunnel: Tunnel) {
    tunnels[tunnel.id] = tunnel
    shared.clients.keep(tunnel.peer.ip)
    shared.connectionCount.wrappingAdd(1, ordering: .relaxed)
    metrics.add(.tunnelsOpen)
    metrics.add(.tunnels)
  }

  func tunnelClosed(_ tunnel: Tunnel) {
    guard tunnels.removeValue(forKey: tunnel.id) != nil else { return }
    shared.clients.leave(tunnel.peer.ip)
    shared.connectionCount.wrappingSubtract(1, ordering: .relaxed)
    metrics.subtract(.tunnelsOpen)
    for listener in listeners where listener.isPaused { listener.descriptorFreed() }
    tellIfDrained()
  }

  // MARK: Destinations

  /// The addresses of a host that may be connected to now.
  func permitted(
    _ addresses: [IPAddress], of host: String, port: UInt16, isConfigured: Bool
  ) throws(ProxyError) -> [SocketAddress] {
    try DestinationGuard.permitted(
      addresses, of: host, port: port, isConfigured: isConfigured, by: settings.destinations,
      own: shared.own)
  }

  // MARK: Parsing

  func parseRequest(_ bytes: UnsafeRawBufferPointer, resuming cursor: inout HeadCursor)
    -> HeadOutcome
  {
    MessageParser.parseRequest(
      Span<UInt8>(_unsafeBytes: bytes), into: &parsedHead.pointee, resuming: &cursor,
      limits: settings.headLimits)
  }

  func parseResponse(_ bytes: UnsafeRawBufferPointer, resuming cursor: inout HeadCursor)
    -> HeadOutcome
  {
    MessageParser.parseResponse(
      Span<UInt8>(_unsafeBytes: bytes), into: &parsedHead.pointee, resuming: &cursor,
      limits: settings.headLimits)
  }

  // MARK: The store

  func lookup(_ key: CacheKey) -> Lookup {
    key.bytes.withUnsafeBytes { store.lookup(keyBytes: $0, hash: key.hash) }
  }

  /// Brings a piece of a file into the page cache on a pool thread, and writes to `connection` then.
  func warm(_ blob: BlobFile, offset: Int64, count: Int, for connection: ClientConnection) {
    let mailbox = loop.mailbox
    let id = connection.id
    let isTaken = disk.submit {
      // What went wrong here the loop meets again when it sends.
      _ = PageCache.fetch(blob.descriptor, offset: offset, count: count)
      withExtendedLifetime(blob) {}
      mailbox.post(Letter(to: id, subject: LetterSubject.loaded.rawValue))
    }
    // With the pool's queue full this loop reads for itself: slow, but it goes on.
    if !isTaken { mailbox.post(Letter(to: id, subject: LetterSubject.loaded.rawValue)) }
  }

  /// Renews a stored response that was served stale (RFC 5861 §3), for nobody in particular.
  func revalidate(_ request: ClientRequest, _ entry: StoredEntry) {
    // Others may wait for it, so it goes without what is one client's own: a cookie, in whatever field. Whoever says who he
    // is in Authorization may be the only one who is answered.
    var request = request
    request.method = .get
    request.fields.removeAll { known, name, _ in UnkeyedFields.isCredential(known, name) }
    guard request.traits.mayFill, request.traits.mayCollapse,
      !fills.remembers(.renewalGivenUp, hash: request.key.hash, now: loop.now)
    else { return }
    switch fills.enter(request.key, now: loop.now) {
    case .lead(let fill):
      FillDriver(
        worker: self, fill: fill, request: request, stale: entry, leader: nil, isRenewal: true
      ).start()
      fill.release()
    case .joined(let fill): fill.release()
    case .alone: break
    }
  }

  /// What an unsafe request has changed is no longer to be trusted (RFC 9111 §4.4).
  func invalidate(after request: ClientRequest, _ head: ResponseHead) {
    let targets = Invalidation.targets(
      method: request.method, target: request.target, status: head.status, fields: head.fields)
    for target in targets {
      for key in UpstreamCredentials.keys(of: target.key) {
        store.remove(CacheKey(key, hasher: hasher))
      }
    }
  }

  // MARK: Logging

  func log(_ record: AccessRecord) {
    count(record)
    guard shared.accessLog != nil else { return }
    logFormatter.append(record, now: loop.now, time: currentTimeText, to: &logLines)
    scheduleLog()
  }

  private func count(_ record: AccessRecord) {
    let verdict = record.verdict
    metrics.add(.requests, record.methodClass, verdict)
    metrics.add(.responses, StatusClass(status: record.status.rawValue))
    let elapsed = loop.now - record.startedAt
    metrics.observe(
      .requestDuration, verdict, nanoseconds: UInt64(clamping: elapsed.wholeNanoseconds))
    if verdict == .hit || verdict == .stale || verdict == .validated {
      metrics.add(.storeServed, record.sentBytes)
    }
  }

  /// A hit that was over within the turn: nothing is made for it but the line.
  func logHit(_ record: @autoclosure () -> AccessRecord, method: Method, contentCount: Int) {
    metrics.add(.requests, method == .get ? .get : .head, .hit)
    metrics.add(.responses, .successful)
    metrics.observe(.requestDuration, .hit, nanoseconds: 0)
    metrics.add(.storeServed, UInt64(truncatingIfNeeded: contentCount))
    guard shared.accessLog != nil else { return }
    logFormatter.append(record(), now: loop.now, time: currentTimeText, to: &logLines)
    scheduleLog()
  }

  /// Takes an ending in; its final record follows from this worker's timer, unless another's is sooner.
  func report(
    _ evidence: Evidence, _ transaction: EndingRecord.Transaction, isHealing: Bool = false
  ) -> RecordID {
    awaitsFinal = true
    scheduleLog()
    return shared.endings.report(evidence, transaction, isHealing: isHealing)
  }

  private func scheduleLog() {
    if isEnding || logLines.count >= 64 << 10 {
      flushLog()
    } else if !loop.isArmed(self) {
      loop.arm(self, after: .seconds(1))
    }
  }

  private func flushLog() {
    guard !logLines.isEmpty else { return }
    shared.accessLog?.submit(logLines)
    logLines = []
    logLines.reserveCapacity(72 << 10)
  }

  private var currentTimeText: UnsafeRawBufferPointer {
    let seconds = loop.wallSeconds
    if seconds != timeTextSecond {
      timeTextSecond = seconds
      InternetTime.write(seconds, into: timeText)
    }
    return UnsafeRawBufferPointer(timeText)
  }
}

/// Accepts for one worker.
final class ProxyListener: Listener {
  private let worker: Worker
  private let use: ListenerUse

  init(worker: Worker, use: ListenerUse, socket: consuming FileDescriptor) throws(Errno) {
    self.worker = worker
    self.use = use
    try super.init(loop: worker.loop, socket: socket)
  }

  override func accepted(_ descriptor: Int32, peer: SocketAddress) {
    worker.accept(descriptor, peer: peer, use)
  }

  override func paused() {
    worker.metrics.add(.acceptPauses)
    // Clients need the descriptors more than connections that are kept in case.
    worker.pool.dropAll()
  }

  /// Who is in the queue already hears that the proxy ends; the kernel would only reset them.
  func turnRestAway() {
    for descriptor in takeQueued(limit: 256) {
      worker.metrics.add(.connectionsAccepted)
      worker.metrics.add(.connectionsRefused, .draining)
      worker.turnAway(descriptor, use, .shuttingDown)
    }
  }

  override func refused(_ descriptor: Int32, peer: SocketAddress) {
    worker.metrics.add(.connectionsRefused, .resources)
    worker.turnAway(descriptor, use, .outOfDescriptors, isBrief: true)
  }
}
