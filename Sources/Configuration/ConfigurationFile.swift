// The bytes of a configuration file. A server reads it again on SIGHUP, on the thread that also answers signals: it must
// not wait there for a pipe that nobody writes to. A command that reads it once may be given a pipe.

import Platform

enum ConfigurationFile {
  /// Why it cannot be read, to stand behind its name.
  struct Refusal: Error {
    let sentence: String
  }

  /// Reads a file, or standard input for `-`.
  /// - Parameters:
  ///   - limit: what is larger is read up to the byte that shows it.
  ///   - readsPipes: what can be read only once is read as well, and waited for.
  static func read(_ path: String, limit: Int, readsPipes: Bool) throws(Refusal) -> [UInt8] {
    let found: Found
    do throws(Errno) {
      found = try look(at: path, limit: limit, readsPipes: readsPipes)
    } catch {
      throw Refusal(sentence: "cannot be read: \(error.message)")
    }
    switch found {
    case .bytes(let bytes): return bytes
    case .directory: throw Refusal(sentence: "cannot be read: it is a directory")
    case .readableOnce:
      throw Refusal(
        sentence: "is not a regular file, and a server reads it again on SIGHUP; name a file")
    }
  }

  private enum Found {
    case bytes([UInt8])
    case directory
    case readableOnce
  }

  private static func look(at path: String, limit: Int, readsPipes: Bool) throws(Errno) -> Found {
    if path == "-" { return readsPipes ? .bytes(try bytes(of: 0, limit)) : .readableOnce }
    let file = try File.open(path, [.read, .followLinks, .nonBlocking])
    switch try File.status(file.rawValue).kind {
    case .file: return .bytes(try bytes(of: file.rawValue, limit))
    case .directory: return .directory
    case .symbolicLink, .other: break
    }
    // Empty whenever it is read: a way to say that there is no file.
    if path == "/dev/null" { return .bytes([]) }
    guard readsPipes else { return .readableOnce }
    // Waits until somebody writes, which who called the command sees and can end.
    let pipe = try File.open(path, [.read, .followLinks])
    return .bytes(try bytes(of: pipe.rawValue, limit))
  }

  private static func bytes(of descriptor: Int32, _ limit: Int) throws(Errno) -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while bytes.count <= limit {
      let count = try buffer.withUnsafeMutableBytes { buffer in
        Result { () throws(Errno) in try File.read(descriptor, into: buffer) }
      }.get()
      guard count > 0 else { break }
      bytes += buffer[..<count]
    }
    return bytes
  }
}
