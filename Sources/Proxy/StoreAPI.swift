// What the admin API tells of the store, as JSON. `holdfast store` reads it; its tests hold the two together.
//
//   GET  /api/store?prefix=P|url=U                    list: a line for each stored response
//   GET  /api/store/entry?url=U                       show: a line for each variant, 404 if there is none
//   POST /api/store/verify[?repair=true]              one object
//   POST /api/store/purge?prefix=P|url=U|all=true     one object
//
// Everything here blocks for as long as the disk takes: it belongs on a thread of the pool.

import Caching
import HTTP
import Storage
import Telemetry

/// Answers of the admin API about a store.
package enum StoreAPI {
  /// Which stored responses a request is about.
  package enum Selection: Sendable {
    case all
    case exact([UInt8])
    case prefix([UInt8])

    func matches(_ key: [UInt8]) -> Bool {
      switch self {
      case .all: true
      case .exact(let bytes): UpstreamCredentials.keys(of: bytes).contains(key)
      case .prefix(let bytes): key.starts(with: bytes)
      }
    }
  }

  // MARK: Requests

  /// Answers requests below `/api/store`; nil for every other path.
  package static func handler(_ store: Store) -> AdminHandler {
    { request in
      do throws(StoreError) {
        return try answer(request, store)
      } catch {
        return AdminAnswer(status: 500, text: "\(error)\n")
      }
    }
  }

  private static let lines = "application/x-ndjson"

  private static func answer(
    _ request: AdminRequest, _ store: Store
  ) throws(StoreError) -> AdminAnswer? {
    let selection =
      request.value("url").map { Selection.exact(key($0)) }
      ?? request.value("prefix").map { .prefix(Array($0.utf8)) }
    switch (request.method, request.path) {
    case ("GET", "/api/store"):
      return AdminAnswer(type: lines, content: list(store, selection ?? .all))
    case ("GET", "/api/store/entry"):
      guard let url = request.value("url") else {
        return AdminAnswer(status: 400, text: "say which one with ?url=\n")
      }
      let variants = show(store, key(url))
      if variants.isEmpty {
        return AdminAnswer(status: 404, text: "nothing is stored for that URL\n")
      }
      return AdminAnswer(type: lines, content: variants)
    case ("POST", "/api/store/verify"):
      return AdminAnswer(content: try verify(store, repair: request.value("repair") == "true"))
    case ("POST", "/api/store/purge"):
      // A forgotten parameter must not empty the store.
      let all = request.value("all") == "true" ? Selection.all : nil
      guard let selection = selection ?? all else {
        return AdminAnswer(status: 400, text: "say what with ?url=, ?prefix= or ?all=true\n")
      }
      return AdminAnswer(content: purged(try purge(store, selection)))
    case (_, "/api/store"), (_, "/api/store/entry"):
      return AdminAnswer(status: 405, text: "only GET is allowed here\n")
    case (_, "/api/store/verify"), (_, "/api/store/purge"):
      return AdminAnswer(status: 405, text: "only POST is allowed here\n")
    default:
      return nil
    }
  }

  /// A URL in the form it is stored under; as it stands when it is none.
  private static func key(_ url: String) -> [UInt8] { TargetURI(url)?.key ?? Array(url.utf8) }

  // MARK: Answers

  /// A line for each stored response.
  package static func list(_ store: Store, _ selection: Selection) -> [UInt8] {
    var lines: [UInt8] = []
    store.forEachEntry { entry in
      guard selection.matches(entry.key) else { return true }
      var object = JSONObject()
      object.add("url", entry.keyText)
      object.add("status", Int64(entry.status))
      object.add("bytes", entry.contentLength)
      object.add("stored", entry.responseTime)
      object.add("varies", entry.varies)
      if entry.isIncomplete { object.add("incomplete", true) }
      if let digest = entry.digest { object.add("sha256", digest.hex) }
      lines += object.line
      return true
    }
    return lines
  }

  /// A line for each variant stored under a key; empty when there is none.
  package static func show(_ store: Store, _ key: [UInt8]) -> [UInt8] {
    UpstreamCredentials.keys(of: key).flatMap {
      show(store, CacheKey($0, hasher: store.keyHasher))
    }
  }

  private static func show(_ store: Store, _ key: CacheKey) -> [UInt8] {
    var lines = store.show(key).flatMap { entry in
      var object = JSONObject()
      object.add("url", String(decoding: entry.key, as: UTF8.self))
      object.add("bytes", entry.contentLength)
      if case .blob(let file) = entry.body { object.add("sha256", file.digest.hex) }
      add(entry.response, to: &object)
      return object.line
    }
    if let incomplete = store.showIncomplete(key) {
      var object = JSONObject()
      object.add("url", String(decoding: incomplete.key, as: UTF8.self))
      object.add("bytes", incomplete.length)
      object.add("incomplete", true)
      if let length = incomplete.expectedLength { object.add("expected", length) }
      add(incomplete.response, to: &object)
      lines += object.line
    }
    return lines
  }

  private static func add(_ response: StoredResponse, to object: inout JSONObject) {
    let fields = response.fields
    object.add("status", Int64(response.status.rawValue))
    object.add("stored", response.responseTime)
    object.add(
      "freshUntil",
      response.responseTime &+ response.freshness.remaining(at: response.responseTime))
    object.add(
      "selectedBy",
      response.variance.ofRequests.selectors.map { field($0.name[...], $0.value.map { $0[...] }) })
    object.add(
      "fields", (0..<fields.count).map { field(fields.name(at: $0), fields.value(at: $0)) })
  }

  private static func field(_ name: ArraySlice<UInt8>, _ value: ArraySlice<UInt8>?) -> JSONObject {
    var object = JSONObject()
    object.add("name", String(decoding: name, as: UTF8.self))
    if let value { object.add("value", String(decoding: value, as: UTF8.self)) }
    return object
  }

  /// What a check of everything found.
  package static func verify(_ store: Store, repair: Bool) throws(StoreError) -> [UInt8] {
    verification(try store.verify(repair: repair))
  }

  static func verification(_ report: VerifyReport) -> [UInt8] {
    let findings = findings(report)
    var object = JSONObject()
    object.add("records", Int64(report.records))
    object.add("bodies", Int64(report.blobs))
    object.add("bytes", report.blobBytes)
    object.add("incomplete", Int64(report.incompletes))
    object.add("damage", findings.damage)
    object.add("leftovers", findings.leftovers)
    object.add("repaired", report.repaired)
    return object.line
  }

  /// The findings of a check as sentences: what is damaged, and what an unclean stop left behind.
  package static func findings(_ report: VerifyReport) -> (damage: [String], leftovers: [String]) {
    let damage =
      report.damagedRecords.map { "log/\($0): a record does not match its checksum" }
      + report.damagedSegments.map { "log/\($0): cannot be read to its end" }
      + report.damagedBlobs.map { "blobs/\($0.hex.prefix(2))/\($0.hex): not what its name says" }
      + report.damagedPartials.map { "partial/\($0): not what was written of it" }
      + report.unreadable.map { "\($0): cannot be read" }
    let leftovers =
      report.orphans.map { "blobs/\($0.hex.prefix(2))/\($0.hex): no record names it" }
      + report.unsealed.map { "log/\($0): was being written" }
    return (damage, leftovers)
  }

  /// Removes what is selected; says how many responses went, and the bytes of their content.
  package static func purge(
    _ store: Store, _ selection: Selection
  ) throws(StoreError) -> (responses: Int, bytes: Int64) {
    var bytes: Int64 = 0
    store.forEachEntry { entry in
      if selection.matches(entry.key) { bytes &+= entry.contentLength }
      return true
    }
    var responses = 0
    switch selection {
    case .all: responses = try store.purge(.prefix([]))
    case .exact(let key):
      for key in UpstreamCredentials.keys(of: key) { responses += try store.purge(.exact(key)) }
    case .prefix(let prefix): responses = try store.purge(.prefix(prefix))
    }
    return (responses, bytes)
  }

  /// What was purged, for the answer.
  package static func purged(_ result: (responses: Int, bytes: Int64)) -> [UInt8] {
    var object = JSONObject()
    object.add("responses", Int64(result.responses))
    object.add("bytes", result.bytes)
    return object.line
  }
}
