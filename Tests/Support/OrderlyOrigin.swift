// An origin in good health that answers in all the ways there are, by the path:
//
//   /kept    a length, not to be stored       /stored  to be stored          /large    300,000 bytes, not to be stored
//   /chunked                                  /closed  ends with the connection
//   /close   says `Connection: close`         /http10  as HTTP/1.0           /fin      closes behind it without a word
//   /none    204                              /tag     304 to who has it

import CLinux
import Glibc
import Platform
import Synchronization

package final class OrderlyOrigin: @unchecked Sendable {
  package let port: UInt16
  private let listener: Int32
  private let isOver = Atomic<Bool>(false)
  /// Connections that it has ended behind `/fin`.
  private let finished = Atomic<Int>(0)
  private var thread: WorkerThread?
  private var connections: [Int32: Connection] = [:]

  private struct Connection {
    var input: [UInt8] = []
    var output: [UInt8] = []
    var sent = 0
    var ends = false
    var isFin = false
  }

  package init() throws {
    let socket = try Socket.listen(on: .loopback(port: 0))
    port = try Socket.localAddress(socket.rawValue).port
    listener = socket.release()
    thread = try WorkerThread.start(name: "orderly-origin") { [unowned self] in run() }
  }

  package var authority: String { "origin.test:\(port)" }
  package func url(_ path: String) -> String { "http://\(authority)\(path)" }
  package var finishedCount: Int { finished.load(ordering: .acquiring) }

  package func stop() {
    guard !isOver.exchange(true, ordering: .acquiringAndReleasing) else { return }
    thread?.join()
    FileDescriptor.close(raw: listener)
  }

  private func run() {
    while !isOver.load(ordering: .acquiring) {
      var entries = [pollfd(fd: listener, events: Int16(POLLIN), revents: 0)]
      for (fd, connection) in connections {
        let events = connection.output.isEmpty ? POLLIN : POLLOUT
        entries.append(pollfd(fd: fd, events: Int16(events), revents: 0))
      }
      guard poll(&entries, nfds_t(entries.count), 20) > 0 else { continue }
      for entry in entries where entry.revents != 0 {
        if entry.fd == listener {
          while case .accepted(let fd, _) = Socket.accept(listener) {
            connections[fd] = Connection()
          }
        } else if var connection = connections[entry.fd] {
          connections[entry.fd] = nil
          if serve(entry.fd, &connection) {
            connections[entry.fd] = connection
          } else {
            FileDescriptor.close(raw: entry.fd)
            if connection.isFin { finished.wrappingAdd(1, ordering: .acquiringAndReleasing) }
          }
        }
      }
    }
    for fd in connections.keys { FileDescriptor.close(raw: fd) }
  }

  /// - Returns: whether the connection goes on.
  private func serve(_ fd: Int32, _ connection: inout Connection) -> Bool {
    if connection.output.isEmpty {
      var buffer = [UInt8](repeating: 0, count: 16 << 10)
      switch buffer.withUnsafeMutableBytes({ Socket.receive(fd, into: $0) }) {
      case .bytes(let count): connection.input += buffer[..<count]
      case .wouldBlock: return true
      case .endOfStream, .failed: return false
      }
      while !connection.ends, answer(&connection) {}
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
    return !connection.ends
  }

  private static let large = patterned(300_000)
  private static let medium = patterned(5000)

  /// Answers a request, if a whole one is there.
  private func answer(_ connection: inout Connection) -> Bool {
    guard let end = connection.input.place(of: "\r\n\r\n") else { return false }
    let head = String(decoding: connection.input[..<end.lowerBound], as: UTF8.self)
    let lowered = head.lowercased()
    var content = 0
    if let range = lowered.firstRange(of: "content-length: ") {
      content = Int(lowered[range.upperBound...].prefix { $0.isNumber }) ?? 0
    }
    guard connection.input.count >= end.upperBound + content else { return false }
    connection.input.removeFirst(end.upperBound + content)
    let parts = head.split(separator: " ", maxSplits: 2)
    let path = parts.count > 1 ? String(parts[1].dropFirst().prefix { $0 != "?" }) : ""
    let isHead = parts.first == "HEAD"
    var text = "HTTP/1.1 200 Fine\r\n"
    var body: [UInt8] = Array("content".utf8)
    switch path {
    case "stored":
      text += "Cache-Control: max-age=600\r\n"
      body = Self.medium
    case "large":
      text += "Cache-Control: no-store\r\n"
      body = Self.large
    case "none":
      connection.output += Array("HTTP/1.1 204 None\r\n\r\n".utf8)
      return true
    case "tag":
      if lowered.contains("if-none-match") {
        connection.output += Array("HTTP/1.1 304 Same\r\nETag: \"t\"\r\n\r\n".utf8)
        return true
      }
      text += "ETag: \"t\"\r\nCache-Control: no-store\r\n"
    case "chunked":
      text += "Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n"
      connection.output += Array(text.utf8)
      if !isHead { connection.output += Array("7\r\ncontent\r\n0\r\n\r\n".utf8) }
      return true
    case "closed":
      text += "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
      connection.output += Array(text.utf8) + (isHead ? [] : body)
      connection.ends = true
      return true
    case "http10":
      text = "HTTP/1.0 200 Fine\r\nCache-Control: no-store\r\n"
      connection.ends = true
    case "close":
      text += "Cache-Control: no-store\r\nConnection: close\r\n"
      connection.ends = true
    case "fin":
      text += "Cache-Control: no-store\r\n"
      connection.ends = true
      connection.isFin = true
    default:
      text += "Cache-Control: no-store\r\n"
      if lowered.contains("connection: close") { connection.ends = true }
    }
    text += "Content-Length: \(body.count)\r\n\r\n"
    connection.output += Array(text.utf8) + (isHead ? [] : body)
    return true
  }
}

/// A client that keeps no account of what it sees: for very many requests.
package final class PlainClient {
  package let descriptor: Int32
  private var input: [UInt8] = []
  private var buffer = [UInt8](repeating: 0, count: 64 << 10)
  private var position = 0
  private var hasEnded = false
  private var isOpen = true

  package init(_ address: SocketAddress, receiveBuffer: Int32? = nil) throws {
    var prepare: ((Int32) throws(Errno) -> Void)?
    if let receiveBuffer {
      prepare = { descriptor throws(Errno) in
        try Socket.setReceiveBuffer(descriptor, bytes: receiveBuffer)
        // Segments that fit into it: else the other side waits for room that never comes, and sends by its timer.
        var segment: Int32 = 1024
        setsockopt(
          descriptor, Int32(IPPROTO_TCP), TCP_MAXSEG, &segment, socklen_t(MemoryLayout<Int32>.size))
      }
    }
    descriptor = try Socket.connect(to: address, prepare: prepare).release()
  }

  deinit { close() }

  package func close() {
    guard isOpen else { return }
    isOpen = false
    FileDescriptor.close(raw: descriptor)
  }

  package func abort() {
    guard isOpen else { return }
    isOpen = false
    Socket.abort(raw: descriptor)
  }

  package func finish() { Socket.shutdownWrite(descriptor) }

  package func send(_ text: String) {
    let bytes = Array(text.utf8)
    var sent = 0
    while sent < bytes.count {
      let transfer = bytes.withUnsafeBytes {
        Socket.send(descriptor, UnsafeRawBufferPointer(rebasing: $0[sent...]))
      }
      switch transfer {
      case .bytes(let count): sent += count
      case .wouldBlock: wait(POLLOUT)
      case .endOfStream, .failed: return
      }
    }
  }

  @discardableResult
  private func wait(_ events: Int32) -> Bool {
    var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
    return poll(&entry, 1, 20_000) > 0
  }

  /// - Returns: false at the end.
  private func readMore(_ limit: Int = 64 << 10) -> Bool {
    if position == input.count {
      input.removeAll(keepingCapacity: true)
      position = 0
    }
    while !hasEnded {
      let transfer = buffer.withUnsafeMutableBytes {
        Socket.receive(descriptor, into: UnsafeMutableRawBufferPointer(rebasing: $0[..<limit]))
      }
      switch transfer {
      case .bytes(let count):
        input.append(contentsOf: buffer[..<count])
        return true
      case .wouldBlock: if !wait(POLLIN) { hasEnded = true }
      case .endOfStream, .failed: hasEnded = true
      }
    }
    return false
  }

  /// Reads an answer.
  /// - Parameter step: bytes that are read at a time.
  /// - Returns: its status and the length of its content; nil when it did not come whole.
  package func response(isHead: Bool = false, step: Int = 64 << 10) -> (status: Int, count: Int)? {
    var end: Range<Int>?
    while true {
      end = input.place(of: "\r\n\r\n", from: position)
      if end != nil { break }
      guard readMore() else { return nil }
    }
    guard let end else { return nil }
    let head = String(decoding: input[position..<end.lowerBound], as: UTF8.self).lowercased()
    position = end.upperBound
    let status = Int(head.dropFirst(9).prefix(3)) ?? 0
    if isHead || status == 204 || status == 304 { return (status, 0) }
    if let field = head.firstRange(of: "\r\ncontent-length: ") {
      let length = Int(head[field.upperBound...].prefix { $0.isNumber }) ?? 0
      var left = length
      while left > 0 {
        if position == input.count { guard readMore(step) else { return nil } }
        let taken = min(left, input.count - position)
        position += taken
        left -= taken
      }
      return (status, length)
    }
    if head.contains("transfer-encoding: chunked") {
      while true {
        if let last = input.place(of: "0\r\n\r\n", from: position) {
          defer { position = last.upperBound }
          return (status, last.lowerBound - position)
        }
        guard readMore() else { return nil }
      }
    }
    while readMore() {}
    defer { position = input.count }
    return (status, input.count - position)
  }

  /// Whether nothing but the end follows.
  package func isAtEnd() -> Bool { position == input.count && !readMore() }
}

extension [UInt8] {
  /// Where these characters are for the first time. Quick also where nothing is optimised.
  package func place(of text: StaticString, from start: Int = 0) -> Range<Int>? {
    withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress, start < bytes.count else { return nil }
      let length = text.utf8CodeUnitCount
      let found = linux_find(base + start, bytes.count - start, text.utf8Start, length)
      return found < 0 ? nil : start + found..<start + found + length
    }
  }
}
