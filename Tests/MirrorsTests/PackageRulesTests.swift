import Caching
import Testing

@testable import Mirrors

@Suite("What is known of package files by their path")
struct PackageRulesTests {
  @Test(
    "Debian packages and by-hash files never change",
    arguments: [
      (
        "http://deb.example.org/debian/pool/main/a/apt/apt_2.6.1_amd64.deb",
        PackageRules.Kind.debianPackage
      ),
      ("http://deb.example.org/debian/pool/main/b/bb/bb_1_amd64.udeb", .debianPackage),
      ("http://example.org/flat/x_1_all.deb", .debianPackage),
      (
        "http://e.org/d/dists/s/main/binary-amd64/by-hash/SHA256/"
          + String(repeating: "0a", count: 32),
        .debianByHash
      ),
      ("http://e.org/d/dists/s/by-hash/MD5Sum/" + String(repeating: "f", count: 32), .debianByHash),
    ])
  func known(key: String, kind: PackageRules.Kind) {
    #expect(PackageRules.kind(of: Array(key.utf8).span) == kind)
    #expect(PackageRules.policy(of: Array(key.utf8).span) == .immutable)
  }

  @Test(
    "everything else goes by what its origin says",
    arguments: [
      "http://deb.example.org/debian/dists/stable/InRelease",
      "http://deb.example.org/debian/dists/stable/main/binary-amd64/Packages.xz",
      "http://e.org/d/dists/s/by-hash/SHA256/abc",
      "http://e.org/d/dists/s/by-hash/SHA256/" + String(repeating: "g", count: 64),
      "http://e.org/tool_current_amd64.deb", "http://e.org/tool-latest.deb", "http://e.org/x_1.deb",
      "http://e.org/a_1_all.deb?version=2", "http://e.org/?/a_1_all.deb", "http://e.org/.deb",
      "http://e.org/a.debian",
      "http://e.org/", "", ".deb",
    ])
  func unknown(key: String) {
    #expect(PackageRules.kind(of: Array(key.utf8).span) == nil)
    #expect(PackageRules.policy(of: Array(key.utf8).span) == .standard)
  }
}
