// From a request's target to one target URI, whichever way it came in: as a forward proxy's absolute
// target, below a named mirror, behind a host put in front (`/HOST/path`), or at a listener that stands
// for one origin. One target URI, one key, one store.

import Configuration
import HTTP
import Mirrors

/// What a listener is for.
enum ListenerRole: Sendable {
  /// Forward proxy, tunnels and mirrors.
  case proxy
  /// A reverse proxy for what lies below this URI.
  case origin(TargetURI)
  /// Not a listener's, but a connection's: the inside of a tunnel that is decrypted.
  case intercepted(InterceptedHost)
}

/// A listener as the connections that it accepts know it.
struct ListenerUse: Sendable {
  /// Its place in the configuration.
  var number: Int
  var role: ListenerRole
  /// From whom the PROXY protocol is taken.
  var trust: ProxyProtocolTrust
}

/// Where a request leads.
struct Route {
  /// Which of the ways in it took; the word in the access log.
  enum Way: String {
    case forward, mirror, prefix, origin, tunnel, intercept
  }

  var target: TargetURI
  var way: Way
  /// The operator named the origin, so that `destinations` has no say.
  var isConfigured: Bool
  /// How links are written in pages for who comes this way; nil where they stay as they are.
  var links: MirrorLinks? = nil
  /// What the mirror knows of its paths.
  var below: PathRules.Below? = nil
  /// What the origin may be shown in the operator's name.
  var credential: ShownCredential? = nil
  /// Whose files its pages are believed about; nil where nothing they say counts.
  var digestHosts: DigestHosts? = nil
  /// The client cannot tell this host from others that it reaches this way: what it shows of itself was for another one.
  var isOfAnotherHost = false

  /// Whether all hosts are one to who comes this way: ours.
  var looksLikeOneHost: Bool { way == .mirror || way == .prefix }
}

struct Router: Sendable {
  private struct Mirror: Sendable {
    var name: [UInt8]
    var base: TargetURI
    /// The start of every key below it, with the last slash.
    var keyPrefix: [UInt8]
    /// Hosts besides its own that its files may be on.
    var files: [HostPattern]
    var links: MirrorLinks?
    var ecosystem: Ecosystem?
    /// The entry of `upstream.credentials` that it gets itself.
    var entry: Int?

    var digestHosts: DigestHosts? {
      ecosystem == .pypi ? DigestHosts(own: Array(base.keyPrefix), files: files) : nil
    }
  }

  private let mirrors: [Mirror]
  private let names: [String]
  private let prefixLinks: MirrorLinks

  private let credentials: UpstreamCredentials

  /// - Parameter publicURL: where clients reach this proxy.
  init(
    _ mirrors: Mirrors, publicURL: OriginURL? = nil,
    credentials: UpstreamCredentials = UpstreamCredentials([])
  ) {
    self.credentials = credentials
    let root = publicURL.map { Array($0.text.utf8) }
    prefixLinks = MirrorLinks(publicURL: root)
    self.mirrors = mirrors.all.compactMap { mirror in
      guard let base = TargetURI(mirror.url.text) else { return nil }
      let name = Array(mirror.name.utf8)
      let isPlain = mirror.ecosystem == .none
      // Every host in `files` would open those inside the network to whoever asks.
      return Mirror(
        name: name, base: base, keyPrefix: base.key, files: mirror.files.filter { $0 != .any },
        links: isPlain ? nil : MirrorLinks(publicURL: root, name: name, base: base),
        ecosystem: Ecosystem(rawValue: mirror.ecosystem.rawValue),
        entry: credentials.entry(for: base))
    }
    names = mirrors.all.map(\.name)
  }

  // MARK: The hot path

  /// Writes the key of a request for which nothing but its target matters.
  /// - Returns: its length; 0 when the long way (`route`) has to decide, and say what is wrong.
  func writeKey(
    _ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>, role: ListenerRole,
    into buffer: UnsafeMutableBufferPointer<UInt8>
  ) -> Int {
    let target = head.targetRange
    guard let first = target.first else { return 0 }
    var outcome = TargetKey.Outcome.notKeyed
    var naming = UpstreamCredentials.Naming.forward
    switch role {
    case .origin(let base):
      naming = .origin
      guard bytes[first] == 0x2F, !Self.mayClimb(target, in: bytes),
        Authority.faultOfHost(head, in: bytes) == nil
      else { return 0 }
      let prefix = base.key
      outcome = unsafe TargetKey.write(prefix: prefix.span, path: bytes, target, into: buffer)
    case .intercepted(let host):
      guard bytes[first] == 0x2F, !Self.hasFragment(target, in: bytes),
        let field = host.agreeingField(head, in: bytes)
      else { return 0 }
      outcome = unsafe TargetKey.write(
        .https, authority: field, pathAndQuery: target, in: bytes, into: buffer)
    case .proxy where bytes[first] != 0x2F:
      let nothing: [UInt8] = []
      outcome = unsafe TargetKey.write(head, in: bytes, origin: nothing.span, into: buffer)
    case .proxy:
      guard Authority.faultOfHost(head, in: bytes) == nil else { return 0 }
      let segment = Self.firstSegment(of: target, in: bytes)
      let rest = segment.upperBound..<target.upperBound
      if let mirror = mirror(named: segment, in: bytes) {
        if FilesPath.isMeant(by: rest, in: bytes) {
          guard !Self.hasFragment(rest, in: bytes), let files = FilesPath(rest, in: bytes) else {
            return 0
          }
          naming = .files(of: mirrors[mirror].entry)
          if credentials.mayConcern(naming), Self.mayClimb(files.path, in: bytes) { return 0 }
          outcome = unsafe TargetKey.write(
            files.scheme, authority: files.authority, pathAndQuery: files.path, in: bytes,
            into: buffer)
          break
        }
        naming = .mirror
        guard !Self.mayClimb(rest, in: bytes) else { return 0 }
        let prefix = mirrors[mirror].keyPrefix
        outcome = unsafe TargetKey.write(prefix: prefix.span, path: bytes, rest, into: buffer)
      } else if Self.isHost(segment, in: bytes), !Self.hasFragment(target, in: bytes) {
        naming = .prefix
        // Some clients write the colon of a port as %3A.
        let isEscaped = Self.endsInEscapedHTTPSPort(segment, in: bytes)
        outcome = unsafe TargetKey.write(
          isEscaped ? .https : Self.prefixScheme(segment, in: bytes),
          authority: isEscaped ? segment.lowerBound..<segment.upperBound - 6 : segment,
          pathAndQuery: rest, in: bytes, into: buffer)
      }
    }
    guard case .key(let count, _) = outcome else { return 0 }
    return credentials.mayConcern(naming) ? mark(count, naming, in: buffer) : count
  }

  /// Makes a key that of what is fetched with a credential, where there is one for it.
  /// - Returns: its length; 0 when such answers are not stored, or the long way has to say.
  private func mark(
    _ count: Int, _ naming: UpstreamCredentials.Naming,
    in buffer: UnsafeMutableBufferPointer<UInt8>
  ) -> Int {
    let key = UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: buffer[..<count]))
    // Paths with dots have gone the long way, where an entry could be meant that shares.
    guard
      case .entry(let index) = credentials.verdict(
        on: Span<UInt8>(_unsafeBytes: key), hasDots: false, naming)
    else { return count }
    switch naming {
    // A client's own credentials go first there, or its path is yet to be looked at.
    case .forward, .prefix: return 0
    case .mirror, .origin, .files: break
    }
    let suffix = credentials.keySuffix(index)
    let end = count + suffix.count
    guard credentials.isShared(index, naming), end <= buffer.count else { return 0 }
    for place in suffix.indices { buffer[count + place] = suffix[place] }
    return end
  }

  /// The way in of a request on a proxy's listener, as far as its target tells.
  func way(_ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>) -> Route.Way {
    let target = head.targetRange
    guard let first = target.first, bytes[first] == 0x2F else { return .forward }
    return mirror(named: Self.firstSegment(of: target, in: bytes), in: bytes) == nil
      ? .prefix : .mirror
  }

  /// Whether the operator named the origin of a request on a proxy's listener, so that `destinations` has no say.
  func isConfigured(_ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>) -> Bool {
    guard way(head, in: bytes) == .mirror else { return false }
    let target = head.targetRange
    let rest = Self.firstSegment(of: target, in: bytes).upperBound..<target.upperBound
    // Below a mirror's name everything is the operator's word, but for the files of other hosts.
    guard FilesPath.isMeant(by: rest, in: bytes) else { return true }
    return (try? route(head, in: bytes, role: .proxy).isConfigured) ?? false
  }

  // MARK: The long way

  func route(
    _ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>, role: ListenerRole
  ) throws(ProxyError) -> Route {
    var naming: UpstreamCredentials.Naming?
    var route = try route(head, in: bytes, role: role, &naming)
    if let naming { route.credential = credentials.credential(for: route.target, naming) }
    return route
  }

  /// - Parameter naming: whose word the target is.
  private func route(
    _ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>, role: ListenerRole,
    _ naming: inout UpstreamCredentials.Naming?
  ) throws(ProxyError) -> Route {
    let parsed = RequestTarget.parse(head, in: bytes)
    if case .intercepted(let host) = role {
      naming = .forward
      return Route(
        target: try host.target(parsed, head, in: bytes), way: .intercept, isConfigured: false)
    }
    switch parsed {
    case .refused(let refusal):
      throw ProxyError(refusal)
    case .authority:
      throw ProxyError(.requestError, "only CONNECT takes a target of the form host:port")
    case .asterisk:
      // At a proxy's listener it was answered before it came here.
      guard case .origin(let base) = role else {
        throw ProxyError(.requestError, "OPTIONS * is about this proxy itself")
      }
      return Route(target: base, way: .origin, isConfigured: true)
    case .absolute:
      guard case .proxy = role else {
        throw ProxyError(
          .requestDenied, "this listener serves one origin only and is no forward proxy")
      }
      naming = .forward
      return Route(target: try target(of: head, in: bytes), way: .forward, isConfigured: false)
    case .origin(let range):
      if case .origin(let base) = role {
        naming = .origin
        let target = try below(base, path: range, in: bytes)
        return Route(target: target, way: .origin, isConfigured: true)
      }
      return try routePath(range, in: bytes, &naming)
    }
  }

  private func target(
    of head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>
  ) throws(ProxyError) -> TargetURI {
    do {
      return try TargetURI.of(head, in: bytes)
    } catch {
      throw ProxyError(error)
    }
  }

  /// A path on the proxy's own address: a mirror's, or one that begins with a host.
  private func routePath(
    _ range: Range<Int>, in bytes: borrowing Span<UInt8>,
    _ naming: inout UpstreamCredentials.Naming?
  ) throws(ProxyError) -> Route {
    naming = .prefix
    if let tunnelled = RequestTarget.tunnelledHTTPS(
      in: bytes, range.lowerBound + 1..<range.upperBound),
      case .absolute(let scheme, let authority, let path) = tunnelled
    {
      return Route(
        target: try parse(scheme, authority, path, in: bytes), way: .prefix, isConfigured: false,
        links: prefixLinks, isOfAnotherHost: true)
    }
    let segment = Self.firstSegment(of: range, in: bytes)
    let rest = segment.upperBound..<range.upperBound
    if let index = mirror(named: segment, in: bytes) {
      let mirror = mirrors[index]
      naming = .mirror
      if FilesPath.isMeant(by: rest, in: bytes) {
        naming = .files(of: mirror.entry)
        return try routeFiles(mirror, rest, in: bytes)
      }
      let target = try below(mirror.base, path: rest, in: bytes)
      return Route(
        target: target, way: .mirror, isConfigured: true, links: mirror.links,
        below: mirror.ecosystem.map {
          PathRules.Below($0, baseCount: mirror.keyPrefix.count)
        }, digestHosts: mirror.digestHosts)
    }
    if Self.isHost(segment, in: bytes) {
      return Route(
        target: try FilesPath.target(
          bytes.extracting(segment).isHTTPS ? .https : .http, segment, rest, in: bytes),
        way: .prefix, isConfigured: false, links: prefixLinks, isOfAnotherHost: true)
    }
    throw ProxyError(.destinationNotFound, notFoundSentence, status: .notFound)
  }

  /// `/NAME/+files/https/HOST/path`: a file of any host, by way of a mirror.
  private func routeFiles(
    _ mirror: Mirror, _ rest: Range<Int>, in bytes: borrowing Span<UInt8>
  ) throws(ProxyError) -> Route {
    guard let target = try FilesPath.target(rest, in: bytes) else {
      throw ProxyError(
        .requestError,
        "behind \(MirrorLinks.filesSegment) come a scheme, a host and a path:"
          + " /\(String(decoding: mirror.name, as: UTF8.self))/\(MirrorLinks.filesSegment)/https/files.example.org/path"
      )
    }
    // Beside the mirror's path, but on its host: an index has its files there. Other mirrors end at their path.
    let isOwn = mirror.ecosystem == .pypi && target.keyPrefix == mirror.base.keyPrefix
    let isNamed = mirror.files.contains { $0.matches(name: target.authority.bareHost) }
    return Route(
      target: target, way: .mirror, isConfigured: isOwn || isNamed, links: mirror.links,
      below: mirror.ecosystem.map { PathRules.Below($0, baseCount: target.keyPathStart + 1) },
      digestHosts: isOwn || isNamed ? mirror.digestHosts : nil,
      isOfAnotherHost: target.keyPrefix != mirror.base.keyPrefix)
  }

  /// Where a request for a page of an index is sent that asks for it by another name than the index has it under
  /// (ProjectName.swift): relative to what was asked for.
  func redirect(
    _ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>, role: ListenerRole
  ) -> [UInt8]? {
    guard case .proxy = role, head.method == .get || head.method == .head,
      let first = head.targetRange.first, bytes[first] == 0x2F
    else { return nil }
    let segment = Self.firstSegment(of: head.targetRange, in: bytes)
    guard let index = mirror(named: segment, in: bytes), mirrors[index].ecosystem == .pypi else {
      return nil
    }
    let rest = bytes.copy(segment.upperBound..<head.targetRange.upperBound)
    var path = rest.prefix { $0 != 0x3F }.dropFirst()
    // A mirror of a whole host has its index at `simple/`.
    let simple = Array("simple/".utf8)
    if path.starts(with: simple), path.count > simple.count { path = path.dropFirst(simple.count) }
    guard let name = ProjectName.redirect(path) else { return nil }
    let mirror = mirrors[index]
    // What is a file is none of them, though its name would do for a project's.
    let target = mirror.base.appending(rest.prefix { $0 != 0x3F })
    if let kind = PathRules.match(
      target.key.span, below: PathRules.Below(.pypi, baseCount: mirror.keyPrefix.count))?.kind,
      !kind.hasLinks
    {
      return nil
    }
    let query = rest.drop { $0 != 0x3F }
    return (path.last == 0x2F ? Array("../".utf8) : []) + name + query
  }

  private func parse(
    _ scheme: Scheme, _ authority: Range<Int>, _ path: Range<Int>, in bytes: borrowing Span<UInt8>
  ) throws(ProxyError) -> TargetURI {
    do {
      return try TargetURI.parse(scheme, authority: authority, pathAndQuery: path, in: bytes)
    } catch {
      throw ProxyError(error)
    }
  }

  private func below(
    _ base: TargetURI, path: Range<Int>, in bytes: borrowing Span<UInt8>
  ) throws(ProxyError) -> TargetURI {
    let target = base.appending(bytes.copy(path))
    guard !target.hasDotSegments else {
      throw ProxyError(
        .requestError, "the path has a segment \".\" or \"..\", which could lead out of the mirror")
    }
    return target
  }

  private var notFoundSentence: String {
    let mirrors =
      names.isEmpty
      ? "no mirror is configured"
      : "the mirrors are " + names.map { "/\($0)/" }.joined(separator: ", ")
    return "no mirror has this path and it does not begin with a host name; \(mirrors)."
      + " As a forward proxy, ask for http://host/path"
  }

  // MARK: Pieces

  private func mirror(named segment: Range<Int>, in bytes: borrowing Span<UInt8>) -> Int? {
    for index in mirrors.indices {
      let name = mirrors[index].name
      if bytes.extracting(segment).equals(name.span) { return index }
    }
    return nil
  }

  /// What lies between the first slash and the second, or the query, or the end.
  private static func firstSegment(
    of path: Range<Int>, in bytes: borrowing Span<UInt8>
  ) -> Range<Int> {
    let start = path.lowerBound + 1
    var end = start
    while end < path.upperBound, bytes[end] != 0x2F, bytes[end] != 0x3F { end += 1 }
    return start..<end
  }

  /// A dot or a port tells a host from a mirror's name. A single dot or two are no host.
  private static func isHost(_ segment: Range<Int>, in bytes: borrowing Span<UInt8>) -> Bool {
    var hasMark = false
    var hasOther = false
    for index in segment {
      switch bytes[index] {
      case 0x2E, 0x3A, 0x25: hasMark = true
      default: hasOther = true
      }
    }
    return hasMark && hasOther
  }

  private static func endsInEscapedHTTPSPort(
    _ segment: Range<Int>, in bytes: borrowing Span<UInt8>
  ) -> Bool {
    guard segment.count > 6 else { return false }
    let end = bytes.extracting(segment.upperBound - 6..<segment.upperBound)
    return end.equals("%3A443") || end.equals("%3a443")
  }

  /// Port 443 means https; everything else is spoken in clear.
  private static func prefixScheme(
    _ segment: Range<Int>, in bytes: borrowing Span<UInt8>
  ) -> Scheme {
    guard segment.count > 4 else { return .http }
    return bytes.extracting(segment.upperBound - 4..<segment.upperBound).equals(":443")
      ? .https : .http
  }

  /// Whether there is a fragment, which no target may have. Keys rely on it: what is fetched with a credential has one.
  private static func hasFragment(
    _ target: Range<Int>, in bytes: borrowing Span<UInt8>
  ) -> Bool {
    for index in target where bytes[index] == 0x23 { return true }
    return false
  }

  /// Whether the path may have a dot segment, plain or encoded, or a fragment: then the long way looks closely.
  private static func mayClimb(_ path: Range<Int>, in bytes: borrowing Span<UInt8>) -> Bool {
    var at = path.lowerBound
    while at < path.upperBound {
      let byte = bytes[at]
      if byte == 0x3F { return hasFragment(at..<path.upperBound, in: bytes) }
      if byte == 0x5C || byte == 0x23 { return true }
      if byte == 0x2F, at + 1 < path.upperBound {
        let next = bytes[at + 1]
        if next == 0x2E || next == 0x25 { return true }
      } else if byte == 0x25, at + 3 < path.upperBound {
        // An encoded slash or backslash, as in `@scope%2fname`, with a dot or another code behind it.
        let next = bytes[at + 3]
        if next == 0x2E || next == 0x25 { return true }
      }
      at += 1
    }
    return false
  }
}

extension Span where Element == UInt8 {
  func copy(_ range: Range<Int>) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(range.count)
    for index in range { result.append(self[index]) }
    return result
  }
}
