// Copying and comparing directories.

import Glibc
import Platform

@testable import Storage

func copyTree(_ from: String, _ to: String) throws {
  try File.makeDirectory(to)
  for entry in try File.list(from) {
    let (source, target) = (from + "/" + entry.name, to + "/" + entry.name)
    if entry.kind == .directory {
      try copyTree(source, target)
    } else {
      let input = try File.open(source)
      let size = Int(try File.status(input.rawValue).size)
      let output = try File.open(target, [.write, .create])
      try File.writeFully(
        output.rawValue, try File.readFully(input.rawValue, count: size, at: 0), at: 0)
    }
  }
}

/// Every path below a directory with its size.
func listing(_ directory: String) throws -> [String] {
  try File.list(directory).flatMap { entry -> [String] in
    let path = directory + "/" + entry.name
    if entry.kind == .directory { return [path] + (try listing(path)) }
    return ["\(path) \(try File.status(at: path).size)"]
  }.sorted()
}

func makeLink(at path: String, to target: String) throws {
  guard symlink(target, path) == 0 else { throw Errno(rawValue: errno) }
}
