// Replays what the fuzzer has kept: every file of a corpus goes through the same entry that the
// fuzzer uses. A crash found by `make fuzz` becomes a test by moving its file into the corpus.

import FuzzEntries
import Glibc
import Testing

@Suite("corpora of the fuzzer")
struct CorpusTests {
  @Test("every input ever kept still does no harm", arguments: FuzzTarget.allCases)
  func replay(_ target: FuzzTarget) throws {
    let inputs = try Corpus.inputs(of: target)
    #expect(!inputs.isEmpty, "Tests/Fuzz/corpus/\(target) is empty")
    for input in inputs { target.run(input) }
  }

  @Test("nor does any single byte of them, changed or missing", arguments: FuzzTarget.allCases)
  func neighbours(_ target: FuzzTarget) throws {
    for input in try Corpus.inputs(of: target) where input.count <= 300 {
      for index in input.indices {
        var changed = input
        changed[index] ^= 1 << UInt8(index % 8)
        target.run(changed)
        target.run(Array(input[..<index]))
      }
    }
  }
}

enum Corpus {
  struct Unreadable: Error { let path: String }

  /// The content of every file of a corpus, in the order of their names.
  static func inputs(of target: FuzzTarget) throws -> [[UInt8]] {
    let tests = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
    let directory = "/\(tests)/Fuzz/corpus/\(target.rawValue)"
    guard let stream = opendir(directory) else { throw Unreadable(path: directory) }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if !name.hasPrefix(".") { names.append(name) }
    }
    return try names.sorted().map { try read("\(directory)/\($0)") }
  }

  private static func read(_ path: String) throws -> [UInt8] {
    guard let file = fopen(path, "r") else { throw Unreadable(path: path) }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var block = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = fread(&block, 1, block.count, file)
      if count == 0 { return bytes }
      bytes += block[..<count]
    }
  }
}
