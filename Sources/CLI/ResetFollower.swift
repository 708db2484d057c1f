// The lines of a file of records as they are written, across its being moved aside: each file is kept open and read to its
// end before the one that was begun behind it is.
//
//   resets.jsonl (open, read so far) ─ moved ─▶ the rest of it ─▶ those that came between, if any ─▶ resets.jsonl

import Platform

final class ResetFollower {
  /// Lines longer than that are no records.
  private static let longest = 16 << 20
  /// Files that were moved aside, at most.
  private static let mostAside = 999

  private let path: String
  private var file: FileDescriptor?
  private var inode: UInt64 = 0
  private var offset: Int64 = 0
  /// The beginning of a line whose end has not been written.
  private var rest: [UInt8] = []
  private var buffer = [UInt8](repeating: 0, count: 1 << 20)

  /// What is in the file at this moment is old.
  init(_ path: String) {
    self.path = path
    guard let opened = try? Self.open(path), let status = try? File.status(opened.rawValue) else {
      return
    }
    file = consume opened
    inode = status.inode
    offset = status.size
  }

  /// What a link leads to; and nobody who writes into a pipe is waited for.
  private static func open(_ path: String) throws(Errno) -> FileDescriptor {
    try File.open(path, [.followLinks, .nonBlocking])
  }

  /// Gives the lines that have come since the last time.
  /// - Parameter body: answers false when that is enough.
  /// - Returns: false when that was enough.
  func read(_ body: ([UInt8]) -> Bool) -> Bool {
    while true {
      guard drain(body) else { return false }
      let place = self.place
      if place == 0 { return true }
      // Whoever moves files in another way than we do leaves nothing between.
      guard let next = try? Self.open(name((place ?? 1) - 1)),
        let status = try? File.status(next.rawValue), file == nil || status.inode != inode
      else { return true }
      // All of them have been moved on meanwhile.
      if let place, inode(of: place) != inode { continue }
      // It may have grown between the last look and the moment when it was moved.
      guard drain(body) else { return false }
      file = consume next
      inode = status.inode
      offset = 0
      rest = []
    }
  }

  /// Which of those that were moved aside the file is by now: 0 as long as it is none of them, nil if it is gone.
  private var place: Int? {
    guard file != nil else { return nil }
    for number in 0...Self.mostAside {
      let found = inode(of: number)
      if found == inode { return number }
      // For a moment there may be none that is written to.
      if found == nil, number > 0 { return nil }
    }
    return nil
  }

  private func inode(of number: Int) -> UInt64? {
    guard let opened = try? Self.open(name(number)) else { return nil }
    return try? File.status(opened.rawValue).inode
  }

  private func name(_ number: Int) -> String { number == 0 ? path : "\(path).\(number)" }

  /// Gives all whole lines that are there.
  private func drain(_ body: ([UInt8]) -> Bool) -> Bool {
    guard let descriptor = file?.rawValue else { return true }
    // Somebody has emptied it.
    if let size = try? File.status(descriptor).size, size < offset {
      offset = 0
      rest = []
    }
    while let count = try? ResetSource.pread(descriptor, &buffer, offset), count > 0 {
      offset += Int64(count)
      var start = 0
      while let end = buffer[start..<count].firstIndex(of: 0x0A) {
        let line = rest + buffer[start..<end]
        rest = []
        start = end + 1
        guard line.isEmpty || line.count > Self.longest || body(line) else { return false }
      }
      // Of one that is too long no more is kept than tells that.
      if rest.count <= Self.longest { rest += buffer[start..<count] }
    }
    return true
  }
}
