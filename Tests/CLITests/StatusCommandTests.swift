import Configuration
import Foundation
import Testing

@testable import CLI

@Suite("The status command")
struct StatusCommandTests {
  private func status(_ change: (String) -> String = { $0 }) throws -> InstanceStatus {
    let text = """
      {"name":"Holdfast","version":"0.1.0","state":"serving","offline":false,
       "listen":["127.0.0.1:3128"],"connections":3,"fills":1,
       "store":{"path":"/srv/store","entries":12,"bytes":1048576,"limit":10737418240,"memory":0,
       "recovered":true},"memory":52428800,"kernelTLS":"not offered by this kernel"}
      """
    return try JSONDecoder().decode(InstanceStatus.self, from: Data(change(text).utf8))
  }

  @Test("an instance is told of in a few lines, and what it says is not taken for the terminal's")
  func report() throws {
    let text = StatusCommand.report(try status(), .plain)
    for part in [
      "serving", "127.0.0.1:3128", "/srv/store: 12 entries", "kernel TLS",
      "not offered by this kernel",
    ] {
      #expect(text.contains(part), "\(text)")
    }
    #expect(!text.contains("offline") && !text.contains("being read"))
    let other = StatusCommand.report(
      try status {
        $0.replacing("\"serving\"", with: "\"draining\"").replacing(
          "\"offline\":false", with: "\"offline\":true"
        ).replacing("\"recovered\":true", with: "\"recovered\":false").replacing(
          "127.0.0.1:3128", with: "\\u001b[31m")
      }, .plain)
    #expect(other.contains("draining, offline") && other.contains("still being read"))
    #expect(!other.contains("\u{1B}"))
  }

  @Test("an older instance says nothing of TLS in the kernel")
  func older() throws {
    let old = try status {
      $0.replacing(",\"kernelTLS\":\"not offered by this kernel\"", with: "")
    }
    #expect(!StatusCommand.report(old, .plain).contains("kernel TLS"))
  }

  @Test("without an admin listener it says how to name one")
  func nobody() throws {
    let file = FileManager.default.temporaryDirectory.appending(
      path: "holdfast-status-\(UUID()).yaml")
    try "admin: none\n".write(to: file, atomically: true, encoding: .utf8)
    defer { try? FileManager.default.removeItem(at: file) }
    var command = try Holdfast.parseAsRoot(["status", "--config", file.path])
    let error = #expect(throws: Failure.self) { try command.run() }
    #expect(error?.text.contains("--admin") == true)
  }
}
