// Files that the configuration names: read whole when it is read, and every reason why one cannot be told with its line.

import Platform

/// Who may read a file besides its owner.
enum FilePrivacy {
  /// Whoever likes.
  case none
  /// Its group; a warning if it is everyone.
  case advised
  /// Nobody, or it is not read.
  case demanded
}

extension ConfigurationReader {
  /// The bytes of a file; reports why there are none.
  /// - Parameters:
  ///   - limit: what is larger is not what it is taken for.
  ///   - privacy: who may read it besides its owner.
  mutating func contents(
    of path: String, key: String, limit: ByteCount, privacy: FilePrivacy = .none
  ) -> [UInt8]? {
    do throws(Errno) {
      // A pipe must not hold up a server that reads its configuration again.
      let file = try File.open(path, [.read, .followLinks, .nonBlocking])
      let status = try File.status(file.rawValue)
      guard status.kind == .file, status.size <= limit.bytes else {
        report(
          "\(path) is no file, or is larger than \(limit.bytes >> 20) MiB", key: key,
          at: place(of: key))
        return nil
      }
      switch privacy {
      case .advised where status.mode & 0o004 != 0:
        report(
          "\(path) can be read by everyone on this machine; chmod 600 \(path)", key: key,
          at: place(of: key), severity: .warning)
      case .demanded where status.mode & 0o077 != 0:
        report(
          "\(path) is open to others than its owner (mode \(String(status.mode, radix: 8))) and is not used: whoever has it can be each of these hosts to every client that trusts the authority; chmod 600 \(path)",
          key: key, at: place(of: key))
        return nil
      case .none, .advised, .demanded: break
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
