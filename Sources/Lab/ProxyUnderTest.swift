// `holdfast serve` as it is shipped, in the lab's proxy machine: its configuration, its start, its end.

import Foundation
import Glibc
import Platform

/// What a scenario wants of the proxy's configuration.
package struct ProxyOptions: Sendable {
  package var retries = 3
  package var readTimeout = "20s"
  package var connectTimeout = "10s"
  package var deadAfter = "5s"
  /// Whole lines of YAML.
  package var more = ""

  package init() {}
}

package final class ProxyUnderTest {
  let process: Child
  let directory: String
  /// The file of its records.
  package var recordsPath: String { directory + "/resets.jsonl" }

  init(
    program: String, on host: Host, directory: String, options: ProxyOptions, sensors: String
  ) throws {
    self.directory = directory
    let configuration = """
      listen: ["0.0.0.0:\(Topology.proxyPort)", "[::]:\(Topology.proxyPort)"]
      admin: 127.0.0.1:3129
      threads: 1
      clients: [0.0.0.0/0, "::/0"]
      destinations: { private: [10.0.0.0/8, "fd00::/8"] }
      store: { size: 256MiB, keep-free: 0B, memory: 16MiB }
      upstream: { retries: \(options.retries), read-timeout: \(options.readTimeout), connect-timeout: \(options.connectTimeout), dead-after: \(options.deadAfter) }
      log: { access: \(directory)/access.log, level: info }
      resets: { path: \(directory)/resets.jsonl, \(sensors), captures: \(directory)/captures }
      \(options.more)

      """
    try LabRun.write(configuration, to: directory + "/holdfast.yaml")
    let log = directory + "/holdfast.log"
    let output = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    guard output >= 0 else { throw LabError("cannot write \(log): \(Errno(rawValue: errno))") }
    defer { Glibc.close(output) }
    process = try host.spawn(
      [
        program, "serve", "--config", directory + "/holdfast.yaml", "--store",
        directory + "/store",
      ], output: output)
    // It listens on its admin address last.
    let admin = SocketAddress(IPAddress(v4: 0x7F00_0001), port: 3129)
    let process = process
    try patiently("waited for holdfast to serve") {
      guard !process.hasEnded else {
        let log = (try? String(contentsOfFile: directory + "/holdfast.log", encoding: .utf8)) ?? ""
        throw LabError("holdfast ended at once: \(log.suffix(600))")
      }
      guard let connection = try? LabConnection.connect(from: host, to: admin) else { return false }
      try connection.send("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
      return try connection.readHead().hasPrefix("HTTP/1.1 200")
    }
  }

  /// The records it has written so far, in the order of their endings; of each the last stage.
  func records() -> [LabRecord] {
    guard let file = FileManager.default.contents(atPath: recordsPath) else { return [] }
    var records: [LabRecord] = []
    for line in file.split(separator: UInt8(ascii: "\n")) {
      guard let record = LabRecord(line) else { continue }
      if let index = records.firstIndex(where: { $0.id == record.id }) {
        records[index] = record
      } else {
        records.append(record)
      }
    }
    return records
  }

  /// Waits until so many records are final.
  func waitForFinal(_ count: Int) throws {
    try patiently("waited for \(count) final records") {
      records().count { $0.isFinal } >= count
    }
  }

  /// Ends it in order, so that everything it knows is written.
  func stop() throws {
    process.signal(SIGTERM)
    let process = process
    try patiently("waited for holdfast to end") { process.hasEnded }
  }
}
