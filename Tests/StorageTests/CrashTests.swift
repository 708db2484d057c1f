// What a stopped process, a torn write or a damaged disk leaves behind, and what the next opening makes of it.

import Caching
import Glibc
import Platform
import Testing

@testable import Storage

@Suite struct CrashTests {
  /// A copy of the store as it would be found had the process been killed now.
  private func killed(_ fixture: StoreFixture) throws -> StoreFixture {
    let copy = try StoreFixture()
    copy.options = fixture.options
    copy.options.path = copy.path + "/store"
    try copyTree(fixture.options.path, copy.options.path)
    return copy
  }

  @Test("killed at any moment: what is found is right, and the rest is simply not there")
  func tornTail() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    for number in 0..<40 {
      store.put("http://a/\(number)", "content of \(number)")
      store.flush()
    }
    let whole = try killed(fixture)
    store.close()
    let size = try File.status(at: whole.segmentPath(1)).size
    for cut in stride(from: 0, through: size, by: 37) {
      let copy = try killed(whole)
      let file = try File.open(copy.segmentPath(1), .readWrite)
      try File.truncate(file.rawValue, to: cut)
      // Garbage behind the cut, as a file system may leave it.
      if cut % 2 == 0 {
        try File.writeFully(file.rawValue, bytes(100, seed: UInt64(cut)), at: cut)
      }
      let found = try copy.open()
      var isThere = true
      for number in 0..<40 {
        let text = found.text("http://a/\(number)")
        #expect(text == nil || text == "content of \(number)")
        // In the order of writing: nothing after the first that is missing.
        #expect(isThere || text == nil)
        isThere = text != nil
      }
      #expect(isThere == (cut == size))
      let report = try found.verify()
      #expect(report.isClean && report.unsealed.isEmpty, "\(report)")
      // And it goes on from there.
      found.put("http://a/new", "new")
      found.close()
      let again = try copy.open()
      #expect(again.text("http://a/new") == "new")
      again.close()
    }
  }

  @Test(
    "partial bodies of a killed process that nobody could go on with are gone, and the space they took"
  )
  func partials() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let growing = try store.grow(store.key("http://a/"), response: response(), expectedLength: 9)
    _ = bytes(2 << 20).withUnsafeBytes { growing.append($0) }
    #expect(try fixture.files("partial").count == 1)
    let copy = try killed(fixture)
    growing.abandon()
    #expect(try fixture.files("partial") == [])
    store.close()

    let found = try copy.open()
    #expect(try copy.files("partial") == [])
    #expect(found.statistics.usedBytes == 0)
    found.close()
  }

  @Test("a blob without a record goes at the next start")
  func orphan() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let growing = try store.grow(store.key("http://a/"), response: response(), expectedLength: nil)
    _ = bytes(50_000).withUnsafeBytes { growing.append($0) }
    guard case .finished(let blob) = growing.finish(length: nil) else {
      Issue.record("not finished")
      return
    }
    let copy = try killed(fixture)
    _ = consume blob
    store.close()
    #expect(try copy.blobFiles().count == 1)
    let found = try copy.open()
    found.flush()
    #expect(try copy.blobFiles() == [])
    found.close()
  }

  @Test(
    "after an unclean stop a damaged blob is never served; after a clean one it is not read twice")
  func damagedBlob() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let content = bytes(60_000)
    try store.putBlob("http://a/", content)
    try store.putBlob("http://b/", bytes(60_000, seed: 2))
    store.flush()
    let copy = try killed(fixture)
    store.close()
    let name = try #require(store.get("http://a/")?.entries.first?.blobReference?.digest.hex)
    let path = copy.options.path + "/blobs/" + name.prefix(2) + "/" + name
    let file = try File.open(path, .readWrite)
    try File.writeFully(file.rawValue, [0, 1, 2], at: 30_000)

    let found = try copy.open()
    let report = try found.verify()
    #expect(report.damagedBlobs.map(\.hex) == [name])
    #expect(found.get("http://a/") == nil)
    #expect(found.get("http://b/")?.entries.first?.bytes == bytes(60_000, seed: 2))
    #expect(found.statistics.troubles[.damaged] == 1)
    // Fetched again, it is right again.
    try found.putBlob("http://a/", content)
    #expect(found.get("http://a/")?.entries.first?.bytes == content)
    found.flush()
    #expect(try found.verify().isClean)
    found.close()
  }

  @Test("a damaged record is dropped when it is used, others are not touched")
  func damagedRecord() throws {
    let fixture = try StoreFixture()
    do {
      let store = try fixture.open()
      for number in 0..<20 { store.put("http://a/\(number)", "content \(number)") }
      store.close()
    }
    let offset: Int64 = 32 + 90
    do {
      let file = try File.open(fixture.segmentPath(1), .readWrite)
      try File.writeFully(file.rawValue, [0xFF], at: offset)
    }
    let store = try fixture.open()
    #expect(try store.verify().damagedRecords == ["00000001:32"])
    #expect(store.text("http://a/0") == nil)
    for number in 1..<20 { #expect(store.text("http://a/\(number)") == "content \(number)") }
    #expect(try store.verify(repair: true).repaired)
    #expect(try store.verify().isClean)
    for number in 1..<20 { #expect(store.text("http://a/\(number)") == "content \(number)") }
    store.close()
    let again = try fixture.open()
    #expect(again.text("http://a/0") == nil)
    for number in 1..<20 { #expect(again.text("http://a/\(number)") == "content \(number)") }
    again.close()
  }

  @Test("repair keeps what was removed removed, and what came after it")
  func repairWithTombstones() throws {
    let fixture = try StoreFixture()
    do {
      let store = try fixture.open()
      store.put("http://a/", "old")
      store.put("http://b/", "old")
      store.close()
    }
    do {
      let store = try fixture.open()
      store.put("http://x/", "damaged")
      store.remove(store.key("http://a/"))
      store.remove(store.key("http://b/"))
      store.close()
    }
    do {
      let store = try fixture.open()
      store.put("http://b/", "new")
      store.close()
    }
    let file = try File.open(fixture.segmentPath(2), .readWrite)
    try File.writeFully(file.rawValue, [0xFF], at: 32 + 80)
    let store = try fixture.open()
    #expect(try store.verify(repair: true).repaired)
    #expect(try store.verify().isClean)
    store.close()
    let again = try fixture.open()
    #expect(again.get("http://a/") == nil)
    #expect(again.get("http://x/") == nil)
    #expect(again.text("http://b/") == "new")
    again.close()
  }

  @Test("strange things in the directory are refused or passed over")
  func strangers() throws {
    let fixture = try StoreFixture()
    do {
      let store = try fixture.open()
      store.put("http://a/", "a")
      store.close()
    }
    for name in ["log/README", "log/1", "log/99999999999", "blobs/zz", "partial/x"] {
      _ = try File.open(fixture.options.path + "/" + name, [.write, .create])
    }
    let store = try fixture.open()
    #expect(store.text("http://a/") == "a")
    store.close()

    let format = try File.open(fixture.options.path + "/format", .readWrite)
    try File.writeFully(format.rawValue, Array("holdfast-store 9".utf8), at: 0)
    #expect(throws: StoreError.wrongVersion(path: fixture.options.path, found: "9")) {
      _ = try fixture.open()
    }
    try File.writeFully(format.rawValue, Array("something else 1".utf8), at: 0)
    #expect(throws: StoreError.notAStore(path: fixture.options.path)) { _ = try fixture.open() }
  }

  @Test("a symbolic link in place of a blob or a segment is not followed")
  func links() throws {
    let fixture = try StoreFixture()
    let content = bytes(40_000)
    do {
      let store = try fixture.open()
      try store.putBlob("http://a/", content)
      store.close()
    }
    let blob = try #require(try fixture.blobFiles().first)
    try File.rename(blob, to: fixture.path + "/elsewhere")
    try makeLink(at: blob, to: fixture.path + "/elsewhere")
    let store = try fixture.open()
    #expect(store.get("http://a/") == nil)
    store.close()
  }

  @Test("opened for reading only, nothing changes on disk")
  func readOnly() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    store.put("http://a/", "a")
    try store.putBlob("http://b/", bytes(30_000))
    store.flush()
    let copy = try killed(fixture)
    var options = fixture.options
    options.readOnly = true
    #expect(throws: StoreError.inUse(path: options.path, process: getpid())) {
      _ = try Store.open(options)
    }
    store.close()

    let before = try listing(copy.options.path)
    options = copy.options
    options.readOnly = true
    let reader = try Store.open(options)
    var keys: [String] = []
    reader.forEachEntry {
      keys.append($0.keyText)
      return true
    }
    #expect(keys == ["http://a/", "http://b/"])
    #expect(try reader.verify().isClean)
    #expect(reader.text("http://a/") == "a")
    #expect(throws: StoreError.readOnly(path: options.path)) {
      _ = try reader.purge(.prefix([]))
    }
    reader.close()
    #expect(try listing(copy.options.path) == before)
  }
}
