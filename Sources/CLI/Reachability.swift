// A configuration in terms of who reaches what.

import Configuration
import Platform

enum Reachability {
  /// `http://127.0.0.1:3128  forward proxy, mirrors, tunnels`
  static func use(of listener: ListenerSettings) -> String {
    let url = "\(listener.scheme)://\(listener.address)"
    let use =
      listener.origin.map { "reverse proxy for \($0.text)" } ?? "proxy, mirrors, tunnels"
    return switch listener.proxyProtocol {
    case .off: "\(url)  \(use)"
    case .on: "\(url)  \(use); every connection names its client by PROXY protocol"
    case .from(let networks):
      "\(url)  \(use); PROXY protocol from \(networks.map(\.description).joined(separator: ", "))"
    }
  }

  /// What clients have to show besides their address.
  static func credentials(_ configuration: Configuration) -> [String] {
    guard let file = configuration.auth.file else { return ["nothing (no auth.file)"] }
    let count = configuration.auth.users.hashes.count
    var lines = ["name and password of \(counted(count, "user")) in \(file)"]
    if configuration.listeners.contains(where: { $0.origin != nil }) {
      lines.append("nothing at listeners with an origin")
    }
    return lines
  }

  /// How fast anything goes.
  static func rates(_ configuration: Configuration) -> [String] {
    let rate = configuration.rate
    let parts = [
      rate.connection.map { "\($0.text) for each connection" },
      rate.client.map { "\($0.text) for each client" }, rate.total.map { "\($0.text) in all" },
      configuration.upstream.rate.map { "\($0.text) from origins" },
    ].compactMap(\.self)
    return parts.isEmpty ? ["not limited"] : parts
  }

  /// By which way origins are reached.
  static func parent(_ upstream: UpstreamSettings) -> [String] {
    let parents = Parents(upstream)
    var lines: [String] = []
    if let http = parents.http { lines.append("http by way of \(http.text)") }
    if let https = parents.https { lines.append("https by way of \(https.text)") }
    guard !lines.isEmpty else { return ["directly"] }
    if !upstream.noParent.isEmpty {
      lines.append("directly: \(upstream.noParent.map(\.text).joined(separator: ", "))")
    }
    return lines
  }

  /// Which tunnels are not passed on unread.
  static func interception(_ configuration: Configuration) -> [String] {
    let intercept = configuration.intercept
    guard !intercept.hosts.isEmpty else { return ["none"] }
    var lines = ["to \(intercept.hosts.map(\.text).joined(separator: ", "))"]
    if !intercept.except.isEmpty {
      lines.append("but not to \(intercept.except.map(\.text).joined(separator: ", "))")
    }
    return lines + ["signed by the authority in \(intercept.ca)"]
  }

  /// Where this machine reaches its own mirrors.
  static func baseURL(_ configuration: Configuration) -> String? {
    guard let listener = configuration.listeners.first(where: { $0.origin == nil }) else {
      return nil
    }
    let address = listener.address
    guard address.ip.isUnspecified else { return "\(listener.scheme)://\(address)" }
    let own: IPAddress = address.ip.family == .v4 ? .loopbackV4 : .loopbackV6
    return "\(listener.scheme)://\(SocketAddress(own, port: address.port))"
  }

  /// `http://127.0.0.1:3128/pypi/  from  https://index.example.org/simple/  (pypi; files from files.example.org)`
  static func mirror(_ mirror: Mirror, base: String) -> String {
    let notes =
      (mirror.ecosystem == .auto ? [] : [mirror.ecosystem.rawValue])
      + (mirror.files.isEmpty
        ? [] : ["files from \(mirror.files.map(\.text).joined(separator: ", "))"])
    return "\(base)/\(mirror.name)/  from  \(mirror.url.text)"
      + (notes.isEmpty ? "" : "  (\(notes.joined(separator: "; ")))")
  }

  static func clients(_ configuration: Configuration) -> [String] {
    if configuration.clients.isEmpty { return ["nowhere (clients: [])"] }
    if configuration.clients == IPNetwork.loopback { return ["this machine only"] }
    return configuration.clients.map { network in
      switch true {
      case network.prefixLength == 0: "\(network)  (every address)"
      case network.address.isLoopback: "\(network)  (this machine)"
      default: "\(network)"
      }
    }
  }

  static func hosts(_ destinations: Destinations) -> [String] {
    var lines: [String] = []
    if destinations.allow.contains(.any) {
      lines.append("all")
    } else if destinations.allow.isEmpty {
      lines.append("none but origins and mirrors")
    } else {
      lines.append(destinations.allow.map(\.text).joined(separator: ", "))
    }
    if !destinations.deny.isEmpty {
      lines.append("but not \(destinations.deny.map(\.text).joined(separator: ", "))")
    }
    return lines
  }

  static func privateNetworks(_ destinations: Destinations) -> [String] {
    let networks = destinations.privateNetworks
    return [
      networks.isEmpty
        ? "refused, whatever name leads there"
        : networks.map(\.description).joined(separator: ", ") + "; all others are refused",
      "this instance's own addresses and cloud metadata are refused always"
        + (networks.contains { $0.isSingleAddress && MetadataServices.contains($0.address) }
          ? ", but for metadata addresses named here" : ""),
    ]
  }
}

extension Reachability {
  /// Where the admin listener is, and who is answered.
  static func admin(_ admin: AdminSettings?) -> String {
    guard let admin else { return "nowhere (admin: none)" }
    let who = admin.tokenFile == nil ? "whoever can connect" : "who shows the token"
    return "http://\(admin.address)/  for \(who)"
  }
}
