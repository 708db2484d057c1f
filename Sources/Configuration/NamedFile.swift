// Files that the configuration names: read whole when it is read, and every reason why one cannot be told with its line.

import Platform

extension ConfigurationReader {
  /// The bytes of a file; reports why there are none.
  /// - Parameters:
  ///   - limit: what is larger is not what it is taken for.
  ///   - isSecret: others should not read it.
  mutating func contents(
    of path: String, key: String, limit: ByteCount, isSecret: Bool = false
  ) -> [UInt8]? {
    do throws(Errno) {
      let file = try File.open(path, [.read, .followLinks])
      let status = try File.status(file.rawValue)
      guard status.kind == .file, status.size <= limit.bytes else {
        report(
          "\(path) is no file, or is larger than \(limit.bytes >> 20) MiB", key: key,
          at: place(of: key))
        return nil
      }
      if isSecret, status.mode & 0o004 != 0 {
        report(
          "\(path) can be read by everyone on this machine; chmod 600 \(path)", key: key,
          at: place(of: key), severity: .warning)
      }
      var bytes = [UInt8](repeating: 0, count: Int(status.size))
      let number = file.rawValue
      let count = try bytes.withUnsafeMutableBytes { buffer in
        Result { () throws(Errno) in try File.readFully(number, into: buffer, at: 0) }
      }.get()
      return Array(bytes.prefix(count))
    } catch {
      report("\(path) cannot be read: \(error.message)", key: key, at: place(of: key))
      return nil
    }
  }
}
