// Two ends of a connection in this process, each with a TLS session, moved on in turns.

import Glibc
import Platform
import Support

@testable import TLS

final class Pair {
  let clientSocket: Int32
  let serverSocket: Int32
  let client: TLSSession
  let server: TLSSession

  /// - Parameter wantedName: whose certificate the client wants to see.
  init(
    client: TLSContext, server: TLSContext, host: String = "example.org", isAddress: Bool = false,
    verifies: Bool = true, ticket: TLSTicket? = nil, identity: TLSIdentity? = nil,
    expectedName: String? = nil, scope: String? = nil
  ) throws {
    var ends: [Int32] = [0, 0]
    _ = socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0, &ends)
    clientSocket = ends[0]
    serverSocket = ends[1]
    self.client = try TLSSession(
      client: client, descriptor: ends[0], host: host, isAddress: isAddress, verifies: verifies,
      ticket: ticket)
    self.server = try TLSSession(
      server: server, descriptor: ends[1], identity: identity, expectedName: expectedName,
      scope: scope)
  }

  deinit {
    close(clientSocket)
    close(serverSocket)
  }

  /// Runs both handshakes until neither can go on.
  func shake() -> (client: TLSSession.Progress, server: TLSSession.Progress) {
    var result = (client: client.handshake(), server: server.handshake())
    for _ in 0..<20 {
      if case .wantsRead = result.client {
      } else if case .wantsRead = result.server {
      } else {
        break
      }
      result = (client.handshake(), server.handshake())
    }
    return result
  }
}

extension TLSSession {
  func read(_ count: Int = 64 << 10) -> (TLSTransfer, [UInt8]) {
    var bytes = [UInt8](repeating: 0, count: count)
    let transfer = bytes.withUnsafeMutableBytes { read(into: $0) }
    guard case .bytes(let read) = transfer else { return (transfer, []) }
    return (transfer, Array(bytes.prefix(read)))
  }

  func write(_ bytes: [UInt8]) -> TLSTransfer { bytes.withUnsafeBytes { write($0) } }
}
