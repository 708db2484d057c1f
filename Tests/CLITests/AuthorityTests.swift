// The authority as `holdfast ca` keeps it.

import Configuration
import Foundation
import Platform
import Synchronization
import TLS
import Testing

@testable import CLI

@Suite("The authority's directory")
struct AuthorityTests {
  private let now = WallTime.now().seconds

  /// A directory that does not exist yet.
  private func scratch(_ body: (AuthorityDirectory) throws -> Void) throws {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-ca-")
    defer { try? File.removeTree(directory) }
    try body(AuthorityDirectory(directory + "/etc/ca"))
  }

  @Test("the key is its owner's alone, the certificate everyone's, and nothing else is left there")
  func files() throws {
    try scratch { directory in
      let made = try directory.make(
        name: "Test", permitted: ["example.org", "10.0.0.1"], days: 30, replaces: false, now: now)
      #expect(try File.status(at: directory.keyFile).mode == 0o600)
      #expect(try File.status(at: directory.certificateFile).mode == 0o644)
      #expect(try File.list(directory.path).count == 2)
      let read = try directory.certificate()
      #expect(read.der == made.der)
      #expect(read.permittedNames == ["example.org", "10.0.0.1"])
      #expect(read.summary.subject == "CN=Test")
      let identity = try TLSIdentity(
        certificates: Array(Data(contentsOf: URL(fileURLWithPath: directory.certificateFile))),
        key: Array(Data(contentsOf: URL(fileURLWithPath: directory.keyFile))))
      _ = try CertificateAuthority(certificate: identity.certificate, key: identity.key)
    }
  }

  @Test("one that is there is replaced only when that is asked for, and is kept")
  func renewal() throws {
    try scratch { directory in
      let first = try directory.make(
        name: "First", permitted: ["example.org"], days: 30, replaces: false, now: now)
      #expect(throws: Failure.self) {
        try directory.make(
          name: "Second", permitted: ["example.org"], days: 30, replaces: false, now: now)
      }
      #expect(try directory.certificate().der == first.der)
      _ = try directory.make(
        name: "Second", permitted: ["example.org"], days: 30, replaces: true, now: now)
      #expect(try directory.certificate().summary.subject == "CN=Second")
      let old = try #require(
        FileManager.default.contents(atPath: directory.certificateFile + ".old"))
      #expect(Certificate.all(inPEM: Array(old)).first?.der == first.der)
      #expect(try File.status(at: directory.keyFile + ".old").mode == 0o600)
    }
  }

  @Test("of many at once one makes it, and its key and certificate belong together")
  func racing() throws {
    try scratch { directory in
      let made = Mutex(0)
      DispatchQueue.concurrentPerform(iterations: 8) { number in
        let one = try? directory.make(
          name: "Number \(number)", permitted: ["example.org"], days: 30, replaces: false, now: now)
        if one != nil { made.withLock { $0 += 1 } }
      }
      #expect(made.withLock { $0 } == 1)
      #expect(directory.isWhole)
      let names = try File.list(directory.path)
      #expect(names.count == 2)
    }
  }

  #if DEBUG
    @Test(
      "whatever fails, the authority that was there goes on, and no key is left behind",
      arguments: [FaultPlan.Call.open, .write, .sync, .link, .rename], [false, true])
    func faults(call: FaultPlan.Call, isRenewal: Bool) throws {
      try scratch { directory in
        if isRenewal {
          _ = try directory.make(
            name: "First", permitted: ["example.org"], days: 30, replaces: false, now: now)
        }
        let parent = String(directory.path.dropLast("/etc/ca".count))
        var number = 1
        while number < 20 {
          let plan = FaultPlan(
            in: .directory(parent), failing: [call], number: number, with: .inputOutput)
          plan.install()
          let made = try? directory.make(
            name: "Second", permitted: ["example.org"], days: 30, replaces: isRenewal, now: now)
          plan.remove()
          guard made == nil else { break }
          let names = try File.list(directory.path).map(\.name)
          #expect(!names.contains { $0.hasSuffix(".new") }, "\(names)")
          // The last step makes names survive a power cut; by then they are there.
          if isRenewal || !names.isEmpty { #expect(directory.isWhole, "\(call) \(number)") }
          if !isRenewal {
            for name in names { try File.unlink("\(directory.path)/\(name)") }
          }
          number += 1
        }
        #expect(number < 20)
      }
    }
  #endif

  @Test("what is missing, or is no certificate, is told with what to do")
  func missing() throws {
    try scratch { directory in
      let error = #expect(throws: Failure.self) { try directory.certificate() }
      #expect(error?.text.contains("holdfast ca init") == true)
      try File.makeDirectories(directory.path)
      try "no certificate".write(
        toFile: directory.certificateFile, atomically: false, encoding: .utf8)
      let other = #expect(throws: Failure.self) { try directory.certificate() }
      #expect(other?.text.contains("no certificate in PEM form") == true)
    }
  }

  @Test("its facts say for whom it signs, until when, and who can read the key")
  func report() throws {
    try scratch { directory in
      let made = try directory.make(
        name: "Test", permitted: ["example.org"], days: 10, replaces: false, now: now)
      let facts = AuthorityReport.facts(made, directory, now: now, .plain)
      #expect(facts.contains("example.org, and all below it"))
      #expect(facts.contains("for 10d"))
      #expect(facts.contains(made.fingerprint))
      #expect(
        AuthorityReport.facts(made, directory, now: now + 11 * 86_400, .plain).contains("expired"))
      try FileManager.default.setAttributes(
        [.posixPermissions: 0o644], ofItemAtPath: directory.keyFile)
      #expect(
        AuthorityReport.facts(made, directory, now: now, .plain).contains(
          "chmod 600 \(directory.keyFile)"))
      let json = AuthorityReport.json(made, directory)
      #expect(json.contains("\"signsFor\":[\"example.org\"]"))
      for client in ["pip", "uv", "npm", "cargo", "git", "Java", "Debian"] {
        #expect(AuthorityReport.instructions(directory, .plain).contains(client))
      }
    }
  }

  @Test(
    "init needs to know for which hosts",
    arguments: [
      ([], "which hosts"), (["--host", "*"], "--any-host"), (["--host", "a b"], "--host a b"),
    ])
  func hosts(arguments: [String], complaint: String) throws {
    try scratch { directory in
      var command = try Holdfast.parseAsRoot(["ca", "init", "--ca", directory.path] + arguments)
      let error = #expect(throws: Failure.self) { try command.run() }
      #expect(error?.text.contains(complaint) == true)
      #expect((try? File.status(at: directory.path)) == nil)
    }
  }
}
