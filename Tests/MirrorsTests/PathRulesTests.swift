import Caching
import Testing

@testable import Mirrors

@Suite("What the shape of a path says")
struct PathRulesTests {
  private static let files =
    "https://f.example.org/packages/0a/b1/" + String(repeating: "c", count: 60)

  private func kind(_ key: String, below mirror: PathRules.Below? = nil) -> ResourceKind? {
    find(Array(key.utf8), mirror)?.kind
  }

  private func find(_ key: [UInt8], _ mirror: PathRules.Below?) -> PathRules.Match? {
    PathRules.match(key.span, below: mirror)
  }

  private func terms(_ key: String) -> ResourceTerms {
    let bytes = Array(key.utf8)
    return ResourceRules().terms(of: bytes.span)
  }

  private func match(_ key: [UInt8]) -> PathRules.Match? { PathRules.match(key.span) }

  /// What the short way of a hit asks.
  private func hints(_ key: [UInt8]) -> (hasLinks: Bool, isLimited: Bool, isOfGroup: Bool) {
    let span = key.span
    return (
      PathRules.mayHaveLinks(span), PathRules.mayBeLimited(span), PathRules.belongsToGroup(span)
    )
  }

  @Test(
    "packages and indexes are known by their paths, whatever the host",
    arguments: [
      ("http://deb.example.org/debian/pool/main/a/apt/apt_2.6.1_amd64.deb", .debianPackage),
      ("http://deb.example.org/debian/pool/main/b/bb/bb_1_amd64.udeb", .debianPackage),
      ("http://example.org/flat/x_1_all.deb", .debianPackage),
      ("http://e.org/d/pool/main/a/apt/apt_2.6.1.dsc", .debianSource),
      ("http://e.org/d/pool/main/a/a/a_1.0-1.debian.tar.xz", .debianSource),
      (
        "http://e.org/d/dists/s/main/by-hash/SHA256/" + String(repeating: "0a", count: 32),
        .debianByHash
      ),
      ("http://e.org/d/dists/s/by-hash/MD5Sum/" + String(repeating: "f", count: 32), .debianByHash),
      ("http://e.org/debian/dists/stable/InRelease", .debianRelease),
      ("http://e.org/debian/dists/stable/updates/Release", .debianRelease),
      ("http://e.org/debian/dists/stable/Release.gpg", .debianIndex),
      ("http://e.org/debian/dists/stable/main/binary-amd64/Packages.xz", .debianIndex),
      ("http://e.org/dists/stable/main/source/Sources", .debianIndex),
      ("http://e.org/dists/s/main/i18n/Translation-en.bz2", .debianIndex),
      ("http://e.org/dists/s/main/Contents-amd64.gz", .debianIndex),
      ("http://e.org/dists/s/main/dep11/Components-amd64.yml.gz", .debianIndex),
      ("http://e.org/dists/s/main/binary-amd64/Packages.diff/Index", .debianIndex),
      ("https://e.org/simple/", .pypiIndex), ("https://e.org/a/simple/x-y/", .pypiIndex),
      ("https://e.org/pypi/x/json", .pypiProject), ("https://e.org/pypi/x/1.0/json", .pypiProject),
      (files + "/x-1-py3-none-any.whl", .pypiFile), (files + "/x-1.tar.gz.metadata", .pypiFile),
    ] as [(String, ResourceKind)])
  func known(key: String, kind: ResourceKind) {
    #expect(self.kind(key) == kind)
  }

  @Test(
    "everything else goes by what its origin says",
    arguments: [
      "http://e.org/d/dists/s/by-hash/SHA256/abc",
      "http://e.org/d/dists/s/by-hash/SHA256/" + String(repeating: "g", count: 64),
      "http://e.org/tool_current_amd64.deb", "http://e.org/tool-latest.deb", "http://e.org/x_1.deb",
      "http://e.org/a_b_1_all.deb", "http://e.org/a_1_all.deb?version=2",
      "http://e.org/?/a_1_all.deb", "http://e.org/.deb", "http://e.org/a.debian",
      "http://e.org/", "", ".deb", "http://e.org", "http://simple/x/", "http://dists/InRelease",
      "http://e.org/InRelease", "http://e.org/Packages.xz", "https://e.org/simple/x",
      "https://e.org/simple/x/y/", "https://e.org/simple/?x=/simple/", "https://e.org/xsimple/a/",
      "https://e.org/simple//", "https://e.org/pypi//json", "https://e.org/x-1-py3-none-any.whl",
      "https://e.org/packages/0a/b1/cc/x.whl", files, files + "/",
      "http://e.org/dists/s/main/binary-amd64/Packages.", "http://e.org/dists/s/Packagesx",
      "http://e.org/dists/s/main/x.diff/Indexes",
    ])
  func unknown(key: String) {
    #expect(kind(key) == nil)
    #expect(terms(key) == .standard)
  }

  @Test("below a mirror of an ecosystem, paths say more")
  func below() {
    let base = "https://e.org/idx/"
    let below = PathRules.Below(.pypi, baseCount: base.utf8.count)
    #expect(kind(base, below: below) == .pypiIndex)
    #expect(kind(base + "x/", below: below) == .pypiIndex)
    #expect(kind(base + "x/x-1-py3-none-any.whl", below: below) == .pypiFile)
    #expect(kind(base + "x-1-py3-none-any.whl.metadata", below: below) == .pypiFile)
    #expect(kind(base + "x-1.0.tar.gz", below: below) == .pypiFile)
    #expect(kind(base + "x/y/", below: below) == nil)
    #expect(kind(base + "x", below: below) == nil)
    #expect(kind(base + "x/", below: PathRules.Below(.debian, baseCount: base.utf8.count)) == nil)
    #expect(kind(base + "x/") == nil)
    // A base that is longer than the key can only be a mistake, and harms nobody.
    #expect(kind(base + "x/", below: PathRules.Below(.pypi, baseCount: 1000)) == nil)
  }

  @Test("by-hash paths have the digest of their content, SHA-256 alone")
  func digests() throws {
    let hex = String(repeating: "0a", count: 32)
    let key = Array("http://e.org/dists/s/by-hash/SHA256/\(hex)".utf8)
    let found = try #require(match(key))
    #expect(String(decoding: key[found.digest], as: UTF8.self) == hex)
    let other = Array("http://e.org/dists/s/by-hash/MD5Sum/\(hex.prefix(32))".utf8)
    #expect(match(other)?.digest.isEmpty == true)
  }

  @Test(
    "every kind has a row, a name and a sentence, and hit paths miss none that needs a closer look")
  func complete() {
    for kind in ResourceKind.allCases {
      #expect(PathRules.table.contains { $0.kind == kind })
      #expect(!kind.sentence.isEmpty && !kind.rawValue.isEmpty)
    }
    for row in PathRules.table where row.below == nil {
      var path = row.pattern.replacing("**", with: "a/b").replacing("*", with: "Xy")
      path = path.replacing("{word}", with: "w").replacing("{version}", with: "1")
      for count in [2, 32, 40, 60, 128] {
        path = path.replacing("{hex:\(count)}", with: String(repeating: "d", count: count))
      }
      path = path.replacing("{sha256}", with: String(repeating: "d", count: 64))
      let key = Array("http://e.org\(path)".utf8)
      #expect(match(key)?.kind == row.kind, "\(path)")
      if row.kind.hasLinks { #expect(hints(key).hasLinks) }
      if row.kind == .debianIndex {
        #expect(hints(key).isOfGroup || row.pattern.hasSuffix("*"))
      }
      if row.kind.terms.longest != nil, row.kind != .debianIndex {
        #expect(hints(key).isLimited)
      }
    }
  }

  @Test("no path takes long")
  func hostile() {
    for path in ["/", "_1_", "a/", "/dists", "1.deb", "by-hash/SHA256/"] {
      let key =
        Array("http://e.org/dists/pool/".utf8) + Array(String(repeating: path, count: 2000).utf8)
      for end in ["", ".deb", "/Packages.xz", "/", ".tar.gz", "x.diff/Index"] {
        _ = match(key + Array(end.utf8))
      }
    }
  }

  @Test("an index is fresh for ten minutes at most, and news of a missing one for one")
  func terms() {
    let terms = ResourceKind.pypiIndex.terms
    let long = Freshness(
      lifetime: 86_400, correctedInitialAge: 0, responseTime: 0, flags: [.successful, .explicit])
    #expect(terms.policy.adjust(terms.limit(long)).lifetime == 600)
    var short = long
    short.lifetime = 60
    #expect(terms.policy.adjust(terms.limit(short)).lifetime == 60)
    var none = long
    none.flags = [.successful]
    none.lifetime = 0
    #expect(terms.policy.adjust(terms.limit(none)).lifetime == 600)
    var missing = long
    missing.flags = [.missing, .explicit]
    #expect(terms.policy.adjust(terms.limit(missing)).lifetime == 60)
    missing.flags = [.missing]
    missing.lifetime = 0
    #expect(terms.policy.adjust(terms.limit(missing)).lifetime == 60)
    #expect(ResourceTerms.immutable.limit(long).lifetime == 86_400)
  }

  @Test("an index by name belongs to the release files above it, the nearest first")
  func group() {
    func leaders(_ key: String) -> [String] {
      ReleaseGroup.leaders(of: Array(key.utf8)).map { String(decoding: $0, as: UTF8.self) }
    }
    let all = leaders("http://e.org/d/dists/s/main/binary-amd64/Packages.xz")
    #expect(all.first == "http://e.org/d/dists/s/main/binary-amd64/InRelease")
    #expect(
      all.suffix(2) == ["http://e.org/d/dists/s/InRelease", "http://e.org/d/dists/s/Release"])
    #expect(leaders("http://e.org/d/dists/s/Release.gpg") == ["http://e.org/d/dists/s/Release"])
  }

  @Test("no name longer than a file can have is known, which bounds what looking at it costs")
  func longNames() {
    for end in [".deb", "_amd64.deb", ".whl"] {
      let key = Array("https://f.test/a_\(String(repeating: "x", count: 16_000))_1\(end)".utf8)
      #expect(PathRules.match(key.span) == nil)
    }
  }
}
