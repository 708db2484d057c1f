// A request to the admin listener of a running instance, and its answer.
//
// HTTP/1.0 and one connection per request: the answer ends with the connection, so there is
// nothing to frame. Blocking, with one wait for readiness at a time.

import Configuration
import Foundation
import Platform

struct AdminClient {
  let address: SocketAddress
  /// What the listener wants to see, if it does.
  var token: Secret?

  /// How long the instance may be silent. Verifying a large store takes its time.
  static let patience: Int32 = 600_000
  static let connectPatience: Int32 = 5_000

  struct Answer {
    var status: Int
    var content: [UInt8]

    /// The lines of the content, without empty ones.
    var lines: [ArraySlice<UInt8>] { content.split(separator: UInt8(ascii: "\n")) }
  }

  /// Sends a request without content and waits for the whole answer.
  func send(_ method: String, _ path: String, query: [(String, String)] = []) throws -> Answer {
    var target = path
    for (index, item) in query.enumerated() {
      target += "\(index == 0 ? "?" : "&")\(item.0)=\(Self.escaped(item.1))"
    }
    let request =
      "\(method) \(target) HTTP/1.0\r\nHost: \(address)\r\n"
      + (token.map { "Authorization: Bearer \($0.revealed)\r\n" } ?? "") + "\r\n"
    do throws(Errno) {
      return try Self.parse(exchange(Array(request.utf8)))
    } catch {
      throw Failure("the instance's admin listener at \(address) does not answer: \(error.message)")
    }
  }

  private func exchange(_ request: [UInt8]) throws(Errno) -> [UInt8] {
    let socket = try Socket.connect(to: address)
    let epoll = try Epoll(capacity: 1)
    try epoll.add(socket.rawValue, .write, token: 0)
    guard try epoll.wait(milliseconds: Self.connectPatience) > 0 else { throw .timedOut }
    if let error = Socket.pendingError(socket.rawValue) { throw error }
    var sent = 0
    while sent < request.count {
      let result = request.withUnsafeBytes {
        Socket.send(socket.rawValue, UnsafeRawBufferPointer(rebasing: $0[sent...]))
      }
      switch result {
      case .bytes(let count): sent += count
      case .wouldBlock: _ = try epoll.wait(milliseconds: Self.patience)
      case .endOfStream: throw .connectionReset
      case .failed(let error): throw error
      }
    }
    try epoll.modify(socket.rawValue, .read, token: 0)
    var answer: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      switch buffer.withUnsafeMutableBytes({ Socket.receive(socket.rawValue, into: $0) }) {
      case .bytes(let count): answer += buffer[..<count]
      case .endOfStream: return answer
      case .failed(let error): throw error
      case .wouldBlock:
        guard try epoll.wait(milliseconds: Self.patience) > 0 else { throw .timedOut }
      }
    }
  }

  /// Takes an answer apart; one without a proper head has the status 0.
  static func parse(_ bytes: [UInt8]) -> Answer {
    let end: [UInt8] = [13, 10, 13, 10]
    guard let head = bytes.firstRange(of: end) else { return Answer(status: 0, content: bytes) }
    let line = String(decoding: bytes[..<head.lowerBound].prefix { $0 != 13 }, as: UTF8.self)
    let words = line.split(separator: " ")
    let status = words.count > 1 && words[0].hasPrefix("HTTP/1.") ? Int(words[1]) ?? 0 : 0
    return Answer(status: status, content: Array(bytes[head.upperBound...]))
  }

  /// Percent-encodes all but unreserved characters (RFC 3986 §2.3).
  static func escaped(_ text: String) -> String {
    text.utf8.map { byte in
      let scalar = Unicode.Scalar(byte)
      let isUnreserved =
        byte < 0x80 && (scalar.properties.isAlphabetic || (0x30...0x39).contains(byte))
      if isUnreserved || "-._~".utf8.contains(byte) { return String(scalar) }
      let digits = String(byte, radix: 16, uppercase: true)
      return "%" + (digits.count == 1 ? "0" : "") + digits
    }.joined()
  }
}
