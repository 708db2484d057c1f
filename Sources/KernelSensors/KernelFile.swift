// Small files that the kernel makes up as they are read: whole, and bounded.

import Platform

enum KernelFile {
  /// What a file under /proc or /sys says, at most `limit` bytes of it.
  static func read(_ path: String, limit: Int = 256 * 1024) throws(Errno) -> [UInt8] {
    let file = try File.open(path, .followLinks)
    var bytes: [UInt8] = []
    while bytes.count < limit {
      let start = bytes.count
      bytes.append(contentsOf: repeatElement(0, count: min(8192, limit - start)))
      let count = try bytes.withUnsafeMutableBytes { buffer in
        Result { () throws(Errno) in
          try File.pread(
            file.rawValue, into: UnsafeMutableRawBufferPointer(rebasing: buffer[start...]),
            at: Int64(start))
        }
      }.get()
      bytes.removeLast(bytes.count - start - min(count, bytes.count - start))
      if count == 0 { break }
    }
    return bytes
  }

  static func text(_ path: String) -> String? {
    guard let bytes = try? read(path) else { return nil }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The number that is all there is in a file.
  static func number(_ path: String) -> Int64? {
    guard let text = text(path) else { return nil }
    return text.split(whereSeparator: \.isWhitespace).first.flatMap { Int64($0) }
  }
}
