// The name that a run of the lab gives to all it makes, namespaces and files: a prefix, the process and when it was
// started, and a number. So two labs side by side do not meet, and what a killed one has left is known for what it is:
// nobody else's, and its owner gone.

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
    let number = Self.serial.add(1, ordering: .relaxed).newValue
    name = "\(Self.prefix)\(getpid())-\(Self.startTime(of: getpid()) ?? 0)-\(number)"
    directory = "\(Self.parent)/\(name)"
    let directory = directory
    let error = Interruption.guarding { mkdir(directory, 0o700) == 0 ? 0 : errno }
    guard error == 0 else {
      throw LabError("cannot make \(directory): \(Errno(rawValue: error))")
    }
  }

  private static var parent: String {
    getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
  }

  package func remove() { Self.remove(directory) }

  private static func remove(_ directory: String) {
    guard directory.contains("/\(prefix)") else { return }
    _ = try? Child(["rm", "-rf", "--", directory]).wait()
  }

  /// Leaves its files to the person who has asked for them: from now on nobody takes them away.
  package func keep() {
    close(open(directory + Self.keptMark, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600))
  }

  private static let keptMark = "/kept"

  // MARK: What others have left

  private static let sweepOnce: Void = sweep()

  /// Takes away what runs have left behind whose process is gone: processes in their namespaces, namespaces, files.
  package static func sweep() {
    take(isOrphaned)
  }

  /// Takes away all that this process has made, before it ends without having come to its end. From then on threads that
  /// would make something wait, for good.
  package static func abandon() {
    Interruption.begin()
    let own = "\(prefix)\(getpid())-"
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

  /// Whether the process that made something of this name is gone. What has another kind of name is not ours.
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
