// The proxy that stands between this one and the origins: named in the configuration, or by the variables that curl, Go
// and others know. Here is whom requests go through; how is in ParentTunnel.swift and Exchange.swift.

import Foundation
import HTTP
import Platform
import Yams

/// Where a parent proxy is, and what it is shown.
package struct ParentProxy: Hashable, Sendable {
  /// It is asked over TLS.
  package var isSecure = false
  package var host: String
  package var port: UInt16
  package var user: String?
  package var password: HiddenText?

  package init(host: String, port: UInt16, isSecure: Bool = false) {
    self.host = host
    self.port = port
    self.isSecure = isSecure
  }

  /// Reads `http://user:password@host:port`, or the same with https; without a scheme it is http, as in the environment.
  package init(reading text: String) throws(Misreading) {
    var rest = Substring(text)
    var scheme = "http"
    if let end = rest.firstRange(of: "://") {
      scheme = rest[..<end.lowerBound].lowercased()
      rest = rest[end.upperBound...]
    }
    switch scheme {
    case "http": break
    case "https": isSecure = true
    case "socks", "socks4", "socks4a", "socks5", "socks5h":
      throw Misreading(
        "is a SOCKS proxy, whose protocol is not spoken here; name an HTTP proxy, like http://proxy.example.org:3128"
      )
    default:
      throw Misreading(
        "has a scheme that no HTTP proxy has; write one like http://proxy.example.org:3128, or https:// for one that is asked over TLS"
      )
    }
    if rest.hasSuffix("/") { rest = rest.dropLast() }
    let at = rest.lastIndex(of: "@")
    let place = at.map { rest[rest.index(after: $0)...] } ?? rest
    guard !place.isEmpty, !place.contains("/"),
      let url = try? OriginURL(reading: "\(scheme)://\(place)/")
    else {
      throw Misreading("is not a proxy; write one like http://proxy.example.org:3128")
    }
    host = url.host
    port = url.port
    guard let at else { return }
    let parts = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      .map { $0.removingPercentEncoding ?? String($0) }
    guard let user = parts.first, !user.isEmpty,
      parts.allSatisfy({ part in part.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F } })
    else { throw Misreading("has no user before its @; percent-encode special characters") }
    self.user = user
    password = parts.count > 1 ? HiddenText(parts[1]) : nil
  }

  package var authority: String { "\(host.contains(":") ? "[\(host)]" : host):\(port)" }

  /// The URL without its password.
  package var text: String {
    "\(isSecure ? "https" : "http")://\(user.map { "\($0)@" } ?? "")\(authority)"
  }
}

/// `upstream.parent`.
package enum ParentChoice: Sendable, Equatable {
  case none
  /// By HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.
  case environment
  case proxy(ParentProxy)
}

extension ParentChoice: ConfigurationScalar {
  package static var form: String { "none, environment or the URL of a proxy" }

  package init(reading text: String) throws(Misreading) {
    switch text {
    case "none": self = .none
    case "environment": self = .environment
    default: self = .proxy(try ParentProxy(reading: text))
    }
  }

  /// What cannot be read may be a URL with a password, and is not repeated.
  package static func read(
    _ node: Node, example: String, key: String, _ reader: inout ConfigurationReader
  ) -> Self? {
    guard let text = reader.scalar(node, form: form, example: example, key: key) else { return nil }
    do throws(Misreading) {
      return try Self(reading: text)
    } catch {
      let isSafe = !text.contains("@")
      reader.report(
        "\(isSafe ? quoted(text) : "the URL") \(error.message)", key: key,
        at: isSafe ? reader.place(of: node) : .whole)
      return nil
    }
  }

  package var text: String {
    switch self {
    case .none: "none"
    case .environment: "environment"
    case .proxy(let proxy): proxy.text
    }
  }
}

/// What is reached without the parent, as NO_PROXY lists it: names with all below them, addresses, networks, each with a
/// port or for all of them.
package struct ParentExceptions: Sendable, Equatable {
  private enum Place: Sendable, Equatable {
    case everything
    case host(String)
    case address(IPAddress)
    case network(IPNetwork)
    case pattern(HostPattern)
  }

  private struct Entry: Sendable, Equatable {
    var place: Place
    var port: UInt16?
  }

  private var entries: [Entry] = []

  package init() {}

  package init(_ patterns: [HostPattern]) {
    entries = patterns.map { Entry(place: .pattern($0)) }
  }

  /// Reads a list as curl and Go do. What is none of this matches nothing, as there.
  package init(noProxy text: String) {
    for word in text.split(whereSeparator: { $0 == "," || $0 == " " || $0 == "\t" }) {
      if word == "*" {
        entries.append(Entry(place: .everything))
      } else if let network = IPNetwork(String(word)), word.contains("/") {
        entries.append(Entry(place: .network(network)))
      } else if let address = IPAddress(String(word).trimmingBrackets) {
        entries.append(Entry(place: .address(address.unwrapped)))
      } else {
        add(host: word)
      }
    }
  }

  private mutating func add(host word: Substring) {
    var name = word
    var port: UInt16?
    if let colon = word.lastIndex(of: ":"), let number = UInt16(word[word.index(after: colon)...]) {
      name = word[..<colon]
      port = number
    }
    if let address = IPAddress(String(name).trimmingBrackets) {
      entries.append(Entry(place: .address(address.unwrapped), port: port))
      return
    }
    if name.hasPrefix("*.") { name = name.dropFirst(2) }
    if name.hasPrefix(".") { name = name.dropFirst() }
    let host = HostPattern.normalised(String(name))
    if isHostName(host) { entries.append(Entry(place: .host(host), port: port)) }
  }

  package func contains(host: String, port: UInt16) -> Bool {
    let name = HostPattern.normalised(host)
    let address = IPAddress(host)?.unwrapped
    return entries.contains { entry in
      guard entry.port == nil || entry.port == port else { return false }
      return switch entry.place {
      case .everything: true
      case .host(let host): name == host || name.hasSuffix("." + host)
      case .address(let own): own == address
      case .network(let network): address.map { network.contains($0) } ?? false
      case .pattern(let pattern): pattern.matches(name: name)
      }
    }
  }
}

/// Which requests go through which parent.
package struct Parents: Sendable, Equatable {
  package var http: ParentProxy?
  package var https: ParentProxy?
  private var exceptions: [ParentExceptions] = []
  /// This machine is never asked for by way of another one.
  private var sparesLocal = false

  package init() {}

  package init(_ upstream: UpstreamSettings) {
    exceptions = [ParentExceptions(upstream.noParent)]
    switch upstream.parent {
    case .none: break
    case .environment:
      http = upstream.environmentParents.http
      https = upstream.environmentParents.https
      exceptions += upstream.environmentParents.exceptions
      sparesLocal = true
    case .proxy(var proxy):
      proxy.password = upstream.parentPassword ?? proxy.password
      http = proxy
      https = proxy
    }
  }

  /// What the environment says, as curl reads it: small letters win, and what is said of all schemes holds where nothing
  /// is said of one.
  /// - Throws: which variable cannot be read, and why. Its value may hold a password, and is not repeated.
  package init(environment: [String: String]) throws(Misreading) {
    // A CGI program's HTTP_PROXY is a field of its client's (httpoxy).
    let isCGI = environment["REQUEST_METHOD"] != nil
    let all = ["all_proxy", "ALL_PROXY"]
    http = try Self.read(
      (isCGI ? ["http_proxy"] : ["http_proxy", "HTTP_PROXY"]) + all, environment)
    https = try Self.read(["https_proxy", "HTTPS_PROXY"] + all, environment)
    let lists = ["no_proxy", "NO_PROXY"].compactMap { environment[$0] }
    if let list = lists.first(where: { !$0.isEmpty }) {
      exceptions = [ParentExceptions(noProxy: list)]
    }
  }

  private static func read(
    _ names: [String], _ environment: [String: String]
  ) throws(Misreading) -> ParentProxy? {
    for name in names {
      guard let value = environment[name], !value.isEmpty else { continue }
      do throws(Misreading) {
        return try ParentProxy(reading: value)
      } catch {
        throw Misreading("takes $\(name), which \(error.message)")
      }
    }
    return nil
  }

  package var isEmpty: Bool { http == nil && https == nil }

  /// Through whom an origin is asked; nil for directly.
  package func parent(host: String, port: UInt16, isSecure: Bool) -> ParentProxy? {
    guard let parent = isSecure ? https : http else { return nil }
    if sparesLocal {
      let name = HostPattern.normalised(host)
      guard name != "localhost", IPAddress(host)?.isLoopback != true else { return nil }
    }
    return exceptions.contains { $0.contains(host: host, port: port) } ? nil : parent
  }
}

extension ConfigurationReader {
  /// Reads what of the parent is not in the configuration itself.
  mutating func readParents(into configuration: inout Configuration) {
    if case .environment = configuration.upstream.parent {
      do throws(Misreading) {
        configuration.upstream.environmentParents = try Parents(
          environment: ProcessInfo.processInfo.environment)
      } catch {
        report(error.message, key: "upstream.parent", at: place(of: "upstream.parent"))
      }
    }
    if let file = configuration.upstream.parentPasswordFile {
      let key = "upstream.parent-password-file"
      guard case .proxy(let proxy) = configuration.upstream.parent, proxy.user != nil else {
        report(
          "has no user it belongs to; write parent: http://USER@proxy.example.org:3128", key: key,
          at: place(of: key))
        return
      }
      configuration.upstream.parentPassword = hiddenLine(ofFile: file, key: key, isToken: false)
    }
  }
}
