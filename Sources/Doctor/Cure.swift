// Applies a cure to the network namespace of the calling thread, and takes back exactly what it did. Rules lie in a table
// that says whose it is (`CureTable`); a setting's former value is kept in a file, and put back only where the setting
// still is what we made it. Neither outlives a reboot. What could not be looked at is never taken for absent.

import Foundation
import Glibc
import Platform

package enum CureError: Error, CustomStringConvertible {
  case tool(ToolError)
  case noConnectionTracking
  case cannotWrite(String)
  case cannotRead(String, Errno)
  case cannotLook(table: String, ToolError)
  /// One of the name that we need, made by somebody else, which does not do what the cure does.
  case othersTable(String, String)

  package var description: String {
    switch self {
    case .tool(let error): Self.words(error)
    case .cannotLook(let table, let error):
      "cannot see whether there is a table inet \(table), so it is as it was: \(Self.words(error))"
    case .cannotRead(let path, let error):
      "cannot see what has been set up here, so it is as it was: \(path): \(error)\(error == .accessDenied || error == .notPermitted ? "; it takes root" : "")"
    case .othersTable(let table, let fault):
      "there is a table inet \(table) already that --apply has not made, and it is not the cure (\(fault)): look at it (nft list table inet \(table)), and delete it if nobody wants it"
    case .noConnectionTracking:
      "there is no connection tracking here (no \(Remedy.liberalSetting)), so there is nothing to set"
    case .cannotWrite(let path):
      "cannot write \(path): setting it up needs root, or CAP_NET_ADMIN in this namespace and a writable /proc/sys (--proc-sys) and /run"
    }
  }

  private static func words(_ error: ToolError) -> String {
    error.isForbidden
      ? "\(error): it takes root, or CAP_NET_ADMIN in this network namespace" : "\(error)"
  }
}

/// What is there of a cure, whoever has set it up.
package enum CureState: Equatable, Sendable {
  case absent
  case inPlace
  /// There, and without effect or in part.
  case altered(String)
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

  /// What those hold who keep it (`CureHold`).
  package var holdPath: String { "\(directory)/\(kind.rawValue)-\(Self.namespace).hold" }

  /// Another one of the same place.
  package func sibling(_ kind: CureKind) -> Cure {
    Cure(kind, directory: directory, settings: settings)
  }

  private var table: CureTable { CureTable(kind) }

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

  /// Sets it up, unless it is there.
  /// - Returns: what was done, in a sentence.
  package func apply(_ facts: HostFacts) throws(CureError) -> String {
    if kind == .beLiberal { return try setLiberal() }
    return try table.make(facts)
  }

  /// Takes back what was set up, and nothing else.
  package func undo() throws(CureError) -> String? {
    if kind == .beLiberal { return try unsetLiberal() }
    return try table.unmake()
  }

  /// Whether it is set up now, by whomever.
  package func state(_ facts: HostFacts) throws(CureError) -> CureState {
    guard kind == .beLiberal else { return try table.state(facts) }
    let value = HostInspector.read(settingPath)?.trimmed ?? "0"
    return value == "0" ? .absent : .inPlace
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
    guard let record = try record() else { return nil }
    let now = HostInspector.read(settingPath)?.trimmed
    guard now == record.after else {
      unlink(path)
      // Who was to set it did not come to it.
      if now == record.before { return nil }
      return "\(record.setting) has been changed by somebody else since; left as it is"
    }
    try set(record.before)
    unlink(path)
    return
      "set \(record.setting) back to \(record.before); who else wants it set has to set it again: kube-proxy (conntrack.tcpBeLiberal) when restarted, /etc/sysctl.d by `sysctl --system`"
  }

  /// What was noted here; nil if nothing was, or a power cut has torn it.
  private func record() throws(CureError) -> Record? {
    do throws(Errno) {
      _ = try File.open(recordPath)
    } catch {
      if error == .noSuchFile || error == .notADirectory { return nil }
      throw .cannotRead(recordPath, error)
    }
    let data = FileManager.default.contents(atPath: recordPath) ?? Data()
    let record = try? JSONDecoder().decode(Record.self, from: data)
    return record?.setting == Remedy.liberalSetting ? record : nil
  }

  private func set(_ value: String) throws(CureError) {
    guard let file = fopen(settingPath, "w") else { throw .cannotWrite(settingPath) }
    let written = fputs(value + "\n", file) >= 0
    guard fclose(file) == 0, written else { throw .cannotWrite(settingPath) }
  }
}
