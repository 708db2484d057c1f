// The store commands on a real store in a directory of its own.

import ArgumentParser
import Caching
import Configuration
import Foundation
import HTTP
import Storage
import Telemetry
import Testing

@testable import CLI
@testable import Proxy

@Suite("The store commands on disk")
final class OfflineStoreTests {
  let directory: String

  init() throws {
    directory = NSTemporaryDirectory() + "holdfast-cli-\(UUID().uuidString)"
    let store = try Store.open(StoreOptions(path: directory, size: 64 << 20))
    for (url, content) in [
      ("http://a.example.org/x", "12345"), ("http://a.example.org/y", "1234567890"),
      ("http://b.example.org/x", "1"),
    ] {
      var fields = FieldSection()
      _ = fields.append(.contentType, "text/plain")
      _ = fields.append(.cacheControl, "max-age=60")
      let response = StoredResponse(
        status: .ok, fields: fields, requestTime: 1_772_446_272, responseTime: 1_772_446_272,
        variance: .none)
      store.save(
        CacheKey(Array(url.utf8), hasher: store.keyHasher), response: response,
        body: .inline(Array(content.utf8)))
    }
    store.close()
  }

  deinit { try? FileManager.default.removeItem(atPath: directory) }

  func open(_ purpose: StoreLocator.Purpose) throws -> any StoreAccess {
    var configuration = Configuration()
    configuration.store.path = directory
    configuration.store.size = .mib(64)
    return try StoreOpener.open(configuration, purpose)
  }

  func urls(_ selector: StoreSelector = .all) throws -> [String] {
    var urls: [String] = []
    try open(.read).list(selector) { urls.append($0.url) }
    return urls.sorted()
  }

  @Test("lists everything, or what is below a host")
  func list() throws {
    #expect(try urls().count == 3)
    #expect(
      try urls(StoreSelector("a.example.org", isPrefix: true))
        == ["http://a.example.org/x", "http://a.example.org/y"])
  }

  @Test("shows a response with its fields and freshness")
  func show() throws {
    let detail = try #require(try open(.read).show("http://a.example.org/y").first)
    #expect(detail.bytes == 10)
    #expect(detail.freshUntil == 1_772_446_332)
    #expect(
      detail.fields.contains { $0.name.lowercased() == "content-type" && $0.value == "text/plain" })
    #expect(try open(.read).show("http://a.example.org/none").isEmpty)
  }

  @Test("finds a sound store whole")
  func verify() throws {
    let result = try open(.read).verify(repair: false)
    #expect(result.records == 3)
    #expect(result.damage.isEmpty)
  }

  @Test("purges one URL, a beginning, everything; and says how much")
  func purge() throws {
    #expect(
      try open(.write).purge(.exact("http://a.example.org/x")) == StorePurge(responses: 1, bytes: 5)
    )
    #expect(try urls() == ["http://a.example.org/y", "http://b.example.org/x"])
    #expect(
      try open(.write).purge(StoreSelector("http://a.*", isPrefix: false))
        == StorePurge(responses: 1, bytes: 10))
    #expect(try open(.write).purge(.all) == StorePurge(responses: 1, bytes: 1))
    #expect(try urls().isEmpty)
  }

  @Test("the admin API tells the same as the command on disk")
  func adminAPI() throws {
    var offline: [StoreRow] = []
    try open(.read).list(.all) { offline.append($0) }
    let detail = try open(.read).show("http://a.example.org/y")
    let found = try open(.read).verify(repair: false)

    let store = try Store.open(StoreOptions(path: directory, size: 64 << 20))
    defer { store.close() }
    func decoded<Value: Decodable>(_ type: Value.Type, _ bytes: [UInt8]) throws -> [Value] {
      try bytes.split(separator: UInt8(ascii: "\n"))
        .map { try JSONDecoder().decode(type, from: Data($0)) }
    }
    #expect(try decoded(StoreRow.self, StoreAPI.list(store, .all)) == offline)
    #expect(
      try decoded(StoreDetail.self, StoreAPI.show(store, Array("http://a.example.org/y".utf8)))
        == detail)
    #expect(
      try decoded(StoreVerification.self, StoreAPI.verify(store, repair: false)).first?.records
        == found.records)
    let purge = try StoreAPI.purge(store, .prefix(Array("http://a.".utf8)))
    #expect(
      try decoded(StorePurge.self, StoreAPI.purged(purge)) == [StorePurge(responses: 2, bytes: 15)])
  }

  @Test("the admin API answers by path and method, and purges nothing that was not named")
  func adminRequests() throws {
    let store = try Store.open(StoreOptions(path: directory, size: 64 << 20))
    defer { store.close() }
    let handler = StoreAPI.handler(store)
    func ask(_ method: String, _ path: String, _ query: (String, String)...) -> UInt16? {
      handler(
        AdminRequest(
          method: method, path: path, query: query.map { (name: $0.0, value: $0.1) }))?.status
    }
    #expect(ask("GET", "/api/store") == 200)
    #expect(ask("GET", "/api/store/entry") == 400)
    #expect(ask("GET", "/api/store/entry", ("url", "http://a.example.org/none")) == 404)
    #expect(ask("GET", "/api/store/entry", ("url", "HTTP://A.example.org:80/y")) == 200)
    #expect(ask("POST", "/api/store") == 405)
    #expect(ask("GET", "/api/store/purge", ("all", "true")) == 405)
    #expect(ask("POST", "/api/store/purge") == 400)
    #expect(ask("POST", "/api/store/verify") == 200)
    #expect(ask("GET", "/api/other") == nil)
    #expect(store.statistics.entries == 3)
    #expect(ask("POST", "/api/store/purge", ("all", "true")) == 200)
    #expect(store.statistics.entries == 0)
  }

  @Test("what is written as JSON is read back unchanged")
  func json() throws {
    var object = JSONObject()
    object.add("a\"\\\n", "\u{0}\u{1B}\u{7F}é\u{2028}")
    object.add("list", ["", "x"])
    object.add("none", [JSONObject]())
    object.add("inner", JSONObject())
    object.add("number", Int64.min)
    object.add("flag", true)
    let read = try #require(
      try JSONSerialization.jsonObject(with: Data(object.line)) as? [String: Any])
    #expect(read["a\"\\\n"] as? String == "\u{0}\u{1B}\u{7F}é\u{2028}")
    #expect(read["list"] as? [String] == ["", "x"])
    #expect((read["none"] as? [Any])?.isEmpty == true)
    #expect(read["number"] as? Int64 == Int64.min)
    #expect(read["flag"] as? Bool == true)
  }

  @Test("a store that is not there is not made")
  func missing() throws {
    var configuration = Configuration()
    configuration.store.path = directory + "-none"
    #expect(throws: Failure.self) { try StoreOpener.open(configuration, .write) }
    #expect(!FileManager.default.fileExists(atPath: configuration.store.path))
  }

  @Test("a store in use is asked for through the instance")
  func inUse() throws {
    let holder = try Store.open(StoreOptions(path: directory, size: 64 << 20))
    defer { holder.close() }
    #expect(try open(.read) is RunningStore)
    var configuration = Configuration()
    configuration.store.path = directory
    configuration.admin = nil
    #expect {
      try StoreOpener.open(configuration, .read)
    } throws: { error in
      (error as? Failure)?.text.contains("is in use") == true
    }
  }
}
