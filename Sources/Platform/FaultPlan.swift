// Failures on order: a test makes the Nth call of a kind fail, and watches what the program makes of it.
//
// Debug builds only; a release build contains the type but no call looks at it. Plans are process-wide, because the
// calls they aim at are made on other threads, and each has a scope (a directory or a descriptor), so that tests that
// run side by side do not fail each other's calls. A fault sweep raises N until a run ends without the plan firing.

import Glibc
import Synchronization

/// An order to fail calls within a scope, in force from `install()` until `remove()`.
package final class FaultPlan: Sendable {
  /// The kinds of calls that can be made to fail.
  package enum Call: Sendable, CaseIterable {
    case open, read, write, sync, truncate, allocate, rename, link, unlink, makeDirectory, list,
      status, lock
    case accept, connect
    /// On sockets only: see `Scope.sockets`.
    case receive, send, sendFile, watch
  }

  /// Whose calls are meant.
  package enum Scope: Sendable {
    /// Calls on paths in this directory, and on descriptors of files in it.
    case directory(String)
    case descriptor(Int32)
    /// Calls on sockets whose own port is `local`, or whose other end's port is `peer`: with the ports of a proxy
    /// and of an origin, the proxy's sockets, and neither its clients' nor the origin's.
    case sockets(local: UInt16, peer: UInt16)
  }

  private struct State {
    var seen = 0
    var fired = 0
  }

  private let scope: Scope
  private let calls: Set<Call>
  private let number: Int
  private let errno: Errno
  private let repeats: Bool
  private let state = Mutex(State())

  private static let isActive = Atomic<Bool>(false)
  private static let installed = Mutex<[FaultPlan]>([])

  /// - Parameters:
  ///   - calls: the kinds that count and fail; all when empty.
  ///   - number: which of them fails, from 1.
  ///   - errno: what it fails with.
  ///   - repeats: all later ones fail too, as on a disk that is gone.
  package init(
    in scope: Scope, failing calls: Set<Call> = [], number: Int, with errno: Errno,
    repeats: Bool = false
  ) {
    self.scope = scope
    self.calls = calls.isEmpty ? Set(Call.allCases) : calls
    self.number = number
    self.errno = errno
    self.repeats = repeats
  }

  /// How many calls have failed because of this plan.
  package var fired: Int { state.withLock { $0.fired } }
  /// How many calls the plan has seen, failed or not.
  package var seen: Int { state.withLock { $0.seen } }

  package func install() {
    FaultPlan.installed.withLock { plans in
      plans.append(self)
      FaultPlan.isActive.store(true, ordering: .releasing)
    }
  }

  package func remove() {
    FaultPlan.installed.withLock { plans in
      plans.removeAll { $0 === self }
      FaultPlan.isActive.store(!plans.isEmpty, ordering: .releasing)
    }
  }

  // MARK: Asked by the calls

  static func failure(of call: Call, path: String) -> Errno? {
    #if DEBUG
      if let standIn = StandIn.current { return standIn.fault(in: call) }
    #endif
    guard isActive.load(ordering: .acquiring) else { return nil }
    return failure(of: call, descriptor: nil, path: path)
  }

  static func failure(of call: Call, descriptor: Int32) -> Errno? {
    #if DEBUG
      if let standIn = StandIn.current { return standIn.fault(in: call) }
    #endif
    guard isActive.load(ordering: .acquiring) else { return nil }
    return failure(of: call, descriptor: descriptor, path: nil)
  }

  #if DEBUG
    /// Calls on sockets, of which a stand-in has its own.
    static func failure(of call: Call, socket: Int32) -> Errno? {
      guard isActive.load(ordering: .acquiring), StandIn.current == nil else { return nil }
      return failure(of: call, descriptor: socket, path: nil)
    }

    /// Connecting, when the socket has no port yet.
    static func failure(connecting socket: Int32, to address: SocketAddress) -> Errno? {
      if let errno = failure(of: .connect, descriptor: socket) { return errno }
      guard isActive.load(ordering: .acquiring), StandIn.current == nil else { return nil }
      let plans = installed.withLock { $0 }
      for plan in plans {
        if case .sockets(_, let peer) = plan.scope, peer == address.port,
          let errno = plan.count(.connect)
        {
          return errno
        }
      }
      return nil
    }
  #endif

  private static func failure(of call: Call, descriptor: Int32?, path: String?) -> Errno? {
    let plans = installed.withLock { $0 }
    for plan in plans {
      if let errno = plan.failure(of: call, descriptor, path) { return errno }
    }
    return nil
  }

  private func failure(of call: Call, _ descriptor: Int32?, _ path: String?) -> Errno? {
    switch scope {
    case .descriptor(let meant):
      guard descriptor == meant else { return nil }
    case .directory(let directory):
      guard let path = path ?? descriptor.flatMap(FaultPlan.path), path.hasPrefix(directory) else {
        return nil
      }
    case .sockets(let local, let peer):
      guard call != .connect, let descriptor,
        FaultPlan.port(of: descriptor, getsockname) == local
          || FaultPlan.port(of: descriptor, getpeername) == peer
      else { return nil }
    }
    return count(call)
  }

  /// One more call within the scope.
  private func count(_ call: Call) -> Errno? {
    guard calls.contains(call) else { return nil }
    return state.withLock { state in
      state.seen += 1
      guard state.seen == number || (repeats && state.seen > number) else { return nil }
      state.fired += 1
      return errno
    }
  }

  /// The port at one end of a socket; nil for what is no socket, which is no mistake here.
  private static func port(
    of descriptor: Int32,
    _ ask: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
  ) -> UInt16? {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = withUnsafeMutableBytes(of: &storage) { bytes in
      bytes.baseAddress.map { ask(descriptor, $0.assumingMemoryBound(to: sockaddr.self), &length) }
    }
    guard result == 0 else { return nil }
    // At the same place for IPv4 and IPv6.
    return withUnsafeBytes(of: &storage) { UInt16($0[2]) << 8 | UInt16($0[3]) }
  }

  /// The path that a descriptor was opened by.
  private static func path(of descriptor: Int32) -> String? {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 4097) { buffer in
      guard let start = buffer.baseAddress else { return nil }
      let count = readlink("/proc/self/fd/\(descriptor)", start, 4096)
      guard count > 0 else { return nil }
      start[count] = 0
      return String(cString: start)
    }
  }
}
