// `holdfast status`: what a running instance is doing, as its admin listener tells it.

import ArgumentParser
import Configuration
import Foundation

/// `/api/status`, as far as it is shown.
struct InstanceStatus: Decodable, Equatable {
  struct Disk: Decodable, Equatable {
    var path: String
    var entries: Int64
    var bytes: Int64
    var limit: Int64
    var recovered: Bool
  }

  var version: String
  var state: String
  var offline: Bool
  var listen: [String]
  var connections: Int64
  var fills: Int64
  var store: Disk
  var memory: Int64
  struct Sensor: Decodable, Equatable {
    var name: String
    var active: Bool
    var text: String
  }

  /// Missing in what older versions answer.
  var kernelTLS: String?
  var sensors: [Sensor]?
}

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Say what a running instance is doing.",
    discussion: """
      Asks its admin listener: the one of the configuration, or the one that --admin names.

      EXAMPLES:
        holdfast status
        holdfast status --admin 127.0.0.1:3129 --json
      """)

  @OptionGroup var locator: StoreLocator

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    let configuration = try locator.configuration()
    guard let admin = configuration.admin else {
      throw Failure(
        "the configuration has no admin listener to ask (admin: none); say with --admin where one is"
      )
    }
    let client = AdminClient(address: admin.address, token: admin.token)
    let answer = try client.ask("GET", "/api/status")
    if json {
      Console.print(String(decoding: answer.content, as: UTF8.self))
      return
    }
    let status = try client.decode(InstanceStatus.self, from: answer.content)
    Console.print(Self.report(status, Console.style))
  }

  static func report(_ status: InstanceStatus, _ style: Style) -> String {
    func shown(_ text: String) -> String { StoreReport.printable(text) }
    var facts = Facts()
    facts.add("version", shown(status.version))
    facts.add(
      "state",
      (status.state == "serving" ? style.good("serving") : style.warning(shown(status.state)))
        + (status.offline ? style.warning(", offline") : ""))
    facts.add("listens on", lines: status.listen.map(shown))
    facts.add("connections", "\(status.connections)")
    facts.add("fetches", "\(status.fills)")
    facts.add(
      "store",
      "\(shown(status.store.path)): \(status.store.entries) entries, \(ByteCount(status.store.bytes).rounded) of \(ByteCount(status.store.limit).rounded)"
        + (status.store.recovered ? "" : ", still being read"))
    facts.add("memory", ByteCount(status.memory).rounded)
    if let offer = status.kernelTLS { facts.add("kernel TLS", shown(offer)) }
    for sensor in status.sensors ?? [] {
      facts.add(
        shown(sensor.name), (sensor.active ? "" : style.warning("none: ")) + shown(sensor.text))
    }
    return facts.text(style)
  }
}
