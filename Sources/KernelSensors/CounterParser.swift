// The texts in which the kernel tells its counters. Columns come and go with kernels, so values are found by name.
//
//   /proc/net/snmp, netstat     Tcp: InSegs OutRsts …        stat/nf_conntrack     entries found invalid …
//                               Tcp: 4711 12 …                                     0000000a 00000003 …   (hex, by CPU)

/// Reads counters into the places that `KernelCounter.all` gives them. Lines that make no sense are passed over.
package enum CounterParser {
  /// Of `snmp` or `netstat`: pairs of lines, names and then values.
  static func readGroups(_ bytes: [UInt8], into values: inout [UInt64?]) {
    var names: [Substring] = []
    let text = String(decoding: bytes, as: UTF8.self)
    for line in text.split(separator: "\n") {
      guard let colon = line.firstIndex(of: ":") else { continue }
      let group = line[..<colon]
      let words = line[line.index(after: colon)...].split(separator: " ")
      guard names.first == group else {
        names = [group] + words
        continue
      }
      if let places = KernelCounter.places[.group(String(group))] {
        for (name, word) in zip(names.dropFirst(), words) {
          // Some are gauges that may be negative; none of ours is.
          guard let place = places[String(name)], let value = UInt64(word) else { continue }
          values[place] = value
        }
      }
      names = []
    }
  }

  /// Of `stat/nf_conntrack`: those that `KernelCounter` knows.
  static func readConnectionTable(_ bytes: [UInt8], into values: inout [UInt64?]) {
    guard let known = KernelCounter.places[.connectionTable] else { return }
    for (name, sum) in connectionTable(String(decoding: bytes, as: UTF8.self)) {
      guard let place = known[name] else { continue }
      values[place] = (values[place] ?? 0) &+ sum
    }
  }

  /// Of `stat/nf_conntrack`, by the kernel's names: a line for each processor, added up. `entries` is left out: it is the
  /// same in each of them, and no counter.
  package static func connectionTable(_ text: String) -> [String: UInt64] {
    var lines = text.split(separator: "\n").makeIterator()
    guard let names = lines.next()?.split(separator: " ") else { return [:] }
    var sums: [String: UInt64] = [:]
    while let line = lines.next() {
      for (name, word) in zip(names, line.split(separator: " ")) where name != "entries" {
        guard let value = UInt64(word, radix: 16) else { continue }
        sums[String(name), default: 0] &+= value
      }
    }
    return sums
  }
}
