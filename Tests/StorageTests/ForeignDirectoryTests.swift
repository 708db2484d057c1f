// A store is not put beside what somebody else keeps.

import Platform
import Testing

@testable import Storage

@Suite("Directories of others") struct ForeignDirectoryTests {
  private func opening(beside names: [String]) throws -> Result<Void, StoreError> {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-foreign-")
    defer { try? File.removeTree(directory) }
    for name in names { _ = try File.open(directory + "/" + name, [.write, .create]) }
    do throws(StoreError) {
      let store = try Store.open(StoreOptions(path: directory, size: 1 << 30))
      store.close()
      return .success(())
    } catch {
      let left = try File.list(directory).map(\.name).sorted()
      #expect(left == names.sorted(), "nothing is left behind")
      return .failure(error)
    }
  }

  @Test("a directory with files of others is refused, and nothing is put into it")
  func refused() throws {
    guard case .failure(.notEmpty(_, let file)) = try opening(beside: ["thesis.txt", ".hidden"])
    else {
      Issue.record("was taken")
      return
    }
    #expect(file == "thesis.txt")
  }

  @Test("an empty one is taken, and one that only a file system has used")
  func taken() throws {
    for names in [[], ["lost+found"], [".snapshot"]] { try opening(beside: names).get() }
  }
}
