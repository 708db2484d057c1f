// Who holds the lock on a file: a line of /proc/locks, so that nothing about it need be written down.
//
//   1: FLOCK  ADVISORY  WRITE 4711 fd:01:131077 0 EOF
//                             pid  device:inode

import Platform

package enum LockHolder {
  /// The same for a file by its name.
  package static func process(of path: String) -> Int32? {
    guard let file = try? File.open(path, [.followLinks]) else { return nil }
    return process(of: file.rawValue)
  }

  /// The process that holds `flock` on the file; `nil` where the kernel does not say: another pid namespace, or a
  /// file system that shows its files under other device numbers.
  static func process(of file: Int32) -> Int32? {
    guard let status = try? File.status(file), let locks = try? File.open("/proc/locks"),
      let text = try? File.readFully(locks.rawValue, count: 1 << 20, at: 0)
    else { return nil }
    let major = (status.device >> 8 & 0xFFF) | (status.device >> 32 & ~0xFFF)
    let minor = (status.device & 0xFF) | (status.device >> 12 & ~0xFF)
    let place = "\(hexadecimal(major)):\(hexadecimal(minor)):\(status.inode)"
    for line in String(decoding: text, as: UTF8.self).split(separator: "\n") {
      let words = line.split(separator: " ")
      guard words.count >= 6, words[1] == "FLOCK", words[5] == place, let process = Int32(words[4]),
        process > 0
      else { continue }
      return process
    }
    return nil
  }

  private static func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return digits.count < 2 ? "0" + digits : digits
  }
}
