// The file of users as `holdfast auth` edits it.

import Configuration
import Foundation
import Platform
import Testing

@testable import CLI

@Suite("The file of users")
struct PasswordFileTests {
  @Test("one user's line is changed, everything else stays")
  func edit() throws {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-users-")
    defer { try? File.removeTree(directory) }
    let path = directory + "/users"
    let first = try #require(PasswordHash(of: Array("a".utf8), cost: .trifling))
    let second = try #require(PasswordHash(of: Array("b".utf8), cost: .trifling))
    var file = try PasswordFile(path: path)
    #expect(file.set("alice", first) == true)
    try file.write()
    #expect(try File.status(at: path).mode == 0o600)
    try "# staff\n\nalice:\(first.text)\nalicea:\(first.text)\n".write(
      toFile: path, atomically: false, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
    file = try PasswordFile(path: path)
    #expect(file.set("alice", second) == false)
    #expect(file.set("bob", second) == true)
    #expect(file.remove("mallory") == false)
    try file.write()
    #expect(
      try String(contentsOfFile: path, encoding: .utf8)
        == "# staff\n\nalice:\(second.text)\nalicea:\(first.text)\nbob:\(second.text)\n")
    #expect(try File.status(at: path).mode == 0o640)
    #expect(try File.list(directory).count == 1)
    // A link stays one.
    let link = directory + "/link"
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
    file = try PasswordFile(path: link)
    #expect(file.remove("alicea") == true)
    try file.write()
    #expect(try File.status(at: link).kind == .symbolicLink)
    #expect(try !String(contentsOfFile: path, encoding: .utf8).contains("alicea"))
  }

  @Test(
    "wrong calls say what is missing",
    arguments: [
      (["auth", "add", "alice"], "--file or --config"),
      (["auth", "add", "al:ice", "--file", "x"], "cannot be used"),
      (["auth", "add", "alice", "--file", "x", "--config", "y"], "--file or --config"),
      (["auth", "remove", "--file", "x"], "Missing expected argument '<name>'"),
    ])
  func wrongCalls(arguments: [String], message: String) {
    do {
      _ = try Holdfast.parseAsRoot(arguments)
      Issue.record("was accepted")
    } catch {
      #expect(CommandOutcome.message(for: error).contains(message))
    }
  }
}
