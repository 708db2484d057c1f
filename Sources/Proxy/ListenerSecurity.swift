// Whether a listener speaks TLS, and what it shows.

import Configuration
import TLS

enum ListenerSecurity: Sendable {
  case plain
  case tls(TLSContext)
  /// It is to speak TLS, and cannot: nothing is said in clear in its place.
  case unusable

  init(_ listener: ListenerSettings) {
    guard listener.isSecure else {
      self = .plain
      return
    }
    guard let identity = listener.identity,
      let context = try? TLSContext(serverShowing: identity)
    else {
      self = .unusable
      return
    }
    self = .tls(context)
  }

  var isPlain: Bool { if case .plain = self { true } else { false } }

  var isUsable: Bool { if case .unusable = self { false } else { true } }

  var context: TLSContext? { if case .tls(let context) = self { context } else { nil } }
}
