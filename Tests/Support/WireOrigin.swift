// A scripted origin: a listener, and the connections that the proxy makes to it.

import Glibc
import Platform
import TLS

package final class WireOrigin: @unchecked Sendable {
  package let script: Script
  package let address: SocketAddress
  /// The name that leads to it: see `TestProxy`.
  package let host: String
  private let name: String
  private var listener: Int32
  /// Keeps the port from whoever else is given one by the kernel, where connections are to be refused.
  private var placeholder: Int32 = -1
  private var accepted = 0
  private var connections: [WireOriginConnection] = []
  /// What it shows, if it is one for https.
  package var tls: TLSContext?

  package init(
    _ script: Script, host: String = "origin.test", ip: IPAddress = .loopbackV4,
    tls: TLSContext? = nil
  ) throws {
    self.tls = tls
    self.script = script
    self.host = host
    name = host
    let socket = try Socket.listen(on: SocketAddress(ip, port: 0))
    address = try Socket.localAddress(socket.rawValue)
    listener = socket.release()
  }

  deinit { close() }

  package var port: UInt16 { address.port }
  package var authority: String { "\(host):\(port)" }

  /// The target URI of a path here.
  package func url(_ path: String) -> String {
    "\(tls == nil ? "http" : "https")://\(authority)\(path)"
  }

  /// The next connection that the proxy makes, with its handshake done if it is to have one.
  package func accept(file: String = #fileID, line: UInt = #line) throws -> WireOriginConnection {
    let connection = try acceptBare(file: file, line: line)
    if let tls { try connection.serveTLS(tls, file: file, line: line) }
    return connection
  }

  /// The next connection that the proxy makes, before anything is said on it.
  package func acceptBare(file: String = #fileID, line: UInt = #line) throws
    -> WireOriginConnection
  {
    let deadline = Instant.precise() + Script.patience
    while true {
      switch Socket.accept(listener) {
      case .accepted(let descriptor, _):
        accepted += 1
        let connection = WireOriginConnection(
          script: script, name: "\(name) #\(accepted)", descriptor: descriptor)
        script.note(connection.name, "is connected")
        connections.append(connection)
        return connection
      case .wouldBlock:
        var entry = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
        let left = (deadline - Instant.precise()).wholeNanoseconds / 1_000_000
        guard left > 0 else {
          throw script.failure(name, "waited in vain for a connection", .here(file, line))
        }
        _ = poll(&entry, 1, Int32(clamping: left))
      case .failed(let errno):
        throw script.failure(name, "could not accept: \(errno)", .here(file, line))
      }
    }
  }

  /// Accepts a connection, reads a request, and answers it.
  @discardableResult
  package func serve(
    _ status: Int = 200, _ fields: [String] = [], _ content: String = "", file: String = #fileID,
    line: UInt = #line
  ) throws -> WireRequest {
    let connection = try accept(file: file, line: line)
    let request = try connection.expectRequest(file: file, line: line)
    try connection.respond(status, fields, content)
    return request
  }

  /// Expects that nobody waits to be accepted, now.
  package func expectNoFurtherConnection(file: String = #fileID, line: UInt = #line) throws {
    var entry = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
    guard poll(&entry, 1, 0) == 0 else {
      throw script.failure(name, "got a connection that nobody expected", .here(file, line))
    }
  }

  /// Expects that the proxy has asked for nothing beyond what the test has read. Meaningful once every
  /// client has its answer.
  package func expectNothingElse(file: String = #fileID, line: UInt = #line) throws {
    var entry = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
    guard poll(&entry, 1, 0) == 0 else {
      throw script.failure(name, "got a connection that nobody expected", .here(file, line))
    }
    for connection in connections where connection.isOpen && connection.hasUnread {
      throw script.failure(
        connection.name, "got bytes (or an end) that nobody expected", .here(file, line))
    }
  }

  /// Refuses connections from now on; those that are open stay.
  package func stopListening() {
    guard listener >= 0 else { return }
    // Closing alone leaves it listening while a process that is being started has it too.
    shutdown(listener, Int32(SHUT_RDWR))
    FileDescriptor.close(raw: listener)
    listener = -1
    let family = address.ip.family == .v4 ? AF_INET : AF_INET6
    placeholder = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var isOn: Int32 = 1
    setsockopt(
      placeholder, SOL_SOCKET, SO_REUSEADDR, &isOn, socklen_t(MemoryLayout<Int32>.size))
    _ = address.withSockaddr { bind(placeholder, $0, $1) }
  }

  /// Ends the listener and all connections.
  package func close() {
    stopListening()
    if placeholder >= 0 { FileDescriptor.close(raw: placeholder) }
    placeholder = -1
    closeConnections()
  }

  /// Ends all connections, and goes on listening.
  package func closeConnections() {
    for connection in connections { connection.close() }
    connections = []
  }
}

package final class WireOriginConnection: WirePeer, @unchecked Sendable {
  /// Expects a request with all of its content.
  @discardableResult
  package func expectRequest(
    _ startLine: String? = nil, file: String = #fileID, line: UInt = #line
  ) throws -> WireRequest {
    let head = try expectHead(startLine, file: file, line: line)
    let content = try expectRest(file: file, line: line)
    return WireRequest(head: head, content: content, trailers: trailers)
  }

  /// Expects a request's head, with its content still to be read.
  @discardableResult
  package func expectHead(
    _ startLine: String? = nil, file: String = #fileID, line: UInt = #line
  ) throws -> WireHead {
    let place = Place.here(file, line)
    let head = try readHead("a request", place, framing: WireFraming.ofRequest)
    if let startLine, head.startLine != startLine {
      throw script.failure(name, "expected \(startLine), got \(head.startLine)", place)
    }
    return head
  }

  /// Sends a head with these field lines.
  @discardableResult
  package func send(head status: Int, _ fields: [String] = []) throws -> Self {
    try send("HTTP/1.1 \(status) Fine\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n")
  }

  /// Sends a whole response in one piece, Content-Length included.
  @discardableResult
  package func respond(
    _ status: Int = 200, _ fields: [String] = [], _ content: String = ""
  ) throws -> Self {
    let head =
      "HTTP/1.1 \(status) Fine\r\n" + fields.map { $0 + "\r\n" }.joined()
      + (status == 304 || status == 204 ? "" : "Content-Length: \(content.utf8.count)\r\n")
    return try send(head + "\r\n" + content)
  }
}
