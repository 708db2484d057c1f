// An image laid out as directories, with what it says of itself.

import Foundation
import Lab

struct Image: Sendable {
  /// Where its root directory lies.
  var root: String
  var settings: ImageSettings

  /// Bytes of all its files.
  func size() throws -> Int {
    let words = try Shell.run("du --summarize --bytes --one-file-system '\(root)'")
    return words.split(separator: "\t").first.flatMap { Int($0) } ?? 0
  }
}

/// As `docker inspect` has it under `Config`.
struct ImageSettings: Sendable {
  var user: String
  var entrypoint: [String]
  var command: [String]
  var environment: [String]
  var workingDirectory: String
  var volumes: [String]
  var ports: [String]
  var labels: [String: String]
  var stopSignal: String
  var healthCheck: [String]

  init(_ object: [String: Any]) {
    func list(_ name: String) -> [String] { object[name] as? [String] ?? [] }
    func names(_ name: String) -> [String] { (object[name] as? [String: Any] ?? [:]).keys.sorted() }
    user = object["User"] as? String ?? ""
    entrypoint = list("Entrypoint")
    command = list("Cmd")
    environment = list("Env")
    workingDirectory = object["WorkingDir"] as? String ?? ""
    volumes = names("Volumes")
    ports = names("ExposedPorts")
    labels = object["Labels"] as? [String: String] ?? [:]
    stopSignal = object["StopSignal"] as? String ?? ""
    healthCheck = (object["Healthcheck"] as? [String: Any])?["Test"] as? [String] ?? []
  }
}
