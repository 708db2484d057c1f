// What keys must be together. Each finding stands where the later of the keys was written.

import Platform

extension ConfigurationReader {
  /// Reports what fits no running instance, and warns of what is probably not meant.
  mutating func check(_ configuration: Configuration) {
    checkListeners(configuration)
    checkClients(configuration)
    checkUpstreams(configuration)
    checkMirrors(configuration)
    checkCredentials(configuration)
    if configuration.limits.requestLine >= configuration.limits.head {
      report(
        "\(configuration.limits.requestLine.text) leaves no room for fields in limits.head, which is \(configuration.limits.head.text)",
        key: "limits.request-line", at: place(of: "limits.request-line"))
    }
    if isGiven("store.memory"), configuration.store.memory > configuration.store.size {
      report(
        "\(configuration.store.memory.text) is more than store.size (\(configuration.store.size.text)); the rest is never used",
        key: "store.memory", at: place(of: "store.memory"), severity: .warning)
    }
  }

  private mutating func checkMirrors(_ configuration: Configuration) {
    for mirror in configuration.mirrors.all where mirror.files.contains(.any) {
      let key = "mirrors.\(mirror.name).files"
      report(
        "\"*\" would let every client reach every host by way of this mirror, those inside the network too; write the hosts its files are on",
        key: key, at: place(of: key))
    }
  }

  private mutating func checkListeners(_ configuration: Configuration) {
    let listeners = configuration.listeners
    if listeners.isEmpty {
      report(
        "has no address; write [127.0.0.1:3128], or leave the line out", key: "listen",
        at: place(of: "listen"))
    }
    for (index, listener) in listeners.enumerated() {
      let key = "listen[\(index)]"
      if let other = listeners[..<index].first(where: { overlap($0.address, listener.address) }) {
        report(
          "\(listener.address) is taken by \(other.address), which is listed before it", key: key,
          at: place(of: key))
      }
      if let admin = configuration.admin?.address, overlap(admin, listener.address) {
        let isListenGiven = isGiven("listen") && !isGiven("admin")
        report(
          "\(admin) is the address of a proxy listener (\(listener.address)); the two need different ports",
          key: "admin", at: place(of: isListenGiven ? key : "admin"))
      }
    }
    for (index, listener) in listeners.enumerated() {
      let key = "listen[\(index)].proxy-protocol"
      if listener.proxyProtocol == .on, !listener.address.ip.isLoopback {
        report(
          "true lets whoever can connect to \(listener.address) name any client; write the load balancers' addresses: [10.0.0.5]",
          key: key, at: place(of: key), severity: .warning)
      }
      if listener.proxyProtocol == .from([]) {
        report(
          "is empty: nobody is asked for a header; write the load balancers' addresses, or false",
          key: key, at: place(of: key))
      }
    }
    if let admin = configuration.admin, !admin.address.ip.isLoopback, admin.tokenFile == nil {
      report(
        "\(admin.address) can be reached from other machines: whoever connects can see and purge what is stored; set admin.token-file",
        key: "admin", at: place(of: "admin"), severity: .warning)
    }
  }

  private mutating func checkClients(_ configuration: Configuration) {
    if configuration.clients.isEmpty {
      report(
        "is empty: nobody may use the proxy", key: "clients", at: place(of: "clients"),
        severity: .warning)
      return
    }
    let isOpen = configuration.listeners.contains { !$0.address.ip.isLoopback }
    let onlyLocal = configuration.clients.allSatisfy {
      $0.address.isLoopback && $0.prefixLength > 0
    }
    if isOpen, onlyLocal {
      report(
        "only this machine may use the proxy, although it listens on other addresses; add your network, like 10.0.0.0/8",
        key: "clients", at: place(of: isGiven("clients") ? "clients" : "listen"),
        severity: .warning)
    }
    if isOpen, !configuration.auth.isRequired,
      let all = configuration.clients.first(where: { $0.prefixLength == 0 })
    {
      report(
        "\(all) lets every address in: an open proxy, unless something in front of it filters",
        key: "clients", at: place(of: "clients"), severity: .warning)
    }
  }

  private mutating func checkUpstreams(_ configuration: Configuration) {
    let unverified = "upstream.unverified-hosts"
    if configuration.upstream.unverifiedHosts.contains(.any) {
      report(
        "* would trust every host blindly; name the hosts, or have upstream.ca name their authority",
        key: unverified, at: place(of: unverified))
    } else if !configuration.upstream.unverifiedHosts.isEmpty {
      report(
        "whoever is on the way to these hosts can change what is stored of them",
        key: unverified, at: place(of: unverified), severity: .warning)
    }
    let listeners = configuration.listeners
    var upstreams = listeners.enumerated().compactMap { index, listener in
      listener.origin.map { (key: "listen[\(index)].origin", url: $0) }
    }
    upstreams += configuration.mirrors.all.map { (key: "mirrors.\($0.name)", url: $0.url) }
    for (key, url) in upstreams {
      if let ip = IPAddress(url.host), ip.isLoopback || ip.isUnspecified,
        listeners.contains(where: { overlap($0.address, SocketAddress(ip, port: url.port)) })
      {
        report(
          "\(url.text) is this proxy itself; requests would go round in circles", key: key,
          at: place(of: key))
      }
    }
    var spelling: [String: String] = [:]
    for mirror in configuration.mirrors.all {
      let word = mirror.name.lowercased()
      if let other = spelling[word] {
        report(
          "differs from the mirror \(other) in upper and lower case only",
          key: "mirrors.\(mirror.name)",
          at: place(of: "mirrors.\(mirror.name)"))
      }
      spelling[word] = mirror.name
    }
  }

  /// Whether two listening addresses would get in each other's way. Port 0 takes a free one.
  private func overlap(_ left: SocketAddress, _ right: SocketAddress) -> Bool {
    guard left.port == right.port, left.port != 0 else { return false }
    if left.ip == right.ip { return true }
    // [::] takes no IPv4 connections here, so the wildcards of the two families go together.
    return left.ip.family == right.ip.family && (left.ip.isUnspecified || right.ip.isUnspecified)
  }
}
