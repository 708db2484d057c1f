// Carries out a `ConnectionRace`: opens the sockets, watches them, and hands the winner over.
//
// The connector itself has the timer; each attempt is an object of its own, because an object watches one descriptor.

import Platform

/// Who wants a connection.
package protocol ConnectorDelegate: AnyObject {
  /// A connection is made. `attempts` tells what became of all addresses, in the order they were tried.
  func connector(
    _ connector: Connector, connected socket: consuming FileDescriptor, to address: SocketAddress,
    attempts: [ConnectionRace.Attempt])
  /// No address answered in time.
  func connector(_ connector: Connector, failed attempts: [ConnectionRace.Attempt])
}

/// Connects to the first of several addresses that answers. Tells its delegate exactly once, in a later turn, unless cancelled.
package final class Connector: LoopObject {
  private var race: ConnectionRace
  private var running: [ConnectionAttempt?]
  // Held until it is told, and by nothing after.
  private var delegate: (any ConnectorDelegate)?

  /// Begins to connect in the next turn.
  /// - Parameter addresses: in the order of preference; which of them may be reached at all is the caller's decision.
  package init(
    loop: EventLoop, addresses: [SocketAddress], headStart: Duration = .milliseconds(250),
    timeout: Duration,
    delegate: any ConnectorDelegate
  ) {
    race = ConnectionRace(addresses, now: loop.now, headStart: headStart, timeout: timeout)
    running = Array(repeating: nil, count: addresses.count)
    self.delegate = delegate
    super.init(loop: loop)
    // At the end of this turn, so that the delegate is never told before it knows whom it waits for.
    loop.afterTurn(self)
  }

  /// Ends all attempts; the delegate is told nothing.
  package func cancel() {
    delegate = nil
    end()
  }

  package override func turnEnded() {
    proceed()
  }

  package override func timerFired() {
    proceed()
  }

  package override func loopEnding() {
    cancel()
  }

  fileprivate func ended(_ index: Int, with errno: Errno?) {
    if let errno {
      running[index]?.unregister()
      running[index] = nil
      race.failed(index, errno, loop.now)
    } else {
      race.connected(index, loop.now)
    }
    proceed()
  }

  private func proceed() {
    while true {
      switch race.step(loop.now) {
      case .begin(let index):
        do throws(Errno) {
          running[index] = try ConnectionAttempt(
            connector: self, index: index, to: race.attempts[index].address)
        } catch {
          race.failed(index, error, loop.now, isRefusedHere: true)
        }
      case .abandon(let index):
        observe(index)
        running[index]?.unregister()
        running[index] = nil
      case .wait(let moment):
        loop.arm(self, at: moment)
        return
      case .won(let index):
        let socket = running[index]?.takeSocket()
        let delegate = self.delegate
        cancel()
        guard let socket, let delegate else { return }
        delegate.connector(
          self, connected: FileDescriptor(owning: socket), to: race.attempts[index].address,
          attempts: race.attempts)
        return
      case .lost:
        let delegate = self.delegate
        for index in running.indices { observe(index) }
        cancel()
        delegate?.connector(self, failed: race.attempts)
        return
      }
    }
  }

  /// Asks an attempt's socket, as long as it is there, what it knows.
  fileprivate func observe(_ index: Int) {
    guard let attempt = running[index] else { return }
    let (local, information) = attempt.observation
    race.observed(index, local: local, information: information)
  }

  private func end() {
    for attempt in running { attempt?.unregister() }
    running = []
    unregister()
  }
}

/// One socket on its way to one address.
private final class ConnectionAttempt: LoopObject {
  private unowned let connector: Connector
  private let index: Int
  private var socket: Int32

  init(connector: Connector, index: Int, to address: SocketAddress) throws(Errno) {
    let socket = try Socket.connect(to: address)
    self.connector = connector
    self.index = index
    self.socket = socket.release()
    super.init(loop: connector.loop)
    do throws(Errno) {
      try loop.watch(self.socket, self, .write)
    } catch {
      unregister()
      throw error
    }
  }

  deinit {
    if socket >= 0 { FileDescriptor.close(raw: socket) }
  }

  /// Hands the socket over, watched by nobody.
  func takeSocket() -> Int32? {
    guard socket >= 0 else { return nil }
    unregister()
    defer { socket = -1 }
    return socket
  }

  var observation: (local: SocketAddress?, information: [UInt8]?) {
    (try? Socket.localAddress(socket), Socket.information(socket))
  }

  override func ready(_ readiness: Readiness) {
    // The first question for an error takes it, and what TCP_INFO says of it.
    if readiness.contains(.error) { connector.observe(index) }
    let errno = Socket.pendingError(socket)
    // It has come since we were woken. Whose the socket was can still be told.
    if errno != nil, !readiness.contains(.error) { connector.observe(index) }
    // An error that somebody else has taken already still leaves the mark.
    let isFailed = errno != nil || readiness.contains(.error)
    connector.ended(index, with: isFailed ? errno ?? .connectionAborted : nil)
  }
}
