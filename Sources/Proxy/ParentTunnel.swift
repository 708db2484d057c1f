// CONNECT to a parent proxy: asks it for a way to an origin over a connection that has just been made, and hands the
// connection on when there is one. Used by exchanges with https origins and by tunnels of clients.
//
//   (securing) ─▶ asking ─▶ 2xx: opened, with what came behind the head
//        └───────────┴─▶ anything else, silence, an end: failed
//
// With a parent that is asked over TLS, what is handed on speaks it: a tunnel passes its bytes through, and TLS with an
// https origin goes inside of it.

import Configuration
import HTTP
import IO
import Platform
import TLS
import Telemetry

protocol ParentTunnelDelegate: AnyObject {
  /// - Parameters:
  ///   - stream: the delegate's from here on.
  ///   - unread: what the other end said at once.
  func parentTunnel(_ tunnel: ParentTunnel, opened stream: SocketStream, unread: [UInt8])
  func parentTunnel(_ tunnel: ParentTunnel, failed error: ProxyError)
}

final class ParentTunnel: LoopObject {
  /// Interim answers before the one that counts.
  private static let informationalLimit = 64

  private let worker: Worker
  private let parent: ParentProxy
  private let authority: String
  // Held until it is told, and by nothing after.
  private var delegate: (any ParentTunnelDelegate)?
  private var stream: SocketStream
  private var isWatched = false
  private var isSecuring = false
  /// Which trust the parent's certificate was judged by.
  private let trust: Int
  private var output = ByteQueue()
  private var input = ByteQueue()
  private var cursor = HeadCursor()
  private var informationals = 0

  /// Begins to ask in the next turn; the delegate is never told before.
  /// - Parameters:
  ///   - descriptor: of the connection to the parent; closed here unless it is handed on.
  ///   - authority: host and port of the origin.
  init(
    worker: Worker, parent: ParentProxy, descriptor: Int32, authority: String,
    delegate: any ParentTunnelDelegate
  ) {
    self.worker = worker
    self.parent = parent
    stream = SocketStream(descriptor)
    trust = worker.trust
    self.authority = authority
    self.delegate = delegate
    super.init(loop: worker.loop)
    var head = "CONNECT \(authority) HTTP/1.1\r\nHost: \(authority)\r\n\(parent.authorization)"
    head +=
      "Via: \(String(decoding: worker.via.value(receivedAs: .http11), as: UTF8.self))\r\n\r\n"
    output.append(Array(head.utf8))
    loop.arm(self, after: worker.settings.upstream.connectTimeout)
    loop.afterTurn(self)
  }

  override func turnEnded() {
    guard delegate != nil else { return }
    guard !isWatched else {
      if !isSecuring, stream.hasUnread { read() }
      return
    }
    isWatched = (try? loop.watch(stream.descriptor, self, .read)) != nil
    guard isWatched else { return fail(.cannotWatch) }
    if parent.isSecure { secure() } else { flush() }
  }

  override func ready(_ events: Readiness) {
    guard !isSecuring else { return shakeHands() }
    let wantedRoom = stream.wantsRoomToRead
    if events.contains(.write) { flush() }
    guard delegate != nil,
      wantedRoom || !events.isDisjoint(with: [.read, .peerFinish, .hangUp, .error])
    else { return }
    read()
  }

  // MARK: TLS

  private func secure() {
    let settings = worker.settings.upstreamTLS
    let context: TLSContext
    do throws(ProxyError) {
      context = try settings.context()
    } catch {
      return fail(error, .tls)
    }
    do throws(TLSFailure) {
      stream.secure(
        try TLSSession(
          client: context, descriptor: stream.descriptor, host: parent.host,
          isAddress: IPAddress(parent.host) != nil, verifies: settings.verifies(parent.host),
          ticket: worker.tickets.take(Origin(parent))))
    } catch {
      return fail(.tls(parent.name, error), .tls)
    }
    isSecuring = true
    shakeHands()
  }

  private func shakeHands() {
    guard delegate != nil, let session = stream.tls else { return }
    switch session.handshake() {
    case .done:
      isSecuring = false
      flush()
      if stream.hasUnread { loop.afterTurn(self) }
    case .wantsRead: loop.setInterest(self, .read)
    case .wantsWrite: loop.setInterest(self, .write)
    case .failed(let failure): fail(.tls(parent.name, failure), .tls)
    }
  }

  // MARK: Asking

  private func flush() {
    while !output.isEmpty {
      switch stream.send(output.bytes) {
      case .bytes(let count): output.consume(count)
      case .wouldBlock:
        loop.setInterest(self, [.read, .write])
        return
      // What is to be read tells why.
      case .endOfStream, .failed: output.removeAll()
      }
    }
    loop.setInterest(self, .read)
  }

  private func read() {
    switch stream.receive(into: loop.receiveBuffer) {
    case .bytes(let count):
      input.append(UnsafeRawBufferPointer(rebasing: loop.receiveBuffer[0..<count]))
      parse()
      if delegate != nil, stream.hasUnread { loop.afterTurn(self) }
    case .wouldBlock:
      // The kernel would tell again and again of what cannot be read yet.
      if stream.wantsRoomToRead { loop.setInterest(self, .write) }
    case .endOfStream: fail(.endedBeforeHead(parent.name, nil))
    case .failed(let errno): fail(.endedBeforeHead(parent.name, errno, stream.tlsFailure))
    }
  }

  private func parse() {
    while true {
      switch worker.parseResponse(input.bytes, resuming: &cursor) {
      case .needsMoreBytes: return
      case .refused(let refusal): return fail(.malformed(parent.name, refusal))
      case .complete(let consumed):
        let status = worker.parsedHead.pointee.status
        cursor = HeadCursor()
        input.consume(consumed)
        switch status.kind {
        case .informational where status.rawValue != 101:
          informationals += 1
          guard informationals <= Self.informationalLimit else {
            return fail(
              .unasked(parent.name, "sent more than \(Self.informationalLimit) interim answers"))
          }
        case .successful: return opened()
        default: return fail(.parentRefused(parent, authority, status))
        }
      }
    }
  }

  override func timerFired() {
    worker.metrics.add(.timeouts, .connect)
    fail(.parentSilent(parent, authority, worker.settings.upstream.connectTimeout))
  }

  override func loopEnding() { cancel() }

  // MARK: Ending

  private func opened() {
    let delegate = self.delegate
    self.delegate = nil
    loop.unwatch(self)
    unregister()
    if trust == worker.trust, let ticket = stream.tls?.takeTicket() {
      worker.tickets.put(ticket, for: Origin(parent))
    }
    delegate?.parentTunnel(self, opened: stream, unread: Array(input.bytes))
  }

  private func fail(_ error: ProxyError, _ failure: ConnectFailure = .other) {
    guard let delegate else { return }
    worker.metrics.add(.upstreamConnectFailures, failure)
    cancel()
    delegate.parentTunnel(self, failed: error)
  }

  /// Ends it; the delegate is told nothing.
  func cancel() {
    guard delegate != nil else { return }
    delegate = nil
    unregister()
    stream.tls?.finish()
    FileDescriptor.close(raw: stream.descriptor)
  }
}

extension ParentProxy {
  /// What messages call it.
  var name: String { "the parent proxy \(authority)" }

  /// The field that says who asks, with its line end; empty if nobody wants to know.
  var authorization: String {
    guard let user else { return "" }
    let value = BasicAuthorization.value(user: user, password: password?.revealed ?? "")
    return "Proxy-Authorization: \(value)\r\n"
  }
}

extension ProxyError {
  /// A parent proxy opens no way to an origin, or wants to know who asks.
  static func parentRefused(_ parent: ParentProxy, _ authority: String, _ status: Status)
    -> ProxyError
  {
    let advice =
      status.rawValue == 407
      ? ": it wants a user and a password that it knows (`upstream.parent`,"
        + " `upstream.parent-password-file`)" : ""
    return ProxyError(
      status.rawValue == 407 ? .proxyConfigurationError : .destinationUnavailable,
      "\(parent.name) answered \(status) when asked for \(authority)\(advice)",
      status: .badGateway)
  }

  static func parentSilent(_ parent: ParentProxy, _ authority: String, _ limit: Duration)
    -> ProxyError
  {
    ProxyError(
      .connectionTimeout,
      "\(parent.name) opened no way to \(authority) within \(limit.inWords)"
        + " (`upstream.connect-timeout`)")
  }
}
