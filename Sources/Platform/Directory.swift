// Names: what is in a directory, what a name leads to, and making, moving and removing names.

import CLinux
import Glibc

extension File {
  /// What kind of thing a name leads to.
  public enum Kind: Sendable {
    case file, directory, symbolicLink, other
  }

  /// A name in a directory.
  public struct Entry: Sendable {
    /// Bytes that are not UTF-8 are shown as U+FFFD; the store writes no such names.
    public let name: String
    public let kind: Kind
  }

  /// What the kernel knows about a file without reading it.
  public struct Status: Sendable {
    public let kind: Kind
    /// Length in bytes.
    public let size: Int64
    /// Bytes of disk space taken, which holes make less and blocks more than `size`.
    public let allocated: Int64
    public let device: UInt64
    public let inode: UInt64
    public let linkCount: UInt64
    public let owner: UInt32
    /// Permission bits.
    public let mode: UInt32
    public let modified: WallTime

    init(_ status: stat) {
      kind = Kind(mode: status.st_mode)
      size = Int64(status.st_size)
      allocated = Int64(status.st_blocks) * 512
      device = UInt64(status.st_dev)
      inode = UInt64(status.st_ino)
      linkCount = UInt64(status.st_nlink)
      owner = status.st_uid
      mode = status.st_mode & 0o7777
      modified = WallTime(
        seconds: Int64(status.st_mtim.tv_sec),
        nanoseconds: Int32(truncatingIfNeeded: status.st_mtim.tv_nsec))
    }
  }

  /// The space of a file system.
  public struct Space: Sendable {
    /// Bytes that this process may still use.
    public let available: Int64
    public let total: Int64
    /// How many more files can be created; nil where the file system has no such limit.
    public let availableFiles: Int64?

    package init(available: Int64, total: Int64, availableFiles: Int64? = nil) {
      self.available = available
      self.total = total
      self.availableFiles = availableFiles
    }
  }

  // MARK: Asking

  /// The status of an open file.
  public static func status(_ fd: Int32) throws(Errno) -> Status {
    try fault(.status, fd)
    var status = stat()
    try check(linux_fstat(fd, &status))
    return Status(status)
  }

  /// The status of what a path names; of a symbolic link, not of its target.
  public static func status(at path: String) throws(Errno) -> Status {
    try fault(.status, path: path)
    var status = stat()
    try check(lstat(path, &status))
    return Status(status)
  }

  /// The names in a directory, without `.` and `..`, in no order.
  public static func list(_ path: String) throws(Errno) -> [Entry] {
    try fault(.list, path: path)
    guard let stream = opendir(path) else { throw Errno(rawValue: Glibc.errno) }
    defer { closedir(stream) }
    var entries: [Entry] = []
    while true {
      Glibc.errno = 0
      guard let entry = readdir(stream) else {
        if Glibc.errno != 0 { throw Errno(rawValue: Glibc.errno) }
        return entries
      }
      let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
        String(cString: UnsafeRawPointer(name).assumingMemoryBound(to: CChar.self))
      }
      if name == "." || name == ".." { continue }
      let kind: Kind
      switch Int(entry.pointee.d_type) {
      case Int(DT_REG): kind = .file
      case Int(DT_DIR): kind = .directory
      case Int(DT_LNK): kind = .symbolicLink
      // Some file systems leave the type out.
      case Int(DT_UNKNOWN): kind = try status(at: path + "/" + name).kind
      default: kind = .other
      }
      entries.append(Entry(name: name, kind: kind))
    }
  }

  /// The space left on the file system of a path.
  public static func space(at path: String) throws(Errno) -> Space {
    try fault(.status, path: path)
    var answer = statvfs()
    try check(statvfs(path, &answer))
    let block = Int64(clamping: answer.f_frsize)
    return Space(
      available: Int64(clamping: answer.f_bavail).multipliedReportingOverflow(by: block)
        .partialValue,
      total: Int64(clamping: answer.f_blocks).multipliedReportingOverflow(by: block).partialValue,
      availableFiles: answer.f_files == 0 ? nil : Int64(clamping: answer.f_favail))
  }

  // MARK: Changing

  /// Gives a file a new name, and takes the name from whatever had it, in one step.
  public static func rename(_ old: String, to new: String) throws(Errno) {
    try fault(.rename, path: new)
    try check(Glibc.rename(old, new))
  }

  /// Gives a file one more name; `EEXIST` when it is taken.
  public static func link(_ existing: String, to new: String) throws(Errno) {
    try fault(.link, path: new)
    try check(Glibc.link(existing, new))
  }

  /// Removes a name; the file goes with its last name and its last descriptor.
  public static func unlink(_ path: String) throws(Errno) {
    try fault(.unlink, path: path)
    try check(Glibc.unlink(path))
  }

  /// Makes a directory; `EEXIST` when the name is taken.
  public static func makeDirectory(_ path: String, mode: UInt32 = 0o700) throws(Errno) {
    try fault(.makeDirectory, path: path)
    try check(mkdir(path, mode_t(mode)))
  }

  /// Makes a directory and those above it as far as they are missing.
  public static func makeDirectories(_ path: String, mode: UInt32 = 0o700) throws(Errno) {
    do {
      try makeDirectory(path, mode: mode)
    } catch .fileExists {
      // Whether that is a directory, the first use of it will tell.
    } catch .noSuchFile {
      guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { throw .noSuchFile }
      try makeDirectories(String(path[..<slash]), mode: mode)
      try makeDirectory(path, mode: mode)
    }
  }

  /// Makes the directory that a file will be in, and those above it, as far as they are missing.
  package static func makeDirectories(above file: String, mode: UInt32 = 0o700) throws(Errno) {
    guard let slash = file.lastIndex(of: "/"), slash != file.startIndex else { return }
    try makeDirectories(String(file[..<slash]), mode: mode)
  }

  /// Removes an empty directory.
  public static func removeDirectory(_ path: String) throws(Errno) {
    try fault(.unlink, path: path)
    try check(rmdir(path))
  }

  /// Removes a directory with all that is in it. Symbolic links are removed, not followed.
  package static func removeTree(_ path: String) throws(Errno) {
    for entry in try list(path) {
      let inner = path + "/" + entry.name
      if entry.kind == .directory {
        try removeTree(inner)
      } else {
        try unlink(inner)
      }
    }
    try removeDirectory(path)
  }

  /// Waits until the names in a directory are on the disk: a rename survives a power cut only after this.
  public static func syncDirectory(_ path: String) throws(Errno) {
    let directory = try open(path, .directory)
    try fsync(directory.rawValue)
  }

  /// A new directory of our own under `parent`, whose name begins with `prefix`.
  package static func makeTemporaryDirectory(
    prefix: String, in parent: String = "/tmp"
  ) throws(Errno) -> String {
    var template = Array("\(parent)/\(prefix)XXXXXX".utf8CString)
    let made = template.withUnsafeMutableBufferPointer { buffer -> String? in
      guard let start = buffer.baseAddress, let path = mkdtemp(start) else { return nil }
      return String(cString: path)
    }
    guard let made else { throw Errno(rawValue: Glibc.errno) }
    return made
  }
}

extension File.Kind {
  init(mode: mode_t) {
    switch mode & S_IFMT {
    case S_IFREG: self = .file
    case S_IFDIR: self = .directory
    case S_IFLNK: self = .symbolicLink
    default: self = .other
    }
  }
}
