// What is known of package files by the shape of their path, whichever host they come from: a company's own
// repository is laid out like the public one. Built-in knowledge, applied when a response is read, so that a
// better rule takes effect at once (`ResourcePolicy`).
//
// Only what can be said without looking at anything but the path, and without harm if a path merely looks
// like it: files that carry their version in their name and are never changed in place.

import Caching
import HTTP

public enum PackageRules {
  /// What kind of file a path names.
  public enum Kind: String, CaseIterable, Sendable {
    /// A Debian package: `pool/main/a/apt/apt_2.6.1_amd64.deb`.
    case debianPackage = "debian-package"
    /// An index under the hash of its content: `dists/S/main/binary-amd64/by-hash/SHA256/HEX`.
    case debianByHash = "debian-by-hash"

    public var sentence: String {
      switch self {
      case .debianPackage: "A Debian package: its name has its version, its bytes do not change."
      case .debianByHash: "An index of a Debian repository named by the hash of its content."
      }
    }

    public var policy: ResourcePolicy {
      switch self {
      case .debianPackage, .debianByHash: .immutable
      }
    }
  }

  /// What a target URI's key names, or nil for all that nothing is known about.
  public static func kind(of key: borrowing Span<UInt8>) -> Kind? {
    // A query may make anything of a path.
    var end = key.count
    var at = 0
    while at < end {
      if key[at] == 0x3F { end = at }
      at += 1
    }
    guard end == key.count else { return nil }
    if hasSuffix(".deb", key) || hasSuffix(".udeb", key) || hasSuffix(".ddeb", key) {
      return hasVersion(key) ? .debianPackage : nil
    }
    return isByHash(key) ? .debianByHash : nil
  }

  /// The policy for a target URI's key; the standard one, which changes nothing, for most.
  public static func policy(of key: borrowing Span<UInt8>) -> ResourcePolicy {
    kind(of: key)?.policy ?? .standard
  }

  private static func hasSuffix(_ suffix: StaticString, _ key: borrowing Span<UInt8>) -> Bool {
    let count = suffix.utf8CodeUnitCount
    // At least a slash and a letter before it.
    guard key.count > count + 1, key[key.count - count - 1] != 0x2F else { return false }
    return key.extracting(key.count - count..<key.count).equals(suffix)
  }

  /// Whether the file's name is NAME_VERSION_ARCHITECTURE, with a digit in the version: what is called
  /// `tool_current_amd64.deb` is replaced in place.
  private static func hasVersion(_ key: borrowing Span<UInt8>) -> Bool {
    var separators = 0
    var versionHasDigit = false
    var at = key.count - 1
    while at >= 0, key[at] != 0x2F {
      if key[at] == 0x5F { separators += 1 }
      if separators == 1, key[at].isDigit { versionHasDigit = true }
      at -= 1
    }
    return separators == 2 && versionHasDigit
  }

  /// `…/by-hash/ALGORITHM/HEX`, with as many digits as the algorithm's digest has.
  private static func isByHash(_ key: borrowing Span<UInt8>) -> Bool {
    var slash = key.count
    while slash > 0, key[slash - 1] != 0x2F {
      guard key[slash - 1].hexadecimalValue != nil else { return false }
      slash -= 1
    }
    return follows("/by-hash/SHA256/", slash, key) && key.count - slash == 64
      || follows("/by-hash/SHA512/", slash, key) && key.count - slash == 128
      || follows("/by-hash/SHA1/", slash, key) && key.count - slash == 40
      || follows("/by-hash/MD5Sum/", slash, key) && key.count - slash == 32
  }

  private static func follows(_ text: StaticString, _ end: Int, _ key: borrowing Span<UInt8>)
    -> Bool
  {
    let count = text.utf8CodeUnitCount
    return end >= count && key.extracting(end - count..<end).equals(text)
  }
}
