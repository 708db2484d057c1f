// Files and directories: thin typed calls, each of which fails with an `Errno` and can be made to fail by a `FaultPlan`.
//
// Opening does not follow a symbolic link in the last component unless asked to, and every descriptor closes on
// exec. Nothing here may run on an event loop except `isResident` and reads of pages that are in memory.

import CLinux
import Glibc

/// Calls on files and directories.
public enum File {
  /// How to open.
  public struct Options: OptionSet, Sendable {
    public let rawValue: Int32

    public init(rawValue: Int32) {
      self.rawValue = rawValue
    }

    /// Read only; the absence of the two below.
    public static let read: Options = []
    public static let write = Options(rawValue: O_WRONLY)
    public static let readWrite = Options(rawValue: O_RDWR)
    public static let create = Options(rawValue: O_CREAT)
    /// With `create`: fail with `EEXIST` when the name is taken.
    public static let exclusive = Options(rawValue: O_EXCL)
    public static let truncate = Options(rawValue: O_TRUNC)
    public static let append = Options(rawValue: O_APPEND)
    /// Fail with `ENOTDIR` when it is not a directory.
    public static let directory = Options(rawValue: O_DIRECTORY)
    /// Opening a pipe or a device waits for nobody, and neither does reading from it.
    public static let nonBlocking = Options(rawValue: O_NONBLOCK)
    /// Follow a symbolic link in the last component. Not a flag of the kernel: its absence is.
    public static let followLinks = Options(rawValue: 1 << 30)
  }

  // MARK: Opening

  /// Opens a file.
  /// - Parameter mode: who may do what with a file that is created, before the process's mask.
  public static func open(
    _ path: String, _ options: Options = .read, mode: UInt32 = 0o600
  ) throws(Errno) -> FileDescriptor {
    try open(path, in: AT_FDCWD, options, mode: mode)
  }

  /// Opens a file by a path that begins at an open directory.
  public static func open(
    _ path: String, in directory: Int32, _ options: Options = .read, mode: UInt32 = 0o600
  ) throws(Errno) -> FileDescriptor {
    #if DEBUG
      if let errno = planned(.open, path, directory) { throw errno }
    #endif
    var flags = options.subtracting(.followLinks).rawValue
    if !options.contains(.followLinks) { flags |= O_NOFOLLOW }
    let file = try FileDescriptor(result: linux_openat(directory, path, flags, mode_t(mode)))
    #if DEBUG
      StandIn.current?.fileOpened(file.rawValue)
    #endif
    return file
  }

  /// Whether a write to a pipe, a terminal or a socket would find room now. Files always have some.
  package static func takesBytes(_ fd: Int32) -> Bool {
    var entry = pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)
    // That nobody reads it any more (POLLERR), a write will say without waiting.
    return poll(&entry, 1, 0) == 1
  }

  /// Opens a file to add lines to it, and makes it where there is none. To open a pipe that nobody reads is an error
  /// (`ENXIO`); to write to one waits for its reader.
  package static func openLog(_ path: String) throws(Errno) -> FileDescriptor {
    // Addresses of clients and targets of requests are nobody else's business.
    let file = try open(
      path, [.write, .append, .create, .followLinks, .nonBlocking], mode: 0o640)
    let flags = fcntl(file.rawValue, F_GETFL)
    if flags >= 0 { _ = fcntl(file.rawValue, F_SETFL, flags & ~O_NONBLOCK) }
    return file
  }

  // MARK: Reading and writing

  /// Reads at an offset, at most as much as fits.
  /// - Returns: how many bytes; 0 at the end of the file.
  public static func pread(
    _ fd: Int32, into buffer: UnsafeMutableRawBufferPointer, at offset: Int64
  ) throws(Errno) -> Int {
    try fault(.read, fd)
    return try check(linux_pread(fd, buffer.baseAddress, buffer.count, off_t(offset)))
  }

  /// Reads at an offset until the buffer is full or the file ends.
  /// - Returns: how many bytes.
  public static func readFully(
    _ fd: Int32, into buffer: UnsafeMutableRawBufferPointer, at offset: Int64
  ) throws(Errno) -> Int {
    var done = 0
    while done < buffer.count {
      let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
      let count = try pread(fd, into: rest, at: offset + Int64(done))
      if count == 0 { break }
      done += count
    }
    return done
  }

  /// Writes at an offset.
  /// - Returns: how many bytes were taken, which may be fewer than given.
  public static func pwrite(_ fd: Int32, _ bytes: UnsafeRawBufferPointer, at offset: Int64)
    throws(Errno) -> Int
  {
    try fault(.write, fd)
    #if DEBUG
      StandIn.current?.fileWillChange(fd, at: offset, count: bytes.count)
    #endif
    return try check(linux_pwrite(fd, bytes.baseAddress, bytes.count, off_t(offset)))
  }

  /// Writes several stretches at an offset, as if they were one; at most 1024 (IOV_MAX).
  /// - Returns: how many bytes were taken, which may be fewer than given.
  public static func pwritev(_ fd: Int32, _ parts: UnsafeBufferPointer<iovec>, at offset: Int64)
    throws(Errno) -> Int
  {
    try fault(.write, fd)
    #if DEBUG
      StandIn.current?.fileWillChange(fd, at: offset, count: parts.reduce(0) { $0 + $1.iov_len })
    #endif
    return try check(
      linux_pwritev(fd, parts.baseAddress, Int32(clamping: parts.count), off_t(offset)))
  }

  /// Writes everything at an offset.
  public static func writeFully(_ fd: Int32, _ bytes: UnsafeRawBufferPointer, at offset: Int64)
    throws(Errno)
  {
    var done = 0
    while done < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
      let count = try pwrite(fd, rest, at: offset + Int64(done))
      // Regular files always take something; a file system that does not is broken, and asking on would not end.
      if count == 0 { throw .inputOutput }
      done += count
    }
  }

  /// Reads at the descriptor's own position, at most as much as fits: for pipes and standard input.
  /// - Returns: how many bytes; 0 at the end.
  public static func read(_ fd: Int32, into buffer: UnsafeMutableRawBufferPointer) throws(Errno)
    -> Int
  {
    try fault(.read, fd)
    return try check(linux_read(fd, buffer.baseAddress, buffer.count))
  }

  /// Writes at the descriptor's own position: for logs, pipes and standard output.
  public static func write(_ fd: Int32, _ bytes: UnsafeRawBufferPointer) throws(Errno) -> Int {
    try fault(.write, fd)
    return try check(linux_write(fd, bytes.baseAddress, bytes.count))
  }

  /// Writes everything at the descriptor's own position, as far as that goes.
  /// - Parameter call: write(2).
  /// - Returns: how many bytes were taken, and what kept the others out.
  package static func writeAll(
    _ fd: Int32, _ bytes: [UInt8],
    with call: (Int32, UnsafeRawBufferPointer) throws(Errno) -> Int = File.write
  ) -> (count: Int, error: Errno?) {
    bytes.withUnsafeBytes { bytes in
      var done = 0
      while done < bytes.count {
        do throws(Errno) {
          let count = try call(fd, UnsafeRawBufferPointer(rebasing: bytes[done...]))
          guard count > 0 else { return (done, .inputOutput) }
          done += count
        } catch {
          return (done, error)
        }
      }
      return (done, nil)
    }
  }

  /// Waits until the bytes, and what is needed to read them again, are on the disk.
  public static func fdatasync(_ fd: Int32) throws(Errno) {
    try fault(.sync, fd)
    try check(linux_fdatasync(fd))
    #if DEBUG
      StandIn.current?.fileSynced(fd)
    #endif
  }

  /// Waits until bytes and attributes are on the disk; on a directory: until its names are.
  public static func fsync(_ fd: Int32) throws(Errno) {
    try fault(.sync, fd)
    try check(linux_fsync(fd))
  }

  /// Cuts or extends the file.
  public static func truncate(_ fd: Int32, to length: Int64) throws(Errno) {
    try fault(.truncate, fd)
    try check(linux_ftruncate(fd, off_t(length)))
  }

  /// Reserves blocks, so that writing there cannot run out of space.
  /// - Parameter keepingLength: the file stays as long as it is. `EOPNOTSUPP` where the file system cannot reserve.
  public static func allocate(
    _ fd: Int32, from offset: Int64 = 0, count: Int64, keepingLength: Bool = true
  ) throws(Errno) {
    try fault(.allocate, fd)
    try check(linux_allocate(fd, off_t(offset), off_t(count), keepingLength ? 1 : 0))
  }

  /// Locks the file for this open descriptor (`flock`); the lock ends with the descriptor. One that it has already becomes
  /// the other kind, and is lost where that cannot be had.
  /// - Parameter isShared: with others who share it; alone otherwise.
  /// - Returns: false when somebody else holds it.
  public static func lock(_ fd: Int32, isShared: Bool = false) throws(Errno) -> Bool {
    try fault(.lock, fd)
    let result = linux_flock(fd, (isShared ? LOCK_SH : LOCK_EX) | LOCK_NB)
    if result < 0, Errno.from(result) == .wouldBlock { return false }
    try check(result)
    return true
  }

  /// Gives the lock back at once. Closing alone would leave it with a child that was forked a moment ago and has
  /// not come to its exec yet.
  public static func unlock(_ fd: Int32) { _ = linux_flock(fd, LOCK_UN) }

  // MARK: The page cache

  /// Whether the bytes can be read without waiting for the disk.
  ///
  /// Asks cachestat(2) where the kernel has it (6.5), else tries the first and the last byte with `RWF_NOWAIT`. A file
  /// system that lies over another (overlayfs) has no pages of its own and cannot be tried: there a mapping tells, which
  /// costs some microseconds. An answer, not a promise: the pages may be dropped before they are read.
  public static func isResident(_ fd: Int32, offset: Int64, count: Int) -> Bool {
    guard count > 0, offset >= 0 else { return true }
    #if DEBUG
      if let answer = StandIn.current?.isResident() { return answer }
    #endif
    var statistics = linux_cachestat()
    let result = linux_cachestat(fd, UInt64(offset), UInt64(count), &statistics)
    if result == 0 {
      let pageSize = 4096
      let first = offset / Int64(pageSize)
      let last = (offset + Int64(count) - 1) / Int64(pageSize)
      // With pages larger than 4 KiB the count is smaller; the probe below then decides.
      if statistics.cached >= UInt64(last - first + 1) { return true }
      // Some are there, so that they are seen.
      if statistics.cached > 0, getpagesize() == pageSize { return false }
    }
    let probe = linux_probe_cached(fd, off_t(offset))
    if probe == -Int(EOPNOTSUPP) { return isMappedResident(fd, offset: offset, count: count) }
    return probe == 1 && linux_probe_cached(fd, off_t(offset + Int64(count) - 1)) == 1
  }

  private static func isMappedResident(_ fd: Int32, offset: Int64, count: Int) -> Bool {
    // Pages behind the end of a file do not exist, and mincore(2) says nothing of them.
    var status = stat()
    guard linux_fstat(fd, &status) == 0, offset + Int64(count) <= Int64(status.st_size) else {
      return false
    }
    return linux_mapped_cached(fd, off_t(offset), count) == 1
  }

  /// Asks the kernel to read these bytes into memory.
  public static func readAhead(_ fd: Int32, offset: Int64, count: Int) {
    _ = posix_fadvise(fd, off_t(offset), off_t(count), POSIX_FADV_WILLNEED)
  }

  /// Tells the kernel that these bytes will not be wanted soon; written ones must be synced before.
  public static func dropCached(_ fd: Int32, offset: Int64, count: Int) {
    _ = posix_fadvise(fd, off_t(offset), off_t(count), POSIX_FADV_DONTNEED)
  }
}

// MARK: - What the calls share

extension File {
  @discardableResult
  static func check(_ result: Int) throws(Errno) -> Int {
    guard result >= 0 else { throw Errno.from(result) }
    return result
  }

  /// The result of a C call that answers -1 and sets `errno`.
  static func check(_ result: Int32) throws(Errno) {
    guard result < 0 else { return }
    throw Errno.from(-Int(Glibc.errno))
  }

  @inline(__always)
  static func fault(_ call: FaultPlan.Call, _ fd: Int32) throws(Errno) {
    #if DEBUG
      if let errno = FaultPlan.failure(of: call, descriptor: fd) { throw errno }
    #endif
  }

  @inline(__always)
  static func fault(_ call: FaultPlan.Call, path: String, in directory: Int32 = AT_FDCWD)
    throws(Errno)
  {
    #if DEBUG
      if let errno = planned(call, path, directory) { throw errno }
    #endif
  }

  private static func planned(_ call: FaultPlan.Call, _ path: String, _ directory: Int32) -> Errno?
  {
    // A path that begins at a descriptor lies where the descriptor does.
    path.hasPrefix("/") || directory == AT_FDCWD
      ? FaultPlan.failure(of: call, path: path) : FaultPlan.failure(of: call, descriptor: directory)
  }
}
