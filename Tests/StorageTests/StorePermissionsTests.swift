// Who can get at the files of a store, and where its names can lead.

import Foundation
import Platform
import Testing

@testable import Storage

@Suite struct StorePermissionsTests {
  private func inDirectory(_ body: (String) throws -> Void) throws {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-store-")
    defer { try? File.removeTree(directory) }
    try body(directory)
  }

  @Test("directories are for their owner alone, and so are files")
  func modes() throws {
    try inDirectory { directory in
      let store = try Store.open(StoreOptions(path: directory + "/a/store", size: 64 << 20))
      store.close()
      for path in ["a", "a/store", "a/store/log", "a/store/blobs", "a/store/partial"] {
        #expect(try File.status(at: "\(directory)/\(path)").mode == 0o700, "\(path)")
      }
      #expect(try File.status(at: directory + "/a/store/format").mode == 0o600)
      for entry in try File.list(directory + "/a/store/log") {
        #expect(try File.status(at: "\(directory)/a/store/log/\(entry.name)").mode == 0o600)
      }
    }
  }

  @Test(
    "a part of a store that is a link is refused", arguments: ["log", "blobs", "partial", "format"])
  func linkedPart(name: String) throws {
    try inDirectory { directory in
      let path = directory + "/store"
      try Store.open(StoreOptions(path: path, size: 64 << 20)).close()
      let elsewhere = directory + "/elsewhere"
      try File.rename("\(path)/\(name)", to: elsewhere)
      try FileManager.default.createSymbolicLink(
        atPath: "\(path)/\(name)", withDestinationPath: elsewhere)
      let before = try File.list(directory).count
      #expect(throws: StoreError.self) { try Store.open(StoreOptions(path: path, size: 64 << 20)) }
      #expect(try File.list(directory).count == before)
    }
  }

  @Test("a store that is a link itself is used where it lies")
  func linkedStore() throws {
    try inDirectory { directory in
      try File.makeDirectory(directory + "/disk")
      try FileManager.default.createSymbolicLink(
        atPath: directory + "/store", withDestinationPath: directory + "/disk")
      try Store.open(StoreOptions(path: directory + "/store", size: 64 << 20)).close()
      #expect(try File.status(at: directory + "/disk/format").kind == .file)
    }
  }
}
