// Whether a piece of a stored file can be sent without waiting for the disk, and bringing it into memory if not.
//
// A loop asks before it sends; a thread that may wait reads. That read is also where a disk that fails, or a
// file that is shorter than it should be, is found out: before the head of an answer, if it is the first piece.

import Platform
import Storage

enum PageCache {
  private static let blockSize = 256 << 10

  /// What came of reading a piece.
  enum Outcome {
    case resident
    /// The file ends before the piece does: somebody has cut it.
    case short
    case failed(Errno)
  }

  /// Makes a piece of a file resident by reading it: unlike readahead(2), when this returns it is there.
  static func fetch(_ descriptor: Int32, offset: Int64, count: Int) -> Outcome {
    File.readAhead(descriptor, offset: offset, count: count)
    return withUnsafeTemporaryAllocation(byteCount: blockSize, alignment: 4096) { buffer in
      var done = 0
      while done < count {
        let window = UnsafeMutableRawBufferPointer(
          rebasing: buffer[0..<min(blockSize, count - done)])
        do throws(Errno) {
          let read = try File.pread(descriptor, into: window, at: offset + Int64(done))
          if read == 0 { return .short }
          done += read
        } catch {
          return .failed(error)
        }
      }
      return .resident
    }
  }
}

extension BlobFile {
  /// Up to where the file can be sent from memory, if the piece at `offset` can; nil if it is on disk only.
  ///
  /// Asks the kernel once for each piece, and once a second for a file all of which was there: pages that were there
  /// a moment ago are hardly ever gone by the time the socket takes them.
  func residentEnd(from offset: Int64, count: Int64, now: Int64) -> Int64? {
    if lastFoundResident == now { return length }
    guard File.isResident(descriptor, offset: offset, count: Int(count)) else { return nil }
    return offset + count
  }
}
