// The content of a response while it arrives: written by one fill, read by every transaction that
// follows it, each at its own pace and in its own range. Small content stays in memory; the rest goes to
// a file that is readable up to its watermark. Nobody holds anybody up: a slow reader is just far behind.

import Caching
import HTTP
import Storage
import Synchronization

final class GrowingBody: Sendable {
  /// What a reader at some offset can do now.
  enum Next {
    /// Bytes were copied into the reader's buffer.
    case copied(Int)
    /// This many bytes can be sent from the file, at the reader's own offset.
    case file(GrowingBlob, available: Int64)
    /// Nothing yet: a letter comes when there is more.
    case wait
    /// The reader has it all.
    case end
    /// The upstream answer broke off, or could not be kept: this is all there will ever be.
    case cut(ProxyError)
  }

  private enum End {
    case open
    case complete(Int64)
    case cut(ProxyError)
  }

  private struct State {
    var memory: [UInt8] = []
    var blob: GrowingBlob?
    var end = End.open
    var hungry: [Follower] = []
  }

  let response: StoredResponse
  /// From `Content-Length`; nil while it will only be known at the end.
  let expectedLength: Int64?
  private let state = Mutex(State())

  init(response: StoredResponse, expectedLength: Int64?) {
    self.response = response
    self.expectedLength = expectedLength
  }

  // MARK: The writer's side

  /// Adds content that is kept in memory.
  func append(_ bytes: UnsafeRawBufferPointer) {
    wake { $0.memory.append(contentsOf: bytes) }
  }

  /// From here on the content is in `blob`; returns what was in memory, to be written there first.
  func moveToFile(_ blob: GrowingBlob) -> [UInt8] {
    state.withLock { state in
      state.blob = blob
      return state.memory
    }
  }

  /// The file's watermark moved. What it has need not be in memory any longer.
  func fileGrew() {
    wake { state in
      if let blob = state.blob, !state.memory.isEmpty, blob.watermark >= Int64(state.memory.count) {
        state.memory = []
      }
    }
  }

  func complete(length: Int64) { wake { $0.end = .complete(length) } }

  func cut(_ error: ProxyError) { wake { $0.end = .cut(error) } }

  /// The content, if all of it is still in memory.
  var memoryContent: [UInt8]? {
    state.withLock { $0.blob == nil ? $0.memory : nil }
  }

  private func wake(_ change: (inout State) -> Void) {
    let hungry = state.withLock { state in
      change(&state)
      let hungry = state.hungry
      if !hungry.isEmpty { state.hungry = [] }
      return hungry
    }
    for follower in hungry { follower.tell() }
  }

  // MARK: The readers' side

  /// The file the content is in, once it is in one.
  var file: GrowingBlob? { state.withLock { $0.blob } }

  /// The complete length, once it is certain.
  var completeLength: Int64? {
    state.withLock { state in
      if case .complete(let length) = state.end { return length }
      return nil
    }
  }

  /// What a reader at `offset` can do; `follower` is written to if the answer is to wait.
  func next(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer, for follower: Follower)
    -> Next
  {
    state.withLock { state in
      if offset < Int64(state.memory.count) {
        let start = Int(offset)
        let count = min(buffer.count, state.memory.count - start)
        state.memory.withUnsafeBytes { memory in
          buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory[start..<start + count]))
        }
        return .copied(count)
      }
      if let blob = state.blob {
        let available = blob.watermark - offset
        if available > 0 { return .file(blob, available: available) }
      }
      switch state.end {
      case .complete:
        return .end
      case .cut(let error):
        return .cut(error)
      case .open:
        state.hungry.append(follower)
        return .wait
      }
    }
  }
}
