// Sizes and times as people write them: "50GiB", "500ms".
//
// A unit is always required: a bare 30 leaves open whether seconds or milliseconds are meant.
// One whole number and one unit, nothing else, so that a value can be compared by eye.

import Platform

/// Why a value could not be understood: what it should have looked like.
package struct Misreading: Error, Equatable {
  /// Completes the sentence `"<value>" …`, for example `is not a size; write …`.
  package let message: String

  package init(_ message: String) { self.message = message }
}

/// A number of bytes.
package struct ByteCount: Hashable, Comparable, Sendable {
  package var bytes: Int64

  package init(_ bytes: Int64) { self.bytes = bytes }
  package static func kib(_ count: Int64) -> Self { Self(count << 10) }
  package static func mib(_ count: Int64) -> Self { Self(count << 20) }
  package static func gib(_ count: Int64) -> Self { Self(count << 30) }

  package static func < (left: Self, right: Self) -> Bool { left.bytes < right.bytes }

  static let units: [(name: String, bytes: Int64)] = [
    ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000),
    ("KB", 1000), ("B", 1),
  ]

  /// Reads a whole number and a unit, such as `50GiB` (1024³) or `10MB` (1000²).
  package init(reading text: String) throws(Misreading) {
    let (number, unit) = try splitQuantity(text, noun: "a size", example: "50GiB")
    guard let scale = Self.units.first(where: { $0.name == unit })?.bytes else {
      throw Misreading(Self.advice(number, unit))
    }
    let (bytes, overflow) = number.multipliedReportingOverflow(by: scale)
    if overflow { throw Misreading("is more than can be counted") }
    self.init(bytes)
  }

  private static func advice(_ number: Int64, _ unit: String) -> String {
    if unit.isEmpty {
      return "has no unit; write \(number)MiB, \(number)GiB or, if bytes are meant, \(number)B"
    }
    if let near = units.first(where: { $0.name.lowercased() == unit.lowercased() })?.name {
      return "has a unit in the wrong case; write \(number)\(near)"
    }
    if unit.count == 1, let letter = unit.uppercased().first, "KMGT".contains(letter) {
      return "could mean two things; write \(number)\(letter)iB (powers of 1024)"
        + " or \(number)\(letter == "K" ? "k" : letter)B (powers of 1000)"
    }
    return "has a unit that is not known; the units are KiB, MiB, GiB, TiB, kB, MB, GB, TB and B"
  }

  /// Exactly this number in the largest unit that divides it: what `init(reading:)` takes.
  package var text: String {
    // Powers of 1024 first; the decimal ones only where they say it shorter.
    for unit in Self.units where bytes != 0 && bytes % unit.bytes == 0 {
      return "\(bytes / unit.bytes)\(unit.name)"
    }
    return "\(bytes)B"
  }

  /// Rounded to three digits for people: `1.23 GiB`.
  package var rounded: String {
    guard bytes >= 1024 else { return "\(bytes) B" }
    var value = Double(bytes) / 1024
    for unit in ["KiB", "MiB", "GiB", "TiB"] {
      if value < 999.5 || unit == "TiB" {
        let scale = value < 9.995 ? 100.0 : value < 99.95 ? 10.0 : 1.0
        let number = (value * scale).rounded() / scale
        return scale == 1 ? "\(Int64(number)) \(unit)" : "\(number) \(unit)"
      }
      value /= 1024
    }
    return "\(bytes) B"
  }
}

extension Duration {
  static let unitNames: [(name: String, nanoseconds: Int64)] = [
    ("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000),
    ("s", 1_000_000_000), ("ms", 1_000_000),
  ]

  /// Reads a whole number and a unit, such as `30s` or `500ms`.
  package init(reading text: String) throws(Misreading) {
    let (number, unit) = try splitQuantity(text, noun: "a time", example: "30s")
    guard let scale = Self.unitNames.first(where: { $0.name == unit })?.nanoseconds else {
      if unit.isEmpty {
        throw Misreading(
          "has no unit; write \(number)s for seconds or \(number)ms for milliseconds")
      }
      throw Misreading("has a unit that is not known; the units are ms, s, m, h and d")
    }
    let (nanoseconds, overflow) = number.multipliedReportingOverflow(by: scale)
    if overflow { throw Misreading("is longer than can be counted") }
    self = .nanoseconds(nanoseconds)
  }

  /// Exactly this time in the largest unit that divides it: what `init(reading:)` takes.
  package var text: String {
    let nanoseconds = wholeNanoseconds
    for unit in Self.unitNames where nanoseconds != 0 && nanoseconds % unit.nanoseconds == 0 {
      return "\(nanoseconds / unit.nanoseconds)\(unit.name)"
    }
    return nanoseconds == 0 ? "0s" : "\(nanoseconds / 1_000_000)ms"
  }
}

/// The number and the unit of `text`; the unit may be empty.
private func splitQuantity(
  _ text: String, noun: String, example: String
) throws(Misreading) -> (Int64, String) {
  let digits = text.prefix { $0.isASCII && $0.isNumber }
  let rest = text.dropFirst(digits.count)
  if digits.isEmpty {
    if text.hasPrefix("-") { throw Misreading("is negative; write \(example), for example") }
    throw Misreading("is not \(noun); write a number and a unit, like \(example)")
  }
  if rest.hasPrefix(".") || rest.hasPrefix(",") || rest.hasPrefix("_") {
    throw Misreading("is not a whole number; use a smaller unit instead, like \(example)")
  }
  if rest.hasPrefix(" ") {
    let unit = rest.drop { $0 == " " }
    throw Misreading("has a space before its unit; write \(digits)\(unit)")
  }
  guard rest.allSatisfy(\.isLetter) else {
    throw Misreading("is not \(noun); write one number and one unit, like \(example)")
  }
  guard let number = Int64(digits) else { throw Misreading("is more than can be counted") }
  return (number, String(rest))
}
