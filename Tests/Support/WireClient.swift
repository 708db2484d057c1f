// A scripted client.

import Platform

package final class WireClient: WirePeer, @unchecked Sendable {
  package convenience init(
    _ script: Script, to address: SocketAddress, name: String, file: String = #fileID,
    line: UInt = #line
  ) throws {
    let descriptor = try Socket.connect(to: address).release()
    self.init(script: script, name: name, descriptor: descriptor)
  }

  /// Sends a GET for an absolute or relative target.
  @discardableResult
  package func get(_ target: String, _ fields: String...) throws -> Self {
    try request("GET", target, fields)
  }

  /// Sends a request without content. A relative target gets the Host `proxy.test`.
  @discardableResult
  package func request(_ method: String, _ target: String, _ fields: [String] = []) throws -> Self {
    var host = "proxy.test"
    if let scheme = target.firstRange(of: "://") {
      host = String(target[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" })
    }
    return try send(
      "\(method) \(target) HTTP/1.1\r\nHost: \(host)\r\n"
        + fields.map { $0 + "\r\n" }.joined() + "\r\n")
  }

  /// Expects the head of a response.
  /// - Parameter isHead: it answers a HEAD request.
  @discardableResult
  package func expectHead(
    _ status: Int, _ fields: KeyValuePairs<String, String> = [:], isHead: Bool = false,
    file: String = #fileID, line: UInt = #line
  ) throws -> WireHead {
    let place = Place.here(file, line)
    let head = try readHead("a response with \(status)", place) {
      WireFraming.ofResponse($0, isHead: isHead)
    }
    guard head.startLine.hasPrefix("HTTP/1.1 "), head.status == status else {
      throw script.failure(name, "expected \(status), got \(head.startLine)", place)
    }
    for (field, value) in fields where head[field] != value {
      throw script.failure(
        name, "expected \(field): \(value), got \(head[field] ?? "no such field")", place)
    }
    return head
  }

  /// Expects the head of a response with one of these status codes.
  package func expectAnyHead(
    _ statuses: [Int], file: String = #fileID, line: UInt = #line
  ) throws -> WireHead {
    let place = Place.here(file, line)
    let head = try readHead("a response", place) { WireFraming.ofResponse($0, isHead: false) }
    guard statuses.contains(head.status) else {
      throw script.failure(name, "expected one of \(statuses), got \(head.startLine)", place)
    }
    return head
  }

  /// Expects the head of an answer to CONNECT: after 200 there is no content, but a tunnel (RFC 9110 §9.3.6).
  package func expectConnectHead(file: String = #fileID, line: UInt = #line) throws -> WireHead {
    try readHead("an answer to CONNECT", .here(file, line)) {
      $0.status == 200 ? .none : WireFraming.ofResponse($0, isHead: false)
    }
  }

  /// Expects a whole response, whatever its status.
  @discardableResult
  package func expectAnyResponse(
    isHead: Bool = false, file: String = #fileID, line: UInt = #line
  ) throws -> WireResponse {
    let head = try readHead("a response", .here(file, line)) {
      WireFraming.ofResponse($0, isHead: isHead)
    }
    let content = try expectRest(file: file, line: line)
    return WireResponse(head: head, content: content, trailers: trailers)
  }

  /// Expects a whole response.
  @discardableResult
  package func expectResponse(
    _ status: Int, _ fields: KeyValuePairs<String, String> = [:], content: String? = nil,
    isHead: Bool = false, file: String = #fileID, line: UInt = #line
  ) throws -> WireResponse {
    let head = try expectHead(status, fields, isHead: isHead, file: file, line: line)
    let bytes = try expectRest(file: file, line: line)
    if let content, bytes != Array(content.utf8) {
      throw script.failure(
        name, "expected the content \(Script.shown(content.utf8)), got \(Script.shown(bytes))",
        .here(file, line))
    }
    return WireResponse(head: head, content: bytes, trailers: trailers)
  }
}
