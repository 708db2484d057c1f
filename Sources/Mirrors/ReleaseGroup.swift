// The indexes of a Debian release that are fetched by name: each is of use only with the release file of the same
// moment, which says what it must be. A cache that lets each of them age on its own clock hands out sets that never
// were ("Hash Sum mismatch"), so a stored one is reused only if it was confirmed after its release file was.

import HTTP

public enum ReleaseGroup {
  /// How many directories above an index are looked at: component, kind, architecture, and a suite of two names.
  private static let depth = 6

  /// Keys of the release files that an index may belong to, the nearest directory first: its own, and those above it
  /// up to the suite's below `dists/`.
  public static func leaders(of key: [UInt8]) -> [[UInt8]] {
    var leaders: [[UInt8]] = []
    let isSignature = key.hasSuffix("/Release.gpg")
    var end = key.count
    for _ in 0..<depth {
      guard let slash = key[..<end].lastIndex(of: 0x2F) else { break }
      let directory = key[...slash]
      guard !directory.hasSuffix("/dists/") else { break }
      if !isSignature { leaders.append(directory + Array("InRelease".utf8)) }
      leaders.append(directory + Array("Release".utf8))
      if isSignature { break }
      end = slash
    }
    return leaders
  }
}

extension BidirectionalCollection<UInt8> {
  fileprivate func hasSuffix(_ text: String) -> Bool {
    suffix(text.utf8.count).elementsEqual(text.utf8)
  }
}
