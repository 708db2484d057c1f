// Several records with one call to the kernel: a large answer is encrypted record by record into a buffer of the thread's,
// which goes to the socket as a whole. What the socket does not take is kept with its session until there is room, and
// counts as written only then.

import COpenSSL

/// The buffer of a thread, and how much of it is filled.
struct RecordGatherer {
  /// Records that go together. More of them would save little more, and be more to keep for a peer that reads slowly.
  static let records = 4
  /// Content of one record, at most (RFC 8446 §5.1).
  static let recordLimit = 16 << 10
  /// With a record's header, its nonce in TLS 1.2, its tag and padding (§5.2 allows 256 bytes of them).
  private static let capacity = records * (recordLimit + 256 + 5)

  private let base: UnsafeMutableRawPointer
  private(set) var count = 0

  /// Nil when there is no memory for this thread's buffer.
  init?() {
    guard let base = holdfast_thread_buffer(Self.capacity) else { return nil }
    self.base = base
  }

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

  /// - Returns: false when it does not fit.
  mutating func append(_ record: UnsafeRawBufferPointer) -> Bool {
    guard record.count <= Self.capacity - count, let source = record.baseAddress else {
      return false
    }
    (base + count).copyMemory(from: source, byteCount: record.count)
    count += record.count
    return true
  }
}

/// Records that the socket did not take, and the content in them that its owner has not been told of.
struct HeldRecords {
  private var bytes: [UInt8] = []
  private var start = 0
  /// Content that was encrypted and not reported as written.
  private(set) var content = 0

  var isEmpty: Bool { start == bytes.count }

  mutating func hold(_ rest: UnsafeRawBufferPointer, content: Int) {
    bytes = Array(rest)
    start = 0
    self.content = content
  }

  /// Hands on what is held, as far as it is taken.
  mutating func flush(_ send: (UnsafeRawBufferPointer) -> TLSTransfer) -> TLSTransfer? {
    while !isEmpty {
      let transfer = bytes.withUnsafeBytes { send(UnsafeRawBufferPointer(rebasing: $0[start...])) }
      guard case .bytes(let count) = transfer else { return transfer }
      start += count
    }
    bytes = []
    start = 0
    return nil
  }

  /// All of it is with the socket: so much of what is given again was written before.
  mutating func settle(_ count: Int) -> Int {
    let settled = min(content, count)
    content -= settled
    return settled
  }
}
