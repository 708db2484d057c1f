// What there is to know about a network namespace, before anybody judges it; and the readers of the kernel's own files.
// Text in, values out.

import KernelSensors

/// Something that could not be looked at, and what would help.
package struct Obstacle: Sendable, Equatable {
  package var what: String
  package var remedy: String
  /// Whether there may be rules behind it that nobody has seen.
  package var hidesRules: Bool

  package init(_ what: String, remedy: String, hidesRules: Bool) {
    self.what = what
    self.remedy = remedy
    self.hidesRules = hidesRules
  }
}

package struct HostFacts: Sendable {
  package var kernel = KernelVersion("")
  package var rules: [Family: Ruleset] = [:]
  /// The tools whose tables were read.
  package var sources: [String] = []
  /// Services of IPVS; nil where the kernel has none.
  package var virtualServices: Int?
  package var conntrack: ConntrackFacts?
  /// A connection that somebody translates, by family: `10.0.0.5:40000 > 10.96.0.10:80, answered by 10.8.3.9:8080`.
  package var translated: [Family: String] = [:]
  /// Ports that the kernel gives to connections it makes.
  package var localPorts = 32768...60999
  /// Whether packets of others are forwarded; nothing for a family of which that is not known.
  package var forwards: [Family: Bool] = [:]
  package var sensors: [SensorFact] = []
  package var obstacles: [Obstacle] = []

  package init() {}
}

package struct KernelVersion: Sendable, Equatable {
  /// As the kernel says it: `6.18.44-amd64`.
  package var text: String
  package var major = 0
  package var minor = 0

  package init(_ text: String) {
    self.text = text
    let parts = text.split(whereSeparator: { !$0.isNumber })
    guard text.first?.isNumber == true, parts.count > 1 else { return }
    major = Int(parts[0]) ?? 0
    minor = Int(parts[1]) ?? 0
  }

  /// Since 6.1 a segment below the window is translated, and left to the receiver. Distributions carry changes back.
  package var ignoresEarlySegments: Bool { (major, minor) >= (6, 1) }
}

/// Connection tracking of this namespace.
package struct ConntrackFacts: Sendable, Equatable {
  package var isLiberal: Bool?
  package var isLoose: Bool?
  /// Seconds after which an idle connection is forgotten.
  package var establishedTimeout: Int?
  package var count: Int?
  package var maximum: Int?
  /// Since the namespace was made, all processors together.
  package var counters: [String: Int] = [:]

  package init() {}

  /// 0 to 1, or more.
  package var use: Double? {
    guard let count, let maximum, maximum > 0 else { return nil }
    return Double(count) / Double(maximum)
  }

  /// The counters of `/proc/net/stat/nf_conntrack`.
  package static func counters(_ text: String) -> [String: Int] {
    CounterParser.connectionTable(text).mapValues { Int(clamping: $0) }
  }
}

/// Whether a sensor of the proxy could work for this process.
package struct SensorFact: Sendable, Equatable {
  package var name: String
  package var isAvailable: Bool
  /// What it has, or what it would take.
  package var words: String

  package init(_ name: String, _ isAvailable: Bool, _ words: String) {
    self.name = name
    self.isAvailable = isAvailable
    self.words = words
  }
}

/// Effective capabilities (capabilities(7)), from `/proc/self/status`.
package struct Capabilities: Sendable, Equatable {
  package static let netAdmin = 12
  package static let netRaw = 13
  package static let sysAdmin = 21
  package static let perfmon = 38

  private let bits: UInt64

  package init(status: String) {
    let line = status.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
    let word = line?.split(whereSeparator: \.isWhitespace).last
    bits = word.flatMap { UInt64($0, radix: 16) } ?? 0
  }

  package func has(_ number: Int) -> Bool { bits & 1 << UInt64(number) != 0 }
}

extension HostFacts {
  /// How many services a table of IPVS has (`/proc/net/ip_vs`): three lines of head, then one for each.
  package static func virtualServices(_ text: String) -> Int {
    text.split(separator: "\n").count {
      $0.hasPrefix("TCP ") || $0.hasPrefix("UDP ") || $0.hasPrefix("SCTP ") || $0.hasPrefix("FWM ")
    }
  }

  /// `32768\t60999`
  package static func ports(_ text: String) -> ClosedRange<Int>? {
    let ends = text.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
    guard ends.count == 2, ends[0] <= ends[1] else { return nil }
    return ends[0]...ends[1]
  }
}
