// The values of fields: dates, ranges, validators, structured fields, references. The same bytes go
// to every parser, because a stranger may put anything anywhere.
//
// What is understood must say the same when it is written and read again; what is resolved must lie
// inside the representation; a reference may lead to another origin, but what it spoils there never.

import Caching
import HTTP

/// Feeds one field value, or one URI, to everything that reads such a thing.
public func fuzzValue(_ bytes: [UInt8]) {
  require(ValueChecks.date(bytes))
  require(ValueChecks.contentRange(bytes))
  require(ValueChecks.range(bytes))
  require(ValueChecks.entityTag(bytes))
  require(ValueChecks.structured(bytes))
  require(ValueChecks.target(bytes))
  require(ValueChecks.seconds(bytes))
}

/// Each answers nil, or says which promise was broken.
public enum ValueChecks {
  private static let now: Int64 = 1_770_000_000

  static func date(_ bytes: [UInt8]) -> String? {
    guard let seconds = HTTPDate.parse(bytes.span, now: now) else { return nil }
    let written = HTTPDate.bytes(seconds)
    let again = HTTPDate.parse(written.span, now: now)
    return again == seconds
      ? nil : "the date \(seconds) is read again as \(String(describing: again))"
  }

  static func contentRange(_ bytes: [UInt8]) -> String? {
    guard let value = ContentRange(bytes.span) else { return nil }
    if let range = value.range {
      if range.isEmpty || range.lowerBound < 0 { return "an empty part: \(range)" }
      if let length = value.completeLength, range.upperBound > length {
        return "a part that ends behind the whole"
      }
    }
    var written: [UInt8] = []
    value.serialise(into: &written)
    return ContentRange(written.span) == value ? nil : "written again it is another range"
  }

  static func range(_ bytes: [UInt8]) -> String? {
    let field = RangeField(bytes.span)
    for length: Int64 in [0, 1, 100, 1 << 40, .max] {
      let parts: [Range<Int64>]
      switch field.resolve(length: length) {
      case .single(let part): parts = [part]
      case .multiple(let several): parts = several
      case .needsLength: return "the length is known"
      case .whole, .unsatisfiable: continue
      }
      if parts.contains(where: { $0.isEmpty || $0.lowerBound < 0 || $0.upperBound > length }) {
        return "parts \(parts) of \(length) bytes"
      }
      if parts.count > RangeField.maximumCount { return "more parts than are asked for" }
    }
    for received: Int64 in [0, 1, 100] {
      if case .single(let part) = field.resolve(length: nil, received: received),
        part.lowerBound < 0 || part.isEmpty
      {
        return "the part \(part) of an unknown length"
      }
    }
    return nil
  }

  static func entityTag(_ bytes: [UInt8]) -> String? {
    guard let tag = EntityTag(bytes.span) else { return nil }
    if EntityTag.search(bytes.span, for: tag, strongly: false) == .lacks {
      return "a tag is not found in itself"
    }
    let found = EntityTag.search(bytes.span, for: tag, strongly: true)
    return (found == .lacks) == tag.isWeak ? nil : "strong comparison of a tag with itself"
  }

  static func structured(_ bytes: [UInt8]) -> String? {
    let asItem = try? StructuredField.item(bytes.span)
    let asList = try? StructuredField.list(bytes.span)
    _ = try? StructuredField.dictionary(bytes.span)
    // Every item that is not an inner list is also a list of one member (RFC 8941 §3.1).
    if asItem != nil, asList?.count != 1 { return "an item that is no list of one" }
    var written: [UInt8] = []
    StructuredField.write(string: String(decoding: bytes, as: UTF8.self), into: &written)
    return (try? StructuredField.item(written.span)) == nil
      ? "a string written cannot be read" : nil
  }

  static func target(_ bytes: [UInt8]) -> String? {
    if let target = try? TargetURI.parse(bytes), !target.key.starts(with: "http://https///".utf8) {
      guard let again = try? TargetURI.parse(target.key) else { return "the key is no URI" }
      if again.key != target.key { return "the key of the key is another" }
    }
    guard let base = TargetURI("http://origin.example:8080/a/b?c") else { return "no base" }
    var fields = FieldSection()
    fields.append(.location, bytes)
    fields.append(.contentLocation, bytes)
    for spoilt in Invalidation.targets(
      method: .post, target: base, status: .ok, fields: fields)
    where spoilt.keyPrefix != base.keyPrefix {
      return "\(spoilt) of another origin is spoilt"
    }
    return nil
  }

  static func seconds(_ bytes: [UInt8]) -> String? {
    guard let seconds = DeltaSeconds.parse(bytes.span) else { return nil }
    return seconds == DeltaSeconds.clamped(seconds) ? nil : "\(seconds) seconds"
  }
}
