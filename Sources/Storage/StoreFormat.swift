// The file `format`: that this directory is a store, in which format, and how it was left.
//
//   holdfast-store 1
//   id 0123456789abcdef
//   state clean
//
// Whoever has the store open holds a lock on this file, which is therefore changed in place and never replaced.
// The state line is the only one that changes and has a fixed length. "dirty" while the store is open, and after
// a stop that was not a close: then no blob is trusted before its bytes were compared with its name.

import Platform
import Synchronization

package final class StoreFormat: Sendable {
  package static let version = "1"

  package enum State: String, Sendable {
    case clean, dirty
  }

  private static let stateOffset: Int64 = 17 + 20 + 6

  /// Seed of all checksums of this store, chosen when it was made. Also good as the seed of key hashes: those
  /// must stay the same as long as the store lives.
  package let id: UInt64
  package let isNew: Bool
  /// How the store was left before this opening.
  package let found: State
  private let held: Mutex<OpenFile?>
  private let path: String

  /// Opens and locks; makes the file when the directory is new or empty.
  package init(directory: String, readOnly: Bool) throws(StoreError) {
    path = directory + "/format"
    if !readOnly { try Self.refuseOthers(in: directory) }
    let file: OpenFile
    do throws(Errno) {
      file = OpenFile(try File.open(path, readOnly ? .read : [.readWrite, .create]))
    } catch {
      throw StoreError(path: path, doing: "open", error)
    }
    let isOurs: Bool
    do throws(Errno) {
      isOurs = try File.lock(file.rawValue)
    } catch {
      throw .unavailable(path: path, doing: "lock", error)
    }
    guard isOurs else {
      throw .inUse(path: directory, process: LockHolder.process(of: file.rawValue))
    }
    held = Mutex(file)

    let text: String
    do throws(Errno) {
      text = String(
        decoding: try File.readFully(file.rawValue, count: 256, at: 0), as: UTF8.self)
    } catch {
      throw .unavailable(path: path, doing: "read", error)
    }

    if let known = try Self.parse(text, directory: directory) {
      id = known.0
      found = known.1
      isNew = false
    } else {
      // Nothing, or the beginning of one: a first start that was cut off. With a log beside it, it is damage.
      if readOnly || Self.hasLog(directory) { throw .notAStore(path: directory) }
      id = max(1, Randomness.word())
      found = .clean
      isNew = true
      let text = "holdfast-store \(Self.version)\nid \(Self.hexadecimal(id))\nstate clean\n"
      do throws(Errno) {
        try File.truncate(file.rawValue, to: 0)
        try File.writeFully(file.rawValue, Array(text.utf8), at: 0)
      } catch {
        throw StoreError(path: path, doing: "write", error)
      }
    }
  }

  /// Nothing is put beside what somebody else keeps in a directory.
  private static func refuseOthers(in directory: String) throws(StoreError) {
    do throws(Errno) {
      _ = try File.status(at: directory + "/format")
      return
    } catch {
      // Opening it tells what else may be wrong.
      guard error == .noSuchFile else { return }
    }
    // What a file system begins with, what a first start that was cut off or a damaged store may have left, and what
    // is hidden, such as the snapshots of a volume.
    let known: Set = ["lost+found", "log", "blobs", "partial"]
    guard let names = try? File.list(directory).map(\.name) else { return }
    let others = names.filter { !known.contains($0) && !$0.hasPrefix(".") }
    if let file = others.min() { throw .notEmpty(path: directory, file: file) }
  }

  /// Writes how the store is now, and waits until that is on the disk.
  package func mark(_ state: State) throws(Errno) {
    guard let file = held.withLock({ $0 }) else { return }
    try File.writeFully(file.rawValue, Array(state.rawValue.utf8), at: Self.stateOffset)
    try File.fdatasync(file.rawValue)
  }

  /// Lets go of the lock: another process may open the store.
  package func unlock() {
    held.withLock { file in
      if let file { File.unlock(file.rawValue) }
      file = nil
    }
  }

  /// Reads the file's text.
  /// - Returns: the id and the state; nil if this is not the text of a store.
  package static func parse(
    _ text: String, directory: String
  ) throws(StoreError) -> (UInt64, State)? {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    guard let first = lines.first, first.hasPrefix("holdfast-store "), lines.count > 1 else {
      return nil
    }
    let found = first.dropFirst("holdfast-store ".count)
    guard found == version else { throw .wrongVersion(path: directory, found: String(found)) }
    // Only as it is written: a number with a sign, or in capitals, was damaged or made by hand.
    guard lines.count >= 4, let id = UInt64(lines[1].dropFirst(3), radix: 16),
      lines[1] == "id \(hexadecimal(id))", lines[2].hasPrefix("state ")
    else { return nil }
    // A state that cannot be read is no promise that all is well.
    return (id, State(rawValue: String(lines[2].dropFirst(6))) ?? .dirty)
  }

  private static func hasLog(_ directory: String) -> Bool {
    guard let entries = try? File.list(directory + "/log") else { return false }
    return !entries.isEmpty
  }

  private static func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
