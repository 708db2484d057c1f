// What an exchange asks of an origin, and which origin that is.

import Configuration
import HTTP

/// What is sent to an origin.
struct OriginRequest {
  var origin: Origin
  var method: Method
  /// The target URI that the client asked for, wherever redirects have led since.
  var asked: [UInt8]
  /// Request line and fields, with the empty line.
  var head: [UInt8]
  /// How content follows, if it does.
  var framing: MessageFraming
  /// Nothing breaks if the origin gets it twice: a safe or idempotent method without content.
  var mayRepeat: Bool
  /// Content where its method gives it no meaning (RFC 9110 §9.3.1): an origin that does not look for it takes it
  /// for the next request, so there will be none on this connection.
  var endsConnection = false
  /// What its Authorization is, if that is the operator's.
  var credential: String?
  /// Redirects are followed; nil where they are the client's business.
  var redirects: RedirectChain?
  /// Other protocols that the origin may switch to, as in an Upgrade field.
  var upgrade: [UInt8]? = nil
}

extension OriginRequest {
  /// The head for a parent proxy: the target in absolute form, so that it knows where to go, and what it wants to see.
  /// An https origin gets its own, through the parent.
  func head(for parent: ParentProxy) -> [UInt8] {
    guard !origin.isSecure, let space = head.firstIndex(of: 0x20),
      let lineEnd = head.firstIndex(of: 0x0A)
    else { return head }
    var result: [UInt8] = []
    result.reserveCapacity(head.count + 256)
    result += head[...space]
    result += "http://\(origin.host.contains(":") ? "[\(origin.host)]" : origin.host)".utf8
    if origin.port != 80 { result += ":\(origin.port)".utf8 }
    // `OPTIONS *` is a URI without a path on its way through a proxy (RFC 9112 §3.2.4).
    let target = head[(space + 1)...]
    result += target.first == 0x2A ? target.dropFirst()[...lineEnd] : target[...lineEnd]
    result += parent.authorization.utf8
    result += head[(lineEnd + 1)...]
    return result
  }
}

/// Scheme, host and port, and whether the operator or a client chose them.
struct Origin: Hashable, Sendable {
  var isSecure: Bool
  var host: String
  var port: UInt16
  /// Named in the configuration, so that its addresses are not held against `destinations`. Part of the
  /// identity: a connection made on the operator's word is not lent to a client's.
  var isConfigured: Bool
  /// The proxy in between. Part of the identity as well: what was connected one way is not used the other way.
  var parent: ParentProxy? = nil
  /// Its connections end at the parent, which knows from each request where it goes; else they lead through it.
  var isParent = false

  /// Whose connections can carry its requests, by way of a parent or without. In clear a parent's connections are good
  /// for all origins; to an https origin one leads through the parent.
  func carrier(by parent: ParentProxy?) -> Origin {
    var carrier = self
    carrier.parent = parent
    guard let parent, !isSecure else { return carrier }
    return Origin(parent)
  }

  var authority: String { "\(host.contains(":") ? "[\(host)]" : host):\(port)" }

  /// What messages call whoever is at the other end of its connections.
  var name: String { isParent ? parent?.name ?? authority : authority }
}

extension Origin {
  /// A parent proxy, as one that is asked itself.
  init(_ parent: ParentProxy) {
    self.init(
      isSecure: parent.isSecure, host: parent.host, port: parent.port, isConfigured: true,
      parent: parent, isParent: true)
  }
}
