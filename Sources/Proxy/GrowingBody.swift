// The content of a response while it arrives: written by one fill, read by every transaction that
// follows it, each at its own pace and in its own range. Small content stays in memory; the rest goes to
// a file that is readable up to its watermark. Nobody holds anybody up: a slow reader is just far behind.
//
// Only when the disk takes no more in the middle does that change: what comes behind the file's end is kept in
// memory until the slowest of those who read along has it, and nobody new may join. The same where no file could be
// made: then all of it is tail.
//
//   | file, up to its watermark | gone: everybody has it | tail, in memory | … to come
//                                                          ▲ tailStart

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
    /// The next byte each reader wants.
    var readers: [ObjectIdentifier: Int64] = [:]
    /// Who is told that readers took something out of the tail, or that there are none any more; nil as long as
    /// the file takes everything.
    var producer: Producer?
    var tail: [UInt8] = []
    var tailStart: Int64 = 0
    /// Up to where the content may be read before its end is known to be right.
    let openLimit: Int64

    init(openLimit: Int64) { self.openLimit = openLimit }

    /// How much of the file readers may have.
    func readable(_ blob: GrowingBlob) -> Int64 {
      if case .complete = end { return blob.watermark }
      return min(blob.watermark, openLimit)
    }

    var available: Int64 {
      if producer != nil { return tailStart + Int64(tail.count) }
      return max(Int64(memory.count), blob?.watermark ?? 0)
    }

    /// Forgets what every reader has.
    mutating func trim() -> Int {
      guard producer != nil, let slowest = readers.values.min() else { return 0 }
      let count = Int(clamping: min(slowest - tailStart, Int64(tail.count)))
      guard count > 0 else { return 0 }
      tail.removeFirst(count)
      tailStart += Int64(count)
      return count
    }
  }

  /// How a fill is told about its tail.
  struct Producer: Sendable {
    /// Readers have taken this many bytes.
    let taken: @Sendable (Int) -> Void
    /// Nobody reads any more.
    let deserted: @Sendable () -> Void
  }

  let response: StoredResponse
  /// From `Content-Length`; nil while it will only be known at the end.
  let expectedLength: Int64?
  private let state: Mutex<State>

  /// - Parameter isChecked: the last byte stays back until the content is known to be right: with it a client would
  ///   take it for whole. Without a length it is the end of the content that stays back.
  init(response: StoredResponse, expectedLength: Int64?, isChecked: Bool = false) {
    self.response = response
    self.expectedLength = expectedLength
    var limit = Int64.max
    if isChecked, let expectedLength, expectedLength > 0 { limit = expectedLength - 1 }
    state = Mutex(State(openLimit: limit))
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

  /// Takes content that the file could not take, to be read from memory.
  /// - Returns: whether anybody reads it.
  func spill(_ bytes: UnsafeRawBufferPointer, behind watermark: Int64, producer: Producer) -> Bool {
    var isRead = false
    wake { state in
      if state.producer == nil {
        state.producer = producer
        state.tailStart = watermark
      }
      isRead = !state.readers.isEmpty
      if isRead { state.tail.append(contentsOf: bytes) }
    }
    return isRead
  }

  /// No file could be made: what is in memory, and all that comes, goes only to those who read along.
  /// - Returns: whether anybody does.
  func spillAll(producer: Producer) -> Bool {
    var isRead = false
    wake { state in
      state.producer = producer
      state.tail = state.memory
      state.memory = []
      isRead = !state.readers.isEmpty
    }
    return isRead
  }

  /// The file could not take everything.
  var isSpilling: Bool { state.withLock { $0.producer != nil } }

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

  /// The length of the content, once it is known.
  var length: Int64? {
    if let expectedLength { return expectedLength }
    return state.withLock { state in
      if case .complete(let length) = state.end { length } else { nil }
    }
  }

  /// How much of the content is there.
  var available: Int64 { state.withLock { $0.available } }

  /// Whether `count` bytes are there, or it is of no use to wait for them: no more will come, or nobody may join. If
  /// not, `follower` is written to when there is more, and asks again.
  func has(_ count: Int64, orTell follower: Follower) -> Bool {
    state.withLock { state in
      guard case .open = state.end, state.available < count, state.producer == nil else {
        return true
      }
      state.hungry.append(follower)
      return false
    }
  }

  /// Begins to read, from the start. Nil when the start may be gone.
  func join(_ follower: Follower) -> BodyReader? {
    let reader = BodyReader(self, follower)
    let isOpen = state.withLock { state in
      guard state.producer == nil else { return false }
      state.readers[ObjectIdentifier(reader)] = 0
      return true
    }
    return isOpen ? reader : nil
  }

  fileprivate func leave(_ reader: ObjectIdentifier) {
    let (producer, taken, isDeserted) = state.withLock { state in
      guard state.readers.removeValue(forKey: reader) != nil else {
        return (nil as Producer?, 0, false)
      }
      return (state.producer, state.trim(), state.readers.isEmpty)
    }
    if taken > 0 { producer?.taken(taken) }
    if isDeserted { producer?.deserted() }
  }

  fileprivate func next(
    at offset: Int64, into buffer: UnsafeMutableRawBufferPointer, for reader: BodyReader
  ) -> Next {
    let (next, producer, taken) = state.withLock { state in
      state.readers[ObjectIdentifier(reader)] = offset
      let taken = state.trim()
      return (Self.next(&state, offset, buffer, reader.follower), state.producer, taken)
    }
    if taken > 0 { producer?.taken(taken) }
    return next
  }

  private static func next(
    _ state: inout State, _ offset: Int64, _ buffer: UnsafeMutableRawBufferPointer,
    _ follower: Follower
  ) -> Next {
    if offset < Int64(state.memory.count) {
      let start = Int(offset)
      let count = min(buffer.count, state.memory.count - start)
      state.memory.withUnsafeBytes { memory in
        buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory[start..<start + count]))
      }
      return .copied(count)
    }
    if let blob = state.blob {
      let available = state.readable(blob) - offset
      if available > 0 { return .file(blob, available: available) }
    }
    if state.producer != nil, offset >= state.tailStart {
      let start = Int(clamping: offset - state.tailStart)
      var count = min(buffer.count, state.tail.count - start)
      if case .complete = state.end {
      } else {
        count = min(count, Int(clamping: state.openLimit - offset))
      }
      if count > 0 {
        state.tail.withUnsafeBytes { tail in
          buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: tail[start..<start + count]))
        }
        return .copied(count)
      }
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

/// A reader's place in a growing body. Whoever lets go of it has stopped reading.
final class BodyReader: Sendable {
  let body: GrowingBody
  /// Who is written to when there is more.
  fileprivate let follower: Follower

  fileprivate init(_ body: GrowingBody, _ follower: Follower) {
    self.body = body
    self.follower = follower
  }

  deinit { body.leave(ObjectIdentifier(self)) }

  /// What can be done at `offset`, which never goes back; the follower is written to if the answer is to wait.
  func next(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) -> GrowingBody.Next {
    body.next(at: offset, into: buffer, for: self)
  }
}
