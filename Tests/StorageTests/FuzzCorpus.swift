// Finds the fuzz corpora beside the sources.

import Platform

@testable import Storage

func corpusFiles(_ name: String, file: String = #filePath) throws -> [[UInt8]] {
  let tests = file.split(separator: "/", omittingEmptySubsequences: false).dropLast(2)
  let directory = tests.joined(separator: "/") + "/Fuzz/corpus/" + name
  return try File.list(directory).filter { $0.kind == .file }.sorted { $0.name < $1.name }.map {
    let descriptor = try File.open(directory + "/" + $0.name)
    let size = try File.status(descriptor.rawValue).size
    return try File.readFully(descriptor.rawValue, count: Int(size), at: 0)
  }
}
