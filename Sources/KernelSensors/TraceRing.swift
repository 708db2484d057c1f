// Tracepoints of one processor, and the ring that the kernel writes their records into (perf_event_open(2)).

import CKernelSensors
import Platform

/// A tracepoint to be watched.
struct Tracepoint: Sendable {
  let kind: TraceEvent.Kind
  let format: TraceFormat
  /// In the kernel's words; nil for all of it.
  var filter: String?
}

struct TraceRing: ~Copyable {
  enum Record {
    case sample(time: Instant, ArraySlice<UInt8>)
    case lost(UInt64)
  }

  /// Of the data, 32 KiB: some 300 records.
  private static let pages = 8
  /// No record is longer: its length has 16 bits.
  private static let longest = 65536

  private let descriptors: [Int32]
  private let memory: UnsafeMutableRawPointer
  private let page: Int
  private var buffer = [UInt8](repeating: 0, count: longest)

  /// Begins to watch.
  /// - Parameter points: not empty.
  init(processor: Int32, _ points: [Tracepoint]) throws(Errno) {
    var opened: [Int32] = []
    var mapped: UnsafeMutableRawPointer?
    page = max(4096, Int(kernel_page_size()))
    let size = page * (Self.pages + 1)
    do throws(Errno) {
      for point in points {
        let fd = Int32(
          truncatingIfNeeded: try Self.check(
            kernel_open_tracepoint(UInt64(point.format.id), processor)))
        opened.append(fd)
        if let filter = point.filter { try Self.check(kernel_set_filter(fd, filter)) }
        if mapped == nil {
          try Self.check(kernel_map_ring(fd, size, &mapped))
        } else {
          try Self.check(kernel_share_ring(fd, opened[0]))
        }
      }
      for fd in opened { try Self.check(kernel_enable(fd)) }
      guard let mapped else { throw Errno.invalidArgument }
      memory = mapped
      descriptors = opened
    } catch {
      if let mapped { kernel_unmap_ring(mapped, size) }
      for fd in opened { FileDescriptor.close(raw: fd) }
      throw error
    }
  }

  deinit {
    kernel_unmap_ring(memory, page * (Self.pages + 1))
    for fd in descriptors { FileDescriptor.close(raw: fd) }
  }

  @discardableResult
  private static func check(_ result: Int) throws(Errno) -> Int {
    guard result >= 0 else { throw Errno(result: result) }
    return result
  }

  /// Readable when there are records.
  var rawValue: Int32 { descriptors[0] }

  /// Takes the next record; nil when there is none.
  mutating func next() -> Record? {
    let (memory, page) = (memory, page)
    while true {
      let length = buffer.withUnsafeMutableBytes {
        kernel_take_record(memory, page, page * Self.pages, $0.baseAddress, $0.count)
      }
      if length == 0 { return nil }
      if length < 0 { return .lost(1) }
      if let record = Self.parse(buffer[..<length]) { return record }
    }
  }

  /// perf_event.h: type 4, misc 2, size 2; of a sample then time 8, processor 4, reserved 4, size 4, data.
  static func parse(_ bytes: ArraySlice<UInt8>) -> Record? {
    switch bytes.native32(0) {
    case 9:
      guard let time = bytes.native64(8), let size = bytes.native32(24).map(Int.init),
        size <= bytes.count - 28
      else { return .lost(1) }
      return .sample(
        time: Instant(nanoseconds: Int64(clamping: time)), bytes.dropFirst(28).prefix(size))
    case 2: return .lost(bytes.native64(16) ?? 1)
    default: return nil
    }
  }
}
