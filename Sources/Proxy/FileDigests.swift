// What indexes say about the content of files: SHA-256 by target URI, learned when a page of a configured mirror is
// written anew, and held against what comes when the file is fetched. Bounded, and forgetful: a file whose page nobody
// has asked for lately is fetched as if nothing were known of it.
//
// Only pages of a mirror the operator named are believed, and only about files on its own host and on those that the
// mirror names under `files`. Any other page could say what it likes about files of hosts that are not its own, and have
// them refused to everybody.

import Caching
import Configuration
import HTTP
import Platform
import Storage
import Synchronization

/// Whose files the pages of a mirror speak of.
struct DigestHosts: Sendable {
  /// Scheme, host and port of the mirror's URL, as keys begin.
  let own: [UInt8]
  let files: [HostPattern]

  func covers(_ target: TargetURI) -> Bool {
    target.keyPrefix.elementsEqual(own)
      || files.contains { $0.matches(name: target.authority.bareHost) }
  }
}

final class FileDigests: Sendable {
  /// Digests in each of two generations; the older one goes when the younger one is full.
  private static let generationLimit = 100_000
  /// How many are learned at a time.
  private static let portion = 512

  private struct State {
    var young: [UInt64: Digest] = [:]
    var old: [UInt64: Digest] = [:]
    /// Since when the younger one is it.
    var since = Instant.precise()

    /// What nobody has said for two turns is forgotten: a file may be replaced, and then a page says so only to those
    /// who come by the mirror.
    mutating func age() {
      guard young.count >= FileDigests.generationLimit || Instant.precise() - since > turn else {
        return
      }
      old = young
      young = [:]
      since = Instant.precise()
    }

    private let turn: Duration = .seconds(1800)
  }

  private let state = Mutex(State())

  /// - Parameter digests: by the hash of the target URI's key, which is seeded, so that no page can make two the same.
  func learn(_ digests: [(hash: UInt64, digest: Digest)]) {
    // In portions: whoever begins to fetch a file looks here, on a loop.
    var rest = digests[...]
    while !rest.isEmpty {
      let portion = rest.prefix(Self.portion)
      rest = rest.dropFirst(Self.portion)
      state.withLock { state in
        state.age()
        for (hash, digest) in portion { state.young[hash] = digest }
      }
    }
  }

  func digest(of hash: UInt64) -> Digest? {
    state.withLock { state in
      // Mostly there are none, and the clock need not be asked.
      guard !state.young.isEmpty || !state.old.isEmpty else { return nil }
      state.age()
      return state.young[hash] ?? state.old[hash]
    }
  }

  var count: Int { state.withLock { $0.young.count + $0.old.count } }
}

extension ClientRequest {
  /// What the whole content of the target has to be, where its path or an index says so.
  func expectedDigest(_ digests: FileDigests, hasher: KeyHasher) -> Digest? {
    if let range = resource.match?.digest, !range.isEmpty {
      return Digest(hex: String(decoding: target.key[range], as: UTF8.self).lowercased())
    }
    // Not the request's own key, which may be kept apart for the credential it shows.
    return digests.digest(of: CacheKey(target.key, hasher: hasher).hash)
  }
}

extension Digest {
  /// Whether it is the digest of these bytes.
  func isOf(_ content: [UInt8]) -> Bool {
    var hasher = Hasher256()
    content.withUnsafeBytes { hasher.update($0) }
    return hasher.finish() == self
  }
}
