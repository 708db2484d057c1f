// The bytes of one connection, in clear or through TLS, with the same outcomes either way: whoever moves them need not
// know which it is, except that over TLS something may lie here of which the kernel says nothing (`hasUnread`), and
// that a write which took less than it was given has to be gone on with from there (`leastNext`).

import Platform
import TLS

struct SocketStream {
  let descriptor: Int32
  private(set) var tls: TLSSession?
  /// What TLS has come to grief over, behind a `.failed(.protocol)`.
  private(set) var tlsFailure: TLSFailure?
  /// TLS has something to say before it can give what it has read (a key update), and the socket is full.
  private(set) var wantsRoomToRead = false

  init(_ descriptor: Int32) { self.descriptor = descriptor }

  mutating func secure(_ session: TLSSession) { tls = session }

  /// Goes on without the TLS that was begun last: the peer has shown that it does not speak it.
  mutating func forgetTLS() { tls = tls?.carrier }

  /// Reads what is there, at most as much as fits.
  mutating func receive(into buffer: UnsafeMutableRawBufferPointer) -> Transfer {
    guard let tls else { return Socket.receive(descriptor, into: buffer) }
    let result = tls.read(into: buffer)
    wantsRoomToRead = result == .wantsWrite
    return transfer(result)
  }

  /// Writes as much as the socket takes.
  /// - Parameter more: the rest follows at once.
  mutating func send(_ bytes: UnsafeRawBufferPointer, more: Bool = false) -> Transfer {
    guard let tls else { return Socket.send(descriptor, bytes, more: more) }
    return transfer(tls.write(bytes))
  }

  /// Sends bytes of a file: inside the kernel in clear, through memory over TLS.
  /// - Parameter buffer: for content on its way to be encrypted; no more than fits is sent at a time.
  mutating func sendFile(
    _ file: Int32, offset: Int64, count: Int, through buffer: UnsafeMutableRawBufferPointer
  ) -> Transfer {
    guard tls != nil else {
      return Socket.sendFile(to: descriptor, from: file, offset: offset, count: count)
    }
    let window = UnsafeMutableRawBufferPointer(rebasing: buffer[0..<min(count, buffer.count)])
    do throws(Errno) {
      let read = try File.pread(file, into: window, at: offset)
      guard read > 0 else { return .endOfStream }
      return send(UnsafeRawBufferPointer(rebasing: window[0..<read]))
    } catch {
      return .failed(.inputOutput)
    }
  }

  /// So many bytes at least have to be given with the next write, because they have been begun.
  var leastNext: Int { tls?.repeatCount ?? 0 }

  /// What was read off the socket and not asked for yet.
  var hasUnread: Bool { tls?.hasUnread ?? false }

  /// Says that nothing follows, where that can be said (close_notify), and by FIN.
  func finish() {
    tls?.finish()
    Socket.shutdownWrite(descriptor)
  }

  private mutating func transfer(_ result: TLSTransfer) -> Transfer {
    switch result {
    case .bytes(let count): return .bytes(count)
    case .wantsRead, .wantsWrite: return .wouldBlock
    case .endOfStream: return .endOfStream
    case .failed(.connection(let errno)): return .failed(errno)
    case .failed(let failure):
      tlsFailure = failure
      return .failed(.protocol)
    }
  }
}
