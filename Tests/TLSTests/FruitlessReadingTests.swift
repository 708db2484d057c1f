// A peer that keeps us busy without saying anything: how much of it is read in one go.

import COpenSSL
import Glibc
import Support
import TLSPeer
import Testing

@testable import TLS

struct FruitlessReadingTests {
  /// A session of ours, and what talks to it, with their handshake done.
  private func connected(_ authority: TestAuthority) throws -> (
    session: TLSSession, peer: TLSPeer, socket: Int32
  ) {
    var ends: [Int32] = [0, 0]
    _ = socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0, &ends)
    let session = try TLSSession(
      server: authority.server("example.org"), descriptor: ends[1])
    let peer = try TLSPeer.client(
      ends[0], host: "example.org", .version(TLS1_3_VERSION), seconds: 1)
    for _ in 0..<10 where session.handshake() != .done {
      if SSL_is_init_finished(peer.ssl) == 0 { SSL_do_handshake(peer.ssl) }
      try peer.flush()
      _ = session.handshake()
      try peer.takeWhatIsThere()
    }
    return (session, peer, ends[1])
  }

  private func unread(_ socket: Int32) -> Int32 {
    var count: Int32 = 0
    _ = ioctl(socket, UInt(FIONREAD), &count)
    return count
  }

  @Test(
    "after 64 KiB of key updates others have their turn, and content behind them is found later")
  func bounded() throws {
    let authority = try TestAuthority()
    let (session, peer, socket) = try connected(authority)
    defer { close(socket) }
    #expect(session.isOpen)
    // 26 bytes each.
    for _ in 0..<3500 {
      SSL_key_update(peer.ssl, SSL_KEY_UPDATE_NOT_REQUESTED)
      SSL_do_handshake(peer.ssl)
    }
    SSL_write(peer.ssl, "found", 5)
    try peer.flush()
    #expect(session.read().0 == .wantsRead)
    #expect(unread(socket) > 0)
    var found: [UInt8] = []
    for _ in 0..<10 where found.isEmpty { found = session.read().1 }
    #expect(found == Array("found".utf8))
  }

  @Test("whoever asks for key updates and takes no answers stops being read, and it is said why")
  func deaf() throws {
    let authority = try TestAuthority()
    let (session, peer, socket) = try connected(authority)
    defer { close(socket) }
    var size: Int32 = 4096
    setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
    var outcome = TLSTransfer.wantsRead
    for _ in 0..<200 where outcome == .wantsRead {
      SSL_key_update(peer.ssl, SSL_KEY_UPDATE_REQUESTED)
      for _ in 0..<100 {
        SSL_do_handshake(peer.ssl)
        SSL_key_update(peer.ssl, SSL_KEY_UPDATE_REQUESTED)
      }
      try peer.flush()
      outcome = session.read().0
    }
    #expect(outcome == .wantsWrite)
    // Somebody who takes them is read on.
    try peer.takeWhatIsThere()
    #expect(session.read().0 != .failed(.truncated))
  }
}
