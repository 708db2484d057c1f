// What answers in the kernel's place when a simulation has taken over a thread: time, sockets, epoll, threads and
// waiting, so that everything above this module runs unchanged on virtual time and a network in memory.
//
// Debug builds only; in a release build none of this exists and no call asks for it. A stand-in holds for the thread
// that installed it, so simulations and ordinary tests run side by side. Descriptors that it makes have numbers no
// kernel gives; files stay the kernel's, and are reported, so that lost ones can be found.

#if DEBUG
  import CLinux
  import Glibc

  /// A simulated kernel. Calls answer as those of `CLinux` do: a result, or a negative error number.
  package protocol KernelStandIn: AnyObject {
    // Time, in nanoseconds. Reading it precisely may cost some.
    func monotonic(precise: Bool) -> Int64
    func wall() -> Int64
    /// A number for what has to differ between runs.
    func randomWord() -> UInt64

    // Sockets.
    func makeSocket() -> Int
    func bind(_ fd: Int32, _ address: SocketAddress) -> Int
    func listen(_ fd: Int32) -> Int
    func connect(_ fd: Int32, to address: SocketAddress) -> Int
    func accept(_ fd: Int32, peer: inout SocketAddress?) -> Int
    func receive(_ fd: Int32, into buffer: UnsafeMutableRawBufferPointer, peeking: Bool) -> Int
    func send(_ fd: Int32, _ parts: UnsafeBufferPointer<iovec>) -> Int
    func sendFile(to fd: Int32, from file: Int32, offset: Int64, count: Int) -> Int
    func shutdownWrite(_ fd: Int32) -> Int
    func setLinger(_ fd: Int32) -> Int
    func unconfirmed(_ fd: Int32) -> Int
    func setOption(_ fd: Int32, level: Int32, name: Int32, value: Int32) -> Int
    func getOption(_ fd: Int32, level: Int32, name: Int32, value: inout Int32) -> Int
    func localAddress(_ fd: Int32) -> SocketAddress?
    func peerAddress(_ fd: Int32) -> SocketAddress?
    func close(_ fd: Int32) -> Int

    // Descriptors that tell.
    func makeEpoll() -> Int
    func controlEpoll(
      _ epoll: Int32, _ operation: Int32, _ fd: Int32, events: UInt32, token: UInt64
    ) -> Int
    func waitEpoll(
      _ epoll: Int32, _ events: UnsafeMutablePointer<epoll_event>, capacity: Int32,
      milliseconds: Int32
    ) -> Int
    func makeEvent() -> Int
    func signalEvent(_ fd: Int32)
    func clearEvent(_ fd: Int32)

    // Threads: they take turns, and only one that waits gives its turn away.
    func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) -> AnyObject
    func join(_ thread: AnyObject)
    /// Waits until `wake` is called with the same place.
    func park(at place: ObjectIdentifier)
    func wake(_ place: ObjectIdentifier)
    func sleep(nanoseconds: Int64)

    // Files are real.
    func fault(in call: FaultPlan.Call) -> Errno?
    func fileOpened(_ fd: Int32)
    func fileClosed(_ fd: Int32)
    /// So many bytes are about to be written there, and are on the disk only after `fileSynced`.
    func fileWillChange(_ fd: Int32, at offset: Int64, count: Int)
    func fileSynced(_ fd: Int32)
    /// Nil to ask the kernel.
    func isResident() -> Bool?
    /// An object of a loop was made or let go of.
    func countObject(_ change: Int)
  }

  package enum StandIn {
    /// Descriptors from here on are a stand-in's.
    package static let firstDescriptor: Int32 = 1 << 24

    private final class Box {
      let kernel: any KernelStandIn
      init(_ kernel: any KernelStandIn) { self.kernel = kernel }
    }

    /// The one that this thread has, if any.
    package static var current: (any KernelStandIn)? {
      guard let pointer = linux_stand_in() else { return nil }
      return Unmanaged<Box>.fromOpaque(pointer)._withUnsafeGuaranteedRef { $0.kernel }
    }

    /// The one that a descriptor belongs to.
    static func of(_ fd: Int32) -> (any KernelStandIn)? {
      fd >= firstDescriptor ? current : nil
    }

    /// Runs `body` with the kernel replaced on this thread.
    package static func with<Result>(
      _ kernel: any KernelStandIn, _ body: () throws -> Result
    ) rethrows -> Result {
      let box = Unmanaged.passRetained(Box(kernel))
      linux_set_stand_in(box.toOpaque())
      defer {
        linux_set_stand_in(nil)
        box.release()
      }
      return try body()
    }
  }
#endif
