// Proves content that its file did not take, and that is passed on from memory to those who read along: it is held against
// what it has to be like any other, so that the last byte of something wrong reaches nobody.

import Platform
import Storage
import Synchronization

final class SpillProof: Sendable {
  enum Outcome {
    case right, wrong
    /// What the file has of it could not be read again.
    case unknown
  }

  private struct State: ~Copyable {
    var hasher: Hasher256?
    var hasFailed = false
  }

  private static let step = 256 << 10

  private let expected: Digest
  private let state = Mutex(State(hasher: nil))

  init(_ expected: Digest) { self.expected = expected }

  /// Takes in what comes next.
  /// - Parameter blob: has what came before the first of it, which is read again; may wait for the disk. Nil where nothing
  ///   did.
  func update(_ bytes: UnsafeRawBufferPointer, behind blob: GrowingBlob?) {
    // For the time of the call only.
    nonisolated(unsafe) let bytes = bytes
    state.withLock { state in
      if state.hasher == nil {
        state.hasher = Hasher256()
        if let blob { state.hasFailed = !Self.read(blob, into: &state.hasher) }
      }
      state.hasher?.update(bytes)
    }
  }

  private static func read(_ blob: GrowingBlob, into hasher: inout Hasher256?) -> Bool {
    let end = blob.watermark
    var offset: Int64 = 0
    return withUnsafeTemporaryAllocation(byteCount: step, alignment: 4096) { buffer in
      while offset < end {
        let window = UnsafeMutableRawBufferPointer(
          rebasing: buffer[..<Int(clamping: min(Int64(step), end - offset))])
        guard let count = try? File.pread(blob.descriptor, into: window, at: offset), count > 0
        else { return false }
        hasher?.update(UnsafeRawBufferPointer(rebasing: window[..<count]))
        offset += Int64(count)
      }
      return true
    }
  }

  /// All of it has come.
  var outcome: Outcome {
    state.withLock { state in
      guard !state.hasFailed, let actual = state.hasher.take()?.finish() else { return .unknown }
      return actual == expected ? .right : .wrong
    }
  }
}
