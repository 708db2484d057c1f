// A client of the proxy: one connection, blocking, that checks what it gets against what the origin has.

import Glibc

/// The head of a response.
struct Head: Sendable {
  let status: Int
  /// In lower case.
  let fields: [String: String]

  var isHit: Bool { fields["cache-status"]?.contains("hit") == true }
}

/// A response, compared with what it should be.
struct Answer: Sendable {
  let head: Head
  /// Bytes of content that came.
  var received = 0
  /// The framing says that it is all here.
  var isComplete = false
  /// Where the content differs from what the origin has.
  var difference: Int?

  var status: Int { head.status }

  /// Bytes that are not the origin's, or fewer than it has without a sign that some are missing.
  func isWrong(_ resource: Resource) -> Bool {
    status == 200 && (difference != nil || (isComplete && received != resource.size))
  }

  /// Nothing wrong with what came, and all of it did.
  func isRight(_ resource: Resource) -> Bool {
    status == 200 && isComplete && difference == nil && received == resource.size
  }
}

final class Client {
  private var socket: Int32
  private let buffer: UnsafeMutableRawBufferPointer
  private var start = 0
  private var end = 0

  /// - Parameters:
  ///   - host: the last number of the own address, 127.0.0.x.
  ///   - receiveBuffer: small, for a client that shall be slow.
  init(port: UInt16, from host: UInt8? = nil, receiveBuffer: Int32? = nil, capacity: Int = 64 << 10)
    throws
  {
    socket = try Sockets.stream()
    buffer = .allocate(byteCount: capacity, alignment: 16)
    Sockets.setTimeouts(socket)
    Sockets.set(socket, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    if let receiveBuffer { Sockets.set(socket, SOL_SOCKET, SO_RCVBUF, receiveBuffer) }
    if let host {
      let isBound = Sockets.withAddress(host: host, port: 0) { bind(socket, $0, $1) } == 0
      guard isBound else { throw Failure("cannot bind 127.0.0.\(host): errno \(errno)") }
    }
    let isConnected = Sockets.withAddress(port: port) { connect(socket, $0, $1) } == 0
    guard isConnected else { throw Failure("cannot connect to \(port): errno \(errno)") }
  }

  deinit {
    close()
    buffer.deallocate()
  }

  func close() {
    if socket >= 0 { Glibc.close(socket) }
    socket = -1
  }

  // MARK: Sending

  func send(_ text: String) throws {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes {
        Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { throw Failure("cannot send: errno \(errno)") }
      bytes = bytes.dropFirst(count)
    }
  }

  /// Asks the proxy for something of the origin.
  func ask(_ resource: Resource, of origin: ScriptedOrigin, fields: String = "") throws {
    let authority = "127.0.0.1:\(origin.port)"
    try send(
      "GET http://\(authority)\(resource.path) HTTP/1.1\r\nHost: \(authority)\r\n\(fields)\r\n")
  }

  /// Asks for something and reads the answer, whatever becomes of it.
  func get(_ resource: Resource, of origin: ScriptedOrigin) throws -> Answer {
    try ask(resource, of: origin)
    return try answer(resource)
  }

  func answer(_ resource: Resource) throws -> Answer {
    let head = try readHead()
    var answer = Answer(head: head)
    let content = resource.content
    answer.isComplete = try readContent(head) { bytes, offset in
      answer.received += bytes.count
      if head.status == 200, answer.difference == nil {
        answer.difference = content.difference(bytes, at: offset)
      }
    }
    return answer
  }

  // MARK: Reading

  /// - Returns: false at the end of the stream, which may be a reset as well.
  private func fill() throws -> Bool {
    if start == end {
      start = 0
      end = 0
    }
    guard end < buffer.count else { throw Failure("a line without end") }
    while true {
      let count = recv(socket, buffer.baseAddress! + end, buffer.count - end, 0)
      if count > 0 {
        end += count
        return true
      }
      if count == 0 || errno == ECONNRESET { return false }
      if errno == EINTR { continue }
      throw Failure(errno == EAGAIN ? "the proxy says nothing" : "cannot receive: errno \(errno)")
    }
  }

  /// Whether the connection has ended in order, with nothing left to read.
  func isAtEnd() throws -> Bool {
    if start < end { return false }
    return try !fill()
  }

  /// A line without its end, or `nil` when the stream ends before it.
  private func readLine() throws -> String? {
    var scanned = start
    while true {
      while scanned < end {
        if buffer[scanned] == 10 {
          let last = scanned > start && buffer[scanned - 1] == 13 ? scanned - 1 : scanned
          defer { start = scanned + 1 }
          return String(decoding: buffer[start..<last], as: UTF8.self)
        }
        scanned += 1
      }
      if start > 0, end == buffer.count {
        buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[start..<end]))
        scanned -= start
        end -= start
        start = 0
      }
      let before = start
      guard try fill() else { return nil }
      scanned -= before - start
    }
  }

  func readHead() throws -> Head {
    guard let line = try readLine() else { throw Failure("the proxy ended without an answer") }
    let words = line.split(separator: " ")
    guard words.count > 1, words[0] == "HTTP/1.1", let status = Int(words[1]) else {
      throw Failure("not a status line: \(line)")
    }
    var fields: [String: String] = [:]
    while true {
      guard let line = try readLine() else { throw Failure("the proxy ended within a head") }
      if line.isEmpty { return Head(status: status, fields: fields) }
      guard let colon = line.firstIndex(of: ":") else { throw Failure("not a field: \(line)") }
      let value = line[line.index(after: colon)...].drop { $0 == " " }
      fields[line[..<colon].lowercased()] = String(value)
    }
  }

  /// Reads the content that follows a head, and gives it to `body` with its offset, piece by piece.
  /// - Returns: whether all of it came, as far as its framing tells.
  @discardableResult
  func readContent(_ head: Head, _ body: (UnsafeRawBufferPointer, Int) throws -> Void) throws
    -> Bool
  {
    if head.status == 304 || head.status == 204 { return true }
    if head.fields["transfer-encoding"] == "chunked" { return try readChunks(body) }
    var offset = 0
    guard let length = head.fields["content-length"].flatMap({ Int($0) }) else {
      while try readPiece(at: &offset, upTo: .max, body) {}
      // Nothing tells a content that ends here from one that was cut.
      return true
    }
    while offset < length {
      guard try readPiece(at: &offset, upTo: length, body) else { return false }
    }
    return true
  }

  /// Reads some of the content, and no more than up to `limit`.
  /// - Returns: false when the stream has ended.
  func readPiece(
    at offset: inout Int, upTo limit: Int, _ body: (UnsafeRawBufferPointer, Int) throws -> Void
  ) throws -> Bool {
    if start == end {
      guard try fill() else { return false }
    }
    let count = min(end - start, limit - offset)
    try body(UnsafeRawBufferPointer(rebasing: buffer[start..<start + count]), offset)
    start += count
    offset += count
    return true
  }

  private func readChunks(_ body: (UnsafeRawBufferPointer, Int) throws -> Void) throws -> Bool {
    var offset = 0
    while true {
      guard let line = try readLine() else { return false }
      guard let size = Int(line, radix: 16) else { throw Failure("not a chunk size: \(line)") }
      if size == 0 {
        while let line = try readLine() {
          if line.isEmpty { return true }
        }
        return false
      }
      let chunkEnd = offset + size
      while offset < chunkEnd {
        guard try readPiece(at: &offset, upTo: chunkEnd, body) else { return false }
      }
      guard let end = try readLine() else { return false }
      guard end.isEmpty else { throw Failure("a chunk longer than its size") }
    }
  }
}
