// OpenSSL keeps what went wrong in a queue per thread. It is emptied before each call whose outcome is looked at, so
// that what stands there afterwards belongs to this call.

import COpenSSL

enum OpenSSLErrors {
  static func clear() { ERR_clear_error() }

  /// What the last call left; 0 when it left nothing. The first is where it began.
  static var first: UInt { ERR_peek_error() }

  /// The reason in words: "wrong version number".
  static func text(_ code: UInt) -> String {
    guard code != 0 else { return "no reason given" }
    if let reason = ERR_reason_error_string(code) { return String(cString: reason) }
    return "error \(String(code, radix: 16))"
  }

  /// The reason of the first, and empties the queue.
  static func take() -> String {
    let reason = text(first)
    clear()
    return reason
  }

  static func reason(_ code: UInt) -> Int32 { holdfast_ERR_reason(code) }

  /// The codes 1000 and up stand for alerts that were received.
  static func receivedAlert(_ code: UInt) -> TLSAlert? {
    let reason = reason(code)
    guard holdfast_ERR_library(code) == ERR_LIB_SSL,
      (SSL_AD_REASON_OFFSET...SSL_AD_REASON_OFFSET + 255).contains(reason)
    else { return nil }
    return TLSAlert(code: UInt8(truncatingIfNeeded: reason - SSL_AD_REASON_OFFSET))
  }
}
