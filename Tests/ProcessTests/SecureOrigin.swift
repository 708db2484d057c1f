// An https origin in this process, for connections by the thousand: a thread for each, and for every path an own way to
// behave.

import Foundation
import Glibc
import TLSPeer

final class SecureOrigin: Sendable {
  let port: UInt16
  private let listener: Int32
  private let state = Shared(0)

  /// - Parameter certificates: shown with their chain.
  init(_ certificates: Certificates) throws {
    let listener = try Sockets.listener()
    self.listener = listener.descriptor
    port = listener.port
    let chain = [UInt8](try Data(contentsOf: URL(fileURLWithPath: certificates.chain)))
    let key = [UInt8](try Data(contentsOf: URL(fileURLWithPath: certificates.leafKey)))
    let state = self.state
    Self.thread {
      while let socket = Sockets.accept(listener.descriptor) {
        let number = state.withLock { state -> Int in
          state += 1
          return state
        }
        Self.thread { Self.serve(socket, number, chain, key) }
      }
      Glibc.close(listener.descriptor)
    }
  }

  deinit { stop() }

  /// Connections so far.
  var connections: Int { state.withLock { $0 } }

  func stop() { shutdown(listener, Int32(SHUT_RDWR)) }

  private static func thread(_ body: @escaping @Sendable () -> Void) {
    let thread = Thread(block: body)
    thread.stackSize = 512 << 10
    thread.start()
  }

  private static func serve(_ socket: Int32, _ number: Int, _ chain: [UInt8], _ key: [UInt8]) {
    guard let peer = try? TLSPeer.server(socket, certificates: chain, key: key) else {
      Glibc.close(socket)
      return
    }
    // Every seventh connection breaks somewhere in its handshake.
    if number % 7 == 0 { peer.sendLimit = number * 37 % 1500 }
    do {
      while true {
        let request = try peer.read(until: "\r\n\r\n")
        let content = String(repeating: "x", count: 2000)
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nContent-Length: 2000\r\n"
        if request.contains("/cut") {
          try peer.write(head + "\r\n" + content.prefix(700))
          peer.finishSocket()
          return
        } else if request.contains("/reset") {
          try peer.write(head + "\r\n" + content.prefix(700))
          peer.reset()
          return
        } else if request.contains("/close") {
          try peer.write(head + "Connection: close\r\n\r\n" + content)
          peer.finish()
          return
        }
        try peer.write(head + "\r\n" + content)
      }
    } catch {
      if number % 2 == 0 { peer.reset() }
    }
  }
}
