// Hashed passwords: scrypt (RFC 7914) from libcrypto, written as
//
//   $scrypt$ln=15,r=8,p=3$SALT$KEY        salt and key in base64 without padding
//
// scrypt rather than what crypt(3) offers, because libcrypto is linked anyway, its cost in memory keeps
// graphics cards at bay, and a file means the same on every system (docs/decisions/0014).

import COpenSSL
import HTTP

/// What is kept of a password.
package struct PasswordHash: Sendable, Equatable {
  /// What one check costs: `2^logN * r * 128` bytes of memory, `p` times over.
  package struct Cost: Sendable, Equatable {
    package var logN: Int
    package var r: Int
    package var p: Int

    /// 32 MiB and about a quarter of a second: what is recommended for passwords people choose.
    package static let standard = Cost(logN: 15, r: 8, p: 3)
    /// For tests only.
    package static let trifling = Cost(logN: 10, r: 1, p: 1)

    /// Bounds on what a file may ask of this process.
    var isBearable: Bool {
      (10...20).contains(logN) && (1...32).contains(r) && (1...32).contains(p)
        && (r << logN) * 128 <= 256 << 20
    }
  }

  package let cost: Cost
  let salt: [UInt8]
  let key: [UInt8]

  /// Hashes a password with a salt of its own. Takes as long as a check. Nil if there is no memory for it.
  package init?(of password: [UInt8], cost: Cost = .standard) {
    var random = SystemRandomNumberGenerator()
    let salt = (0..<16).map { _ in UInt8.random(in: 0...255, using: &random) }
    guard let key = Self.derive(password, salt: salt, cost: cost, count: 32) else { return nil }
    self.cost = cost
    self.salt = salt
    self.key = key
  }

  /// Reads what `text` writes.
  package init(reading text: some StringProtocol) throws(Misreading) {
    let parts = text.split(separator: "$", omittingEmptySubsequences: false)
    guard parts.count == 5, parts[0].isEmpty, parts[1] == "scrypt" else {
      throw Misreading("has no hash made by `holdfast auth`, which begins with $scrypt$")
    }
    var numbers: [Int] = []
    let parameters = parts[2].split(separator: ",", omittingEmptySubsequences: false)
    for (parameter, name) in zip(parameters, ["ln=", "r=", "p="]) {
      guard parameter.hasPrefix(name), parameter.utf8.count <= 5,
        let number = Int(parameter.dropFirst(name.count)), number > 0
      else { break }
      numbers.append(number)
    }
    guard parameters.count == 3, numbers.count == 3 else {
      throw Misreading("has a hash with damaged parameters; make it anew with `holdfast auth add`")
    }
    let cost = Cost(logN: numbers[0], r: numbers[1], p: numbers[2])
    guard cost.isBearable else {
      throw Misreading(
        "has a hash that would take too much memory to check; make it anew with `holdfast auth add`"
      )
    }
    guard let salt = Base64.decode(parts[3].utf8), let key = Base64.decode(parts[4].utf8),
      (8...64).contains(salt.count), (16...64).contains(key.count)
    else {
      throw Misreading("has a damaged hash; make it anew with `holdfast auth add`")
    }
    self.cost = cost
    self.salt = salt
    self.key = key
  }

  package var text: String {
    "$scrypt$ln=\(cost.logN),r=\(cost.r),p=\(cost.p)$\(Base64.encode(salt))$\(Base64.encode(key))"
  }

  /// Whether this is the password. Blocks for as long as the cost says; the comparison takes the same time
  /// wherever the first difference is.
  package func matches(_ password: [UInt8]) -> Bool {
    guard let other = Self.derive(password, salt: salt, cost: cost, count: key.count) else {
      return false
    }
    return Secret.areEqual(key.span, other.span)
  }

  private static func derive(
    _ password: [UInt8], salt: [UInt8], cost: Cost, count: Int
  ) -> [UInt8]? {
    var key = [UInt8](repeating: 0, count: count)
    let isDone = password.withUnsafeBytes { password in
      salt.withUnsafeBytes { salt in
        key.withUnsafeMutableBytes { key in
          EVP_PBE_scrypt(
            password.baseAddress?.assumingMemoryBound(to: CChar.self), password.count,
            salt.baseAddress?.assumingMemoryBound(to: UInt8.self), salt.count,
            1 << UInt64(cost.logN), UInt64(cost.r), UInt64(cost.p), 512 << 20,
            key.baseAddress?.assumingMemoryBound(to: UInt8.self), key.count)
        }
      }
    }
    return isDone == 1 ? key : nil
  }
}
