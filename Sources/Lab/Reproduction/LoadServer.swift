// A plain server for many downloads at a time: a thread for each connection, the same content for every path, ranges
// understood. It knows its live connections, so that somebody can tamper with one of them.

import Glibc
import Platform
import Synchronization

final class LoadServer: Sendable {
  struct Counts: Sendable {
    var answers = 0
    var resets = 0
  }

  private struct State {
    var counts = Counts()
    var live: [ObjectIdentifier: Live] = [:]
    var isStopping = false
    /// Connections that are served, and the thread that accepts them.
    var threads = 0
  }

  /// A connection that is being served. Nobody else touches the socket while it is tampered with.
  final class Live: @unchecked Sendable {
    // Sendable, because the connection is only used with the lock held, but for waiting.
    let connection: LabConnection
    let lock = Mutex(())
    var isSending = false
    /// Where it stood before its answer, and how much had been sent then.
    var place: (state: ConnectionState, sent: Int)?

    init(_ connection: LabConnection) { self.connection = connection }
  }

  private let state = Monitor(State())
  private let content: [UInt8]

  init(_ host: Host, _ address: SocketAddress, content: [UInt8]) throws {
    self.content = content
    let listener = try LabListener(host, address, backlog: 512)
    let box = Box(listener)
    state.withLock { $0.threads += 1 }
    let server = self
    _ = try WorkerThread.start(name: "lab-origin") { server.accept(box.listener) }
  }

  private final class Box: @unchecked Sendable {
    let listener: LabListener
    init(_ listener: LabListener) { self.listener = listener }
  }

  private func accept(_ listener: LabListener) {
    while !state.withLock({ $0.isStopping }) {
      guard let connection = try? listener.accept(within: 100) else { continue }
      let live = Live(connection)
      state.withLock { state in
        state.live[ObjectIdentifier(live)] = live
        state.threads += 1
      }
      let server = self
      _ = try? WorkerThread.start(name: "lab-serve") {
        server.serve(live)
        server.state.withLock { state in
          state.live[ObjectIdentifier(live)] = nil
          state.threads -= 1
        }
        server.state.wakeAll()
      }
    }
    state.withLock { $0.threads -= 1 }
    state.wakeAll()
  }

  private func serve(_ live: Live) {
    let connection = live.connection
    connection.patience = 5_000
    do {
      while !state.withLock({ $0.isStopping }) {
        let offset = try min(connection.readRequest(), content.count)
        try live.lock.withLock { _ in
          // Now nothing is under way, so that it can be asked.
          live.place = (try ConnectionState(connection), connection.sentCount)
          try connection.answerHead(content.count, from: offset)
        }
        try send(from: offset, on: live)
        state.withLock { $0.counts.answers += 1 }
      }
    } catch {
      let isReset = connection.lastError == .connectionReset || connection.lastError == .brokenPipe
      if isReset { state.withLock { $0.counts.resets += 1 } }
    }
    live.lock.withLock { _ in connection.close() }
  }

  private func send(from start: Int, on live: Live) throws {
    var offset = start
    live.lock.withLock { _ in live.isSending = true }
    defer { live.lock.withLock { _ in live.isSending = false } }
    while offset < content.count {
      let sent = try live.lock.withLock { _ in
        try live.connection.sendSome(content, from: offset, atMost: 65536)
      }
      offset += sent
      if sent == 0 { try live.connection.waitForRoom() }
    }
  }

  /// Does something to a connection that is in the middle of an answer, if there is one.
  /// - Parameter body: gets where the connection stands.
  /// - Returns: whether there was.
  func tamper(_ random: UInt64, _ body: (LabConnection, ConnectionState) throws -> Void) -> Bool {
    let live = state.withLock { Array($0.live.values) }
    for step in 0..<live.count {
      let candidate = live[(Int(random % UInt64(max(1, live.count))) + step) % live.count]
      let isDone = candidate.lock.withLock { _ -> Bool in
        let connection = candidate.connection
        guard candidate.isSending, connection.descriptor >= 0, let (state, sent) = candidate.place,
          let now = try? state.after(sending: connection.sentCount - sent, on: connection)
        else { return false }
        return (try? body(connection, now)) != nil
      }
      if isDone { return true }
    }
    return false
  }

  var counts: Counts { state.withLock { $0.counts } }

  func stop() {
    state.withLock { $0.isStopping = true }
    state.wait { $0.threads == 0 ? () : nil }
  }
}
