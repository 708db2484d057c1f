// A build client: downloads the same thing again and again, each time by another name, and compares every byte.

import Glibc
import Platform
import Synchronization

final class LoadClients: Sendable {
  struct Counts: Sendable {
    var complete = 0
    var failed = 0
    /// Of those that failed: reset while reading.
    var resets = 0
    /// Content that was not what it should be.
    var wrong = 0
    var bytes = 0
    /// The longest download, in seconds.
    var longest = 0.0
  }

  private struct State {
    var counts = Counts()
    var isStopping = false
    var running = 0
  }

  private let state = Monitor(State())
  private let content: [UInt8]
  private let address: SocketAddress
  private let authority: String
  private let isProxied: Bool
  /// A client that hears nothing for so long gives up.
  private static let patience: Int32 = 4_000

  /// - Parameter isProxied: requests name the whole target.
  init(
    _ count: Int, on host: Host, to address: SocketAddress, authority: String, isProxied: Bool,
    content: [UInt8]
  ) throws {
    self.content = content
    self.address = address
    self.authority = authority
    self.isProxied = isProxied
    state.withLock { $0.running = count }
    for number in 0..<count {
      let clients = self
      _ = try WorkerThread.start(name: "lab-client") { clients.loop(number, host) }
    }
  }

  private func loop(_ number: Int, _ host: Host) {
    var round = 0
    while !state.withLock({ $0.isStopping }) {
      let begin = Stage.now
      let result = download("/\(number)/\(round)", from: host)
      let duration = Stage.now - begin
      round += 1
      state.withLock { state in
        state.counts.bytes += result.bytes
        state.counts.longest = max(state.counts.longest, duration)
        if result.isWhole { state.counts.complete += 1 } else { state.counts.failed += 1 }
        if result.isReset { state.counts.resets += 1 }
        if result.isWrong { state.counts.wrong += 1 }
      }
    }
    state.withLock { $0.running -= 1 }
    state.wakeAll()
  }

  private struct Download {
    var bytes = 0
    var isWhole = false
    var isReset = false
    var isWrong = false
  }

  private func download(_ path: String, from host: Host) -> Download {
    var result = Download()
    guard let connection = try? LabConnection.connect(from: host, to: address) else {
      return result
    }
    connection.patience = Self.patience
    do {
      let target = isProxied ? "http://\(authority)\(path)" : path
      try connection.send(
        "GET \(target) HTTP/1.1\r\nHost: \(authority)\r\nConnection: close\r\n\r\n")
      let head = try connection.readHead()
      guard head.hasPrefix("HTTP/1.1 200") else { return result }
      while result.bytes < content.count {
        let piece = try connection.readSome()
        guard !piece.isEmpty else { break }
        let end = result.bytes + piece.count
        let isRight =
          end <= content.count
          && content.withUnsafeBytes { all in
            piece.withUnsafeBytes { piece in
              guard let one = piece.baseAddress, let other = all.baseAddress else { return false }
              return memcmp(one, other + result.bytes, piece.count) == 0
            }
          }
        if !isRight {
          result.isWrong = true
          return result
        }
        result.bytes = end
      }
      result.isWhole = result.bytes == content.count
    } catch {
      result.isReset = connection.lastError == .connectionReset
    }
    return result
  }

  var counts: Counts { state.withLock { $0.counts } }

  func stop() {
    state.withLock { $0.isStopping = true }
    state.wait { $0.running == 0 ? () : nil }
  }
}
