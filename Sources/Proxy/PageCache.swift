// Reading a file for the page cache only, on a thread that may wait.

import Platform

enum PageCache {
  private static let blockSize = 256 << 10

  /// Makes a piece of a file resident by reading it: unlike readahead(2), when this returns it is there.
  static func fetch(_ descriptor: Int32, offset: Int64, count: Int) {
    File.readAhead(descriptor, offset: offset, count: count)
    withUnsafeTemporaryAllocation(byteCount: blockSize, alignment: 4096) { buffer in
      var done = 0
      while done < count {
        let window = UnsafeMutableRawBufferPointer(
          rebasing: buffer[0..<min(blockSize, count - done)])
        guard let read = try? File.pread(descriptor, into: window, at: offset + Int64(done)),
          read > 0
        else { return }
        done += read
      }
    }
  }
}
