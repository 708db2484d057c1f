// Mirrors and origins: the upstreams that the configuration names.
//
// A mirror NAME answers `GET /NAME/path`. Names have no dot and no colon, because a first
// segment with one of these is a host (docs/architecture.md, "ways in").

import Platform

/// The mirrors, in the order of the file.
package struct Mirrors: Sendable, Equatable {
  package var all: [Mirror] = []

  package init(_ all: [Mirror] = []) { self.all = all }

  package subscript(name: String) -> Mirror? { all.first { $0.name == name } }

  /// Adds a mirror, or replaces the one of the same name.
  package mutating func set(_ mirror: Mirror) {
    if let index = all.firstIndex(where: { $0.name == mirror.name }) {
      all[index] = mirror
    } else {
      all.append(mirror)
    }
  }
}

/// A name in the path that stands for an upstream.
package struct Mirror: Sendable, Equatable {
  package var name: String
  /// What `/NAME/` is replaced by; its path ends in a slash.
  package var url: OriginURL
  /// What kind of packages it has.
  package var ecosystem = MirrorEcosystem.auto
  /// Hosts that files of it may come from besides its own, whatever `destinations` says.
  package var files: [HostPattern] = []

  package init(name: String, url: OriginURL) {
    self.name = name
    self.url = url
  }

  /// Names that mean something else as the first segment of a path.
  package static let reservedNames: Set<String> = ["http", "https", "holdfast"]

  /// Checks a name.
  package static func check(name: String) throws(Misreading) {
    if name.contains(".") || name.contains(":") {
      throw Misreading(
        "cannot name a mirror: with a dot or a colon it would be taken for a host; use a word like"
          + " \(name.split { $0 == "." || $0 == ":" }.first ?? "debian")")
    }
    let isWord = name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_".contains($0)) }
    guard (1...63).contains(name.utf8.count), isWord else {
      throw Misreading(
        "cannot name a mirror; use 1 to 63 letters, digits, hyphens and underscores, like debian")
    }
    if reservedNames.contains(name.lowercased()) {
      throw Misreading("cannot name a mirror: it is the name of a scheme or of this program")
    }
  }
}

/// What kind of packages a mirror has.
package enum MirrorEcosystem: String, Sendable, CaseIterable {
  /// As the shape of each path tells.
  case auto
  case debian, pypi
  /// Whatever paths look like, nothing is known of them.
  case none
}

/// An http URL of an origin, with the path that requests are put under.
package struct OriginURL: Hashable, Sendable {
  package enum Scheme: String, Sendable {
    case http, https

    var defaultPort: UInt16 { self == .http ? 80 : 443 }
  }

  package let scheme: Scheme
  /// Lower case; an IPv6 address without brackets.
  package let host: String
  package let port: UInt16
  /// Begins and ends with a slash.
  package let path: String

  /// Reads an absolute URL without user, query and fragment.
  package init(reading text: String) throws(Misreading) {
    let example = "write one like http://deb.example.org/debian/"
    guard let colon = text.firstRange(of: "://") else {
      throw Misreading("is not a URL; \(example)")
    }
    guard let scheme = Scheme(rawValue: text[..<colon.lowerBound].lowercased()) else {
      throw Misreading("begins with a scheme that is not http or https; \(example)")
    }
    let rest = text[colon.upperBound...]
    let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    let path = rest.dropFirst(authority.count)
    if path.contains("?") || path.contains("#") {
      throw Misreading("has a query or a fragment; a mirror's URL ends with its path")
    }
    if authority.contains("@") {
      throw Misreading("has a user name; credentials do not belong into a mirror's URL")
    }
    // Printable ASCII but no quote: the path is copied into request lines as it stands.
    let isPlain = path.utf8.allSatisfy { (0x21...0x7e).contains($0) && $0 != 0x22 && $0 != 0x5c }
    guard isPlain else {
      throw Misreading("has a path with spaces or special characters; percent-encode them")
    }
    guard let (host, port) = Self.split(authority) else {
      throw Misreading("has a host or a port that cannot be right; \(example)")
    }
    self.scheme = scheme
    self.host = host
    self.port = port ?? scheme.defaultPort
    self.path = path.isEmpty ? "/" : path.hasSuffix("/") ? String(path) : path + "/"
  }

  private static func split(_ authority: Substring) -> (String, UInt16?)? {
    var host = authority
    var port: UInt16?
    // A colon inside brackets belongs to an IPv6 address.
    if let colon = authority.lastIndex(of: ":"),
      !authority[colon...].contains("]")
    {
      host = authority[..<colon]
      guard let number = UInt16(authority[authority.index(after: colon)...]), number > 0 else {
        return nil
      }
      port = number
    }
    if host.hasPrefix("[") {
      guard let address = IPAddress(String(host).trimmingBrackets) else { return nil }
      return (address.description, port)
    }
    let name = HostPattern.normalised(String(host))
    return isHostName(name) ? (name, port) : nil
  }

  /// Host, and port where it is not the scheme's own: what a Host field holds.
  package var authority: String {
    let name = host.contains(":") ? "[\(host)]" : host
    return port == scheme.defaultPort ? name : "\(name):\(port)"
  }

  /// The URL in its one normal form.
  package var text: String { "\(scheme.rawValue)://\(authority)\(path)" }
}
