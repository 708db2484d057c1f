// Users and tokens from the command line to the running program and back.

import Foundation
import Glibc
import Testing

extension WholeProgram {
  @Suite("Users and tokens")
  struct AccessTests {
    private func shell(_ command: String) throws -> (code: Int32?, text: String) {
      let process = try ChildProcess("/bin/sh", ["-c", command], listensToOutput: true)
      let ending = try process.waitForEnd()
      let text = process.lines.joined(separator: "\n")
      if case .exited(let code) = ending { return (code, text) }
      return (nil, text)
    }

    private func mode(_ path: String) throws -> Int {
      let attributes = try FileManager.default.attributesOfItem(atPath: path)
      return (attributes[.posixPermissions] as? NSNumber)?.intValue ?? 0
    }

    @Test(
      "a user added on the command line is let in, one removed is not, and tools show the token")
    func whole() throws {
      let directory = try TemporaryDirectory()
      let users = directory.path + "/users"
      let token = directory.path + "/token"
      let holdfast = try HoldfastProcess.executable()
      try "0123456789abcdef-token\n".write(toFile: token, atomically: true, encoding: .utf8)
      chmod(token, 0o600)
      let added = try shell("printf 'open:sesame\\n' | \(holdfast) auth add alice --file \(users)")
      #expect(added.code == 0 && added.text.contains("added alice"), "\(added)")
      #expect(try mode(users) == 0o600)
      let short = try shell("printf 'short' | \(holdfast) auth add bob --file \(users)")
      #expect(short.code == 1 && short.text.contains("fewer than 8"), "\(short)")

      var configuration = HoldfastProcess.Configuration()
      configuration.admin = "{ address: 127.0.0.1:0, token-file: \(token) }"
      configuration.more = "auth: { file: \(users) }"
      let store = directory.path + "/store"
      let server = try HoldfastProcess(store: store, configuration: configuration)
      defer { server.process.end() }
      func ask(_ credentials: String) throws -> Int {
        let client = try Client(port: server.port)
        try client.send(
          "GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\(credentials)\r\n")
        return try client.readHead().status
      }
      let alice = Data("alice:open:sesame".utf8).base64EncodedString()
      #expect(try ask("") == 407)
      #expect(try ask("Proxy-Authorization: Basic \(alice)\r\n") == 502)

      let admin = "--admin 127.0.0.1:\(server.adminPort) --store \(store)"
      let refused = try shell("\(holdfast) store list \(admin)")
      #expect(refused.code == 1 && refused.text.contains("--token-file"), "\(refused)")
      let listed = try shell("\(holdfast) store list \(admin) --token-file \(token)")
      #expect(listed.code == 0, "\(listed)")
      let configured = try shell("\(holdfast) store list \(admin) --config \(store).yaml")
      #expect(configured.code == 0, "\(configured)")

      let removed = try shell("\(holdfast) auth remove alice --config \(store).yaml")
      #expect(removed.code == 0, "\(removed)")
      server.process.signal(SIGHUP)
      try server.process.wait(for: "the reload") { lines in
        lines.contains { $0.contains("configuration read again") } ? () : nil
      }
      #expect(try ask("Proxy-Authorization: Basic \(alice)\r\n") == 407)
      // A line that cannot be used is named, and what was right stays.
      try "carol:secret\n".write(toFile: users, atomically: true, encoding: .utf8)
      let check = try shell("\(holdfast) check --config \(store).yaml")
      #expect(check.code == 1 && check.text.contains("users:1: has no hash"), "\(check)")
      #expect(!check.text.contains("secret"))
    }
  }
}
