// The admin listener: what a running process tells those who look after it. HTTP/1.1, one request per
// connection, never on a port that clients of the proxy use, and on a loop of its own.
//
//   GET /metrics      Prometheus text        GET /api/status      what it is doing, as JSON
//   GET /healthz      it runs                /api/store…          the store, by the handler it is given
//   GET /readyz       it takes requests: 503 while it drains

import Configuration
import HTTP
import IO
import Platform
import Storage
import Telemetry

package struct AdminRequest: Sendable {
  package var method: String
  package var path: String
  /// Decoded, in the order they came.
  package var query: [(name: String, value: String)]

  /// The value of the first parameter called so.
  package func value(_ name: String) -> String? { query.first { $0.name == name }?.value }
}

package struct AdminAnswer: Sendable {
  package var status: UInt16
  package var type: String
  package var content: [UInt8]
  /// What to show to be let in, with 401.
  package var challenge: String?

  package init(status: UInt16 = 200, type: String = "application/json", content: [UInt8]) {
    self.status = status
    self.type = type
    self.content = content
  }

  package init(status: UInt16 = 200, text: String) {
    self.init(status: status, type: "text/plain; charset=utf-8", content: Array(text.utf8))
  }
}

/// Answers what needs more than the server itself knows. Runs on a thread that may block; nil means that
/// there is no such path.
package typealias AdminHandler = @Sendable (AdminRequest) -> AdminAnswer?

package final class AdminListener: Listener {
  private let server: Server
  private let handler: AdminHandler
  /// Set while the server drains.
  package var isDraining = false
  /// Who is let in.
  package var access = AdminAccess()

  package init(
    loop: EventLoop, socket: consuming FileDescriptor, server: Server,
    handler: @escaping AdminHandler
  ) throws(Errno) {
    self.server = server
    self.handler = handler
    try super.init(loop: loop, socket: socket)
  }

  package override func accepted(_ descriptor: Int32, peer: SocketAddress) {
    AdminConnection(listener: self, descriptor: descriptor).start()
  }

  /// Answers at once, or has the handler answer on a pool thread.
  fileprivate func answer(_ request: AdminRequest, to connection: AdminConnection) {
    switch (request.method, request.path) {
    case ("GET", "/metrics"):
      server.refreshGauges()
      connection.send(
        AdminAnswer(
          type: PrometheusText.mediaType,
          content: Array(
            (PrometheusText.render(server.registry, version: Program.version)
              + EndingAPI.metrics(server.endings)).utf8)))
    case ("GET", "/healthz"):
      connection.send(AdminAnswer(text: "ok\n"))
    case ("GET", "/readyz"):
      connection.send(
        isDraining ? AdminAnswer(status: 503, text: "draining\n") : AdminAnswer(text: "ready\n"))
    case ("GET", "/api/status"):
      connection.send(AdminAnswer(content: server.statusJSON(isDraining: isDraining)))
    default:
      if let answer = EndingAPI.answer(request, server.endings)
        ?? IncidentAPI.answer(request, server.endings)
      {
        connection.send(answer)
        return
      }
      let handler = self.handler
      let mailbox = loop.mailbox
      let id = connection.id
      let isTaken = server.onPool {
        let answer =
          handler(request) ?? AdminAnswer(status: 404, text: "there is no such path here\n")
        mailbox.post(Letter(to: id, subject: 0, payload: AdminConnection.Parcel(answer)))
      }
      if !isTaken { connection.send(AdminAnswer(status: 503, text: "too busy; try again\n")) }
    }
  }
}

private final class AdminConnection: LoopObject {
  final class Parcel: Sendable {
    let answer: AdminAnswer
    init(_ answer: AdminAnswer) { self.answer = answer }
  }

  private static let headLimit = HeadLimits(startLine: 8 << 10, head: 16 << 10, fieldCount: 64)
  private static let timeout = TimeoutClass(.seconds(30))

  private let listener: AdminListener
  private let descriptor: Int32
  private var input = ByteQueue()
  private var output = ByteQueue()
  private var isAnswering = false
  private var isShut = false

  init(listener: AdminListener, descriptor: Int32) {
    self.listener = listener
    self.descriptor = descriptor
    super.init(loop: listener.loop)
  }

  func start() {
    guard (try? loop.watch(descriptor, self, .read)) != nil else { return close() }
    loop.arm(self, after: Self.timeout)
  }

  override func ready(_ readiness: Readiness) {
    if readiness.contains(.write) { flush() }
    guard isRegistered, !readiness.isDisjoint(with: [.read, .error, .hangUp, .peerFinish]) else {
      return
    }
    switch Socket.receive(descriptor, into: loop.receiveBuffer) {
    case .bytes(let count):
      // After the answer whatever still comes is thrown away, so that closing does not reset it.
      guard !isAnswering else { return }
      input.append(UnsafeRawBufferPointer(rebasing: loop.receiveBuffer[0..<count]))
      parse()
    case .wouldBlock:
      return
    case .endOfStream where isAnswering && !isShut:
      // A client that said all it has to say still wants its answer.
      loop.setInterest(self, output.isEmpty ? [] : .write)
    case .endOfStream, .failed:
      close()
    }
  }

  private func parse() {
    var head = ParsedHead()
    let bytes = input.bytes
    let span = Span<UInt8>(_unsafeBytes: bytes)
    switch MessageParser.parseRequest(span, into: &head, limits: Self.headLimit) {
    case .needsMoreBytes:
      return
    case .refused(let refusal):
      send(AdminAnswer(status: refusal.status.rawValue, text: refusal.sentence + "\n"))
    case .complete:
      isAnswering = true
      let isLocal = listener.address.ip.isLoopback
      if let refusal = listener.access.refusal(head, in: span, isLocal: isLocal) {
        send(refusal)
        return
      }
      let target = Array(bytes[head.targetRange])
      let method = String(decoding: bytes[head.methodRange], as: UTF8.self)
      listener.answer(AdminTarget.request(method: method, target: target), to: self)
    }
  }

  override func receive(_ letter: Letter) {
    if let parcel = letter.payload as? Parcel { send(parcel.answer) }
  }

  func send(_ answer: AdminAnswer) {
    isAnswering = true
    var head: [UInt8] = []
    MessageWriter.appendStatusLine(Status(answer.status), to: &head)
    head.append(contentsOf: "Content-Type: \(answer.type)\r\n".utf8)
    head.append(contentsOf: "Cache-Control: no-store\r\nConnection: close\r\n".utf8)
    if let challenge = answer.challenge {
      head.append(contentsOf: "WWW-Authenticate: \(challenge)\r\n".utf8)
    }
    MessageWriter.appendField(.contentLength, UInt64(answer.content.count), to: &head)
    head.append(contentsOf: [13, 10])
    output.append(head)
    output.append(answer.content)
    flush()
  }

  private func flush() {
    while !output.isEmpty {
      switch Socket.send(descriptor, output.bytes) {
      case .bytes(let count):
        output.consume(count)
      case .wouldBlock:
        loop.setInterest(self, [.read, .write])
        loop.arm(self, after: Self.timeout)
        return
      case .endOfStream, .failed:
        close()
        return
      }
    }
    guard isAnswering, !isShut else { return }
    isShut = true
    Socket.shutdownWrite(descriptor)
    loop.setInterest(self, .read)
  }

  override func timerFired() { close() }

  override func loopEnding() { close() }

  private func close() {
    guard isRegistered else { return }
    unregister()
    FileDescriptor.close(raw: descriptor)
  }
}

/// Path and query of an admin request.
enum AdminTarget {
  static func request(method: String, target: [UInt8]) -> AdminRequest {
    let parts = target.split(separator: UInt8(ascii: "?"), maxSplits: 1)
    var request = AdminRequest(
      method: method, path: String(decoding: parts.first ?? [], as: UTF8.self), query: [])
    guard parts.count == 2 else { return request }
    for pair in parts[1].split(separator: UInt8(ascii: "&")) {
      let sides = pair.split(
        separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
      request.query.append((decoded(sides[0]), sides.count == 2 ? decoded(sides[1]) : ""))
    }
    return request
  }

  /// Percent-decoded; what is no proper encoding stays as it is.
  static func decoded(_ text: ArraySlice<UInt8>) -> String {
    var bytes: [UInt8] = []
    var index = text.startIndex
    while index < text.endIndex {
      if text[index] == 0x25, index + 2 < text.endIndex,
        let high = text[index + 1].hexadecimalValue, let low = text[index + 2].hexadecimalValue
      {
        bytes.append(high << 4 | low)
        index += 3
      } else {
        bytes.append(text[index] == 0x2B ? 0x20 : text[index])
        index += 1
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
