// One segment of the log as a file, and the table of those that are there.
//
// A segment that is being read stays readable when it is removed: readers hold the `Segment`, which holds the
// descriptor.

import Platform
import Synchronization

package final class Segment: Sendable {
  package let id: UInt32
  package let path: String
  private let file: OpenFile
  /// Where the records end: grows while the segment is the active one, fixed once it is sealed.
  private let recordsEnd: Atomic<Int>
  /// What the segment counts as in `Space`.
  private let reserved: Atomic<Int64>

  init(id: UInt32, path: String, file: OpenFile, end: Int, reserved: Int64) {
    self.id = id
    self.path = path
    self.file = file
    recordsEnd = Atomic(end)
    self.reserved = Atomic(reserved)
  }

  package var end: Int {
    get { recordsEnd.load(ordering: .acquiring) }
    set { recordsEnd.store(newValue, ordering: .releasing) }
  }

  package var taken: Int64 {
    get { reserved.load(ordering: .relaxed) }
    set { reserved.store(newValue, ordering: .relaxed) }
  }

  package var descriptor: Int32 { file.rawValue }

  package static func name(_ id: UInt32) -> String {
    let digits = String(id)
    return String(repeating: "0", count: max(0, 8 - digits.count)) + digits
  }

  package static func id(named name: String) -> UInt32? {
    guard name.utf8.count >= 8, name.utf8.allSatisfy({ (48...57).contains($0) }),
      let id = UInt32(name), id > 0, id < IndexEntry.pendingSegment, Self.name(id) == name
    else { return nil }
    return id
  }

  /// Reads `count` bytes; fewer at the end of the file.
  package func read(at offset: Int, count: Int) throws(Errno) -> [UInt8] {
    try File.readFully(descriptor, count: count, at: Int64(offset))
  }

  package enum RecordRead: Sendable {
    case record([UInt8], RecordView)
    case damaged
    case failed(Errno)
  }

  /// The record at an offset, checked. Blocks.
  /// - Parameter length: as the index or the footer says; `nil` when only the record itself knows.
  package func record(at offset: Int, length: Int?, seed: UInt64) -> RecordRead {
    do {
      var bytes = try read(at: offset, count: length ?? 2048)
      guard let announced = bytes.withUnsafeBytes({ RecordFormat.announcedLength($0) }) else {
        return .damaged
      }
      if announced > bytes.count {
        guard length == nil, announced <= LogLimits.longestRecord else { return .damaged }
        bytes = try read(at: offset, count: announced)
      }
      guard case .record(let view) = bytes.withUnsafeBytes({ RecordFormat.decode($0, seed: seed) })
      else { return .damaged }
      guard length == nil || length == view.length else { return .damaged }
      return .record(bytes, view)
    } catch {
      return .failed(error)
    }
  }
}

package enum LogLimits {
  /// No record but a footer is longer.
  static let longestRecord = RecordFormat.totalLength(
    RecordFormat.maximumKey + RecordFormat.maximumVariance + RecordFormat.maximumFields
      + RecordFormat.inlineLimit)
  /// Variants of one key.
  package static let variants = 32
  /// Records are written together up to this many bytes.
  static let batch = 1 << 20
  /// What may wait for the log thread: beyond that, responses are not stored.
  static let queue = 16 << 20

  /// A sixty-fourth of the store, so that reclaiming is gradual, within bounds that keep files few and starts quick.
  package static func segmentSize(for cap: Int64) -> Int {
    Int(min(max(cap / 64, 4 << 20), 256 << 20))
  }
}

/// The segments that are there, oldest first by number.
package final class SegmentTable: Sendable {
  private let segments = Mutex<[UInt32: Segment]>([:])

  subscript(id: UInt32) -> Segment? { segments.withLock { $0[id] } }

  func add(_ segment: Segment) { segments.withLock { $0[segment.id] = segment } }

  func remove(_ id: UInt32) { segments.withLock { $0[id] = nil } }

  var oldest: Segment? {
    segments.withLock { segments in segments.keys.min().flatMap { segments[$0] } }
  }

  var newest: Segment? {
    segments.withLock { segments in segments.keys.max().flatMap { segments[$0] } }
  }

  /// All of them, oldest first.
  var all: [Segment] { segments.withLock { $0.values.sorted { $0.id < $1.id } } }
}
