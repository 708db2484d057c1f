// The operator's credentials for origins, and which requests get them. What they open is not for everyone: a response
// that was fetched with one is kept under a key of its own, the target URI with `#credentials` and the ways in behind it.
// No request can name such a key, because a target with a fragment is refused, so a client that comes another way never
// meets it, whatever the short way, a running fetch, or a purge make of keys.
//
// The first entry decides that is for a target and for the way a request came in by. For one target there is thus one
// entry at most among those with the same ways in, and keys need not tell entries apart.

import Configuration
import HTTP
import Platform

/// A credential as a request takes it along.
struct ShownCredential: Sendable {
  /// How messages call it.
  let name: String
  /// The value of Authorization.
  let value: [UInt8]
  /// Behind the keys of what is fetched with it.
  let keySuffix: [UInt8]
  /// For everybody who asks the same way; else for nobody but who asked.
  let isShared: Bool
  /// Of the host it was meant for, the paths that it is not to leave.
  let scope: CredentialScope
}

/// Paths of one host, each with everything below.
struct CredentialScope: Sendable {
  fileprivate let paths: [[UInt8]]

  /// Whether a target on the same origin may be shown the credential.
  func contains(_ target: TargetURI) -> Bool {
    let hasDots = target.hasDotSegments
    let key = target.key
    let path = key.span.extracting(target.keyPathStart..<key.count)
    for own in paths where own.count == 1 || !hasDots && path.starts(with: own.span) {
      return true
    }
    return false
  }
}

struct UpstreamCredentials: Sendable {
  /// How a request came by its target: whose word it is that its origin is asked at all.
  enum Naming: Hashable {
    /// The operator's: it is below a mirror's URL, or that of a listener.
    case mirror
    case origin
    /// A client's, by `+files` of a mirror that gets the entry of this number.
    case files(of: Int?)
    /// A client's.
    case prefix
    case forward

    fileprivate var isOfClient: Bool { self != .mirror && self != .origin }
  }

  /// What the short way is to do about a target.
  enum Verdict: Equatable {
    case none
    /// The entry of this number.
    case entry(Int)
  }

  private struct Place: Sendable {
    var name: [UInt8]
    var address: IPAddress?
    var isBelow: Bool
    var port: UInt16?
    var path: [UInt8]

    init(_ place: CredentialPlace) {
      switch place.host {
      case .any: (name, isBelow) = ([], false)
      case .exact(let host): (name, isBelow) = (Array(host.utf8), false)
      case .below(let suffix): (name, isBelow) = (Array(suffix.utf8), true)
      }
      address = IPAddress(String(decoding: name, as: UTF8.self))
      port = place.port
      path = Array(place.path.utf8)
    }
  }

  private struct Entry: Sendable {
    var settings: UpstreamCredential
    var places: [Place]
    var name: String
    var value: [UInt8]
    var keySuffix: [UInt8]
  }

  private let entries: [Entry]
  private let concernsFiles: Bool
  private let concernsPrefix: Bool
  /// Requests of the forward proxy and of decrypted tunnels may get one.
  private let concernsForward: Bool

  init(_ credentials: [UpstreamCredential]) {
    entries = credentials.enumerated().compactMap { index, settings in
      guard let secret = settings.secret else { return nil }
      let value =
        settings.user.map { BasicAuthorization.value(user: $0.text, password: secret.revealed) }
        ?? "Bearer \(secret.revealed)"
      let hosts = settings.hosts.map(\.text).joined(separator: ", ")
      return Entry(
        settings: settings, places: settings.hosts.map { Place($0) },
        name: "upstream.credentials[\(index)] (\(hosts))", value: Array(value.utf8),
        keySuffix: Self.suffix(
          files: settings.isForFiles, prefix: settings.isForPrefix, forward: settings.isForForward))
    }
    concernsFiles = entries.contains { $0.settings.isForFiles }
    concernsPrefix = entries.contains { $0.settings.isForPrefix }
    concernsForward = entries.contains { $0.settings.isForForward }
  }

  // MARK: Keys

  /// Behind the target URI. One for each set of ways in: who may come one way only must not meet what was fetched with
  /// an entry that is not for that way.
  private static func suffix(files: Bool, prefix: Bool, forward: Bool) -> [UInt8] {
    Array(
      "#credentials\(files ? "-files" : "")\(prefix ? "-prefix" : "")\(forward ? "-forward" : "")"
        .utf8)
  }

  private static let suffixes: [[UInt8]] = (0..<8).map {
    suffix(files: $0 & 1 != 0, prefix: $0 & 2 != 0, forward: $0 & 4 != 0)
  }

  /// The target URI in a key.
  func target(of key: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    guard !entries.isEmpty, let end = key.firstIndex(of: 0x23) else { return key }
    return UnsafeRawBufferPointer(rebasing: key[..<end])
  }

  /// Every key under which something may be stored for a target.
  static func keys(of key: [UInt8]) -> [[UInt8]] { [key] + suffixes.map { key + $0 } }

  // MARK: Who gets one

  /// Whether any entry is for requests that name their targets like this.
  func mayConcern(_ naming: Naming) -> Bool {
    switch naming {
    case .mirror, .origin: !entries.isEmpty
    case .files(let entry): concernsFiles && entry != nil
    case .prefix: concernsPrefix
    case .forward: concernsForward
    }
  }

  /// What a request for this target takes along.
  func credential(for target: TargetURI, _ naming: Naming) -> ShownCredential? {
    guard mayConcern(naming) else { return nil }
    let key = target.key
    switch verdict(on: key.span, hasDots: target.hasDotSegments, naming) {
    case .none: return nil
    case .entry(let index): return shown(index, key.span, naming)
    }
  }

  /// The entry that a mirror of this URL gets.
  func entry(for base: TargetURI) -> Int? {
    let key = base.key
    guard case .entry(let index) = verdict(on: key.span, hasDots: base.hasDotSegments, .mirror)
    else { return nil }
    return index
  }

  /// The entry that is for the target of a key.
  /// - Parameter hasDots: its path has dot segments, which origins resolve: where it leads nobody knows.
  func verdict(on key: borrowing Span<UInt8>, hasDots: Bool, _ naming: Naming) -> Verdict {
    guard let target = KeyedPlace(key) else { return .none }
    for index in entries.indices
    where isFor(entries[index].settings, naming)
      && (target.isSecure || entries[index].settings.isInsecure)
    {
      for place in entries[index].places where covers(place, target, key, hasDots: hasDots) {
        // It is this entry or none: the next one would share its keys.
        if naming.isOfClient, place.port == nil, !target.hasDefaultPort { return .none }
        if case .files(let own) = naming, own != index { return .none }
        return .entry(index)
      }
    }
    return .none
  }

  /// - Parameter key: of a target that the entry is for.
  func shown(_ index: Int, _ key: borrowing Span<UInt8>, _ naming: Naming) -> ShownCredential? {
    guard let target = KeyedPlace(key) else { return nil }
    let entry = entries[index]
    var paths: [[UInt8]] = []
    for place in entry.places where names(place, target, key) { paths.append(place.path) }
    return ShownCredential(
      name: entry.name, value: entry.value, keySuffix: entry.keySuffix,
      isShared: isShared(index, naming), scope: CredentialScope(paths: paths))
  }

  func isShared(_ index: Int, _ naming: Naming) -> Bool {
    if let isShared = entries[index].settings.isShared { return isShared }
    return switch naming {
    case .mirror, .files: true
    case .origin, .prefix, .forward: false
    }
  }

  func keySuffix(_ index: Int) -> [UInt8] { entries[index].keySuffix }

  private func isFor(_ entry: UpstreamCredential, _ naming: Naming) -> Bool {
    switch naming {
    case .mirror, .origin: true
    case .files: entry.isForFiles
    case .prefix: entry.isForPrefix
    case .forward: entry.isForForward
    }
  }

  private func covers(
    _ place: Place, _ target: KeyedPlace, _ key: borrowing Span<UInt8>, hasDots: Bool
  ) -> Bool {
    guard names(place, target, key) else { return false }
    return place.path.count == 1
      || !hasDots && key.extracting(target.path..<key.count).starts(with: place.path.span)
  }

  private func names(
    _ place: Place, _ target: KeyedPlace, _ key: borrowing Span<UInt8>
  ) -> Bool {
    guard place.port == nil || place.port == target.port else { return false }
    let host = key.extracting(target.host)
    if target.isBracketed {
      guard let address = place.address else { return false }
      return IPAddress(host)?.unwrapped == address
    }
    if place.isBelow {
      let rest = host.count - place.name.count
      return rest > 0 && host.extracting(rest..<host.count).equals(place.name.span)
    }
    return host.equals(place.name.span)
  }
}

/// Scheme, host and port of a key, and where its path begins.
private struct KeyedPlace {
  var isSecure: Bool
  /// Without brackets.
  var host: Range<Int>
  var isBracketed = false
  var port: UInt16
  var hasDefaultPort: Bool
  var path: Int

  init?(_ key: borrowing Span<UInt8>) {
    let start: Int
    if key.starts(with: "https://") {
      (isSecure, start) = (true, 8)
    } else if key.starts(with: "http://") {
      (isSecure, start) = (false, 7)
    } else {
      return nil
    }
    var end = start
    while end < key.count, key[end] != 0x2F { end += 1 }
    guard end > start, end < key.count else { return nil }
    path = end
    var portStart = end
    var number: UInt32 = 0
    var digit = end - 1
    while digit > start, key[digit] >= 0x30, key[digit] <= 0x39 { digit -= 1 }
    if digit > start, key[digit] == 0x3A, digit + 1 < end {
      portStart = digit
      for index in digit + 1..<end {
        number = number &* 10 &+ UInt32(key[index] & 15)
        guard number <= 65_535 else { return nil }
      }
    }
    hasDefaultPort = portStart == end
    port = hasDefaultPort ? (isSecure ? 443 : 80) : UInt16(truncatingIfNeeded: number)
    host = start..<portStart
    if key[start] == 0x5B {
      guard portStart - 1 > start, key[portStart - 1] == 0x5D else { return nil }
      isBracketed = true
      host = start + 1..<portStart - 1
    }
  }
}

extension Span where Element == UInt8 {
  fileprivate func starts(with other: borrowing Span<UInt8>) -> Bool {
    count >= other.count && extracting(0..<other.count).equals(other)
  }

  fileprivate func starts(with literal: StaticString) -> Bool {
    count >= literal.utf8CodeUnitCount
      && extracting(0..<literal.utf8CodeUnitCount).equals(literal)
  }
}

extension ProxyError {
  /// The origin does not take what the configuration has us show. Passed on, its answer would ask the client for a
  /// password that is none of its business.
  static func credentialsRefused(_ authority: String, _ name: String, _ status: Status)
    -> ProxyError
  {
    ProxyError(
      .proxyConfigurationError,
      "\(authority) answered \(status) to the credentials of \(name): see whether they are right, and"
        + " what they may see",
      status: .badGateway)
  }
}
