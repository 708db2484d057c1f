// The name that a run of the lab gives to all it makes, namespaces and files: a prefix, the process and when it was
// started, and a number. So two labs side by side do not meet, and what a killed one has left is known for what it is:
// nobody else's, and its owner gone. A process may have a number that is not seen here (pid_namespaces(7)), so the directory
// is locked for as long as the run lives, and what is locked is nobody's to sweep.

import Glibc
import Platform
import Synchronization

package struct LabRun: Sendable {
  static let prefix = "hflab-"
  private static let serial = Atomic<Int>(0)

  /// `hflab-PID-START-NUMBER`
  package let name: String
  /// For its files: configuration, store, records, captures.
  package let directory: String

  package init() throws {
    Self.sweepOnce
    var made: String?
    while made == nil {
      let number = Self.serial.add(1, ordering: .relaxed).newValue
      made = try Interruption.guarding { try Self.make("\(Self.own)\(number)") }
    }
    name = made ?? ""
    directory = "\(Self.parent)/\(name)"
  }

  /// What the names of this process begin with.
  private static var own: String { "\(prefix)\(getpid())-\(startTime(of: getpid()) ?? 0)-" }

  /// Makes a directory and locks it.
  /// - Returns: its name; nil if it is somebody else's, or was taken for one before it was locked.
  private static func make(_ name: String) throws -> String? {
    let path = "\(parent)/\(name)"
    do throws(Errno) {
      try File.makeDirectory(path)
    } catch {
      if error == .fileExists { return nil }
      throw LabError("cannot make \(path): \(error): \(Self.whereFilesGo)")
    }
    do throws(Errno) {
      let directory = try File.open(path, .directory)
      guard try File.lock(directory.rawValue),
        try File.status(at: path).inode == File.status(directory.rawValue).inode
      else { return nil }
      let descriptor = directory.release()
      locks.withLock { $0[path] = descriptor }
      return name
    } catch {
      // Swept away by somebody who does not see this process.
      if error == .noSuchFile { return nil }
      throw LabError("cannot lock \(path): \(error): \(Self.whereFilesGo)")
    }
  }

  private static let whereFilesGo =
    "the lab keeps its files in $TMPDIR, else in /tmp: let it name a directory that is there, can be written to, and has some hundred megabytes left"

  /// Writes one of its files.
  static func write(_ text: String, to path: String) throws {
    do throws(Errno) {
      try File.replace(path, with: text)
    } catch {
      throw LabError("cannot write \(path): \(error): \(whereFilesGo)")
    }
  }

  /// The descriptors that hold the locks of this process's runs, by directory. Children get none of them.
  private static let locks = Mutex<[String: Int32]>([:])

  private static func unlock(_ directory: String) {
    if let lock = locks.withLock({ $0.removeValue(forKey: directory) }) {
      FileDescriptor.close(raw: lock)
    }
  }

  private static var parent: String {
    getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
  }

  package func remove() {
    Self.remove(directory)
    Self.unlock(directory)
  }

  private static func remove(_ directory: String) {
    guard directory.contains("/\(prefix)") else { return }
    _ = try? Child(["rm", "-rf", "--", directory]).wait()
  }

  /// Leaves its files to the person who has asked for them: from now on nobody takes them away.
  package func keep() {
    close(open(directory + Self.keptMark, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600))
    Self.unlock(directory)
  }

  private static let keptMark = "/kept"

  // MARK: What others have left

  private static let sweepOnce: Void = sweep()

  /// Takes away what runs have left behind whose process is gone: processes in their namespaces, namespaces, files.
  package static func sweep() {
    let names = names(in: "/run/netns") + names(in: parent)
    for run in Set(names.filter(isOrphaned).map(self.run)) {
      // Held meanwhile: who is just making it will take another one.
      guard let lock = try? lockIfThere("\(parent)/\(run)") else { continue }
      take { self.run($0) == run }
      withExtendedLifetime(lock) {}
    }
  }

  /// The run that something is of: `hflab-1-2-3` of `hflab-1-2-3-node`.
  private static func run(_ name: String) -> String {
    name.split(separator: "-").prefix(4).joined(separator: "-")
  }

  private final class Lock {
    let file: FileDescriptor?
    init(_ file: consuming FileDescriptor?) { self.file = file }
  }

  /// - Throws: if somebody holds it, whatever number he has here, or it is not ours to look at.
  private static func lockIfThere(_ directory: String) throws(Errno) -> Lock {
    let file: FileDescriptor
    do throws(Errno) {
      file = try File.open(directory, .directory)
    } catch {
      if error == .noSuchFile { return Lock(nil) }
      throw error
    }
    guard try File.lock(file.rawValue) else { throw .wouldBlock }
    return Lock(file)
  }

  /// Takes away all that this process has made, before it ends without having come to its end. From then on threads that
  /// would make something wait, for good.
  package static func abandon() {
    Interruption.begin()
    let own = own
    take { $0.hasPrefix(own) }
  }

  private static func take(_ isToGo: (String) -> Bool) {
    for name in names(in: "/run/netns") where isToGo(name) {
      _ = try? Shell.runAnyway(
        """
        for process in $(ip netns pids \(name)); do kill -9 $process || true; done
        ip netns del \(name)
        """)
    }
    for name in names(in: parent) where isToGo(name) {
      let directory = "\(parent)/\(name)"
      if access(directory + keptMark, F_OK) != 0 { remove(directory) }
    }
  }

  /// What lies in a directory and could be of a lab.
  package static func names(in directory: String) -> [String] {
    guard let handle = opendir(directory) else { return [] }
    defer { closedir(handle) }
    var names: [String] = []
    while let entry = readdir(handle) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name.hasPrefix(prefix) { names.append(name) }
    }
    return names
  }

  /// Whether the process that made something of this name is gone, as far as numbers tell. What has another kind of name is
  /// not ours.
  static func isOrphaned(_ name: String) -> Bool {
    let parts = name.split(separator: "-")
    guard parts.count >= 4, parts[0] == "hflab", let process = pid_t(parts[1]),
      let start = UInt64(parts[2]), Int(parts[3]) != nil,
      name.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "-" })
    else { return false }
    return startTime(of: process) != start
  }

  /// When a process was started, in ticks since the machine was (proc(5), field 22 of `stat`); nil if there is none.
  private static func startTime(of process: pid_t) -> UInt64? {
    guard let file = try? File.open("/proc/\(process)/stat") else { return nil }
    var buffer = [UInt8](repeating: 0, count: 1024)
    let count = read(file.rawValue, &buffer, buffer.count)
    guard count > 0, let name = buffer[..<count].lastIndex(of: UInt8(ascii: ")")) else {
      return nil
    }
    // Behind the name, which may have spaces in it, comes field 3.
    let fields = buffer[(name + 1)..<count].split(separator: UInt8(ascii: " "))
    guard fields.count > 19 else { return nil }
    return UInt64(String(decoding: fields[19], as: UTF8.self))
  }
}

extension File {
  /// Writes a whole text file, in place of what was there.
  package static func replace(_ path: String, with text: String) throws(Errno) {
    let file = try open(path, [.write, .create, .truncate, .followLinks], mode: 0o644)
    if let error = writeAll(file.rawValue, Array(text.utf8)).error { throw error }
  }
}
