// Who may use the proxy by name: the file that `auth.file` names.
//
//   # a comment
//   alice:$scrypt$ln=15,r=8,p=3$…$…
//
// One line for each user. `holdfast auth add` writes them.

import HTTP

/// Names with the hashes of their passwords.
package struct PasswordTable: Sendable, Equatable {
  package private(set) var hashes: [[UInt8]: PasswordHash] = [:]
  /// A hash for nobody, checked for names that are not here so that they cost as much as those that are.
  package private(set) var decoy: PasswordHash?

  package init() {}

  /// What is wrong with one line of the file.
  package struct Fault: Equatable {
    package var line: Int
    package var message: String
  }

  /// Reads a whole file; tells every line that cannot be used.
  package static func read(_ text: String) -> (table: PasswordTable, faults: [Fault]) {
    var table = PasswordTable()
    var faults: [Fault] = []
    let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    for (index, line) in lines.enumerated() {
      if line.isEmpty || line.hasPrefix("#") { continue }
      do throws(Misreading) {
        let (name, hash) = try entry(line)
        if table.hashes.updateValue(hash, forKey: name) != nil {
          throw Misreading("names \(String(decoding: name, as: UTF8.self)) a second time; keep one")
        }
      } catch {
        faults.append(Fault(line: index + 1, message: error.message))
      }
    }
    let costliest = table.hashes.values.map(\.cost).max { $0.work < $1.work }
    table.decoy = costliest.flatMap { PasswordHash(decoyOf: $0) }
    return (table, faults)
  }

  private static func entry(_ line: Substring) throws(Misreading) -> ([UInt8], PasswordHash) {
    guard let colon = line.firstIndex(of: ":") else {
      throw Misreading("is not NAME:HASH; make it with `holdfast auth add`")
    }
    let name = String(line[..<colon])
    try check(name: name)
    return (Array(name.utf8), try PasswordHash(reading: line[line.index(after: colon)...]))
  }

  /// Names go into logs and through Basic authentication, which ends them at a colon (RFC 7617 §2).
  package static func check(name: String) throws(Misreading) {
    let isPlain = name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x3A && $0 != 0x23 }
    guard (1...64).contains(name.utf8.count), isPlain else {
      throw Misreading(
        "has a name that cannot be used; write 1 to 64 visible ASCII characters without : and #")
    }
  }
}

extension PasswordHash.Cost {
  /// What a check takes, to compare costs with.
  var work: Int { (r << logN) * p }
}

extension PasswordHash {
  /// Like a hash of this cost, but of no password anybody knows.
  init?(decoyOf cost: Cost) {
    var random = SystemRandomNumberGenerator()
    let bytes = (0..<48).map { _ in UInt8.random(in: 0...255, using: &random) }
    let text =
      "$scrypt$ln=\(cost.logN),r=\(cost.r),p=\(cost.p)$\(Base64.encode(Array(bytes[..<16])))$\(Base64.encode(Array(bytes[16...])))"
    guard let hash = try? PasswordHash(reading: text) else { return nil }
    self = hash
  }
}
