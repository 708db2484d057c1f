// Where the proxy may go: host names before resolution, addresses after it.
//
// Both are asked: the name keeps people out of hosts they should not use, the address keeps
// a name that points inwards (a rebinding attack, a metadata service) from being reached.

import Platform

/// Which hosts and ports may be reached.
package struct Destinations: Sendable, Equatable {
  package var allow: [HostPattern] = [.any]
  /// Wins over `allow`.
  package var deny: [HostPattern] = []
  /// Networks that may be reached although they are not public.
  package var privateNetworks: [IPNetwork] = []
  package var connectPorts: [PortRange] = [PortRange(443...443)]

  package init() {}

  /// Whether requests for this host are accepted, judged by its name alone.
  /// `host` is a name or an address without brackets, in any case.
  package func allows(host: String) -> Bool {
    let host = HostPattern.normalised(host)
    return allow.contains { $0.matches(host) } && !deny.contains { $0.matches(host) }
  }

  /// Whether a connection to this address may be made for a client's sake. Public addresses may
  /// be reached, all others only inside `private`; a metadata service only if `private` names its
  /// address alone, since nobody who opens 10.0.0.0/8 or fd00::/8 means to hand out credentials.
  package func allows(address: IPAddress) -> Bool {
    if MetadataServices.contains(address) {
      return privateNetworks.contains { $0.isSingleAddress && $0.contains(address) }
    }
    let isPublic =
      !(address.isLoopback || address.isLinkLocal || address.isPrivate || address.isMulticast
      || address.isUnspecified || address.isReserved)
    return isPublic || privateNetworks.contains { $0.contains(address) }
  }

  /// The same for a host as it was asked for, as far as that can be told before it is resolved: an
  /// address is judged as one, and names that mean this machine by definition (RFC 6761 §6.3) as its
  /// loopback addresses. Every other name is judged when its addresses are known.
  package func allows(unresolved host: String) -> Bool {
    if let address = IPAddress(host) { return allows(address: address) }
    let name = HostPattern.normalised(host)
    guard name == "localhost" || name.hasSuffix(".localhost") else { return true }
    return allows(address: .loopbackV4) || allows(address: .loopbackV6)
  }

  /// Whether CONNECT to this port is accepted.
  package func allows(connectPort port: UInt16) -> Bool {
    connectPorts.contains { $0.ports.contains(port) }
  }
}

/// A host name, all hosts below a name, or every host.
package enum HostPattern: Sendable, Equatable {
  /// `*`
  case any
  /// `example.org`: this host and no other.
  case exact(String)
  /// `*.example.org`: every host below it, at any depth, but not itself. Holds `.example.org`.
  case below(String)

  /// Whether this host is meant, in any spelling.
  package func matches(name host: String) -> Bool { matches(Self.normalised(host)) }

  /// `host` must be normalised.
  func matches(_ host: String) -> Bool {
    switch self {
    case .any: true
    case .exact(let name): host == name
    case .below(let suffix): host.utf8.count > suffix.utf8.count && host.hasSuffix(suffix)
    }
  }

  /// Lower case, without the root's dot at the end; addresses in their one canonical form, IPv4 as IPv4
  /// whatever it is wrapped in, so that no spelling slips past a list.
  static func normalised(_ host: String) -> String {
    var host = host.lowercased()
    if host.hasSuffix("."), host.count > 1 { host.removeLast() }
    return IPAddress(host)?.unwrapped.description ?? host
  }

  /// Reads a pattern as it stands in the configuration.
  package init(reading text: String) throws(Misreading) {
    if text == "*" {
      self = .any
      return
    }
    if let address = IPAddress(text.trimmingBrackets) {
      self = .exact(address.unwrapped.description)
      return
    }
    if text.contains("://") {
      throw Misreading("is a URL; write only its host, like registry.example.org")
    }
    if text.contains("/") || text.contains(":") {
      throw Misreading("is not a host name; write it without path and port")
    }
    let isBelow = text.hasPrefix("*.")
    let name = Self.normalised(isBelow ? String(text.dropFirst(2)) : text)
    if name.contains("*") {
      throw Misreading("has its * in the wrong place; write * alone or *.example.org")
    }
    guard isHostName(name) else {
      throw Misreading("is not a host name; write one like registry.example.org or *.example.org")
    }
    self = isBelow ? .below("." + name) : .exact(name)
  }

  package var text: String {
    switch self {
    case .any: "*"
    case .exact(let name): name
    case .below(let suffix): "*" + suffix
    }
  }
}

/// One port, or several in a row.
package struct PortRange: Sendable, Equatable {
  package var ports: ClosedRange<UInt16>

  package init(_ ports: ClosedRange<UInt16>) { self.ports = ports }

  /// Reads `443` or `8000-8999`.
  package init(reading text: String) throws(Misreading) {
    let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { UInt16($0) }
    switch (ends.count, ends.first ?? nil, ends.last ?? nil) {
    case (1...2, let low?, let high?) where low > 0 && low <= high: ports = low...high
    case (2, let low?, let high?) where low > high:
      throw Misreading("begins after its end; write \(high)-\(low)")
    default: throw Misreading("is not a port; write 443 or 8000-8999 (1 to 65535)")
    }
  }

  package var text: String {
    ports.count == 1 ? "\(ports.lowerBound)" : "\(ports.lowerBound)-\(ports.upperBound)"
  }
}

/// Letters, digits, hyphens and underscores in labels of 1 to 63, at most 253 in all.
/// Underscores are not allowed in host names by RFC 1123, but internal networks use them.
func isHostName(_ name: String) -> Bool {
  let labels = name.split(separator: ".", omittingEmptySubsequences: false)
  return name.utf8.count <= 253
    && labels.allSatisfy { label in
      (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
        && label.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") }
    }
}

extension String {
  /// `::1` for `[::1]`.
  var trimmingBrackets: String {
    hasPrefix("[") && hasSuffix("]") ? String(dropFirst().dropLast()) : self
  }
}
