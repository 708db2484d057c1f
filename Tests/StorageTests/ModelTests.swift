// The store against a dictionary: random operations from a seed, with openings in between.

import Caching
import Platform
import SeededRandom
import Testing

@testable import Storage

@Suite struct ModelTests {
  private func content(_ key: Int, _ version: Int, isBlob: Bool) -> [UInt8] {
    Array("\(key) \(version) ".utf8) + bytes(isBlob ? 20_000 : 300, seed: UInt64(version))
  }

  @Test(
    "roomy: everything is found, and only in its newest form", arguments: 0..<12 as Range<UInt64>)
  func roomy(seed: UInt64) throws {
    try run(seed: seed, size: 256 << 20, steps: 400, mayBeEvicted: false)
  }

  @Test("cramped: what is found is the newest form", arguments: 0..<12 as Range<UInt64>)
  func cramped(seed: UInt64) throws {
    try run(seed: seed + 1000, size: 600_000, steps: 1200, mayBeEvicted: true)
  }

  private func run(seed: UInt64, size: Int64, steps: Int, mayBeEvicted: Bool) throws {
    var random = SeededGenerator(seed: seed)
    let fixture = try StoreFixture(size: size, memory: 100_000, segment: 32 << 10)
    var store = try fixture.open()
    defer { store.close() }
    // By key, then by variant.
    var model: [Int: [Int: [UInt8]]] = [:]

    func check(_ key: Int) {
      let set = store.get("http://\(key % 5)/\(key)")
      var expected = model[key] ?? [:]
      for entry in set?.entries ?? [] {
        let variant = entry.response.variance.selectors.first.flatMap {
          Int(String(decoding: $0.value ?? [], as: UTF8.self))
        }
        #expect(entry.bytes == expected.removeValue(forKey: variant ?? 0), "seed \(seed)")
      }
      if !mayBeEvicted { #expect(expected.isEmpty, "seed \(seed): lost \(key)") }
    }

    for step in 0..<steps {
      let number = Int.random(in: 0..<60, using: &random)
      let key = store.key("http://\(number % 5)/\(number)")
      let variant = number % 4 == 0 ? Int.random(in: 0..<3, using: &random) : 0
      let response = response(vary: variant == 0 ? [] : [("x", "\(variant)")])
      switch Int.random(in: 0..<100, using: &random) {
      case 0..<35:
        let data = content(number, step, isBlob: false)
        store.save(key, response: response, body: .inline(data))
        model[number, default: [:]][variant] = data
      case 35..<50:
        // Every other blob is one that is there already.
        let version = Bool.random(using: &random) ? step : 7
        let data = content(version == 7 ? 0 : number, version, isBlob: true)
        let growing = try store.grow(key, response: response, expectedLength: Int64(data.count))
        let cut = Int.random(in: 0...data.count, using: &random)
        let first = data[..<cut].withUnsafeBytes { growing.append($0) }
        let second = data[cut...].withUnsafeBytes { growing.append($0) }
        guard case .appended = first, case .appended = second,
          case .finished(let blob) = growing.finish(length: Int64(data.count))
        else {
          #expect(mayBeEvicted)
          growing.abandon()
          continue
        }
        store.save(key, response: response, body: .blob(blob))
        model[number, default: [:]][variant] = data
      case 50..<58:
        store.remove(key)
        model[number] = nil
      case 58..<62:
        let prefix = number % 5
        try store.purge(.prefix(Array("http://\(prefix)/1".utf8)))
        for other in model.keys where other % 5 == prefix && String(other).hasPrefix("1") {
          model[other] = nil
        }
      case 62..<66:
        if let entry = store.get("http://\(number % 5)/\(number)")?.entries.first {
          store.refresh(entry, response: entry.response)
        }
      case 66..<69:
        store.close()
        store = try fixture.open()
      case 69..<71:
        let report = try store.verify()
        #expect(report.isClean, "seed \(seed): \(report)")
      case 71..<75:
        store.flush()
        #expect(try fixture.onDisk() <= size, "seed \(seed)")
      default:
        check(number)
      }
    }
    for number in 0..<60 { check(number) }
    store.close()
    store = try fixture.open()
    for number in 0..<60 { check(number) }
    #expect(store.statistics.usedBytes == (try fixture.onDisk()), "seed \(seed)")
    #expect(store.statistics.refused == 0 || mayBeEvicted)
  }
}
