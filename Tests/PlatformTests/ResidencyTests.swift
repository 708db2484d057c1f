// What is in memory, asked of file systems that lie over others: an overlay is mounted in a namespace of its own, and
// its files are reached through the process that is in there.

import Glibc
import Platform
import Testing

@Suite("What is in memory")
struct ResidencyTests {
  /// Mounts an overlay for as long as it lives, where nobody else sees it.
  private final class Overlay {
    let directory: String
    /// As the process in the namespace has it.
    let path: String
    private let process: UnsafeMutablePointer<FILE>
    private let end: String

    /// - Returns: nil where no such mount is allowed.
    init?() throws {
      directory = try File.makeTemporaryDirectory(prefix: "holdfast-overlay-")
      for name in ["lower", "upper", "work", "over"] {
        try File.makeDirectory(directory + "/" + name)
      }
      end = directory + "/end"
      guard mkfifo(end, 0o600) == 0 else { return nil }
      // Whatever becomes of this test, nothing is left over after a minute.
      let script =
        "cd \(directory) && mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work over"
        + " && echo $$ && read line < end"
      let rights = geteuid() == 0 ? "-m" : "-rm"
      guard
        let process = popen("exec timeout 60 unshare \(rights) sh -c '\(script)' 2>/dev/null", "r")
      else { return nil }
      self.process = process
      var line = [CChar](repeating: 0, count: 32)
      guard fgets(&line, 32, process) != nil,
        let id = Int32(
          String(decoding: line.map { UInt8(bitPattern: $0) }, as: UTF8.self).prefix { $0.isNumber }
        )
      else {
        path = ""
        return nil
      }
      path = "/proc/\(id)/root\(directory)/over"
    }

    deinit {
      if !path.isEmpty, let gate = try? File.open(end, .write) {
        _ = try? Array("end\n".utf8).withUnsafeBytes { try File.write(gate.rawValue, $0) }
      }
      pclose(process)
      try? File.removeTree(directory)
    }
  }

  private static let isPossible: Bool = {
    guard let overlay = try? Overlay() else { return false }
    return (try? File.list(overlay.path)) != nil
  }()

  @Test(
    "on an overlay the same is in memory as of the file below it",
    .enabled(if: isPossible, "an overlay cannot be mounted here"))
  func overlay() throws {
    let overlay = try #require(try Overlay())
    let count = 200_000
    let above = try File.open(overlay.path + "/file", [.readWrite, .create])
    try [UInt8](repeating: 1, count: count).withUnsafeBytes {
      try File.writeFully(above.rawValue, $0, at: 0)
    }
    let below = try File.open(overlay.directory + "/upper/file")
    var buffer = [UInt8](repeating: 0, count: count)
    for (offset, length) in [(0, count), (5_000, 100_000), (count - 1, 1)] {
      // A busy machine may drop pages at any moment.
      for _ in 0..<1000 where !File.isResident(above.rawValue, offset: Int64(offset), count: length)
      {
        _ = try buffer.withUnsafeMutableBytes {
          try File.readFully(above.rawValue, into: $0, at: 0)
        }
      }
      #expect(File.isResident(above.rawValue, offset: Int64(offset), count: length))
    }
    #expect(!File.isResident(above.rawValue, offset: Int64(count) - 10, count: 20))
    #expect(!File.isResident(above.rawValue, offset: 1 << 20, count: 4096))
    try File.fdatasync(below.rawValue)
    File.dropCached(below.rawValue, offset: 0, count: 0)
    // A disk in memory has nothing to drop. Between the two questions pages may come and go.
    func isSame() -> Bool {
      File.isResident(above.rawValue, offset: 0, count: count)
        == File.isResident(below.rawValue, offset: 0, count: count)
    }
    #expect((0..<1000).contains { _ in isSame() })
  }
}
