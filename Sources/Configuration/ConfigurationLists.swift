// Values with an inner structure: lists, listeners, mirrors.

import Platform
import Yams

extension Array: ConfigurationValue where Element: ConfigurationValue {
  package static var form: String {
    // "a network" in a list becomes "networks".
    let noun = Element.form.split(separator: " ", maxSplits: 1).last ?? ""
    return "a list of \(noun)s"
  }

  package static func read(
    _ node: Node, example: String, key: String, _ reader: inout ConfigurationReader
  ) -> Self? {
    guard case .sequence(let sequence) = node else {
      if case .scalar(let scalar) = node, !node.isNull {
        reader.report(
          "\(quoted(scalar.string)) is not a list; write [\(yamlScalar(scalar.string))]", key: key,
          at: node)
      } else if node.isNull {
        reader.report("has no value; an empty list is written []", key: key, at: node)
      } else {
        reader.report(
          "a section stands where \(form) is needed, like \(example)", key: key, at: node)
      }
      return nil
    }
    var values = Self()
    var isComplete = true
    for (index, element) in sequence.enumerated() {
      let place = "\(key)[\(index)]"
      reader.note(place, at: element)
      if let value = Element.read(element, example: example, key: place, &reader) {
        values.append(value)
      } else {
        isComplete = false
      }
    }
    return isComplete ? values : nil
  }

  package var yaml: String { "[\(map(\.yaml).joined(separator: ", "))]" }
}

extension ListenerSettings: ConfigurationValue {
  package static var form: String { "a listener" }

  package static let settings: [Setting<ListenerSettings>] = [
    Setting(
      "address", \.address, in: ListenerSettings(address: .loopback(port: 3128)), .restart,
      default: "none: it has to be given", example: "127.0.0.1:3128",
      "Address and port that clients connect to. `0.0.0.0` stands for every IPv4 address of this machine, `[::]` for every IPv6 address."
    ),
    Setting(
      "origin", \.origin, in: ListenerSettings(address: .loopback(port: 3128)), .restart,
      example: "\"http://127.0.0.1:8000\"",
      "Makes this listener a reverse proxy: all origin-form requests go to this one origin, whatever its address."
    ),
    Setting(
      "tls.certificate", \.certificateFile, in: ListenerSettings(address: .loopback(port: 3128)),
      .restart, example: "/etc/holdfast/server.pem",
      "Makes this listener speak TLS: a file with its certificate and those that lead to an authority, PEM. Read again on SIGHUP; connections that are open go on."
    ),
    Setting(
      "tls.key", \.keyFile, in: ListenerSettings(address: .loopback(port: 3128)), .restart,
      example: "/etc/holdfast/server.key",
      "The key of that certificate, PEM, without a password. Only the service's user should be able to read it."
    ),
    Setting(
      "proxy-protocol", \.proxyProtocol, in: ListenerSettings(address: .loopback(port: 3128)),
      .restart, example: "[10.0.0.5, 10.0.0.6]",
      "Whether connections begin with a PROXY protocol header, version 1 or 2, in which a load balancer names the client: `true` for all connections, a list of networks for those that come from there, `false` for none. The client named there is who `clients`, `rate` and the access log are about. With `true` whoever can connect can name anybody."
    ),
  ]

  /// A bare address, or a section.
  package static func read(
    _ node: Node, example: String, key: String, _ reader: inout ConfigurationReader
  ) -> Self? {
    if case .scalar = node {
      return SocketAddress.read(node, example: "127.0.0.1:3128", key: key, &reader)
        .map { ListenerSettings(address: $0) }
    }
    let before = reader.diagnostics.errors.count
    var listener = ListenerSettings(address: .loopback(port: 0))
    reader.readMapping(node, settings: settings, path: key + ".", into: &listener)
    guard reader.diagnostics.errors.count == before else { return nil }
    guard reader.isGiven(key + ".address") else {
      reader.report("has no address; write address: 127.0.0.1:3128", key: key, at: node)
      return nil
    }
    return listener
  }

  package var yaml: String {
    if origin == nil, proxyProtocol == .off, !isSecure { return address.yaml }
    let parts =
      ["address: \(address.yaml)"] + (origin.map { ["origin: \($0.yaml)"] } ?? [])
      + (isSecure ? ["tls: { certificate: \(certificateFile.yaml), key: \(keyFile.yaml) }"] : [])
      + (proxyProtocol == .off ? [] : ["proxy-protocol: \(proxyProtocol.yaml)"])
    return "{ \(parts.joined(separator: ", ")) }"
  }
}

extension ProxyProtocolUse: ConfigurationValue {
  package static var form: String { "true, false or a list of networks" }

  package static func read(
    _ node: Node, example: String, key: String, _ reader: inout ConfigurationReader
  ) -> Self? {
    guard case .scalar(let scalar) = node else {
      return [IPNetwork].read(node, example: example, key: key, &reader).map { .from($0) }
    }
    switch scalar.string {
    case "true": return .on
    case "false": return .off
    default:
      reader.report(
        "\(quoted(scalar.string)) is not known; write true, false, or a list of networks like \(example)",
        key: key, at: node)
      return nil
    }
  }

  package var yaml: String {
    switch self {
    case .off: "false"
    case .on: "true"
    case .from(let networks): networks.yaml
    }
  }
}

extension Mirrors: ConfigurationValue {
  package static var form: String { "mirrors by name" }

  package static let settings: [Setting<Mirror>] = {
    guard let url = try? OriginURL(reading: "http://deb.example.org/debian/") else { return [] }
    let defaults = Mirror(name: "debian", url: url)
    return [
      Setting(
        "url", \.url, in: defaults, .reload,
        default: "none: it has to be given", example: "http://deb.example.org/debian/",
        "Where the files of this mirror are: `GET /NAME/path` fetches this URL with the path behind it."
      ),
      Setting(
        "ecosystem", \.ecosystem, in: defaults, .reload, example: "pypi",
        "What kind of packages it has. `auto` goes by the shape of each path, which is enough for the usual layouts; `pypi` takes every path `NAME/` below the URL for a page of the index, whatever the index is called; `none` makes nothing of paths."
      ),
      Setting(
        "files", \.files, in: defaults, .reload, example: "[files.example.org]",
        "Hosts besides its own that its files are on, for links that are rewritten to come through this mirror. They may be reached whatever `destinations` says; files on other hosts go by that. With `ecosystem: pypi` the digests that its pages tell are believed about these hosts and its own."
      ),
    ]
  }()

  /// `NAME: URL`, or `NAME:` and a section with `url`.
  package static func read(
    _ node: Node, example: String, key: String, _ reader: inout ConfigurationReader
  ) -> Self? {
    if node.isNull { return Mirrors() }
    guard case .mapping(let mapping) = node else {
      reader.report(
        "\(reader.described(node)) stands where \(form) are needed, like \(example)", key: key,
        at: node)
      return nil
    }
    var mirrors = Mirrors()
    for (nameNode, value) in mapping {
      guard case .scalar(let scalar) = nameNode else {
        reader.report("a list or a section cannot name a mirror", key: key, at: nameNode)
        continue
      }
      do throws(Misreading) {
        try Mirror.check(name: scalar.string)
      } catch {
        reader.report("\(quoted(scalar.string)) \(error.message)", key: key, at: nameNode)
      }
      let place = "\(key).\(scalar.string)"
      reader.note(place, at: value)
      if let mirror = readMirror(value, name: scalar.string, key: place, &reader) {
        mirrors.set(mirror)
      }
    }
    return mirrors
  }

  private static func readMirror(
    _ node: Node, name: String, key: String, _ reader: inout ConfigurationReader
  ) -> Mirror? {
    let example = "http://deb.example.org/debian/"
    if case .scalar = node {
      return OriginURL.read(node, example: example, key: key, &reader)
        .map { Mirror(name: name, url: $0) }
    }
    guard let placeholder = try? OriginURL(reading: example) else { return nil }
    let before = reader.diagnostics.errors.count
    var mirror = Mirror(name: name, url: placeholder)
    reader.readMapping(node, settings: settings, path: key + ".", into: &mirror)
    guard reader.diagnostics.errors.count == before else { return nil }
    guard reader.isGiven(key + ".url") else {
      reader.report("has no url; write url: \(example)", key: key, at: node)
      return nil
    }
    return mirror
  }

  package var yaml: String {
    all.isEmpty ? "{}" : "{ \(all.map { "\($0.name): \(Self.yaml($0))" }.joined(separator: ", ")) }"
  }

  private static func yaml(_ mirror: Mirror) -> String {
    let parts =
      ["url: \(mirror.url.yaml)"]
      + (mirror.ecosystem == .auto ? [] : ["ecosystem: \(mirror.ecosystem.yaml)"])
      + (mirror.files.isEmpty ? [] : ["files: \(mirror.files.yaml)"])
    return "{ \(parts.joined(separator: ", ")) }"
  }
}
