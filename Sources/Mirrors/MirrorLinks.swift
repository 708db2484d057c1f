// How links are written for clients of a mirror, so that what they lead to comes through the mirror as well.
//
//   by a mirror NAME       below its URL      PUBLIC/NAME/path
//                          anywhere else      PUBLIC/NAME/+files/https/HOST[:PORT]/path
//   by the prefix mirror   https              PUBLIC/HOST:443/path, PUBLIC/HTTPS///HOST:PORT/path
//                          http               PUBLIC/HOST:PORT/path
//
// PUBLIC is the configured public URL, or nothing: then links begin with a slash, which a client resolves against
// the address it asked, whatever that is called, so that no Host field can get into what others are given.

import HTTP

/// The way back to a mirror.
public struct MirrorLinks: Sendable, Hashable {
  /// The segment below a mirror's name under which files of all hosts lie.
  public static let filesSegment: StaticString = "+files"

  /// In front of every link, with its last slash: `/`, or `https://cache.example.org/`.
  let root: [UInt8]
  /// Nil for the prefix mirror.
  let mirror: Named?

  struct Named: Sendable, Hashable {
    var name: [UInt8]
    var base: TargetURI
  }

  /// - Parameter publicURL: where clients reach this proxy, with its last slash; nil for links without a host.
  public init(publicURL: [UInt8]?, name: [UInt8], base: TargetURI) {
    root = publicURL ?? [0x2F]
    mirror = Named(name: name, base: base)
  }

  /// For the prefix mirror.
  public init(publicURL: [UInt8]?) {
    root = publicURL ?? [0x2F]
    mirror = nil
  }

  /// The link that leads to `target` through the mirror; nil if none does.
  public func link(to target: TargetURI) -> [UInt8]? {
    guard let mirror else { return prefixed(target) }
    var link = root + mirror.name
    let below = mirror.base.pathAndQuery
    if target.keyPrefix == mirror.base.keyPrefix, target.pathAndQuery.starts(with: below) {
      let rest = target.pathAndQuery[below.count...]
      if !rest.starts(with: [0x2B, 0x66]) {
        link.append(0x2F)
        link += rest
        return link
      }
    }
    link += Array("/\(Self.filesSegment)/\(target.scheme.name)/\(target.hostField)".utf8)
    link += target.pathAndQuery
    return link
  }

  private func prefixed(_ target: TargetURI) -> [UInt8]? {
    let host = target.host
    let place: String
    switch (target.scheme, target.port) {
    case (.https, 443): place = "\(host):443"
    case (.https, let port): place = "HTTPS///\(host):\(port)"
    case (.http, 443): return nil
    case (.http, 80) where host.contains("."): place = host
    case (.http, let port): place = "\(host):\(port)"
    }
    return root + Array(place.utf8) + target.pathAndQuery
  }
}
