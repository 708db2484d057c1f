// What the suites share: a seeded generator, a loop driven by the test, an object that writes down what it is told.

import Glibc
import Platform
import Testing

@testable import IO

extension EventLoop {
  /// Turns until the condition holds. There is no time limit: a condition that never comes hangs the test, which says more than a guess at how long it may take.
  func run(until condition: () -> Bool) {
    while !condition() { turn() }
  }

  /// Turns until every letter that was posted before has been delivered.
  func drainMailbox() {
    let end = Recorder(loop: self)
    mailbox.post(Letter(to: end.id, subject: 0))
    run { !end.letters.isEmpty }
    end.unregister()
    turn(waitingAtMost: .zero)
  }
}

/// Counts its ends, to prove that each object has exactly one.
final class Census {
  var alive = 0
  var ended = 0
}

/// Writes down what it is told, and does what the test says.
final class Recorder: LoopObject {
  var events: [Readiness] = []
  var letters: [Int] = []
  var expiries = 0
  var turnsEnded = 0
  var onReady: ((Recorder) -> Void)?
  var onTimer: ((Recorder) -> Void)?
  private let census: Census?

  init(loop: EventLoop, census: Census? = nil) {
    self.census = census
    census?.alive += 1
    super.init(loop: loop)
  }

  deinit {
    census?.alive -= 1
    census?.ended += 1
  }

  override func ready(_ readiness: Readiness) {
    events.append(readiness)
    onReady?(self)
  }

  override func timerFired() {
    expiries += 1
    onTimer?(self)
  }

  override func receive(_ letter: Letter) {
    letters.append(letter.value)
  }

  override func turnEnded() {
    turnsEnded += 1
  }
}

/// Two connected sockets; the test holds both.
final class Pair {
  let listener: FileDescriptor
  let client: FileDescriptor
  let server: FileDescriptor

  init(_ ip: IPAddress = .loopbackV4) throws {
    let listener = try Socket.listen(on: SocketAddress(ip, port: 0))
    let client = try Socket.connect(to: Socket.localAddress(listener.rawValue))
    let epoll = try Epoll(capacity: 1)
    try epoll.add(listener.rawValue, .read, token: 0)
    while try epoll.wait(milliseconds: -1) == 0 {}
    guard case .accepted(let server, _) = Socket.accept(listener.rawValue) else {
      throw Errno.connectionAborted
    }
    self.listener = listener
    self.client = client
    self.server = FileDescriptor(owning: server)
  }

  func clientSends(_ text: String) {
    let sent = Array(text.utf8).withUnsafeBytes { Socket.send(client.rawValue, $0) }
    #expect(sent == .bytes(text.utf8.count))
  }
}

/// An address that refuses: its port is taken, so that nobody else can come to listen there, but nobody listens.
final class ClosedDoor {
  let address: SocketAddress
  private let socket: FileDescriptor

  init() throws {
    let socket = FileDescriptor(owning: Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
    let bound = SocketAddress(.loopbackV4, port: 0).withSockaddr { bind(socket.rawValue, $0, $1) }
    guard bound == 0 else { throw Errno(rawValue: errno) }
    address = try Socket.localAddress(socket.rawValue)
    self.socket = socket
  }
}
