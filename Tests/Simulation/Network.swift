// The machine's descriptors: sockets, epoll and eventfd, as the program sees them. The other end of a socket is a
// `Wire` that a model client or a model origin holds (Wire.swift). Behaviour follows Linux where a program could
// notice: lowest number first, level-triggered readiness, what was received before a RST stays readable, closing
// over unread bytes sends RST, one error told once.

import CLinux
import Glibc
import Platform

/// The tables of a machine's network.
struct Network {
  var descriptors: [Descriptor?] = []
  /// Model origins by where they listen.
  var services: [SocketAddress: (Wire) -> Void] = [:]
  var nextPort: UInt16 = 40_000

  var openCount: Int { descriptors.count { $0 != nil } }

  func find(_ fd: Int32) -> Descriptor? {
    let index = Int(fd - StandIn.firstDescriptor)
    return descriptors.indices.contains(index) ? descriptors[index] : nil
  }

  mutating func add(_ descriptor: Descriptor) -> Int {
    let index = descriptors.firstIndex { $0 == nil } ?? descriptors.count
    if index == descriptors.count { descriptors.append(nil) }
    descriptors[index] = descriptor
    descriptor.number = StandIn.firstDescriptor + Int32(index)
    return Int(descriptor.number)
  }
}

class Descriptor {
  var number: Int32 = -1
  /// Who is told when it becomes ready.
  fileprivate(set) var watcher: EpollSet?
  fileprivate var interest: UInt32 = 0
  fileprivate var token: UInt64 = 0
  fileprivate var isCandidate = false
  /// How often its readiness was told since something came of it.
  fileprivate var vainReports = 0

  var readiness: UInt32 { 0 }

  /// Something changed.
  func touch(_ machine: Machine) { watcher?.add(self, machine) }
}

final class EventCounter: Descriptor {
  var count = 0
  override var readiness: UInt32 { count > 0 ? LINUX_EPOLLIN : 0 }
}

final class EpollSet: Descriptor {
  fileprivate var candidates: [Descriptor] = []
  fileprivate var waiter: Machine.Fiber?

  fileprivate func add(_ descriptor: Descriptor, _ machine: Machine) {
    if !descriptor.isCandidate {
      descriptor.isCandidate = true
      candidates.append(descriptor)
    }
    if let waiter { machine.makeReady(waiter) }
  }
}

final class StreamSocket: Descriptor {
  enum State {
    case fresh, listening, connecting, open, failed
  }

  var state = State.fresh
  var address: SocketAddress?
  var error: Int32 = 0
  var lingersZero = false
  var isShut = false
  /// Connections to be accepted.
  var queue: [Wire] = []
  var wire: Wire?

  override var readiness: UInt32 {
    switch state {
    case .fresh, .connecting: return 0
    case .listening: return queue.isEmpty ? 0 : LINUX_EPOLLIN
    case .failed:
      return LINUX_EPOLLIN | LINUX_EPOLLOUT | LINUX_EPOLLHUP | LINUX_EPOLLRDHUP
        | (error != 0 ? LINUX_EPOLLERR : 0)
    case .open:
      guard let wire else { return 0 }
      var events: UInt32 = 0
      if wire.hasIncoming || wire.isFinishedByActor { events |= LINUX_EPOLLIN }
      if wire.isFinishedByActor { events |= LINUX_EPOLLRDHUP }
      if wire.isFinishedByActor && isShut { events |= LINUX_EPOLLHUP }
      if wire.isReset {
        events |= LINUX_EPOLLIN | LINUX_EPOLLOUT | LINUX_EPOLLHUP | LINUX_EPOLLRDHUP
      }
      if error != 0 { events |= LINUX_EPOLLERR }
      if isShut || wire.room * 3 >= wire.window { events |= LINUX_EPOLLOUT }
      return events
    }
  }
}

extension Machine {
  /// Sockets and other descriptors that are open.
  package var openDescriptors: Int { network.openCount }

  /// A model origin that takes connections at an address.
  package func serve(_ address: SocketAddress, _ accepted: @escaping (Wire) -> Void) {
    network.services[address] = accepted
  }

  // MARK: Making

  package func makeSocket() -> Int { network.add(StreamSocket()) }

  package func bind(_ fd: Int32, _ address: SocketAddress) -> Int {
    guard let socket = network.find(fd) as? StreamSocket else { return -Int(EBADF) }
    var address = address
    if address.port == 0 {
      network.nextPort += 1
      address = SocketAddress(address.ip, port: network.nextPort)
    }
    socket.address = address
    return 0
  }

  package func listen(_ fd: Int32) -> Int {
    guard let socket = network.find(fd) as? StreamSocket else { return -Int(EBADF) }
    socket.state = .listening
    return 0
  }

  package func connect(_ fd: Int32, to address: SocketAddress) -> Int {
    guard let socket = network.find(fd) as? StreamSocket else { return -Int(EBADF) }
    if isDead { return -Int(ENETUNREACH) }
    socket.state = .connecting
    socket.address = SocketAddress(.loopbackV4, port: 1)
    let wire = Wire(self, local: SocketAddress(.loopbackV4, port: 1), peer: address)
    wire.socket = socket
    socket.wire = wire
    let service = network.services[address]
    note(1, Int(address.port))
    plan(after: wire.latency()) { [unowned self] in
      guard wire.socket === socket, socket.state == .connecting else { return }
      guard let service else {
        fail(socket, ECONNREFUSED)
        return
      }
      wire.connecting = { [unowned self] outcome in
        guard wire.socket === socket, socket.state == .connecting else { return }
        if outcome == 0 {
          socket.state = .open
          socket.touch(self)
        } else {
          fail(socket, outcome)
        }
      }
      service(wire)
    }
    return -Int(EINPROGRESS)
  }

  private func fail(_ socket: StreamSocket, _ error: Int32) {
    socket.state = .failed
    socket.error = error
    socket.touch(self)
  }

  /// A model client connects to the program.
  /// - Returns: nil when nobody listens there.
  package func connectClient(from local: SocketAddress, to address: SocketAddress) -> Wire? {
    let wire = Wire(self, local: address, peer: local)
    let listeners = network.descriptors.compactMap { $0 as? StreamSocket }.filter {
      $0.state == .listening && $0.address == address
    }
    guard !listeners.isEmpty else { return nil }
    let listener = random.pick(listeners)
    plan(after: wire.latency()) { [unowned self] in
      guard listener.state == .listening, network.find(listener.number) === listener else {
        wire.resetByProgram()
        return
      }
      listener.queue.append(wire)
      listener.touch(self)
    }
    return wire
  }

  package func accept(_ fd: Int32, peer: inout SocketAddress?) -> Int {
    guard let listener = network.find(fd) as? StreamSocket else { return -Int(EBADF) }
    guard !listener.queue.isEmpty else { return -Int(EAGAIN) }
    let wire = listener.queue.removeFirst()
    listener.vainReports = 0
    let socket = StreamSocket()
    socket.state = .open
    socket.address = listener.address
    socket.wire = wire
    wire.socket = socket
    if wire.isReset { socket.error = ECONNRESET }
    peer = wire.peer
    let number = network.add(socket)
    note(2, number)
    return number
  }

  // MARK: Bytes

  package func receive(_ fd: Int32, into buffer: UnsafeMutableRawBufferPointer, peeking: Bool)
    -> Int
  {
    guard let socket = network.find(fd) as? StreamSocket else { return -Int(EBADF) }
    guard let wire = socket.wire, socket.state == .open else {
      if socket.error != 0 { return -Int(takeError(socket)) }
      return socket.state == .connecting ? -Int(EAGAIN) : -Int(ENOTCONN)
    }
    if wire.hasIncoming {
      // Now and then only a part, as a signal or an urgent pointer would cause; the rest stays readable.
      var limit = buffer.count
      if limit > 1, random.oneIn(16) { limit = random.within(1...min(limit, 64)) }
      let count = wire.takeIncoming(
        UnsafeMutableRawBufferPointer(rebasing: buffer[0..<limit]), peeking: peeking)
      if count > 0, !peeking { socket.vainReports = 0 }
      note(3, count)
      return count
    }
    if socket.error != 0 { return -Int(takeError(socket)) }
    if wire.isFinishedByActor || wire.isReset { return 0 }
    return -Int(EAGAIN)
  }

  private func takeError(_ socket: StreamSocket) -> Int32 {
    let error = socket.error
    socket.error = 0
    socket.vainReports = 0
    note(4, Int(error))
    return error
  }

  package func send(_ fd: Int32, _ parts: UnsafeBufferPointer<iovec>) -> Int {
    guard let socket = network.find(fd) as? StreamSocket else { return -Int(EBADF) }
    let total = parts.reduce(0) { $0 + $1.iov_len }
    let room = roomToSend(socket, total)
    guard room > 0 else { return room }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(room)
    for part in parts where bytes.count < room {
      let piece = UnsafeRawBufferPointer(start: part.iov_base, count: part.iov_len)
      bytes.append(contentsOf: piece.prefix(room - bytes.count))
    }
    socket.wire?.sendFromProgram(bytes)
    return room
  }

  package func sendFile(to fd: Int32, from file: Int32, offset: Int64, count: Int) -> Int {
    guard let socket = network.find(fd) as? StreamSocket else { return -Int(EBADF) }
    if random.chance(faults.disk) {
      faultsRaised += 1
      return -Int(EIO)
    }
    let room = roomToSend(socket, count)
    guard room > 0 else { return room }
    let bytes = [UInt8](unsafeUninitializedCapacity: room) { buffer, filled in
      filled = max(0, Glibc.pread(file, buffer.baseAddress, room, off_t(offset)))
    }
    if !bytes.isEmpty { socket.wire?.sendFromProgram(bytes) }
    return bytes.count
  }

  /// How many bytes the socket takes, or a negative error number.
  private func roomToSend(_ socket: StreamSocket, _ wanted: Int) -> Int {
    if socket.error != 0 { return -Int(takeError(socket)) }
    guard socket.state == .open, let wire = socket.wire else {
      return socket.state == .connecting ? -Int(EAGAIN) : -Int(EPIPE)
    }
    guard !wire.isReset, !socket.isShut else { return -Int(EPIPE) }
    var room = min(wanted, wire.room)
    guard room > 0 else { return wanted == 0 ? 0 : -Int(EAGAIN) }
    if random.oneIn(12) { room = random.within(1...room) }
    socket.vainReports = 0
    note(5, room)
    return room
  }

  // MARK: Ending

  /// All peers see the end of the process; what it does to its sockets goes nowhere.
  func breakConnections() {
    for socket in network.descriptors.compactMap({ $0 as? StreamSocket }) {
      for waiting in socket.queue { waiting.resetByProgram() }
      socket.queue = []
      socket.wire?.socket = nil
      socket.wire?.resetByProgram()
      socket.wire = nil
      if socket.state == .listening { socket.state = .fresh } else { fail(socket, ECONNRESET) }
    }
  }

  package func shutdownWrite(_ fd: Int32) -> Int {
    guard let socket = network.find(fd) as? StreamSocket else { return -Int(EBADF) }
    guard socket.state == .open, let wire = socket.wire, !wire.isReset else {
      return -Int(ENOTCONN)
    }
    if !socket.isShut {
      socket.isShut = true
      socket.vainReports = 0
      wire.finishByProgram()
      socket.touch(self)
    }
    return 0
  }

  package func setLinger(_ fd: Int32) -> Int {
    (network.find(fd) as? StreamSocket)?.lingersZero = true
    return 0
  }

  package func unconfirmed(_ fd: Int32) -> Int {
    (network.find(fd) as? StreamSocket)?.wire.map { $0.window - $0.room } ?? 0
  }

  package func close(_ fd: Int32) -> Int {
    guard let descriptor = network.find(fd) else { return -Int(EBADF) }
    note(6, Int(fd))
    network.descriptors[Int(fd - StandIn.firstDescriptor)] = nil
    guard let socket = descriptor as? StreamSocket else {
      // A loop's own eventfd may go with its epoll.
      descriptor.watcher = nil
      return 0
    }
    precondition(socket.watcher == nil, "descriptor \(fd) was closed while it was watched")
    for waiting in socket.queue { waiting.resetByProgram() }
    socket.queue = []
    if let wire = socket.wire {
      wire.socket = nil
      socket.wire = nil
      if socket.state == .open {
        // tcp(7) is silent on it, RFC 1122 §4.2.2.13 is not: unread bytes make a close a reset.
        if socket.lingersZero || wire.hasIncoming {
          wire.resetByProgram()
        } else {
          wire.closeByProgram(isFinished: socket.isShut)
        }
      }
    }
    return 0
  }

  // MARK: Asking

  package func setOption(_ fd: Int32, level: Int32, name: Int32, value: Int32) -> Int { 0 }

  package func getOption(_ fd: Int32, level: Int32, name: Int32, value: inout Int32) -> Int {
    guard let socket = network.find(fd) as? StreamSocket else { return -Int(EBADF) }
    value = level == SOL_SOCKET && name == SO_ERROR ? takeError(socket) : 0
    return 0
  }

  package func localAddress(_ fd: Int32) -> SocketAddress? {
    (network.find(fd) as? StreamSocket)?.address
  }

  package func peerAddress(_ fd: Int32) -> SocketAddress? {
    (network.find(fd) as? StreamSocket)?.wire?.peer
  }

  // MARK: Descriptors that tell

  package func makeEpoll() -> Int { network.add(EpollSet()) }
  package func makeEvent() -> Int { network.add(EventCounter()) }

  package func signalEvent(_ fd: Int32) {
    guard let event = network.find(fd) as? EventCounter else { return }
    event.count += 1
    event.touch(self)
  }

  package func clearEvent(_ fd: Int32) {
    guard let event = network.find(fd) as? EventCounter else { return }
    event.count = 0
    event.vainReports = 0
  }

  package func controlEpoll(
    _ epoll: Int32, _ operation: Int32, _ fd: Int32, events: UInt32, token: UInt64
  ) -> Int {
    guard let set = network.find(epoll) as? EpollSet, let descriptor = network.find(fd) else {
      return -Int(EBADF)
    }
    switch operation {
    case EPOLL_CTL_ADD:
      guard descriptor.watcher == nil else { return -Int(EEXIST) }
      descriptor.watcher = set
      descriptor.vainReports = 0
    case EPOLL_CTL_DEL:
      guard descriptor.watcher === set else { return -Int(ENOENT) }
      descriptor.watcher = nil
      return 0
    default:
      guard descriptor.watcher === set else { return -Int(ENOENT) }
    }
    descriptor.interest = events
    descriptor.token = token
    set.add(descriptor, self)
    return 0
  }

  package func waitEpoll(
    _ epoll: Int32, _ events: UnsafeMutablePointer<epoll_event>, capacity: Int32,
    milliseconds: Int32
  ) -> Int {
    guard let set = network.find(epoll) as? EpollSet else { return -Int(EBADF) }
    let deadline = milliseconds < 0 ? Int64.max : now + Int64(milliseconds) * 1_000_000
    if milliseconds == 0 || random.oneIn(4), let current {
      // Others get a turn even when this one never rests, and a loop that spins takes turns that are counted.
      makeReady(current)
      leave()
    }
    while true {
      let count = collect(set, events, capacity)
      if count > 0 || now >= deadline { return count }
      set.waiter = current
      if deadline != .max { planWake(at: deadline) }
      leave()
      set.waiter = nil
    }
  }

  private func collect(
    _ set: EpollSet, _ events: UnsafeMutablePointer<epoll_event>, _ capacity: Int32
  ) -> Int {
    var found: [(descriptor: Descriptor, events: UInt32)] = []
    var kept: [Descriptor] = []
    for descriptor in set.candidates {
      let always = LINUX_EPOLLERR | LINUX_EPOLLHUP
      let told =
        descriptor.watcher === set ? descriptor.readiness & (descriptor.interest | always) : 0
      if told != 0 {
        kept.append(descriptor)
        found.append((descriptor, told))
      } else {
        descriptor.isCandidate = false
      }
    }
    set.candidates = kept
    // In any order, and sometimes not all at once.
    found.shuffle(using: &random)
    var count = min(found.count, Int(capacity))
    if count > 1, random.oneIn(4) { count = random.within(1...count) }
    for index in 0..<count {
      events[index].events = found[index].events
      events[index].data.u64 = found[index].descriptor.token
      report(found[index].descriptor, found[index].events)
    }
    if count > 0 { note(7, count) }
    return count
  }

  /// A loop that is told of something does something about it, or asks not to be told.
  private func report(_ descriptor: Descriptor, _ events: UInt32) {
    descriptor.vainReports += 1
    guard descriptor.vainReports > Self.mostVainReports else { return }
    // So that the rest of the run does not take for ever.
    now += 1_000_000
    guard spinning == nil else { return }
    var what = "\(type(of: descriptor)) \(descriptor.number)"
    if let socket = descriptor as? StreamSocket {
      what +=
        " (\(socket.state), peer \(socket.wire.map { "\($0.peer)" } ?? "none"),"
        + " \(socket.wire?.room ?? -1) of \(socket.wire?.window ?? -1) free, shut \(socket.isShut))"
    }
    spinning =
      "a loop spins at \(now / 1_000_000) ms: events \(events) of \(what), interest \(descriptor.interest)"
  }

  private static let mostVainReports = 100
}
