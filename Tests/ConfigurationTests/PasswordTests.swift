// Hashes of passwords, the file they are in, and tokens.

import Foundation
import HTTP
import Platform
import Testing

@testable import Configuration

@Suite struct PasswordTests {
  private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

  @Test("the right password matches, any other does not")
  func matches() throws {
    let hash = try #require(PasswordHash(of: bytes("correct horse"), cost: .trifling))
    #expect(hash.matches(bytes("correct horse")))
    for other in ["", "correct horse ", "Correct horse", "correct\u{0}horse", "x"] {
      #expect(!hash.matches(bytes(other)), "\(other)")
    }
    // The same password has another hash each time.
    #expect(PasswordHash(of: bytes("correct horse"), cost: .trifling) != hash)
    #expect(try PasswordHash(reading: hash.text) == hash)
  }

  @Test("the key is scrypt's, as RFC 7914 §12 has it")
  func vector() throws {
    // N = 1024, r = 8, p = 16, password "password", salt "NaCl", 64 bytes.
    let key =
      "/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/xCSedmDDaxyevuUqDD7m2DYvfoswGQA"
    // The salt of the test vector is shorter than any this program writes.
    #expect(throws: Misreading.self) {
      try PasswordHash(reading: "$scrypt$ln=10,r=8,p=16$TmFDbA$\(key)")
    }
    let salted = try PasswordHash(
      reading:
        "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw"
    )
    #expect(salted.matches(bytes("pleaseletmein")))
    #expect(!salted.matches(bytes("pleaseletmeout")))
  }

  @Test(
    "a damaged hash is refused, and so is one that would cost too much",
    arguments: [
      "", "secret", "$2y$05$abc", "$scrypt$ln=10,r=1,p=1$AAAAAAAAAAAAAAAAAAAAAA",
      "$scrypt$ln=10,r=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
      "$scrypt$r=1,ln=10,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
      "$scrypt$ln=30,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
      "$scrypt$ln=20,r=32,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
      "$scrypt$ln=99999999999,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
      "$scrypt$ln=10,r=1,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAA", "$scrypt$ln=10,r=1,p=1$A!$A",
    ])
  func damaged(text: String) {
    #expect(throws: Misreading.self) { try PasswordHash(reading: text) }
  }

  @Test(
    "base64 is read strictly",
    arguments: [
      ("", [UInt8]()), ("Zg==", [0x66]), ("Zg", [0x66]), ("Zm8=", [0x66, 0x6F]),
      ("Zm9v", [0x66, 0x6F, 0x6F]), ("Zm9vYg==", [0x66, 0x6F, 0x6F, 0x62]), ("Zh==", nil),
      ("Zm9=", nil), ("Z", nil), ("Zg=", nil), ("Zg==Zg==", nil), ("Zm9v=", nil), ("Zm 9v", nil),
      ("Zm9v\n", nil), ("====", nil),
    ] as [(String, [UInt8]?)])
  func base64(text: String, expected: [UInt8]?) {
    #expect(Base64.decode(text.utf8) == expected)
    if let expected { #expect(Base64.decode(Base64.encode(expected).utf8) == expected) }
  }

  @Test("a file with mistakes tells each line, and what to do")
  func file() throws {
    let hash = try #require(PasswordHash(of: bytes("a"), cost: .trifling)).text
    let (table, faults) = PasswordTable.read(
      "# users\n\nalice:\(hash)\r\nbob\nalice:\(hash)\n:\(hash)\nd e:\(hash)\ncarol:secret\n")
    #expect(Array(table.hashes.keys) == [bytes("alice")])
    #expect(faults.map(\.line) == [4, 5, 6, 7, 8])
    #expect(faults[0].message.contains("holdfast auth add"))
    #expect(faults[1].message.contains("a second time"))
    #expect(!faults[4].message.contains("secret"))
    #expect(table.decoy?.cost == .trifling)
  }

  @Test(
    "a token is one visible word of some length",
    arguments: [
      ("0123456789abcdef\n", true), ("0123456789abcdef\nmore\n", true), ("short\n", false),
      ("", false), ("0123456789 abcdef", false), ("0123456789abcdé…", false),
    ])
  func tokens(text: String, isGood: Bool) {
    let secret = try? Secret(reading: text)
    #expect((secret != nil) == isGood)
    if let secret {
      let right = bytes("0123456789abcdef")
      let wrong = bytes("0123456789abcdeF")
      #expect(secret.matches(right.span) && !secret.matches(wrong.span))
      #expect(!"\(secret)".contains("0123"))
    }
  }

  @Test("files with secrets are read with the configuration, and what is wrong in them is said")
  func secretFiles() throws {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-auth-")
    defer { try? File.removeTree(directory) }
    let hash = try #require(PasswordHash(of: bytes("a"), cost: .trifling)).text
    func write(_ name: String, _ text: String, mode: Int = 0o600) throws {
      try text.write(toFile: "\(directory)/\(name)", atomically: false, encoding: .utf8)
      try FileManager.default.setAttributes(
        [.posixPermissions: mode], ofItemAtPath: "\(directory)/\(name)")
    }
    try write("users", "alice:\(hash)\n")
    try write("open", "alice:\(hash)\n", mode: 0o644)
    try write("broken", "alice:\(hash)\nbob:x\n")
    try write("token", "0123456789abcdef\n")
    try write("short", "x\n")
    func load(_ text: String) throws -> ConfigurationLoader.Loaded {
      try write("holdfast.yaml", text)
      return try ConfigurationLoader.load(file: "\(directory)/holdfast.yaml")
    }
    let good = try load(
      "auth: { file: users, realm: Builds }\nadmin: { address: 127.0.0.1:3129, token-file: token }")
    #expect(good.warnings.all.isEmpty)
    #expect(good.configuration.auth.users.hashes.count == 1)
    #expect(good.configuration.auth.realm.text == "Builds")
    #expect(good.configuration.admin?.token != nil)
    #expect(try load("auth: { file: open }").warnings.description.contains("chmod 600"))
    for (text, sentence) in [
      ("auth: { file: broken }", "broken:2: has no hash"),
      ("auth: { file: absent }", "absent cannot be read"),
      ("auth: { file: . }", "is no file"), ("auth: { realm: 'a\"b' }", "cannot be a realm"),
      ("admin: { address: 127.0.0.1:3129, token-file: short }", "fewer than 16"),
      ("admin: { token-file: token }", "has no address"),
      ("admin: { address: 127.0.0.1:3128, token-file: token }", "different ports"),
    ] {
      do {
        _ = try load(text)
        Issue.record("accepted: \(text)")
      } catch {
        #expect("\(error)".contains(sentence), "\(error)")
      }
    }
    // Another address on the command line does not take the token away.
    let moved = try ConfigurationLoader.read(
      text: "admin: { address: 127.0.0.1:3129, token-file: \(directory)/token }", file: nil,
      overrides: [Override(option: "--admin", key: "admin", values: ["127.0.0.1:4000"])],
      readsSecrets: true)
    #expect(moved.configuration.admin?.address.port == 4000)
    #expect(moved.configuration.admin?.token != nil)
  }
}
