// The target URI as an owned value: for the slow paths, where a request goes to an origin or an
// operator names one. The hot path makes the key alone, by `TargetKey`.

/// An http or https URI without user information and fragment: what was asked for, as it goes on
/// the wire, and the key it is stored under.
public struct TargetURI: Hashable, Sendable, CustomStringConvertible {
  public let scheme: Scheme
  /// Lower case; an IPv6 address has its brackets.
  public let host: String
  /// The port, the scheme's default one when none was given.
  public let port: UInt16
  /// Exactly as it was sent, save that an empty path is `/`: the target of a request to the origin.
  public let pathAndQuery: [UInt8]
  /// The normalised form. `TargetKey` says how it is made.
  public let key: [UInt8]
  /// Where the path begins in `key`.
  public let keyPathStart: Int

  /// The target URI of a complete request head; parameters as in `TargetKey.write`.
  public static func of(
    _ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>, scheme: Scheme = .http,
    origin: TargetURI? = nil
  ) throws(Refusal) -> TargetURI {
    switch RequestTarget.parse(head, in: bytes) {
    case .refused(let refusal): throw refusal
    case .authority, .asterisk: throw Refusal(.targetFormNotAllowed, .request)
    case .absolute(let scheme, let authority, let pathAndQuery):
      if let host = head.first(.host)?.value, !host.isEmpty,
        case .fault(let reason) = AuthorityRange.parse(bytes, host)
      {
        throw Refusal(reason, .request)
      }
      return try parse(scheme, authority: authority, pathAndQuery: pathAndQuery, in: bytes)
    case .origin(let pathAndQuery):
      let host = head.first(.host)?.value ?? 0..<0
      guard let origin else {
        return try parse(scheme, authority: host, pathAndQuery: pathAndQuery, in: bytes)
      }
      if !host.isEmpty, case .fault(let reason) = AuthorityRange.parse(bytes, host) {
        throw Refusal(reason, .request)
      }
      return origin.replacingPath(with: copy(bytes, pathAndQuery))
    }
  }

  /// The target URI made of a scheme, an authority and a path that lie in `bytes`.
  public static func parse(
    _ scheme: Scheme, authority: Range<Int>, pathAndQuery: Range<Int>,
    in bytes: borrowing Span<UInt8>
  ) throws(Refusal) -> TargetURI {
    switch AuthorityRange.parse(bytes, authority) {
    case .fault(let reason):
      throw Refusal(reason, .request)
    case .authority(let authority):
      return TargetURI(
        scheme: scheme,
        host: String(decoding: Authority.lowerCased(bytes, authority.host), as: UTF8.self),
        port: authority.port ?? scheme.defaultPort, pathAndQuery: copy(bytes, pathAndQuery))
    }
  }

  /// Parses an absolute URI, as from a configuration, a command line or a Location field.
  public static func parse(_ text: some Collection<UInt8>) throws(Refusal) -> TargetURI {
    let bytes = Array(text)
    if bytes.span.firstInvisible(from: 0, to: bytes.count) < bytes.count {
      throw Refusal(.malformedTarget, .request)
    }
    switch RequestTarget.parse(bytes.span, 0..<bytes.count, method: .get) {
    case .refused(let refusal): throw refusal
    case .authority, .asterisk, .origin: throw Refusal(.malformedTarget, .request)
    case .absolute(let scheme, let authority, let pathAndQuery):
      return try parse(scheme, authority: authority, pathAndQuery: pathAndQuery, in: bytes.span)
    }
  }

  /// Nil when the text is not such a URI; `parse` says why.
  public init?(_ text: String) {
    guard let parsed = try? Self.parse(text.utf8) else { return nil }
    self = parsed
  }

  private init(scheme: Scheme, host: String, port: UInt16, pathAndQuery: [UInt8]) {
    self.scheme = scheme
    self.host = host
    self.port = port
    var path = pathAndQuery
    if path.first != 0x2F { path.insert(0x2F, at: 0) }
    self.pathAndQuery = path
    var prefix = Array("\(scheme.name)://\(host)".utf8)
    if port != scheme.defaultPort { prefix += Array(":\(port)".utf8) }
    keyPathStart = prefix.count
    key = Self.key(prefix, path)
  }

  private static func key(_ prefix: [UInt8], _ path: [UInt8]) -> [UInt8] {
    unsafe [UInt8](unsafeUninitializedCapacity: prefix.count + path.count) { buffer, count in
      // Normalising never lengthens, so there is always room.
      var writer = unsafe KeyWriter(buffer)
      writer.append(prefix.span, 0..<prefix.count)
      writer.append(pathAndQuery: 0..<path.count, of: path.span)
      count = writer.count
    }
  }

  private static func copy(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) -> [UInt8] {
    var result: [UInt8] = []
    result.append(span: bytes.extracting(range))
    return result
  }

  /// The same origin with another path and query.
  public func replacingPath(with pathAndQuery: [UInt8]) -> TargetURI {
    TargetURI(scheme: scheme, host: host, port: port, pathAndQuery: pathAndQuery)
  }

  /// What is asked for below this URI, as a mirror does: the path of this one (without its query
  /// and last slash), then `pathAndQuery`.
  public func appending(_ pathAndQuery: some Collection<UInt8>) -> TargetURI {
    var path = Array(self.pathAndQuery.prefix { $0 != 0x3F })
    if path.last == 0x2F { path.removeLast() }
    if pathAndQuery.first != 0x2F { path.append(0x2F) }
    return replacingPath(with: path + pathAndQuery)
  }

  /// Scheme, host and port as every key of this origin begins: `http://host:8000`.
  public var keyPrefix: ArraySlice<UInt8> { key[..<keyPathStart] }

  /// The value of Host for a request to this origin: without the scheme's default port.
  public var hostField: String { port == scheme.defaultPort ? host : "\(host):\(port)" }

  public var authority: Authority { Authority(host: host, port: port) }

  /// The key as text.
  public var description: String { String(decoding: key, as: UTF8.self) }

  /// Whether the path has a `.` or `..` segment for anybody who may read it. A mirror must not let one
  /// climb out of the path it was given.
  ///
  /// Seen as the origin might: dots, slashes and backslashes also where they are encoded, whatever
  /// the rest of the target looks like (the key stays undecoded behind one bad `%`), and a segment's
  /// parameters (`..;x`) are not part of its name.
  public var hasDotSegments: Bool {
    var dots = 0
    var isName = true
    var at = keyPathStart
    while at < key.count, key[at] != 0x3F {
      var byte = key[at]
      if byte == 0x25, at + 2 < key.count, let high = key[at + 1].hexadecimalValue,
        let low = key[at + 2].hexadecimalValue
      {
        byte = high << 4 | low
        at += 2
      }
      at += 1
      switch byte {
      case 0x2F, 0x5C:
        if isName, dots == 1 || dots == 2 { return true }
        dots = 0
        isName = true
      case 0x2E where isName:
        dots += 1
      case 0x3B where isName:
        if dots == 1 || dots == 2 { return true }
        isName = false
      default:
        isName = false
      }
    }
    return isName && (dots == 1 || dots == 2)
  }

  /// Two targets are one when their keys are.
  public static func == (left: TargetURI, right: TargetURI) -> Bool { left.key == right.key }

  public func hash(into hasher: inout Hasher) { hasher.combine(key) }
}
