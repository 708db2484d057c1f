// The store as its callers see it: what was saved is found, at once, after a reopening, and after bad luck.

import Caching
import Glibc
import HTTP
import Platform
import Testing

@testable import Storage

@Suite struct StoreTests {
  @Test("what was saved is found at once, and again after closing and opening")
  func savedIsFound() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    #expect(store.get("http://a/1") == nil)
    store.put("http://a/1", "one")
    store.put("http://a/2", "two")
    #expect(store.text("http://a/1") == "one")
    store.close()

    let again = try fixture.open()
    guard case .cold = again.find(again.key("http://a/2")) else {
      Issue.record("not cold after opening")
      return
    }
    let set = try #require(again.get("http://a/2"))
    #expect(set.entries.map(\.text) == ["two"])
    #expect(set.entries[0].response.fields.text(.contentType) == "text/plain")
    #expect(set.entries[0].response.status.rawValue == 200)
    #expect(set.entries[0].response.responseTime == 1_700_000_000)
    guard case .hot = again.find(again.key("http://a/2")) else {
      Issue.record("not hot after loading")
      return
    }
    again.close()
  }

  @Test("what is saved or removed while the start-up scan runs is not undone by it")
  func duringRecovery() throws {
    let fixture = try StoreFixture(segment: 64 << 10)
    do {
      let store = try fixture.open()
      for number in 0..<1000 {
        store.put("http://a/\(number)", "old", vary: number < 500 ? [] : [("x", "old")])
      }
      store.close()
    }
    let store = try Store.open(fixture.options)
    for number in 0..<1000 {
      if number % 2 == 0 {
        store.remove(store.key("http://a/\(number)"))
      } else {
        store.put("http://a/\(number)", "new", vary: number < 500 ? [] : [("x", "new")])
      }
    }
    store.waitUntilRecovered()
    for _ in 0..<2 {
      for number in 0..<1000 {
        let found = store.get("http://a/\(number)")?.entries.map(\.text)
        let expected = number % 2 == 0 ? nil : number < 500 ? ["new"] : ["new", "old"]
        #expect(found == expected, "\(number)")
      }
    }
    store.close()
  }

  // Hashes are on disk. If this fails, what other versions have stored cannot be found: StoreFormat.version has to
  // go up with the change.
  @Test("keys have the hash they always had")
  func keyHash() {
    #expect(
      KeyHasher(seed: 1).hash(Array("http://example.org/a/key".utf8).span)
        == 6_683_648_219_843_259_487)
  }

  @Test("the head is ready to be sent, without its empty line")
  func head() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let entry = store.save(
      store.key("http://a/"), response: response(404, ["X-A": "1"]), body: body("gone"))
    #expect(
      String(decoding: entry.head, as: UTF8.self)
        == "HTTP/1.1 404 Not Found\r\nX-A: 1\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n")
    #expect(entry.contentLength == 4)
    store.close()
  }

  @Test("a large body is one file however many keys lead to it")
  func blobs() throws {
    let fixture = try StoreFixture()
    let content = bytes(100_000)
    do {
      let store = try fixture.open()
      try store.putBlob("http://a/big", content)
      try store.putBlob("http://b/big", content)
      #expect(try fixture.blobFiles().count == 1)
      store.close()
    }
    let store = try fixture.open()
    #expect(store.get("http://a/big")?.entries.first?.bytes == content)
    #expect(store.get("http://b/big")?.entries.first?.bytes == content)
    store.remove(store.key("http://a/big"))
    store.flush()
    #expect(store.get("http://b/big")?.entries.first?.bytes == content)
    store.remove(store.key("http://b/big"))
    store.flush()
    #expect(try fixture.blobFiles() == [])
    store.close()
  }

  @Test("the newest response of a variance wins, other variants stay")
  func variants() throws {
    let fixture = try StoreFixture()
    let vary: [(String, String?)] = [("accept-encoding", "gzip")]
    do {
      let store = try fixture.open()
      store.put("http://a/", "plain", vary: [("accept-encoding", nil)])
      store.put("http://a/", "zipped", vary: vary)
      store.put("http://a/", "zipped anew", vary: vary)
      #expect(store.get("http://a/")?.entries.map(\.text) == ["zipped anew", "plain"])
      store.close()
    }
    let store = try fixture.open()
    #expect(store.get("http://a/")?.entries.map(\.text) == ["zipped anew", "plain"])
    // One more for a key whose others are on disk only.
    store.close()
    let third = try fixture.open()
    third.put("http://a/", "brotli", vary: [("accept-encoding", "br")])
    #expect(third.get("http://a/")?.entries.map(\.text) == ["brotli", "zipped anew", "plain"])
    third.close()
  }

  @Test("what a note says tells no variants apart, and is there again after a restart")
  func notes() throws {
    let fixture = try StoreFixture()
    do {
      let store = try fixture.open()
      store.put("http://a/", "first", vary: [(":followed", "https://b"), ("accept", "x")])
      store.put("http://a/", "plain", vary: [("accept", "x")])
      store.put("http://a/", "second", vary: [(":followed", "https://c/d"), ("accept", "x")])
      #expect(store.get("http://a/")?.entries.map(\.text) == ["second", "plain"])
      store.close()
    }
    let store = try fixture.open()
    let entries = try #require(store.get("http://a/")?.entries)
    #expect(entries.map(\.text) == ["second", "plain"])
    #expect(entries[0].response.variance.selectors.first?.value == Array("https://c/d".utf8))
    #expect(entries[0].response.variance.matches(["Accept": "x"]))
    store.close()
  }

  @Test("of more than 32 variants the oldest go")
  func tooManyVariants() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    for number in 0..<40 { store.put("http://a/", "\(number)", vary: [("x", "\(number)")]) }
    store.flush()
    #expect(store.get("http://a/")?.entries.count == 32)
    #expect(store.get("http://a/")?.entries.first?.text == "39")
    store.close()
    let again = try fixture.open()
    #expect(again.get("http://a/")?.entries.map(\.text) == (8..<40).reversed().map { "\($0)" })
    again.close()
  }

  @Test("what was removed stays removed after opening again")
  func removed() throws {
    let fixture = try StoreFixture()
    do {
      let store = try fixture.open()
      store.put("http://a/", "a")
      store.put("http://b/", "b")
      store.flush()
      #expect(store.remove(store.key("http://a/")))
      #expect(store.get("http://a/") == nil)
      store.close()
    }
    let store = try fixture.open()
    #expect(store.get("http://a/") == nil)
    #expect(store.text("http://b/") == "b")
    store.close()
  }

  @Test("a freshened response keeps its body", arguments: [false, true])
  func refreshed(asBlob: Bool) throws {
    let fixture = try StoreFixture()
    let content = bytes(asBlob ? 50_000 : 500)
    do {
      let store = try fixture.open()
      let old =
        asBlob
        ? try store.putBlob("http://a/", content)
        : store.save(store.key("http://a/"), response: response(), body: .inline(content))
      store.refresh(old, response: response(200, ["X": "new"], at: 1_700_000_100))
      #expect(store.get("http://a/")?.entries.first?.bytes == content)
      store.close()
    }
    let store = try fixture.open()
    let set = try #require(store.get("http://a/"))
    #expect(set.entries.count == 1)
    #expect(set.entries[0].bytes == content)
    #expect(set.entries[0].response.responseTime == 1_700_000_100)
    store.close()
  }

  @Test("a second process is told which store is in use")
  func locked() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    #expect(throws: StoreError.inUse(path: fixture.options.path, process: getpid())) {
      _ = try fixture.open()
    }
    store.close()
  }

  @Test("the directory is its owner's alone")
  func permissions() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    try store.putBlob("http://a/", bytes(20_000))
    store.flush()
    #expect(try File.status(at: fixture.options.path).mode == 0o700)
    for path in try fixture.blobFiles() + [
      fixture.segmentPath(1), fixture.options.path + "/format",
    ] {
      #expect(try File.status(at: path).mode == 0o600)
    }
    store.close()
  }

  @Test("variants come newest first, however they lie in the log")
  func order() throws {
    let fixture = try StoreFixture()
    var store = try fixture.open()
    for (text, vary, time) in [("new", "accept", 1_700_000_100), ("old", "range", 1_700_000_000)] {
      store.save(
        store.key("a"), response: response(vary: [(vary, nil)], at: Int64(time)), body: body(text))
    }
    store.close()
    store = try fixture.open()
    #expect(store.get("a")?.entries.map(\.text) == ["new", "old"])
    store.close()
  }

  @Test("what cannot be read for a moment is not taken for nothing")
  func unreadable() throws {
    let fixture = try StoreFixture()
    var store = try fixture.open()
    store.put("a", "here")
    store.close()
    store = try fixture.open()
    let plan = FaultPlan(
      in: .directory(fixture.options.path), failing: [.read], number: 1, with: .inputOutput,
      repeats: true)
    plan.install()
    let result = store.load(store.key("a"))
    plan.remove()
    guard case .failed = result else {
      Issue.record("\(result)")
      return
    }
    guard case .nothing = store.load(store.key("b")) else {
      Issue.record("something")
      return
    }
    #expect(store.text("a") == "here")
    store.close()
  }
}
