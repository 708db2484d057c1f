// How OpenSSL reaches the socket: through our own calls, so that a broken connection leaves its error number with the
// session, nothing raises SIGPIPE, and tests can make each call fail.

import COpenSSL
import Platform

enum SocketBIO {
  /// The kind of BIO, made on first use and kept for the life of the process; nil if there was no memory for it.
  nonisolated(unsafe) private static let method: OpaquePointer? = {
    guard let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "holdfast socket")
    else { return nil }
    BIO_meth_set_read(method) { bio, bytes, count in
      guard let bio, let bytes, count > 0, let session = SocketBIO.session(bio) else { return -1 }
      holdfast_BIO_clear_retry(bio)
      return session.readSocket(
        bio, UnsafeMutableRawBufferPointer(start: bytes, count: Int(count)))
    }
    BIO_meth_set_write(method) { bio, bytes, count in
      guard let bio, let bytes, count > 0, let session = SocketBIO.session(bio) else { return -1 }
      holdfast_BIO_clear_retry(bio)
      return session.writeSocket(bio, UnsafeRawBufferPointer(start: bytes, count: Int(count)))
    }
    BIO_meth_set_ctrl(method) { _, command, _, _ in
      // Nothing is held back here, so there is nothing to flush; all else is not for us.
      command == BIO_CTRL_FLUSH ? 1 : 0
    }
    BIO_meth_set_create(method) { bio in
      BIO_set_init(bio, 1)
      return 1
    }
    return method
  }()

  /// - Parameter session: not retained; it owns what comes back.
  static func make(for session: TLSSession) -> OpaquePointer? {
    guard let method, let bio = BIO_new(method) else { return nil }
    BIO_set_data(bio, Unmanaged.passUnretained(session).toOpaque())
    return bio
  }

  private static func session(_ bio: OpaquePointer) -> TLSSession? {
    BIO_get_data(bio).map { Unmanaged<TLSSession>.fromOpaque($0).takeUnretainedValue() }
  }
}
