// An origin that needs no script: it answers by the path, for tests that cannot know whether they will be asked.
//
//   /inline/…   a few KiB, to be stored      /relay/…     the same size as a blob, not to be stored
//   /blob/…     a few hundred KiB            /chunked/…   not to be stored, and its length is not said
//   /growing/…  to be stored, and its length is not said

import Glibc
import Platform
import Synchronization

package final class AutoOrigin: @unchecked Sendable {
  package let port: UInt16
  private let listener: Int32
  private let isOver = Atomic<Bool>(false)
  private var thread: WorkerThread?

  private struct Connection {
    var input: [UInt8] = []
    var output: [UInt8] = []
    var sent = 0
  }

  package init() throws {
    let socket = try Socket.listen(on: .loopback(port: 0))
    port = try Socket.localAddress(socket.rawValue).port
    listener = socket.release()
    thread = try WorkerThread.start(name: "auto-origin") { [unowned self] in run() }
  }

  package func url(_ path: String) -> String { "http://origin.test:\(port)\(path)" }

  /// Ends it, with all connections.
  package func stop() {
    guard !isOver.exchange(true, ordering: .acquiringAndReleasing) else { return }
    thread?.join()
    FileDescriptor.close(raw: listener)
  }

  /// What it answers for a path; different for each.
  package static func content(_ path: String) -> [UInt8] {
    let seed = path.utf8.reduce(UInt64(1)) { $0 &* 31 &+ UInt64($1) }
    return patterned(path.hasPrefix("/inline") ? 5000 : 300_000, seed: seed)
  }

  // MARK: The loop

  private func run() {
    var connections: [Int32: Connection] = [:]
    while !isOver.load(ordering: .acquiring) {
      var entries = [pollfd(fd: listener, events: Int16(POLLIN), revents: 0)]
      for (fd, connection) in connections {
        let events = connection.output.isEmpty ? POLLIN : POLLIN | POLLOUT
        entries.append(pollfd(fd: fd, events: Int16(events), revents: 0))
      }
      guard poll(&entries, nfds_t(entries.count), 20) > 0 else { continue }
      for entry in entries where entry.revents != 0 {
        if entry.fd == listener {
          if case .accepted(let fd, _) = Socket.accept(listener) { connections[fd] = Connection() }
        } else if var connection = connections[entry.fd] {
          connections[entry.fd] = nil
          if serve(entry.fd, &connection) {
            connections[entry.fd] = connection
          } else {
            FileDescriptor.close(raw: entry.fd)
          }
        }
      }
    }
    for fd in connections.keys { FileDescriptor.close(raw: fd) }
  }

  /// - Returns: whether the connection goes on.
  private func serve(_ fd: Int32, _ connection: inout Connection) -> Bool {
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    switch buffer.withUnsafeMutableBytes({ Socket.receive(fd, into: $0) }) {
    case .bytes(let count): connection.input += buffer[..<count]
    case .wouldBlock: break
    case .endOfStream, .failed: return false
    }
    while let end = connection.input.firstRange(of: [13, 10, 13, 10]) {
      let head = String(decoding: connection.input[..<end.lowerBound], as: UTF8.self)
      connection.input.removeFirst(end.upperBound)
      connection.output += Self.answer(head)
    }
    while connection.sent < connection.output.count {
      let transfer = connection.output.withUnsafeBytes {
        Socket.send(fd, UnsafeRawBufferPointer(rebasing: $0[connection.sent...]))
      }
      switch transfer {
      case .bytes(let count): connection.sent += count
      case .wouldBlock: return true
      case .endOfStream, .failed: return false
      }
    }
    connection.output = []
    connection.sent = 0
    return true
  }

  private static func answer(_ head: String) -> [UInt8] {
    let target = head.split(separator: " ").dropFirst().first.map(String.init) ?? "/"
    let content = content(target)
    let isStorable = ["/inline", "/blob", "/growing"].contains { target.hasPrefix($0) }
    var answer =
      "HTTP/1.1 200 Fine\r\nCache-Control: \(isStorable ? "max-age=600" : "no-store")\r\n"
    guard target.hasPrefix("/chunked") || target.hasPrefix("/growing") else {
      answer += "Content-Length: \(content.count)\r\n\r\n"
      return Array(answer.utf8) + content
    }
    answer += "Transfer-Encoding: chunked\r\n\r\n\(String(content.count, radix: 16))\r\n"
    return Array(answer.utf8) + content + Array("\r\n0\r\n\r\n".utf8)
  }
}
