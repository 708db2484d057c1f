// Reading a segment from front to back, record by record, with a window so that memory stays small.

import Platform

/// Walks through the records of a segment in log order.
///
/// Ends at the first thing that is not a good record: in a segment that was being written that is its torn tail.
struct SegmentScan {
  enum Step {
    /// A good record; valid until the next step.
    case record(RecordView, offset: Int)
    /// Nothing but records up to here.
    case end(offset: Int)
    /// Not a record at this offset; nothing after it can be trusted.
    case damaged(offset: Int)
    case failed(Errno)
  }

  private static let window = 256 << 10

  let segment: Segment
  let seed: UInt64
  let end: Int
  private(set) var offset: Int
  private var buffer: [UInt8] = []
  private var bufferStart = 0
  private var lastSequence: UInt64 = 0
  private var current: Range<Int> = 0..<0

  /// - Parameter end: where the records end.
  init(_ segment: Segment, from offset: Int = SegmentHeader.length, end: Int, seed: UInt64) {
    self.segment = segment
    self.seed = seed
    self.offset = offset
    self.end = end
  }

  /// The bytes of the record of the last step.
  func withRecord<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    buffer.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[current])) }
  }

  mutating func next() -> Step {
    let start = offset
    guard start < end else { return .end(offset: start) }
    do {
      try need(RecordFormat.headerLength)
      guard
        let length = withWindow({ RecordFormat.announcedLength($0) }), start + length <= end
      else { return .damaged(offset: start) }
      try need(length)
      guard case .record(let view) = withWindow({ RecordFormat.decode($0, seed: seed) }),
        // Sequence numbers grow and carry the segment's number: what a failed write left behind does not fit.
        view.sequence > lastSequence, view.sequence >> 32 == UInt64(segment.id)
      else { return .damaged(offset: start) }
      lastSequence = view.sequence
      current = start - bufferStart..<start - bufferStart + length
      offset = start + length
      return .record(view, offset: start)
    } catch {
      return .failed(error)
    }
  }

  private func withWindow<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    buffer.withUnsafeBytes { bytes in
      body(UnsafeRawBufferPointer(rebasing: bytes[min(offset - bufferStart, bytes.count)...]))
    }
  }

  /// Makes the window hold `count` bytes from `offset`, as far as the segment has them.
  private mutating func need(_ count: Int) throws(Errno) {
    if offset >= bufferStart && offset + count <= bufferStart + buffer.count { return }
    buffer = try segment.read(at: offset, count: min(max(count, Self.window), end - offset))
    bufferStart = offset
  }
}
