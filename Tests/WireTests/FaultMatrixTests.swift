// The fault matrix (docs/faults.md) names a test for each fault; here is seen to it that all of them exist.

import Foundation
import Testing

@Suite struct FaultMatrixTests {
  private static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// `Suite/function` of each row, with the row's first cell.
  private static func rows() throws -> [(fault: String, tests: [String])] {
    let url = root.appendingPathComponent("docs/faults.md")
    let text = try String(contentsOf: url, encoding: .utf8)
    return text.split(separator: "\n").compactMap { line in
      guard line.hasPrefix("| "), !line.hasPrefix("| fault |") else { return nil }
      let cells = line.split(separator: "|", omittingEmptySubsequences: false)
        .map { $0.trimmingCharacters(in: .whitespaces) }
      guard cells.count >= 3, let last = cells.dropLast().last else { return nil }
      let tests = last.split(separator: ",").map {
        $0.trimmingCharacters(in: CharacterSet(charactersIn: " `"))
      }
      return (cells[1], tests)
    }
  }

  /// Functions of each suite, from the sources of all tests.
  private static func functions() throws -> [String: Set<Substring>] {
    var functions: [String: Set<Substring>] = [:]
    let tests = root.appendingPathComponent("Tests")
    let files = FileManager.default.enumerator(at: tests, includingPropertiesForKeys: nil)
    while let url = files?.nextObject() as? URL {
      guard url.pathExtension == "swift", url.lastPathComponent.hasSuffix("Tests.swift") else {
        continue
      }
      let text = try String(contentsOf: url, encoding: .utf8)
      let names = text.matches(of: /func ([A-Za-z0-9]+)\(/).map(\.output.1)
      functions[url.deletingPathExtension().lastPathComponent, default: []].formUnion(names)
    }
    return functions
  }

  @Test("every fault in the matrix names tests that exist")
  func testsExist() throws {
    let functions = try Self.functions()
    let rows = try Self.rows()
    #expect(rows.count > 40, "the table was not understood")
    for row in rows {
      for test in row.tests {
        let parts = test.split(separator: "/", maxSplits: 1)
        let isThere =
          parts.count == 2 && functions[String(parts[0])]?.contains(parts[1]) == true
        #expect(isThere, "\(row.fault): there is no test \(test)")
      }
    }
  }
}
