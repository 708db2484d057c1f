// Names of Python projects: many spellings, one normal form, and the page of the normal form is the one an index has.

import HTTP

public enum ProjectName {
  /// Lower case, with one hyphen for every run of hyphens, underscores and dots; nil for what is no name.
  public static func normalised(_ name: some Collection<UInt8>) -> [UInt8]? {
    guard let first = name.first, first.isLetter || first.isDigit else { return nil }
    var result: [UInt8] = []
    var wasSeparator = false
    for byte in name {
      switch byte {
      case 0x2D, 0x2E, 0x5F:
        if !wasSeparator { result.append(0x2D) }
        wasSeparator = true
      default:
        guard byte.isLetter || byte.isDigit else { return nil }
        result.append(byte.lowercased)
        wasSeparator = false
      }
    }
    return result.last == 0x2D ? nil : result
  }

  /// Where the page of a project is, if not at the path that was asked for: below a Python index, `NAME` and
  /// `NAME/` in another spelling than the normal one lead to `normal-name/`. What is named like a file is one, for want
  /// of a slash.
  /// - Parameter path: what is asked for below the index, without its first slash and without a query.
  public static func redirect(_ path: ArraySlice<UInt8>) -> [UInt8]? {
    let hasSlash = path.last == 0x2F
    let name = hasSlash ? path.dropLast() : path
    guard !name.isEmpty, !name.contains(0x2F), hasSlash || !isFile(name),
      let normal = normalised(name)
    else { return nil }
    return hasSlash && name.elementsEqual(normal) ? nil : normal + [0x2F]
  }

  /// Whether a name ends like that of a file an index has beside its pages. Names of projects have dots as well
  /// (`zope.interface`), so it is a list and no rule. A project whose name ends like this is asked for as it is written,
  /// and the index says where its page is.
  private static func isFile(_ name: ArraySlice<UInt8>) -> Bool {
    guard let dot = name.lastIndex(of: 0x2E), dot > name.startIndex else { return false }
    let suffix = name[dot...].map(\.lowercased)
    if suffixes.contains(suffix) { return true }
    return suffix.elementsEqual(".z".utf8)
      && name[..<dot].suffix(4).map(\.lowercased).elementsEqual(".tar".utf8)
  }

  private static let suffixes = Set(
    [
      // Archives and installers.
      ".whl", ".egg", ".zip", ".tar", ".gz", ".bz2", ".xz", ".lz", ".lzma", ".zst", ".tgz", ".tbz",
      ".tbz2", ".txz", ".tlz", ".7z", ".rpm", ".deb", ".exe", ".msi", ".dmg", ".pkg", ".pex",
      ".pyz",
      // What stands beside them.
      ".metadata", ".asc", ".sig", ".sigstore", ".provenance", ".attestation", ".pem", ".md5",
      ".sha1", ".sha256", ".sha512",
      // Lists and pages of other kinds.
      ".txt", ".html", ".htm", ".json", ".xml", ".rss", ".ico",
    ].map { Array($0.utf8) })
}
