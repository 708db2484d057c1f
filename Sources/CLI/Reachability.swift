// A configuration in terms of who reaches what.

import Configuration
import Platform

enum Reachability {
  /// `http://127.0.0.1:3128  forward proxy, mirrors, tunnels`
  static func use(of listener: ListenerSettings) -> String {
    let url = "http://\(listener.address)"
    guard let origin = listener.origin else { return "\(url)  proxy, mirrors, tunnels" }
    return "\(url)  reverse proxy for \(origin.text)"
  }

  /// Where this machine reaches its own mirrors.
  static func baseURL(_ configuration: Configuration) -> String? {
    guard let listener = configuration.listeners.first(where: { $0.origin == nil }) else {
      return nil
    }
    let address = listener.address
    guard address.ip.isUnspecified else { return "http://\(address)" }
    let own: IPAddress = address.ip.family == .v4 ? .loopbackV4 : .loopbackV6
    return "http://\(SocketAddress(own, port: address.port))"
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

  static func privateNetworks(_ destinations: Destinations) -> String {
    let networks = destinations.privateNetworks
    return networks.isEmpty
      ? "refused, whatever name leads there"
      : networks.map(\.description).joined(separator: ", ") + "; all others are refused"
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
