// One end of a real TCP connection, played by a test: sends bytes in any pieces, and expects bytes, ends
// and resets. `WireClient` and `WireOriginConnection` add what is particular to their side.

import Glibc
import Platform
import TLS

/// A scripted peer. One thread may read while another sends; otherwise used by one at a time.
package class WirePeer: @unchecked Sendable {
  /// How the other side ended its direction.
  package enum Ending: Sendable { case finished, reset }

  let script: Script
  let name: String
  private var descriptor: Int32
  private var tls: TLSSession?
  private var received: [UInt8] = []
  private var position = 0
  private var ending: Ending?
  private var framing = WireFraming.none
  private var chunkRest = 0
  private var isInChunk = false
  /// Of the content read last, field lines as they came.
  package private(set) var trailers: [String] = []

  init(script: Script, name: String, descriptor: Int32) {
    self.script = script
    self.name = name
    self.descriptor = descriptor
  }

  deinit { close() }

  package var isOpen: Bool { descriptor >= 0 }

  // MARK: TLS

  /// Goes on in TLS, as the server: inside of what is there already, if that is TLS. From here on one thread at a time may use this.
  /// - Throws: `TLSFailure` when the handshake fails.
  @discardableResult
  package func serveTLS(
    _ context: TLSContext, file: String = #fileID, line: UInt = #line
  ) throws -> TLSSession {
    try shakeHands(
      TLSSession(server: context, descriptor: descriptor, over: tls), .here(file, line))
  }

  /// Goes on in TLS, as the client: inside of what is there already, if that is TLS.
  @discardableResult
  package func beginTLS(
    _ context: TLSContext, host: String, isAddress: Bool = false, verifies: Bool = true,
    ticket: TLSTicket? = nil, file: String = #fileID, line: UInt = #line
  ) throws -> TLSSession {
    try shakeHands(
      TLSSession(
        client: context, descriptor: descriptor, host: host, isAddress: isAddress,
        verifies: verifies, ticket: ticket, over: tls), .here(file, line))
  }

  /// Goes on in clear, as nobody may.
  package func forgetTLS() { tls = nil }

  private func shakeHands(_ session: TLSSession, _ place: Place) throws -> TLSSession {
    while true {
      switch session.handshake() {
      case .done:
        script.note(name, "has shaken hands")
        tls = session
        return session
      case .wantsRead: try wait(Int16(POLLIN), "a handshake", place)
      case .wantsWrite: try wait(Int16(POLLOUT), "a handshake", place)
      case .failed(let failure):
        script.note(name, "fails to shake hands: \(failure)")
        throw failure
      }
    }
  }

  private func pass(_ bytes: UnsafeRawBufferPointer) -> Transfer {
    guard let tls else { return Socket.send(descriptor, bytes) }
    return Self.transfer(tls.write(bytes))
  }

  private func fetch(into buffer: UnsafeMutableRawBufferPointer) -> Transfer {
    guard let tls else { return Socket.receive(descriptor, into: buffer) }
    return Self.transfer(tls.read(into: buffer))
  }

  private static func transfer(_ result: TLSTransfer) -> Transfer {
    switch result {
    case .bytes(let count): .bytes(count)
    case .wantsRead, .wantsWrite: .wouldBlock
    case .endOfStream: .endOfStream
    // An end that nobody announced is as good as a reset.
    case .failed: .failed(.connectionReset)
    }
  }

  // MARK: Sending

  @discardableResult
  package func send(_ text: String, file: String = #fileID, line: UInt = #line) throws -> Self {
    try send(Array(text.utf8), file: file, line: line)
  }

  /// Sends all of the bytes, as one segment where they fit into one.
  @discardableResult
  package func send(_ bytes: [UInt8], file: String = #fileID, line: UInt = #line) throws -> Self {
    script.note(name, "sends", bytes)
    var sent = 0
    while sent < bytes.count {
      let transfer = bytes.withUnsafeBytes {
        pass(UnsafeRawBufferPointer(rebasing: $0[sent...]))
      }
      switch transfer {
      case .bytes(let count): sent += count
      case .wouldBlock: try wait(Int16(POLLOUT), "being able to send", .here(file, line))
      case .endOfStream, .failed:
        throw script.failure(name, "could not send: \(transfer)", .here(file, line))
      }
    }
    return self
  }

  /// Sends without caring whether the other side is still there.
  @discardableResult
  package func trySending(_ bytes: [UInt8]) -> Self {
    _ = try? send(bytes)
    return self
  }

  @discardableResult
  package func sendChunk(_ text: String) throws -> Self { try sendChunk(Array(text.utf8)) }

  @discardableResult
  package func sendChunk(_ bytes: [UInt8]) throws -> Self {
    try send(Array("\(String(bytes.count, radix: 16))\r\n".utf8) + bytes + [13, 10])
  }

  @discardableResult
  package func sendLastChunk(trailers: [String] = []) throws -> Self {
    try send("0\r\n" + trailers.map { $0 + "\r\n" }.joined() + "\r\n")
  }

  // MARK: Ending

  /// Sends FIN, over TLS a close_notify before it; reading goes on.
  /// - Parameter isSilent: without the close_notify.
  @discardableResult
  package func finish(isSilent: Bool = false) -> Self {
    script.note(name, "finishes")
    if !isSilent { tls?.finish() }
    if isOpen { Socket.shutdownWrite(descriptor) }
    return self
  }

  /// Sends RST.
  package func abort() {
    guard isOpen else { return }
    script.note(name, "aborts")
    Socket.abort(raw: descriptor)
    descriptor = -1
  }

  /// Gives the socket away.
  package func surrender() -> Int32 {
    script.note(name, "gives its socket away")
    defer { descriptor = -1 }
    return descriptor
  }

  package func close() {
    guard isOpen else { return }
    script.note(name, "closes")
    FileDescriptor.close(raw: descriptor)
    descriptor = -1
  }

  // MARK: Reading

  /// Fixes the size of the socket's receive buffer, so that a peer that does not read is soon full.
  package func shrinkReceiveBuffer(to bytes: Int32) throws {
    try Socket.setReceiveBuffer(descriptor, bytes: bytes)
  }

  private var available: Int { received.count - position }

  private func wait(_ events: Int16, _ what: String, _ place: Place) throws {
    var entry = pollfd(fd: descriptor, events: events, revents: 0)
    let deadline = Instant.precise() + Script.patience
    while true {
      let left = (deadline - Instant.precise()).wholeNanoseconds / 1_000_000
      guard left > 0 else { throw script.failure(name, "waited in vain for \(what)", place) }
      if poll(&entry, 1, Int32(clamping: left)) > 0 { return }
    }
  }

  /// Reads once.
  /// - Returns: false when nothing will come any more.
  private func readMore(_ what: String, _ place: Place) throws -> Bool {
    guard ending == nil, isOpen else { return false }
    if position == received.count {
      received.removeAll(keepingCapacity: true)
      position = 0
    }
    while true {
      var buffer = [UInt8](repeating: 0, count: 64 << 10)
      let transfer = buffer.withUnsafeMutableBytes { fetch(into: $0) }
      switch transfer {
      case .bytes(let count):
        script.note(name, "sees", buffer[0..<count])
        received.append(contentsOf: buffer[0..<count])
        return true
      case .wouldBlock:
        try wait(Int16(POLLIN), what, place)
      case .endOfStream:
        script.note(name, "sees the other side finish")
        ending = .finished
        return false
      case .failed:
        script.note(name, "sees a reset (\(transfer))")
        ending = .reset
        return false
      }
    }
  }

  /// Reads until `count` bytes wait.
  /// - Returns: false when fewer will ever come.
  private func gather(_ count: Int, _ what: String, _ place: Place) throws -> Bool {
    while available < count {
      guard try readMore(what, place) else { return false }
    }
    return true
  }

  /// The bytes up to and with the next LF; nil when the stream ends before.
  private func readLine(_ what: String, _ place: Place) throws -> [UInt8]? {
    var scanned = 0
    while true {
      if let index = received[(position + scanned)...].firstIndex(of: 0x0A) {
        defer { position = index + 1 }
        return Array(received[position...index])
      }
      scanned = available
      guard try readMore(what, place) else { return nil }
    }
  }

  /// Reads a head and remembers how its content is framed.
  func readHead(_ what: String, _ place: Place, framing: (WireHead) -> WireFraming) throws
    -> WireHead
  {
    var bytes: [UInt8] = []
    while true {
      guard let line = try readLine(what, place) else {
        throw script.failure(name, "expected \(what), but the stream ended", place)
      }
      if line == [13, 10] { break }
      bytes += line
    }
    guard let head = WireHead(bytes) else {
      throw script.failure(name, "got a malformed head where \(what) was expected", place)
    }
    self.framing = framing(head)
    chunkRest = 0
    isInChunk = false
    trailers = []
    return head
  }

  // MARK: Content

  private enum Step {
    case bytes([UInt8])
    case end
    case broken
  }

  /// The next stretch of content, without its framing.
  private func step(atMost limit: Int, _ place: Place) throws -> Step {
    let what = "content"
    switch framing {
    case .none:
      return .end
    case .length(let rest):
      guard rest > 0 else { return .end }
      guard try gather(1, what, place) else { return .broken }
      let bytes = take(min(rest, limit))
      framing = .length(rest - bytes.count)
      return .bytes(bytes)
    case .untilEnd:
      if try gather(1, what, place) { return .bytes(take(limit)) }
      return ending == .finished ? .end : .broken
    case .chunked:
      if chunkRest == 0 {
        if isInChunk {
          guard try gather(2, what, place) else { return .broken }
          guard take(2) == [13, 10] else {
            throw script.failure(name, "saw a chunk without its line end", place)
          }
          isInChunk = false
        }
        guard let line = try readLine(what, place) else { return .broken }
        let digits = String(decoding: line.prefix { $0 != 0x3B && $0 != 0x0D }, as: UTF8.self)
        guard let size = Int(digits, radix: 16) else {
          throw script.failure(name, "saw the chunk size \(Script.shown(line))", place)
        }
        guard size > 0 else { return try readTrailers(place) ? .end : .broken }
        chunkRest = size
        isInChunk = true
      }
      guard try gather(1, what, place) else { return .broken }
      let bytes = take(min(chunkRest, limit))
      chunkRest -= bytes.count
      return .bytes(bytes)
    }
  }

  private func take(_ limit: Int) -> [UInt8] {
    let count = min(limit, available)
    defer { position += count }
    return Array(received[position..<position + count])
  }

  private func readTrailers(_ place: Place) throws -> Bool {
    while let line = try readLine("trailers", place) {
      if line == [13, 10] {
        framing = .none
        return true
      }
      trailers.append(String(decoding: line.dropLast(2), as: UTF8.self))
    }
    return false
  }

  /// Expects this many bytes of content; what follows them stays unread.
  @discardableResult
  package func expectContent(_ count: Int, file: String = #fileID, line: UInt = #line) throws
    -> [UInt8]
  {
    var content: [UInt8] = []
    while content.count < count {
      guard case .bytes(let bytes) = try step(atMost: count - content.count, .here(file, line))
      else {
        throw script.failure(
          name, "expected \(count) bytes of content, got \(content.count)", .here(file, line))
      }
      content += bytes
    }
    return content
  }

  /// Expects exactly this as the next content.
  @discardableResult
  package func expectContent(_ text: String, file: String = #fileID, line: UInt = #line) throws
    -> Self
  {
    let content = try expectContent(text.utf8.count, file: file, line: line)
    guard content == Array(text.utf8) else {
      throw script.failure(
        name, "expected the content \(Script.shown(text.utf8)), got \(Script.shown(content))",
        .here(file, line))
    }
    return self
  }

  /// Reads the content to its proper end.
  package func expectRest(file: String = #fileID, line: UInt = #line) throws -> [UInt8] {
    var content: [UInt8] = []
    while true {
      switch try step(atMost: .max, .here(file, line)) {
      case .bytes(let bytes): content += bytes
      case .end: return content
      case .broken:
        throw script.failure(
          name, "got incomplete content (\(content.count) bytes)", .here(file, line))
      }
    }
  }

  /// Expects that the content breaks off in a way that nobody can take for its end.
  @discardableResult
  package func expectIncomplete(file: String = #fileID, line: UInt = #line) throws -> [UInt8] {
    var content: [UInt8] = []
    while true {
      switch try step(atMost: .max, .here(file, line)) {
      case .bytes(let bytes): content += bytes
      case .broken: return content
      case .end:
        throw script.failure(
          name, "got content that looks complete (\(content.count) bytes)", .here(file, line))
      }
    }
  }

  // MARK: Bytes and ends

  /// Expects bytes, whatever they are and mean.
  package func expectAnyBytes(file: String = #fileID, line: UInt = #line) throws -> [UInt8] {
    guard try gather(1, "bytes", .here(file, line)) else {
      throw script.failure(name, "expected bytes, but the stream ended", .here(file, line))
    }
    return take(available)
  }

  /// Expects exactly these bytes, whatever they mean.
  @discardableResult
  package func expectBytes(_ bytes: [UInt8], file: String = #fileID, line: UInt = #line) throws
    -> Self
  {
    _ = try gather(bytes.count, "bytes", .here(file, line))
    let got = take(bytes.count)
    guard got == bytes else {
      throw script.failure(
        name, "expected the bytes \(Script.shown(bytes)), got \(Script.shown(got))",
        .here(file, line))
    }
    return self
  }

  @discardableResult
  package func expectBytes(_ text: String, file: String = #fileID, line: UInt = #line) throws
    -> Self
  {
    try expectBytes(Array(text.utf8), file: file, line: line)
  }

  /// Reads bytes, whatever they mean, until they end with this.
  package func expectUntil(_ end: String, file: String = #fileID, line: UInt = #line) throws
    -> String
  {
    var bytes: [UInt8] = []
    while !bytes.reversed().starts(with: end.utf8.reversed()) {
      _ = try gather(1, "bytes up to \(Script.shown(end.utf8))", .here(file, line))
      bytes += take(1)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Expects that nothing more comes but the end.
  private func expectEnding(_ expected: [Ending], _ what: String, _ place: Place) throws {
    while available == 0, try readMore(what, place) {}
    guard available == 0 else {
      throw script.failure(
        name, "expected \(what), got \(Script.shown(received[position...]))", place)
    }
    guard let ending, expected.contains(ending) else {
      throw script.failure(name, "expected \(what), saw another end", place)
    }
  }

  /// Expects FIN, and no byte before it.
  @discardableResult
  package func expectEnd(file: String = #fileID, line: UInt = #line) throws -> Self {
    try expectEnding([.finished], "the other side to finish", .here(file, line))
    return self
  }

  /// Waits for bytes, which stay unread, or for FIN.
  /// - Returns: whether bytes have come.
  package func expectBytesOrEnd(file: String = #fileID, line: UInt = #line) throws -> Bool {
    if try gather(1, "bytes or an end", .here(file, line)) { return true }
    try expectEnd(file: file, line: line)
    return false
  }

  /// Expects RST, and no byte before it.
  @discardableResult
  package func expectReset(file: String = #fileID, line: UInt = #line) throws -> Self {
    try expectEnding([.reset], "a reset", .here(file, line))
    return self
  }

  /// Expects FIN or RST, and no byte before it: closing over unread bytes makes one of the other.
  @discardableResult
  package func expectGone(file: String = #fileID, line: UInt = #line) throws -> Self {
    try expectEnding([.finished, .reset], "the end", .here(file, line))
    return self
  }

  /// Whether bytes have come that no expectation has read yet. Looks without waiting.
  package var hasUnread: Bool {
    if available > 0 { return true }
    guard isOpen, ending == nil else { return false }
    var byte: UInt8 = 0
    let transfer = withUnsafeMutableBytes(of: &byte) { Socket.peek(descriptor, into: $0) }
    return transfer == .bytes(1)
  }
}
