// The reference, the defaults in the code and the committed pages say the same.

import Foundation
import Testing

@testable import Configuration

/// The text of a file of this repository.
func repositoryFile(_ path: String) throws -> String {
  let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
  return try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
}

@Suite("The reference")
struct ReferenceTests {
  @Test("the printed defaults, read back, are the defaults in the code")
  func defaultsReadBack() throws {
    let text = ReferencePages.yaml(active: true)
    let loaded = try ConfigurationLoader.read(text: text, file: "reference")
    #expect(loaded.configuration == Configuration())
    #expect(loaded.warnings.all.isEmpty)
  }

  @Test("every example can be used", arguments: Reference.settings.map { ($0.key, $0.example) })
  func examples(key: String, example: String) throws {
    let parts = key.split(separator: ".")
    let text = parts.count == 2 ? "\(parts[0]): { \(parts[1]): \(example) }" : "\(key): \(example)"
    let loaded = try ConfigurationLoader.read(text: text, file: "example")
    let setting = try #require(Reference.settings.first { $0.key == key })
    // An example shows something else than the default, or is one of the addresses people look for.
    #expect(
      setting.yaml(loaded.configuration) != setting.yaml(Configuration())
        || ["admin"].contains(key))
  }

  @Test(
    "meanings are sentences without table marks",
    arguments: Reference.settings.map { ($0.key, $0.meaning) })
  func meanings(key: String, meaning: String) {
    #expect(meaning.hasSuffix("."))
    #expect(meaning.first?.isLowercase == false || meaning.hasPrefix("`"))
    #expect(!meaning.contains("|") && !meaning.contains("\n"))
  }

  @Test("keys are unique, and each section is described")
  func keys() {
    let keys = Reference.settings.map(\.key)
    #expect(Set(keys).count == keys.count)
    let sections = Set(
      keys.filter { $0.contains(".") }.compactMap {
        $0.split(separator: ".").first.map(String.init)
      })
    #expect(sections == Set(Reference.sections.map(\.name)))
  }

  @Test("docs/configuration.md is what the reference prints; `make docs` prints it anew")
  func markdownIsCurrent() throws {
    #expect(try repositoryFile("docs/configuration.md") == ReferencePages.markdown())
  }

  @Test("config/holdfast.yaml is what the reference prints; `make docs` prints it anew")
  func yamlIsCurrent() throws {
    #expect(try repositoryFile("config/holdfast.yaml") == ReferencePages.yaml())
  }

  @Test("the commented file as it is changes nothing")
  func commentedFile() throws {
    let loaded = try ConfigurationLoader.read(text: ReferencePages.yaml(), file: "holdfast.yaml")
    #expect(loaded.configuration == Configuration())
  }

  @Test("only changes of keys that need it ask for a restart")
  func restartKeys() {
    var changed = Configuration()
    changed.upstream.maxIdle = 1
    changed.limits.fields = 50
    #expect(Reference.restartKeys(from: Configuration(), to: changed).isEmpty)
    changed.threads = .fixed(7)
    changed.store.size = .gib(1)
    #expect(Reference.restartKeys(from: Configuration(), to: changed) == ["threads", "store.size"])
  }

  @Test("the token of the admin listener changes with a reload, its address does not")
  func adminKeys() throws {
    let start = Configuration()
    var changed = start
    changed.admin?.hosts = [try HostPattern(reading: "admin.test")]
    #expect(Reference.restartKeys(from: start, to: changed).isEmpty)
    changed.admin = .loopback(port: 1)
    changed.limits.fields = 50
    #expect(Reference.restartKeys(from: start, to: changed) == ["admin"])
    Reference.keepStart(start, in: &changed)
    #expect(changed.admin == start.admin && changed.limits.fields == 50)
  }
}
