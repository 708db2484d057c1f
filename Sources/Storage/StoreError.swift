// What can keep a store from opening, as sentences that say what to do; and what goes wrong while it runs, as a
// condition that an operator is told of once a minute and not once per request.

import Platform
import Synchronization

/// Why a store cannot be opened.
public enum StoreError: Error, Sendable, Equatable, CustomStringConvertible {
  /// Another process has it open; which, where the kernel says it.
  case inUse(path: String, process: Int32?)
  /// It was written by a version with another format.
  case wrongVersion(path: String, found: String)
  /// There is something, but not a store.
  case notAStore(path: String)
  /// Somebody else's files are in it.
  case notEmpty(path: String, file: String)
  /// The size cap leaves no room for the log.
  case tooSmall(size: Int64, minimum: Int64)
  /// Its file system lets nobody write.
  case readOnlyDisk(path: String)
  /// It belongs to somebody else.
  case notPermitted(path: String, doing: String, Errno)
  /// The kernel refused for another reason.
  case unavailable(path: String, doing: String, Errno)
  /// It was opened for reading only.
  case readOnly(path: String)
  /// Records that a purge is about may be left, because it could not look at them.
  case notAllRead(path: String, Errno)
  /// A part of it is a link or a file.
  case notADirectory(path: String)

  public var description: String {
    switch self {
    case .inUse(let path, let process):
      "The store \(path) is in use by another process\(process.map { ", number \($0)" } ?? ""). Stop that one, or give this one a directory of its own."
    case .wrongVersion(let path, let found):
      "The store \(path) has format \(found), this program reads and writes format \(StoreFormat.version). Use another directory, or remove this one to start empty."
    case .notAStore(let path):
      "\(path) is not a store: its file `format` is missing or damaged beside other files. Use another directory, or remove this one to start empty."
    case .notEmpty(let path, let file):
      "The directory \(path) has files of others, such as \(file), and no store. Name an empty one, or one that does not exist yet (store.path, --store)."
    case .tooSmall(let size, let minimum):
      "A store of \(size) bytes is too small for its log: allow at least \(minimum)."
    case .readOnlyDisk(let path):
      "The file system of the store \(path) is mounted read-only. Mount it writable, or give the store another directory."
    case .notPermitted(let path, let doing, let errno):
      "Cannot \(doing) \(path): \(errno). Run as the user the store belongs to, give that user the directory, or name another one (store.path, --store)."
    case .unavailable(let path, let doing, let errno):
      "Cannot \(doing) \(path): \(errno)."
    case .readOnly(let path):
      "The store \(path) is open for reading only."
    case .notAllRead(let path, let errno):
      "Not all of \(path) could be read (\(errno)), so something of what was to be purged may still be there. Purge again; if that fails too, see the kernel's log."
    case .notADirectory(let path):
      "\(path) is not a directory: links inside of a store are not followed. Remove it, or make the store itself a link."
    }
  }
}

extension StoreError {
  /// What an error of the kernel means when it keeps a store from opening.
  init(path: String, doing: String, _ errno: Errno) {
    switch errno {
    case .readOnlyFileSystem: self = .readOnlyDisk(path: path)
    case .accessDenied, .notPermitted: self = .notPermitted(path: path, doing: doing, errno)
    default: self = .unavailable(path: path, doing: doing, errno)
    }
  }
}

/// What is wrong with a running store.
public enum StoreTrouble: String, CaseIterable, Sendable {
  /// The size cap is reached and nothing can be evicted.
  case capReached
  /// The disk has no more left than is to be kept free for others, and nothing can be evicted.
  case keepFreeReached
  /// The disk or the quota is full.
  case diskFull
  /// The file system no longer takes writes: kernels do that to one they have found damaged.
  case diskReadOnly
  /// A file or directory of the store is gone.
  case missing
  /// A read or write failed for another reason.
  case diskFailed
  /// Responses come faster than the log can be written.
  case logBehind
  /// A record or a blob was not what its checksum or name says.
  case damaged

  public var sentence: String {
    switch self {
    case .capReached:
      "The store is at its size cap and everything in it is in use; new bodies are relayed only."
    case .keepFreeReached:
      "The disk of the store has no more left than store.keep-free keeps for others; new bodies are relayed only. Make room on it, or lower store.keep-free."
    case .diskFull:
      "The disk of the store is full (or its quota, or its inodes); new bodies are relayed only."
    case .diskReadOnly:
      "The disk of the store has become read-only; what is stored is served, new answers are relayed only. See the kernel's log."
    case .missing:
      "Files of the store are gone; new answers may be relayed only. If the directory was removed, start again."
    case .diskFailed: "The disk of the store fails; what it cannot keep is relayed only."
    case .logBehind: "The disk of the store is too slow; some responses are not kept."
    case .damaged: "Something in the store was damaged; it was dropped and will be fetched again."
    }
  }
}

/// One thing to tell an operator.
public struct TroubleReport: Sendable {
  public var trouble: StoreTrouble
  /// How often since it was last told.
  public var count: Int
  /// The last error number of the kernel, if there was one.
  public var errno: Errno?
}

/// Counts what goes wrong, and says each kind at most once a minute.
package final class TroubleLog: Sendable {
  private struct Entry {
    var total = 0
    var untold = 0
    var errno: Errno?
    var lastTold: Instant?
  }

  private let entries = Mutex<[StoreTrouble: Entry]>([:])

  package init() {}

  package func note(_ trouble: StoreTrouble, _ errno: Errno? = nil) {
    entries.withLock { entries in
      entries[trouble, default: Entry()].total += 1
      entries[trouble, default: Entry()].untold += 1
      if let errno { entries[trouble, default: Entry()].errno = errno }
    }
  }

  /// Files an error of the kernel under what it means.
  package func note(_ errno: Errno) {
    switch errno {
    case _ where errno.isOutOfSpace: note(.diskFull, errno)
    case .readOnlyFileSystem: note(.diskReadOnly, errno)
    case .noSuchFile, .notADirectory: note(.missing, errno)
    default: note(.diskFailed, errno)
    }
  }

  /// What there is to tell now. Telling is the caller's; a kind that was told less than a minute ago is kept back.
  package func due(now: Instant) -> [TroubleReport] {
    entries.withLock { entries in
      var reports: [TroubleReport] = []
      for trouble in StoreTrouble.allCases {
        guard var entry = entries[trouble], entry.untold > 0 else { continue }
        if let told = entry.lastTold, now - told < .seconds(60) { continue }
        reports.append(TroubleReport(trouble: trouble, count: entry.untold, errno: entry.errno))
        entry.untold = 0
        entry.lastTold = now
        entries[trouble] = entry
      }
      return reports
    }
  }

  package func total(_ trouble: StoreTrouble) -> Int {
    entries.withLock { $0[trouble]?.total ?? 0 }
  }
}
