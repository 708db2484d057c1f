// What is known of package files: the ecosystems, the kinds of resource they have, and the terms of each kind.
//
// A kind is what a path names (PathRules.swift has the table). Its terms are applied when a response is read, so
// a better rule takes effect at once on what is stored already.

import Caching

/// A family of package managers that is known here.
public enum Ecosystem: String, CaseIterable, Sendable, BitwiseCopyable {
  case debian, pypi
}

/// What sort of package file or index a path names.
public enum ResourceKind: String, CaseIterable, Sendable, BitwiseCopyable {
  /// A Debian package: `pool/main/a/apt/apt_2.6.1_amd64.deb`.
  case debianPackage = "debian-package"
  /// A part of a Debian source package.
  case debianSource = "debian-source"
  /// An index under the hash of its content: `dists/S/main/binary-amd64/by-hash/SHA256/HEX`.
  case debianByHash = "debian-by-hash"
  /// What a release consists of, signed: `dists/S/InRelease`.
  case debianRelease = "debian-release"
  /// An index by its name, which has to be of the same moment as the release beside it.
  case debianIndex = "debian-index"
  /// A page of a Python index: `/simple/`, `/simple/NAME/`.
  case pypiIndex = "pypi-index"
  /// What is known of a Python project: `/pypi/NAME/json`.
  case pypiProject = "pypi-project"
  /// A Python package, or what stands beside it: `.metadata`, `.asc`, `.provenance`.
  case pypiFile = "pypi-file"

  public var sentence: String {
    switch self {
    case .debianPackage: "A Debian package: its name has its version, its bytes do not change."
    case .debianSource: "A file of a Debian source package: its name has its version."
    case .debianByHash: "An index of a Debian repository named by the hash of its content."
    case .debianRelease: "The list of a Debian release, signed: it says what all others must be."
    case .debianIndex:
      "An index of a Debian release by its name: of use only with the release it came with."
    case .pypiIndex: "A page of a Python index: links to files, with their digests."
    case .pypiProject: "What is known of a Python project, with links to its files."
    case .pypiFile: "A Python package, or its metadata, in a directory named by a hash."
    }
  }

  /// What holds for resources of this kind.
  public var terms: ResourceTerms {
    switch self {
    case .debianPackage, .debianSource, .debianByHash, .pypiFile: .immutable
    case .debianRelease, .debianIndex: .metadata(lifetime: nil)
    case .pypiIndex, .pypiProject: .metadata(lifetime: ResourceTerms.longestMetadata)
    }
  }

  /// Its links lead to other resources, and are written anew for clients of a mirror.
  public var hasLinks: Bool { self == .pypiIndex || self == .pypiProject }
}

/// How a resource is treated: the policy of RFC 9111's rules, and what these rules have no word for.
public struct ResourceTerms: Sendable, Hashable, BitwiseCopyable {
  public var policy: ResourcePolicy
  /// The longest that it is fresh, in seconds, whatever its origin says; nil for no limit.
  public var longest: Int64?
  /// The same for news that it is not there.
  public var longestMissing: Int64?
  /// For so many seconds after its origin was asked, clients that want it asked again are answered from the store.
  /// Build tools send such wishes by habit.
  public var restTime: Int64 = 0

  public init(_ policy: ResourcePolicy = .standard) { self.policy = policy }

  /// RFC 9111 and no more.
  public static var standard: ResourceTerms { ResourceTerms() }

  public static var immutable: ResourceTerms { ResourceTerms(.immutable) }

  /// An index that is longer believed than this hides new releases for longer than people wait; some CDNs say weeks.
  public static var longestMetadata: Int64 { 600 }

  /// An index: never fresh for long, asked for again rarely, and better stale than not at all.
  /// - Parameter lifetime: seconds, where the origin gives none.
  public static func metadata(lifetime: Int64?) -> ResourceTerms {
    var policy = ResourcePolicy(.mutable)
    policy.lifetime = lifetime
    policy.negativeLifetime = 60
    policy.staleIfError = policy.staleWhenDisconnected
    var terms = ResourceTerms(policy)
    terms.longest = longestMetadata
    terms.longestMissing = 60
    terms.restTime = 5
    return terms
  }

  /// A stored response's freshness with the limits set by these terms, before the policy is asked.
  @inlinable
  public func limit(_ freshness: Freshness) -> Freshness {
    let limit =
      freshness.flags.contains(.successful)
      ? longest : freshness.flags.contains(.missing) ? longestMissing : nil
    guard let limit, freshness.lifetime > limit else { return freshness }
    var limited = freshness
    limited.lifetime = limit
    return limited
  }
}
