// What no page and no source may have.

import Foundation
import Testing

@Suite("Documentation and sources") struct DocumentationTests {
  @Test("no merge was left half done")
  func conflictMarkers() throws {
    let root = URL(fileURLWithPath: #filePath)
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let markers = ["<", ">", "|"].map { String(repeating: $0, count: 7) + " " }
    var files = [root.appendingPathComponent("README.md")]
    for name in ["docs", "Sources", "Tests", "config", "docker", "scripts"] {
      let found = FileManager.default.enumerator(
        at: root.appendingPathComponent(name), includingPropertiesForKeys: nil)
      while let file = found?.nextObject() as? URL { files.append(file) }
    }
    var read = 0
    for file in files {
      guard let text = try? String(contentsOf: file, encoding: .utf8) else { continue }
      read += 1
      for line in text.split(separator: "\n") where markers.contains(where: line.hasPrefix) {
        Issue.record("\(file.lastPathComponent): \(line.prefix(60))")
      }
    }
    #expect(read > 100)
  }
}
