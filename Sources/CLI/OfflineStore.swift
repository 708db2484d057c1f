// The store on disk, opened by the command itself while no instance runs on it.

import Caching
import HTTP
import Proxy
import Storage

struct OfflineStore: StoreAccess {
  let store: Store

  func list(_ selector: StoreSelector, _ body: (StoreRow) throws -> Void) throws {
    var failure: (any Error)?
    store.forEachEntry { entry in
      let url = entry.keyText
      guard selector.matches(url) else { return true }
      do {
        try body(
          StoreRow(
            url: url, status: Int(entry.status), bytes: entry.contentLength,
            stored: entry.responseTime, varies: entry.varies,
            incomplete: entry.isIncomplete ? true : nil, sha256: entry.digest?.hex))
        return true
      } catch {
        failure = error
        return false
      }
    }
    if let failure { throw failure }
  }

  func show(_ url: String) throws -> [StoreDetail] {
    let key = CacheKey(Array(url.utf8), hasher: store.keyHasher)
    var details = store.show(key).map(Self.detail)
    if let incomplete = store.showIncomplete(key) {
      var detail = Self.detail(
        incomplete.key, incomplete.response, bytes: incomplete.length, digest: nil)
      detail.incomplete = true
      detail.expected = incomplete.expectedLength
      details.append(detail)
    }
    return details
  }

  static func detail(_ entry: StoredEntry) -> StoreDetail {
    var digest: String?
    if case .blob(let file) = entry.body { digest = file.digest.hex }
    return detail(entry.key, entry.response, bytes: entry.contentLength, digest: digest)
  }

  private static func detail(
    _ key: [UInt8], _ response: StoredResponse, bytes: Int64, digest: String?
  ) -> StoreDetail {
    let fields = response.fields
    return StoreDetail(
      url: String(decoding: key, as: UTF8.self), status: Int(response.status.rawValue),
      bytes: bytes, stored: response.responseTime,
      freshUntil: response.responseTime
        &+ response.freshness.remaining(at: response.responseTime), sha256: digest,
      selectedBy: response.variance.selectors.map { selector in
        StoreDetail.Field(
          name: String(decoding: selector.name, as: UTF8.self),
          value: selector.value.map { String(decoding: $0, as: UTF8.self) })
      },
      fields: (0..<fields.count).map { index in
        StoreDetail.Field(
          name: String(decoding: fields.name(at: index), as: UTF8.self),
          value: String(decoding: fields.value(at: index), as: UTF8.self))
      })
  }

  func verify(repair: Bool) throws -> StoreVerification {
    let report: VerifyReport
    do throws(StoreError) {
      report = try store.verify(repair: repair)
    } catch {
      throw Failure("\(error)")
    }
    defer { store.close() }
    let findings = StoreAPI.findings(report)
    return StoreVerification(
      records: report.records, bodies: report.blobs, bytes: report.blobBytes,
      incomplete: report.incompletes,
      damage: findings.damage, leftovers: findings.leftovers, repaired: report.repaired)
  }

  func purge(_ selector: StoreSelector) throws -> StorePurge {
    let selections: [StoreAPI.Selection] =
      switch selector {
      case .all: [.all]
      case .exact(let url): [.exact(Array(url.utf8))]
      case .prefix(let prefixes): prefixes.map { .prefix(Array($0.utf8)) }
      }
    var sum = StorePurge(responses: 0, bytes: 0)
    do throws(StoreError) {
      for selection in selections {
        let part = try StoreAPI.purge(store, selection)
        sum.responses += part.responses
        sum.bytes += part.bytes
      }
    } catch {
      throw Failure("\(error)")
    }
    store.close()
    return sum
  }
}
