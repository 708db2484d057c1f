// What has been written and not synced: a power cut takes some of it. Files are real, on a file system in memory; so
// the journal remembers what was in the place of each write, and puts some of that back when the power goes.
//
// Names are taken to be safe at once, and so are lengths: what is lost of a file reads as it was before, or as zeros,
// or the file ends there.

import CLinux
import Glibc
import Platform
import SeededRandom

package final class DiskJournal {
  private struct Write {
    var offset: Int64
    var count: Int
    /// What was there; shorter where the file ended.
    var old: [UInt8]
  }

  private static let page: Int64 = 4096
  private var writes: [UInt64: [Write]] = [:]

  package init() {}

  func willWrite(_ fd: Int32, at offset: Int64, count: Int) {
    var status = stat()
    guard fstat(fd, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return }
    var old: [UInt8] = []
    let there = Int(clamping: min(Int64(count), Int64(status.st_size) - offset))
    if there > 0 {
      old = [UInt8](unsafeUninitializedCapacity: there) { buffer, filled in
        filled = max(0, Glibc.pread(fd, buffer.baseAddress, there, off_t(offset)))
      }
    }
    writes[UInt64(status.st_ino), default: []].append(
      Write(offset: offset, count: count, old: old))
  }

  func synced(_ fd: Int32) {
    var status = stat()
    guard fstat(fd, &status) == 0 else { return }
    writes[UInt64(status.st_ino)] = nil
  }

  /// The power goes: of each page that was written and not synced the disk has the new bytes, or the old ones.
  /// - Returns: how many pages went.
  package func cutPower(in directory: String, _ random: inout SeededGenerator) -> Int {
    let share = random.pick([50, 300, 1000])
    let lost = lose(in: directory, share, &random)
    writes = [:]
    return lost
  }

  private func lose(in directory: String, _ share: Int, _ random: inout SeededGenerator) -> Int {
    var lost = 0
    let entries = ((try? File.list(directory)) ?? []).sorted { $0.name < $1.name }
    for entry in entries {
      let path = directory + "/" + entry.name
      if entry.kind == .directory {
        lost += lose(in: path, share, &random)
      } else if let status = try? File.status(at: path), let all = writes[status.inode] {
        lost += lose(all, of: path, length: status.size, share, &random)
      }
    }
    return lost
  }

  private func lose(
    _ all: [Write], of path: String, length: Int64, _ share: Int, _ random: inout SeededGenerator
  ) -> Int {
    let fd = Glibc.open(path, O_RDWR)
    guard fd >= 0 else { return 0 }
    defer { Glibc.close(fd) }
    var lost = 0
    var end = length
    for write in all.reversed() {
      var at = write.offset
      while at < write.offset + Int64(write.count) {
        let next = min(write.offset + Int64(write.count), (at / Self.page + 1) * Self.page)
        if random.chance(share), at < end {
          lost += 1
          putBack(fd, write, at, min(next, end))
          if next >= end, random.oneIn(2) { end = max(at, write.offset + Int64(write.old.count)) }
        }
        at = next
      }
    }
    if end < length { ftruncate(fd, off_t(end)) }
    return lost
  }

  private func putBack(_ fd: Int32, _ write: Write, _ start: Int64, _ end: Int64) {
    let from = Int(start - write.offset)
    let count = Int(end - start)
    var bytes = [UInt8](repeating: 0, count: count)
    let there = max(0, min(count, write.old.count - from))
    if there > 0 { bytes.replaceSubrange(0..<there, with: write.old[from..<from + there]) }
    _ = bytes.withUnsafeBytes { Glibc.pwrite(fd, $0.baseAddress, count, off_t(start)) }
  }
}
