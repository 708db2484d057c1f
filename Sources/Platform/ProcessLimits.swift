// What this process may use and what it uses: descriptors, memory, processor time.

import CLinux
import Glibc

/// Limits and usage of this process.
package enum ProcessLimits {
  /// How many descriptors the process may have.
  package struct Descriptors: Sendable, Equatable {
    /// The limit in force, and what it was before.
    package let limit: UInt64
    package let previous: UInt64
  }

  /// Raises the soft limit of open descriptors to the hard one, which needs no privilege.
  package static func raiseDescriptors() throws(Errno) -> Descriptors {
    var limit = rlimit()
    try File.check(getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit))
    let previous = UInt64(limit.rlim_cur)
    if limit.rlim_cur < limit.rlim_max {
      limit.rlim_cur = limit.rlim_max
      try File.check(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit))
    }
    return Descriptors(limit: UInt64(limit.rlim_cur), previous: previous)
  }

  /// How many descriptors are open; 0 when the kernel does not tell.
  package static func openDescriptors() -> Int {
    // One of them is the directory itself.
    max(0, ((try? File.list("/proc/self/fd"))?.count ?? 1) - 1)
  }

  /// How many descriptors the process may have now.
  package static func maximumDescriptors() -> UInt64 {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 0 }
    return UInt64(limit.rlim_cur)
  }

  /// Bytes of memory that this process keeps resident; 0 when the kernel does not tell.
  package static func residentMemory() -> Int {
    // /proc/self/statm: total and resident size, in pages.
    let fields = readSmallFile("/proc/self/statm").split(separator: " ")
    guard fields.count > 1, let pages = Int(fields[1]) else { return 0 }
    return pages * Int(getpagesize())
  }

  /// Processor time of all threads so far.
  package static func processorTime() -> Duration {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    let seconds = Int64(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
    let microseconds = Int64(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)
    return .seconds(seconds) + .microseconds(microseconds)
  }

  /// How many processors this process may run on, at least 1.
  package static func processorCount() -> Int {
    Int(linux_processor_count())
  }

  private static func readSmallFile(_ path: String) -> String {
    guard let file = try? File.open(path) else { return "" }
    return withUnsafeTemporaryAllocation(byteCount: 512, alignment: 1) { buffer in
      guard let count = try? File.readFully(file.rawValue, into: buffer, at: 0) else { return "" }
      return String(decoding: buffer[..<count], as: UTF8.self)
    }
  }
}
