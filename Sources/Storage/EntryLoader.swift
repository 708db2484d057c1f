// Bringing the variants of a cold key into memory: read their records, open their blobs, make the set hot.
//
// While it reads, others may save, remove or reclaim. The set is installed only if the index still means the same
// records; if not, it is read again, and after a few rounds handed out without being installed.

import Caching
import Platform

/// What came of loading a cold key.
public enum LoadResult: Sendable {
  case set(VariantSet)
  /// Nothing is there any more, or nothing is good.
  case nothing
  /// Something is there, and could not be read now. Another time it may be.
  case failed
}

struct EntryLoader {
  let core: StoreCore

  func load(_ key: CacheKey) -> LoadResult {
    var last: VariantSet?
    for _ in 0..<4 {
      let candidates = core.shard(key.hash).state.withLock { $0.candidates(key.hash) }
      var entries: [StoredEntry] = []
      var good: [IndexEntry] = []
      var hasFailed = false
      for (place, pending) in candidates {
        if let pending {
          good.append(place)
          if pending.key == key.bytes { entries.append(pending) }
          continue
        }
        switch read(place) {
        case .entry(let entry):
          good.append(place)
          // Another key with the same hash is left alone.
          if entry.key == key.bytes { entries.append(entry) }
        case .damaged:
          core.dropDamaged(place)
        case .moved:
          break
        case .failed(let errno):
          core.troubles.note(errno)
          hasFailed = true
        }
      }
      // It may be better next time: what could be read is handed out, and the index left as it is.
      if hasFailed {
        return entries.isEmpty ? .failed : .set(set(key, entries))
      }
      guard !entries.isEmpty else {
        if good.count == candidates.count { return .nothing }
        // Something was dropped or moved: once more with what is there now.
        last = nil
        continue
      }
      let set = set(key, entries)
      let isInstalled = core.shard(key.hash).state.withLock {
        $0.install(set, loadedFrom: good)
      }
      if isInstalled { return .set(set) }
      last = set
    }
    // Never the same twice: whatever is there, it is not nothing.
    return last.map { .set($0) } ?? .failed
  }

  private func set(_ key: CacheKey, _ entries: [StoredEntry]) -> VariantSet {
    // Not as they lie in the log, where reclaiming puts what was used behind what is newer.
    VariantSet(
      key: key.bytes, hash: key.hash,
      entries: entries.sorted { $0.response.responseTime > $1.response.responseTime },
      blobCost: core.blobCost)
  }

  enum Read {
    case entry(StoredEntry)
    case damaged
    /// Its segment is gone: reclaimed since we looked.
    case moved
    case failed(Errno)
  }

  func read(_ place: IndexEntry) -> Read {
    guard let segment = core.segments[place.segment] else { return .moved }
    switch segment.record(at: place.offset, length: place.length, seed: core.seed) {
    case .failed(let errno): return .failed(errno)
    case .damaged: return .damaged
    case .record(let bytes, let view):
      guard view.kind == .response, view.keyHash == place.hash, view.variantHash == place.variant
      else { return .damaged }
      return bytes.withUnsafeBytes { entry(view, in: $0) }
    }
  }

  private func entry(_ view: RecordView, in bytes: UnsafeRawBufferPointer) -> Read {
    guard let response = StoredResponse(view, in: bytes, targets: core.options.targets) else {
      return .damaged
    }
    let content: StoredEntry.Content
    switch view.body {
    case .none:
      return .damaged
    case .inline(let range):
      content = .inline(UnsafeRawBufferPointer(rebasing: bytes[range]))
    case .blob(let digest, let length):
      switch core.blobs.open(BlobReference(digest: digest, length: length)) {
      case .file(let file): content = .blob(file)
      case .damaged: return .damaged
      case .failed(let errno): return .failed(errno)
      }
    }
    return .entry(
      StoredEntry(
        key: Array(bytes[view.key]), hash: view.keyHash, response: response, content: content,
        seed: core.seed))
  }
}
