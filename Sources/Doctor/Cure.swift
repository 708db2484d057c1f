// Applies a cure to the network namespace of the calling thread, and takes back exactly what it did. A rule lies in a table
// of its own, whose name says whose it is; a setting's former value is kept in a file, and put back only where the setting
// still is what we made it. Neither outlives a reboot.

import Foundation
import Glibc
import Platform

package enum CureError: Error, CustomStringConvertible {
  case tool(ToolError)
  case noConnectionTracking
  case cannotWrite(String)

  package var description: String {
    switch self {
    case .tool(let error):
      error.isForbidden
        ? "\(error): it takes root, or CAP_NET_ADMIN in this network namespace" : "\(error)"
    case .noConnectionTracking:
      "there is no connection tracking here (no \(Remedy.liberalSetting)), so there is nothing to set"
    case .cannotWrite(let path):
      "cannot write \(path): setting it up needs root, or CAP_NET_ADMIN in this namespace and a writable /proc/sys (--proc-sys) and /run"
    }
  }
}

package struct Cure: Sendable {
  package let kind: CureKind
  /// Where former values are kept.
  package var directory = "/run/holdfast-doctor"
  /// Where settings are written. In a container `/proc/sys` is mostly read-only, and the node's is mounted elsewhere.
  package var settings = "/proc/sys"

  package init(_ kind: CureKind, directory: String? = nil, settings: String? = nil) {
    self.kind = kind
    if let directory { self.directory = directory }
    if let settings { self.settings = settings }
  }

  private struct Record: Codable {
    var setting: String
    var before: String
    var after: String
  }

  private var settingPath: String {
    "\(settings)/" + Remedy.liberalSetting.split(separator: ".").joined(separator: "/")
  }

  /// One for each namespace.
  private var recordPath: String { "\(directory)/\(kind.rawValue)-\(Self.namespace).json" }

  /// A number that the kernel gives to no other namespace until the next boot (`SO_NETNS_COOKIE`, Linux 5.14). Before that
  /// there was only one that the next namespace may inherit.
  private static var namespace: UInt64 {
    let fd = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC, 0)
    defer { if fd >= 0 { close(fd) } }
    var cookie: UInt64 = 0
    var length = socklen_t(MemoryLayout<UInt64>.size)
    // asm-generic/socket.h; not in Swift's Glibc.
    if fd >= 0, getsockopt(fd, SOL_SOCKET, 71, &cookie, &length) == 0 { return cookie }
    var status = stat()
    return stat("/proc/thread-self/ns/net", &status) == 0 ? UInt64(status.st_ino) : 0
  }

  private static let nft = Tool("nft", package: "nftables")

  /// Sets it up, unless it is there.
  /// - Returns: what was done, in a sentence.
  package func apply(_ facts: HostFacts) throws(CureError) -> String {
    if kind == .beLiberal { return try setLiberal() }
    let table = Remedy.table(kind)
    if isThere(table) { return "the table inet \(table) is there already; nothing was changed" }
    let commands = Remedy.of(kind, facts: facts).commands.map {
      $0.dropFirst("nft ".count).filter { $0 != "'" }
    }
    try nft(commands.joined(separator: "\n; "))
    return "made the table inet \(table)"
  }

  /// Takes back what was set up, and nothing else.
  package func undo() throws(CureError) -> String? {
    if kind == .beLiberal { return try unsetLiberal() }
    let table = Remedy.table(kind)
    guard isThere(table) else { return nil }
    try nft("delete table inet \(table)")
    return "deleted the table inet \(table)"
  }

  /// Whether it is set up now, by whomever.
  package var isInPlace: Bool {
    guard kind == .beLiberal else { return isThere(Remedy.table(kind)) }
    return HostInspector.read(settingPath).map { $0.trimmed != "0" } ?? false
  }

  // MARK: Tables

  private func isThere(_ table: String) -> Bool {
    (try? Self.nft.run(["list", "table", "inet", table])) != nil
  }

  /// All or nothing.
  private func nft(_ commands: String) throws(CureError) {
    do {
      _ = try Self.nft.run([commands])
    } catch {
      throw .tool(error)
    }
  }

  // MARK: The setting

  private func setLiberal() throws(CureError) -> String {
    guard let before = HostInspector.read(settingPath)?.trimmed else {
      throw .noConnectionTracking
    }
    if before != "0" {
      return "\(Remedy.liberalSetting) is \(before) already; nothing was changed"
    }
    // First the record: what cannot be taken back is not done.
    let record = Record(setting: Remedy.liberalSetting, before: before, after: "1")
    let path = recordPath
    do {
      try FileManager.default.createDirectory(
        atPath: directory, withIntermediateDirectories: true,
        attributes: [.posixPermissions: 0o700])
      try JSONEncoder().encode(record).write(to: URL(fileURLWithPath: path), options: .atomic)
    } catch {
      throw .cannotWrite(path)
    }
    do {
      try set("1")
    } catch {
      unlink(path)
      throw error
    }
    return "set \(Remedy.liberalSetting) from \(before) to 1"
  }

  private func unsetLiberal() throws(CureError) -> String? {
    let path = recordPath
    guard let data = FileManager.default.contents(atPath: path),
      let record = try? JSONDecoder().decode(Record.self, from: data),
      record.setting == Remedy.liberalSetting
    else { return nil }
    let now = HostInspector.read(settingPath)?.trimmed
    guard now == record.after else {
      unlink(path)
      // Who was to set it did not come to it.
      if now == record.before { return nil }
      return "\(record.setting) has been changed by somebody else since; left as it is"
    }
    try set(record.before)
    unlink(path)
    return "set \(record.setting) back to \(record.before)"
  }

  private func set(_ value: String) throws(CureError) {
    guard let file = fopen(settingPath, "w") else { throw .cannotWrite(settingPath) }
    let written = fputs(value + "\n", file) >= 0
    guard fclose(file) == 0, written else { throw .cannotWrite(settingPath) }
  }
}
