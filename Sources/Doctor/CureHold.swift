// Who keeps a cure: a lock on a file beside the records, shared by all keepers of this cure in this namespace, for as long as
// they live. The kernel takes it away with the process, so a file that nobody holds is of a keeper that was killed. The
// last one to go takes the cure back, and holds the lock alone meanwhile: who comes then waits, and sets it up anew.

import Foundation
import Glibc
import Platform

package final class CureHold {
  private let path: String
  private let file: FileDescriptor

  private init(path: String, file: consuming FileDescriptor) {
    self.path = path
    self.file = file
  }

  /// Begins to share it.
  /// - Returns: nil while somebody takes the cure back.
  package static func share(_ path: String) throws(Errno) -> CureHold? {
    let directory = (path as NSString).deletingLastPathComponent
    // Says itself why not, when the file is made.
    try? FileManager.default.createDirectory(
      atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    return try lock(path, [.readWrite, .create], isShared: true)
  }

  /// What a keeper that was killed has left.
  /// - Returns: nil if there is none, or one that lives.
  package static func abandoned(_ path: String) -> CureHold? {
    try? lock(path, .readWrite, isShared: false)
  }

  /// Whether somebody keeps it who lives.
  package static func isHeld(_ path: String) -> Bool {
    guard let file = try? File.open(path, .readWrite) else { return false }
    return (try? File.lock(file.rawValue)) == false
  }

  private static func lock(
    _ path: String, _ options: File.Options, isShared: Bool
  ) throws(Errno) -> CureHold? {
    let file = try File.open(path, options)
    guard try File.lock(file.rawValue, isShared: isShared) else { return nil }
    // The last keeper may have taken the name away since, and another one made it anew.
    let status = try File.status(file.rawValue)
    guard let named = try? File.status(at: path), named.device == status.device,
      named.inode == status.inode
    else { return nil }
    return CureHold(path: path, file: file)
  }

  /// Becomes the only one.
  /// - Returns: false if another one keeps it as well: this one has let go all the same.
  package func isLast() -> Bool { (try? File.lock(file.rawValue)) ?? false }

  /// Takes the file away, when the cure is taken back. Only who holds it alone may.
  package func remove() { unlink(path) }
}
