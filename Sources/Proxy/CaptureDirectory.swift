// The captures of faults: a pcapng file for each whose packets were seen, named like its record. So many are kept; the
// oldest go, and nothing goes that is not named so. Only the sensors' thread writes here.

import Configuration
import Forensics
import Logging
import Packets
import Platform
import Synchronization

final class CaptureDirectory: Sendable {
  private struct State {
    /// Oldest first; nil until the directory was read.
    var names: [String]?
    /// The last attempt failed, and somebody has been told.
    var isFailing = false
    var failures: UInt64 = 0
  }

  private static let suffix = ".pcapng"

  let path: String
  let fileSize: Int
  private let most: Int
  private let logger: Logger
  private let state = Mutex(State())

  init(_ path: String, _ settings: ResetSettings, logger: Logger) {
    self.path = path
    fileSize = Int(clamping: settings.captureSize.bytes)
    most = settings.captureFiles
    self.logger = logger
  }

  /// Captures that could not be written.
  var failures: UInt64 { state.withLock { $0.failures } }

  /// Writes a capture and makes room for the next.
  /// - Parameter name: of its record; names of records are in the order of their times.
  /// - Returns: where it lies; nil if it could not be written.
  func write(_ bytes: [UInt8], name: String) -> String? {
    state.withLock { state in
      do throws(Errno) {
        if state.names == nil { state.names = try prepare() }
        let file = name + Self.suffix
        let target = "\(path)/\(file)"
        // Whose packets these are is nobody else's business.
        let descriptor = try File.open(target, [.write, .create, .truncate], mode: 0o640)
        do throws(Errno) {
          try bytes.withUnsafeBytes { bytes in
            Result { () throws(Errno) in try File.writeFully(descriptor.rawValue, bytes, at: 0) }
          }.get()
        } catch {
          try? File.unlink(target)
          throw error
        }
        state.isFailing = false
        state.names?.append(file)
        while let oldest = state.names?.first, (state.names?.count ?? 0) > most {
          state.names?.removeFirst()
          try? File.unlink("\(path)/\(oldest)")
        }
        return target
      } catch {
        state.failures &+= 1
        // The directory may have been taken away.
        state.names = nil
        if !state.isFailing {
          logger.warning(
            "captures of faults cannot be written to \(path) (\(error)): set `resets.captures`, or `none`; records go on without them"
          )
        }
        state.isFailing = true
        return nil
      }
    }
  }

  private func prepare() throws(Errno) -> [String] {
    try File.makeDirectories(path, mode: 0o750)
    return try File.list(path).map(\.name).filter(Self.isCapture).sorted()
  }

  /// Whether the name is one that a record's capture has: what else is in the directory belongs to somebody else.
  private static func isCapture(_ name: String) -> Bool {
    guard name.hasSuffix(suffix) else { return false }
    let stem = name.dropLast(suffix.count)
    return RecordID(stem).map { $0.text == stem } ?? false
  }
}

/// A capture of one flow.
struct Capture {
  private let flow: FlowPackets
  private let marks: [Int64: String]
  private let others: [RecordedPacket]
  private let record: EndingRecord
  private let sensor: PacketSensor

  init(
    flow: FlowPackets, findings: PacketFindings, record: EndingRecord, _ sensor: PacketSensor
  ) {
    self.flow = flow
    marks = findings.marks
    others = findings.others
    self.record = record
    self.sensor = sensor
  }

  func bytes(_ bound: Int) -> [UInt8] {
    let sensor = self.sensor
    var file = CaptureFile(
      CaptureFile.Description(
        comment: String(decoding: record.line, as: UTF8.self),
        operatingSystem: "Linux", application: "\(Program.name) \(Program.version)"),
      bound: bound, filter: "\(sensor.filter)", nameOfInterface: { sensor.interfaceName($0) })
    file.add(name: record.transaction.server, of: flow.peer.ip)
    let verdict =
      "\(record.verdict.cause.rawValue), \(record.verdict.confidence) % sure (record \(record.id))"
    // Resets are kept apart from the last packets, which may have pushed them out.
    var packets = flow.packets
    for reset in flow.resets where !packets.contains(where: { $0.time == reset.packet.time }) {
      packets.append(reset.packet)
    }
    packets += others
    for packet in packets.sorted(by: { $0.time < $1.time }) {
      let mark = marks[packet.time]
      let isReset = packet.header.tcp?.isReset == true
      file.add(
        packet,
        comment: isReset ? [mark, verdict].compactMap(\.self).joined(separator: ": ") : mark)
    }
    file.add(statistics: sensor.statistics, at: .now())
    return file.bytes
  }
}
