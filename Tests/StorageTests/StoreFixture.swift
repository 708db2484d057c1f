// A store in a directory of its own, and small makers of keys, responses and bodies.

import Caching
import Glibc
import HTTP
import Platform
import SeededRandom
import Testing

@testable import Storage

final class StoreFixture {
  let path: String
  var options: StoreOptions

  // In memory where there is enough of it: sealing and closing wait for the disk, and there are thousands of them.
  private static let parent: String = {
    let available = (try? File.space(at: "/dev/shm").available) ?? 0
    return available > 1 << 30 ? "/dev/shm" : "/tmp"
  }()

  init(size: Int64 = 64 << 20, memory: Int = 1 << 20, segment: Int? = 1 << 20) throws {
    path = try File.makeTemporaryDirectory(prefix: "holdfast-store-", in: Self.parent)
    options = StoreOptions(path: path + "/store", size: size, memory: memory)
    options.segmentSize = segment
    options.linger = .zero
  }

  deinit { try? File.removeTree(path) }

  func open() throws -> Store {
    let store = try Store.open(options)
    store.waitUntilRecovered()
    return store
  }

  func files(_ directory: String) throws -> [String] {
    try File.list(options.path + "/" + directory).map(\.name).sorted()
  }

  func blobFiles() throws -> [String] {
    try files("blobs").flatMap { prefix in
      try files("blobs/" + prefix).map { options.path + "/blobs/" + prefix + "/" + $0 }
    }
  }

  func segmentPath(_ id: UInt32) -> String { options.path + "/log/" + Segment.name(id) }

  /// Bytes of everything below the store's directory, counted as the store counts.
  func onDisk() throws -> Int64 {
    var sum: Int64 = 0
    func add(_ directory: String) throws {
      for entry in try File.list(directory) {
        let path = directory + "/" + entry.name
        if entry.kind == .directory {
          try add(path)
        } else if entry.name != "format" {
          sum += Space.onDisk(try File.status(at: path).size)
        }
      }
    }
    try add(options.path)
    return sum
  }
}

func response(
  _ status: UInt16 = 200, _ fields: FieldSection = ["Content-Type": "text/plain"],
  vary: [(String, String?)] = [], at time: Int64 = 1_700_000_000
) -> StoredResponse {
  var all = fields
  all.set(.date, HTTPDate.bytes(time))
  return StoredResponse(
    status: Status(rawValue: status), fields: all, requestTime: time, responseTime: time,
    variance: Variance(
      selectors: vary.map { name, value in
        Variance.Selector(name: Array(name.utf8), value: value.map { Array($0.utf8) })
      }))
}

func body(_ text: String) -> Store.Body { .inline(Array(text.utf8)) }

extension Store {
  func key(_ text: String) -> CacheKey { CacheKey(Array(text.utf8), hasher: keyHasher) }

  func find(_ key: CacheKey) -> Lookup {
    key.bytes.withUnsafeBytes { lookup(keyBytes: $0, hash: key.hash) }
  }

  /// What a client would get: hot, or loaded.
  func get(_ text: String) -> VariantSet? {
    let key = key(text)
    switch find(key) {
    case .absent: return nil
    case .hot(let set): return set
    case .cold: return if case .set(let set) = load(key) { set } else { nil }
    }
  }

  func text(_ key: String) -> String? {
    get(key).flatMap { $0.entries.first?.text }
  }

  @discardableResult
  func put(_ text: String, _ content: String, vary: [(String, String?)] = []) -> StoredEntry {
    save(key(text), response: response(vary: vary), body: body(content))
  }

  /// Grows a blob of these bytes and saves it.
  @discardableResult
  func putBlob(_ text: String, _ bytes: [UInt8]) throws -> StoredEntry {
    let key = key(text)
    let growing = try grow(key, response: response(), expectedLength: Int64(bytes.count))
    guard case .appended = bytes.withUnsafeBytes({ growing.append($0) }),
      case .finished(let blob) = growing.finish(length: Int64(bytes.count))
    else { throw Errno.inputOutput }
    return save(key, response: response(), body: .blob(blob))
  }
}

extension StoredEntry {
  var bytes: [UInt8] {
    switch body {
    case .inline: return Array(inlineBody)
    case .blob(let file):
      return (try? File.readFully(file.descriptor, count: Int(file.length), at: 0)) ?? []
    }
  }

  var text: String { String(decoding: bytes, as: UTF8.self) }
}

/// A sequence of bytes that is different for each seed.
func bytes(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
  var random = SeededGenerator(seed: seed)
  // Word by word, and compared by the C library: debug builds take their time over single bytes.
  return [UInt8](unsafeUninitializedCapacity: count + 8) { buffer, initialized in
    let raw = UnsafeMutableRawBufferPointer(buffer)
    var position = 0
    while position < count {
      raw.storeBytes(of: random.next(), toByteOffset: position, as: UInt64.self)
      position += 8
    }
    initialized = count
  }
}

/// Whether two stretches of bytes are the same.
func areSame(_ left: [UInt8], _ right: [UInt8]) -> Bool {
  guard left.count == right.count else { return false }
  return left.withUnsafeBytes { left in
    right.withUnsafeBytes { right in
      guard let first = left.baseAddress, let second = right.baseAddress else { return true }
      return memcmp(first, second, left.count) == 0
    }
  }
}
