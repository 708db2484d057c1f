// What becomes of a blob that could not be read as it should be.
//
//   reportDamaged ─▶ suspect at once ─▶ log thread compares it with its name ─▶ good: proven again
//                                                                         └──▶ dropped, with all records that name it

import Platform
import Synchronization

extension Store {
  /// A stored body broke off while it was being read: its file is shorter than it was, or the disk fails. For event
  /// loops. Who asks for it from now on gets it only after its bytes were compared with its name.
  public func reportDamaged(_ file: BlobFile) {
    guard !core.options.readOnly else { return }
    core.blobs.set(.suspect, for: file.digest)
    if core.suspects.add(file.digest) { core.queue.nudge() }
  }
}

extension LogWriter {
  /// Looks at what was reported, and lets go of what is damaged.
  func examineSuspects() {
    for digest in core.suspects.take() {
      guard let length = core.blobs.length(digest) else { continue }
      switch core.blobs.check(BlobReference(digest: digest, length: length)) {
      case .good, .gone:
        break
      case .damaged:
        core.troubles.note(.damaged)
        core.drop(digest)
      case .failed(let errno):
        core.troubles.note(errno)
        // A sector that cannot be read will not get better. Anything else may.
        if errno == .inputOutput { core.drop(digest) }
      }
    }
  }
}

extension StoreCore {
  /// Drops all records that name this blob; its file goes with the last of them.
  func drop(_ digest: Digest) {
    guard let id = blobs.id(digest) else { return }
    for shard in shards {
      let dropped = shard.state.withLock { state -> [IndexEntry] in
        var found: [IndexEntry] = []
        state.index.visit { if $0.blob == id { found.append($0) } }
        return found.compactMap { state.drop($0) }
      }
      release(dropped)
    }
  }
}

/// Digests that wait for the log thread.
final class DigestQueue: Sendable {
  private let digests = Mutex<[Digest]>([])

  /// - Returns: whether it is news.
  @discardableResult
  func add(_ digest: Digest) -> Bool {
    digests.withLock { digests in
      // A handful at most, unless the disk is gone.
      guard digests.count > 64 || !digests.contains(digest) else { return false }
      digests.append(digest)
      return true
    }
  }

  func take() -> [Digest] {
    digests.withLock { digests in
      defer { digests = [] }
      return digests
    }
  }
}
