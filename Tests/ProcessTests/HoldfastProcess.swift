// `holdfast serve` as a child process, on ports the kernel chooses: it says them when it listens.

import Foundation
import Glibc

final class HoldfastProcess: Sendable {
  /// The program under test.
  static func executable() throws -> String {
    if let path = ProcessInfo.processInfo.environment["HOLDFAST_EXECUTABLE"] { return path }
    let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let path = URL(fileURLWithPath: tests).deletingLastPathComponent()
      .appendingPathComponent("holdfast").path
    guard FileManager.default.isExecutableFile(atPath: path) else {
      throw Failure(
        "There is no holdfast at \(path). Run `swift build`, or name it in HOLDFAST_EXECUTABLE.")
    }
    return path
  }

  let process: ChildProcess
  /// Of the first listener.
  let port: UInt16
  /// Of all listeners, in their order.
  let ports: [UInt16]
  let adminPort: UInt16

  /// Starts it and waits until it takes requests.
  /// - Parameters:
  ///   - file: where its configuration is written; beside the store unless given.
  ///   - wrapper: a command that runs the rest of its words, such as `unshare`.
  convenience init(
    store: String, file: String? = nil, configuration: Configuration = Configuration(),
    wrapper: [String] = []
  ) throws {
    try self.init(
      Self.launch(store: store, file: file, configuration: configuration, wrapper: wrapper))
  }

  /// Starts it and waits for nothing.
  static func launch(
    store: String, file: String? = nil, configuration: Configuration = Configuration(),
    wrapper: [String] = []
  ) throws -> ChildProcess {
    let file = file ?? store + ".yaml"
    try configuration.text.write(toFile: file, atomically: true, encoding: .utf8)
    let words =
      wrapper + [try executable(), "serve", "--config", file, "--store", store]
    return try ChildProcess(words[0], Array(words.dropFirst()))
  }

  init(_ process: ChildProcess) throws {
    self.process = process
    let found: (ports: [UInt16], admin: UInt16) = try process.wait(for: "its addresses") { lines in
      guard let admin = Self.port(in: lines, after: "metrics") else { return nil }
      let proxies = lines.compactMap { Self.port(of: $0.split(separator: " ")) }
      return proxies.isEmpty ? nil : (proxies, admin)
    }
    ports = found.ports
    port = found.ports[0]
    adminPort = found.admin
    let admin = adminPort
    try poll("readiness") { try Self.ask(admin, "/readyz").status == 200 }
  }

  /// The port in `  proxy    http://127.0.0.1:3128  …`.
  private static func port(in lines: [String], after name: String) -> UInt16? {
    for line in lines {
      let words = line.split(separator: " ")
      guard words.count > 1, words[0] == name else { continue }
      return words[1].dropFirst("http://127.0.0.1:".count).split(separator: "/").first
        .flatMap { UInt16($0) }
    }
    return nil
  }

  /// The port in `  proxy    https://127.0.0.1:3128  proxy, …`, and in the lines of further listeners, without a name.
  private static func port(of words: [Substring]) -> UInt16? {
    let address = words.first == "proxy" ? words.dropFirst().first : words.first
    guard let address, words.contains("tunnels") || words.contains("tunnels;"),
      let place = address.range(of: "://127.0.0.1:")
    else { return nil }
    return UInt16(address[place.upperBound...])
  }

  /// Settings all tests agree on, and what one of them needs besides.
  struct Configuration {
    var size = "10GiB"
    var keepFree = "0B"
    var drainTimeout = "60s"
    var clients = "[127.0.0.0/8]"
    var admin = "127.0.0.1:0"
    /// Ports for CONNECT.
    var connectPorts = "[443]"
    var listen = "[127.0.0.1:0]"
    var logLevel = "info"
    var logAccess = "none"
    var resets = "none"
    /// Whole lines.
    var more = ""

    var text: String {
      """
      listen: \(listen)
      admin: \(admin)
      threads: 2
      clients: \(clients)
      destinations: { private: [127.0.0.0/8], connect-ports: \(connectPorts) }
      store: { size: \(size), keep-free: \(keepFree), memory: 16MiB }
      limits: { idle-timeout: 1h, drain-timeout: \(drainTimeout), write-timeout: 5m }
      log: { access: \(logAccess), level: \(logLevel) }
      resets: { path: \(resets), sensors: off, kernel: off, captures: none }
      \(more)

      """
    }
  }

  // MARK: Asking it

  private static func ask(_ port: UInt16, _ path: String) throws -> (status: Int, text: String) {
    let client = try Client(port: port)
    try client.send("GET \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    let head = try client.readHead()
    var bytes: [UInt8] = []
    try client.readContent(head) { piece, _ in bytes.append(contentsOf: piece) }
    return (head.status, String(decoding: bytes, as: UTF8.self))
  }

  func readiness() throws -> Int { try Self.ask(adminPort, "/readyz").status }

  /// `/api/status`.
  func status() throws -> [String: Any] {
    let text = try Self.ask(adminPort, "/api/status").text
    let object = try JSONSerialization.jsonObject(with: Data(text.utf8))
    guard let status = object as? [String: Any] else { throw Failure("no JSON object: \(text)") }
    return status
  }

  /// Waits until everything has been found that was in the store at the start.
  func waitUntilRecovered() throws {
    try poll("recovered store") {
      let store = try status()["store"] as? [String: Any]
      return store?["recovered"] as? Bool == true
    }
  }

  /// Waits until it neither answers nor fetches anything.
  func waitUntilQuiet() throws {
    try poll("quiet") { try status()["fills"] as? Int == 0 }
  }

  // MARK: Its store, while it does not run

  /// `holdfast store verify`: its exit code and what it says.
  static func verify(store: String) throws -> (code: Int32, text: String) {
    let process = try ChildProcess(
      try executable(), ["store", "verify", "--json", "--store", store], listensToOutput: true)
    guard case .exited(let code) = try process.waitForEnd() else {
      throw Failure("verify was killed")
    }
    return (code, process.lines.joined(separator: "\n"))
  }

  /// What lies in `partial/` that nobody could go on with: files without a note, and notes without a file.
  static func strays(store: String) -> [String] {
    let names = Set(partials(store: store))
    return names.filter { name in
      name.hasSuffix(".about")
        ? !names.contains(String(name.dropLast(".about".count))) : !names.contains(name + ".about")
    }
  }

  /// What lies in `partial/`.
  static func partials(store: String) -> [String] {
    (try? FileManager.default.contentsOfDirectory(atPath: store + "/partial")) ?? []
  }
}
