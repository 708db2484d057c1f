// Runs the built command in a machine of the lab, as a person would.

import Foundation
import Lab
import Testing

@testable import Doctor

/// Foundation has a Host as well.
typealias Machine = Lab.Host

struct Ran {
  var code: Int
  var output: String

  /// The JSON objects in it, one a line.
  var objects: [[String: Any]] {
    output.split(separator: "\n").compactMap {
      try? JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
    }
  }
}

enum Program {
  static let obstacle = Comment(rawValue: Requirements.obstacle ?? "")

  /// Beside the tests, unless it is named.
  static func path() throws -> String {
    if let path = ProcessInfo.processInfo.environment["HOLDFAST_EXECUTABLE"] { return path }
    let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent(
      "holdfast"
    ).path
  }

  /// What a machine that translates for others has set.
  static let forwarding =
    "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"

  static let nobody = "setpriv --reuid 65534 --clear-groups --inh-caps=-all --bounding-set=-all "

  static func run(_ words: String, on host: Machine, as prefix: String = "") throws -> Ran {
    let output = try host.shell("set +e\n\(prefix)'\(try path())' \(words)\necho code=$?")
    let parts = output.trimmed.split(separator: "\n")
    let code = parts.last.flatMap { Int($0.dropFirst("code=".count)) }
    return Ran(code: try #require(code), output: parts.dropLast().joined(separator: "\n"))
  }
}
