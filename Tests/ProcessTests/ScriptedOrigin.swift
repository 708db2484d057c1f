// An origin whose content follows from the path, that can be told where to wait, and to be gone for a while.
// A thread per connection: it talks to one proxy, which keeps few.

import Foundation
import Glibc

final class ScriptedOrigin: Sendable {
  struct State: Sendable {
    /// How often each path was asked for, conditional requests included.
    var requests: [String: Int] = [:]
    /// Answers with 206.
    var completions = 0
    /// Bytes of content handed to the kernel.
    var sent = 0
    var isReachable = true
    /// Where to wait, by path: an offset in the content, or -1 for before the head.
    var holds: [String: Set<Int>] = [:]
    var connections: Set<Int32> = []
    var isStopped = false
  }

  let port: UInt16
  private let listener: Int32
  let state = Shared(State())

  init() throws {
    let listener = try Sockets.listener()
    self.listener = listener.descriptor
    port = listener.port
    let state = self.state
    Self.thread {
      while let socket = Sockets.accept(listener.descriptor) {
        let isWanted = state.withLock { state in
          guard !state.isStopped, state.isReachable else { return false }
          state.connections.insert(socket)
          return true
        }
        if isWanted {
          Self.thread { Self.serve(socket, state) }
        } else {
          Self.reset(socket)
        }
      }
      Glibc.close(listener.descriptor)
    }
  }

  /// Ends all connections and threads.
  func stop() {
    let connections = state.withLock { state in
      state.isStopped = true
      return state.connections
    }
    for socket in connections { shutdown(socket, Int32(SHUT_RDWR)) }
    shutdown(listener, Int32(SHUT_RDWR))
  }

  deinit { stop() }

  private static func thread(_ body: @escaping @Sendable () -> Void) {
    let thread = Thread(block: body)
    thread.stackSize = 512 << 10
    thread.start()
  }

  // MARK: Orders

  /// While it is not reachable, its connections are cut and every new one is reset.
  func setReachable(_ isReachable: Bool) {
    let connections = state.withLock { state in
      state.isReachable = isReachable
      return isReachable ? [] : state.connections
    }
    for socket in connections { shutdown(socket, Int32(SHUT_RDWR)) }
  }

  /// Waits at an offset of the content, or before the head, until it is let go.
  func hold(_ resource: Resource, at offset: Int = -1) {
    _ = state.withLock { $0.holds[resource.path, default: []].insert(offset) }
  }

  func letGo(_ resource: Resource, at offset: Int = -1) {
    _ = state.withLock { $0.holds[resource.path]?.remove(offset) }
  }

  func requestCount(_ resource: Resource) -> Int {
    state.withLock { $0.requests[resource.path] ?? 0 }
  }

  // MARK: Serving

  /// Closes with RST.
  private static func reset(_ socket: Int32) {
    var linger = linger(l_onoff: 1, l_linger: 0)
    setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
    Glibc.close(socket)
  }

  private static func serve(_ socket: Int32, _ state: Shared<State>) {
    Sockets.set(socket, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    while let request = readHead(socket), answer(request, socket, state) {}
    state.withLock { _ = $0.connections.remove(socket) }
    Glibc.close(socket)
  }

  private static func readHead(_ socket: Int32) -> String? {
    var head: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 8192)
    // The proxy sends one request and waits for its answer: what comes after the head is content, which nobody
    // here looks at.
    while true {
      let count = recv(socket, &buffer, buffer.count, 0)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return nil }
      head.append(contentsOf: buffer[..<count])
      if let end = head.firstRange(of: [13, 10, 13, 10]) {
        return String(decoding: head[..<end.upperBound], as: UTF8.self)
      }
    }
  }

  /// - Returns: whether the connection goes on.
  private static func answer(_ request: String, _ socket: Int32, _ state: Shared<State>) -> Bool {
    let words = request.prefix { $0 != "\r\n" }.split(separator: " ")
    guard words.count == 3, let resource = Resource(path: String(words[1])) else {
      return send(socket, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    }
    let path = resource.path
    state.withLock { $0.requests[path, default: 0] += 1 }
    guard wait(path, at: -1, upTo: -1, state) == -1 else { return false }
    let tag = "ETag: \"\(resource.size)-\(resource.name)\"\r\n"
    if resource.kind == .validated, request.contains("\r\nIf-None-Match:") {
      return send(
        socket, "HTTP/1.1 304 Not Modified\r\n\(tag)Cache-Control: max-age=0\r\n\(date())\r\n")
    }
    // The rest of what broke off (RFC 9110 §14.2), for half of the resources.
    let rest = rest(request, resource, tag)
    var head = "HTTP/1.1 \(rest > 0 ? "206 Partial Content" : "200 OK")\r\n\(tag)\(date())"
    if rest > 0 {
      head += "Content-Range: bytes \(rest)-\(resource.size - 1)/\(resource.size)\r\n"
      state.withLock { $0.completions += 1 }
    }
    head += "Cache-Control: max-age=\(resource.kind == .validated ? 0 : 86400)\r\n"
    switch resource.kind {
    case .length, .validated: head += "Content-Length: \(resource.size - rest)\r\n"
    case .chunked: head += "Transfer-Encoding: chunked\r\n"
    case .close: head += "Connection: close\r\n"
    }
    return send(socket, head + "\r\n") && sendContent(resource, from: rest, socket, state)
      && resource.kind != .close
  }

  /// Where `Range: bytes=N-` begins, if it is to be heeded; 0 if not.
  private static func rest(_ request: String, _ resource: Resource, _ tag: String) -> Int {
    guard resource.size % 2 == 0, request.contains("\r\nIf-Range:\(tag.dropFirst("ETag:".count))"),
      let range = request.range(of: "\r\nRange: bytes="),
      let offset = Int(request[range.upperBound...].prefix { $0 != "-" }), offset < resource.size
    else { return 0 }
    return offset
  }

  private static func date() -> String {
    var now = time(nil)
    var parts = tm()
    gmtime_r(&now, &parts)
    var text = [CChar](repeating: 0, count: 64)
    let count = strftime(&text, text.count, "%a, %d %b %Y %H:%M:%S GMT", &parts)
    return
      "Date: \(String(decoding: text[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self))\r\n"
  }

  private static func sendContent(
    _ resource: Resource, from start: Int, _ socket: Int32, _ state: Shared<State>
  ) -> Bool {
    let content = resource.content
    let isChunked = resource.kind == .chunked
    return withUnsafeTemporaryAllocation(byteCount: 64 << 10, alignment: 16) { buffer in
      var offset = start
      while offset < content.length {
        let end = min(offset + buffer.count, content.length)
        let limit = wait(resource.path, at: offset, upTo: end, state)
        guard limit > offset else { return false }
        let count = content.copy(
          from: offset, to: UnsafeMutableRawBufferPointer(rebasing: buffer[..<(limit - offset)]))
        let piece = UnsafeRawBufferPointer(rebasing: buffer[..<count])
        if isChunked, !send(socket, String(count, radix: 16) + "\r\n") { return false }
        guard send(socket, piece), !isChunked || send(socket, "\r\n") else { return false }
        offset += count
        state.withLock { $0.sent += count }
      }
      return !isChunked || send(socket, "0\r\n\r\n")
    }
  }

  /// Waits as long as it is held at `offset`.
  /// - Returns: how far to go now, at most `end`; -2 when the origin was told to stop.
  private static func wait(
    _ path: String, at offset: Int, upTo end: Int, _ state: Shared<State>
  ) -> Int {
    let limit = try? state.wait(for: "a hold to go", seconds: 600) { state -> Int? in
      if state.isStopped { return -2 }
      let holds = state.holds[path] ?? []
      if holds.contains(where: { $0 <= offset }) { return nil }
      return min(holds.min() ?? end, end)
    }
    return limit ?? -2
  }

  private static func send(_ socket: Int32, _ text: String) -> Bool {
    Array(text.utf8).withUnsafeBytes { send(socket, $0) }
  }

  private static func send(_ socket: Int32, _ bytes: UnsafeRawBufferPointer) -> Bool {
    var done = 0
    while done < bytes.count {
      let count = Glibc.send(
        socket, bytes.baseAddress! + done, bytes.count - done, Int32(MSG_NOSIGNAL))
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return false }
      done += count
    }
    return true
  }
}
