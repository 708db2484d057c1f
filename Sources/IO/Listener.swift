// Accepts connections, a bounded number per turn, and survives running out of descriptors.
//
// Without a descriptor left, accept(2) fails and the connection stays in the queue, so a level-triggered loop would spin.
// The listener therefore holds one descriptor in reserve: it gives it up, accepts one connection with it, has it refused
// with a reason, takes the reserve back, and accepts nothing more until a while has passed or somebody says that a
// descriptor was freed. Clients in the queue meanwhile wait, as they would for any busy server.

import Platform

/// Accepts connections on one address. Override `accepted`.
open class Listener: LoopObject {
  /// What a listener has met.
  public struct Counters: Sendable {
    public var accepted: UInt64 = 0
    /// Connections that their client had left before they were accepted.
    public var aborted: UInt64 = 0
    /// Connections that were accepted only to be refused, for lack of descriptors.
    public var refused: UInt64 = 0
    /// How often accepting was put off for lack of descriptors or memory.
    public var pauses: UInt64 = 0
    public var lastError: Errno? = nil
  }

  public private(set) final var counters = Counters()
  /// Whether accepting is put off.
  public private(set) final var isPaused = false
  /// Where it listens; the port is the real one, also when the kernel chose it.
  public final let address: SocketAddress

  private let socket: FileDescriptor
  private var reserve: Int32
  private let burstLimit: Int
  /// The number of the listening socket.
  package final var descriptor: Int32 { socket.rawValue }
  // How many to accept in the next turn. One that finds the queue empty costs a system call for nothing, so it grows only under load.
  private var burst = 1
  private static let pause = TimeoutClass(.milliseconds(100))

  /// - Parameters:
  ///   - socket: from `Socket.listen`.
  ///   - burstLimit: how many connections to accept before others have their turn.
  public init(loop: EventLoop, socket: consuming FileDescriptor, burstLimit: Int = 64) throws(Errno)
  {
    address = try Socket.localAddress(socket.rawValue)
    reserve = try Listener.openReserve()
    self.burstLimit = max(1, burstLimit)
    self.socket = socket
    super.init(loop: loop)
    do throws(Errno) {
      try loop.watch(self.socket.rawValue, self, .read)
    } catch {
      unregister()
      throw error
    }
  }

  deinit {
    if reserve >= 0 { FileDescriptor.close(raw: reserve) }
  }

  private static func openReserve() throws(Errno) -> Int32 {
    try File.open("/dev/null").release()
  }

  /// A connection has come. The descriptor is the override's to close.
  open func accepted(_ fd: Int32, peer: SocketAddress) {
    FileDescriptor.close(raw: fd)
  }

  /// A connection has come that there is no descriptor for. The override may say so to the client, must not wait, and must close it.
  open func refused(_ fd: Int32, peer: SocketAddress) {
    FileDescriptor.close(raw: fd)
  }

  /// Stops accepting. Connections in the queue are reset by the kernel when the listener is released, unless another socket shares the address.
  public final func stop() {
    unregister()
  }

  /// Takes what is in the queue now, for a last word before `stop`. The descriptors are the caller's to close.
  package final func takeQueued(limit: Int) -> [Int32] {
    var taken: [Int32] = []
    while taken.count < limit, case .accepted(let fd, _) = Socket.accept(socket.rawValue) {
      taken.append(fd)
    }
    return taken
  }

  /// Says that a descriptor was closed: a pause because of their lack ends.
  public final func descriptorFreed() {
    if isPaused { resume() }
  }

  open override func ready(_ readiness: Readiness) {
    var wanted = burst
    while wanted > 0, !isPaused, isRegistered {
      wanted -= 1
      switch Socket.accept(socket.rawValue) {
      case .accepted(let fd, let peer):
        counters.accepted &+= 1
        accepted(fd, peer: peer)
      case .wouldBlock:
        burst = 1
        return
      case .failed(let errno):
        failed(errno)
      }
    }
    burst = min(burst * 2, burstLimit)
  }

  private func failed(_ errno: Errno) {
    counters.lastError = errno
    switch errno {
    case _ where errno.isOutOfDescriptors:
      refuseOne()
      pause()
    case .noBufferSpace, .noMemory:
      pause()
    default:
      // accept(2): errors of the network that are pending on the new connection are reported here; they are its
      // own, and the next one may be fine.
      counters.aborted &+= 1
    }
  }

  private func refuseOne() {
    guard reserve >= 0 else { return }
    FileDescriptor.close(raw: reserve)
    reserve = -1
    if case .accepted(let fd, let peer) = Socket.accept(socket.rawValue) {
      counters.refused &+= 1
      refused(fd, peer: peer)
    }
    refillReserve()
  }

  private func refillReserve() {
    // Another thread may have been faster; then the next pause's end tries again.
    if reserve < 0 { reserve = (try? Listener.openReserve()) ?? -1 }
  }

  /// Accepting is put off for lack of descriptors or memory.
  open func paused() {}

  private func pause() {
    isPaused = true
    counters.pauses &+= 1
    paused()
    loop.setInterest(self, [])
    loop.arm(self, after: Listener.pause)
  }

  private func resume() {
    isPaused = false
    burst = 1
    refillReserve()
    loop.disarm(self)
    loop.setInterest(self, .read)
  }

  open override func timerFired() {
    resume()
  }
}
