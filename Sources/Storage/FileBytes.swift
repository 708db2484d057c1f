// Reading and writing arrays: `File` works on raw buffers, and an array hands those out only to closures whose
// errors have no type.

import Platform

extension File {
  /// Writes all of `bytes` at an offset.
  static func writeFully(_ fd: Int32, _ bytes: [UInt8], at offset: Int64) throws(Errno) {
    let failure = bytes.withUnsafeBytes { bytes -> Errno? in
      do throws(Errno) {
        try writeFully(fd, bytes, at: offset)
        return nil
      } catch {
        return error
      }
    }
    if let failure { throw failure }
  }

  /// Reads `count` bytes at an offset; fewer at the end of the file.
  static func readFully(_ fd: Int32, count: Int, at offset: Int64) throws(Errno) -> [UInt8] {
    var failure: Errno?
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      do throws(Errno) {
        filled = try readFully(fd, into: UnsafeMutableRawBufferPointer(buffer), at: offset)
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return bytes
  }
}
