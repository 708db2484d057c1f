// Which stored responses the words of a command mean, and what is said of a store that cannot be read.

import Configuration
import Foundation
import Testing

@testable import CLI

@Suite("What is meant in the store") struct StoreSelectorTests {
  @Test(
    "a host without a port is that host on every port",
    arguments: [
      ("127.0.0.1", "http://127.0.0.1:4301/a", true), ("127.0.0.1", "https://127.0.0.1/a", true),
      ("127.0.0.1", "http://127.0.0.10/a", false),
      ("127.0.0.1:80", "http://127.0.0.1:8080/", false),
      ("127.0.0.1:8080", "http://127.0.0.1:8080/", true), ("[::1]", "http://[::1]:8080/", true),
      ("[::1]:80", "http://[::1]:8080/", false),
      ("a.example.org/b", "http://a.example.org/b/c", true),
      ("a.example.*", "http://a.example.org:81/", true), ("", "http://a/", true),
    ])
  func hosts(text: String, uri: String, isMeant: Bool) {
    #expect(StoreSelector(text, isPrefix: true).matches(uri) == isMeant)
  }

  @Test("warnings name what could not be made, and make nothing")
  func places() throws {
    let directory = NSTemporaryDirectory() + "/holdfast-places-\(UUID().uuidString)"
    try FileManager.default.createDirectory(
      atPath: directory + "/logs", withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try Data().write(to: URL(fileURLWithPath: directory + "/file"))
    var configuration = Configuration()
    configuration.store.path = directory + "/file/store"
    configuration.log.access = .file(directory + "/logs")
    configuration.resets.path = .file(directory + "/deep/er/resets.jsonl")
    let warnings = PlaceCheck.warnings(configuration)
    #expect(warnings.map(\.key) == ["store.path", "log.access"])
    #expect(warnings.allSatisfy { $0.severity == .warning })
    #expect(!FileManager.default.fileExists(atPath: directory + "/deep"))
  }
}
