// Between a record's bytes and a `StoredResponse`: the field lines and the request fields that chose a variant.
//
//   variance:  for each field   name length u16 · name · given? u8 · value length u32 · value

import Caching
import HTTP

package enum VarianceCoding {
  // What no field name can be: the response matches no request at all.
  private static let nothing = Array("*".utf8)

  package static func encode(_ variance: Variance) -> [UInt8] {
    var out: [UInt8] = []
    if variance.matchesNothing { append(nothing, nil, to: &out) }
    for selector in variance.selectors { append(selector.name, selector.value, to: &out) }
    return out
  }

  private static func append(_ name: [UInt8], _ value: [UInt8]?, to out: inout [UInt8]) {
    out.append(littleEndian: UInt16(truncatingIfNeeded: name.count))
    out.append(contentsOf: name)
    out.append(value == nil ? 0 : 1)
    out.append(littleEndian: UInt32(truncatingIfNeeded: value?.count ?? 0))
    out.append(contentsOf: value ?? [])
  }

  package static func decode(_ bytes: UnsafeRawBufferPointer) -> Variance? {
    var reader = ByteReader(bytes)
    var selectors: [Variance.Selector] = []
    var matchesNothing = false
    while reader.remaining > 0 {
      guard let nameLength = reader.integer(UInt16.self), let name = reader.range(Int(nameLength)),
        let isGiven = reader.integer(UInt8.self), let valueLength = reader.integer(UInt32.self),
        let value = reader.range(Int(valueLength))
      else { return nil }
      if bytes[name].elementsEqual(nothing) {
        matchesNothing = true
      } else {
        selectors.append(
          Variance.Selector(
            name: Array(bytes[name]), value: isGiven == 0 ? nil : Array(bytes[value])))
      }
    }
    return Variance(selectors: selectors, matchesNothing: matchesNothing)
  }

  /// 0 for a response that does not vary. What a note says tells no variants apart.
  static func hash(_ variance: Variance, seed: UInt64) -> UInt32 {
    var bytes: [UInt8] = []
    if variance.matchesNothing { append(nothing, nil, to: &bytes) }
    for selector in variance.selectors {
      append(selector.name, selector.isNote ? nil : selector.value, to: &bytes)
    }
    return bytes.isEmpty
      ? 0 : max(1, UInt32(truncatingIfNeeded: Checksum.of(bytes, seed: seed) >> 16))
  }
}

package enum FieldCoding {
  /// The fields of `Name: value CRLF` lines, or `nil` if they are anything else.
  package static func decode(_ bytes: UnsafeRawBufferPointer) -> FieldSection? {
    var section = FieldSection()
    var start = 0
    while start < bytes.count {
      guard let end = bytes[start...].firstIndex(of: 13), end + 1 < bytes.count,
        bytes[end + 1] == 10,
        let colon = bytes[start..<end].firstIndex(of: UInt8(ascii: ":")), colon + 1 < end,
        bytes[colon + 1] == UInt8(ascii: " "),
        section.append(named: bytes[start..<colon], bytes[colon + 2..<end])
      else { return nil }
      start = end + 2
    }
    return section
  }
}

extension StoredResponse {
  /// What a record says; `nil` when its parts make no sense.
  package init?(
    _ record: RecordView, in bytes: UnsafeRawBufferPointer, targets: TargetedFields = .standard
  ) {
    guard
      let fields = FieldCoding.decode(UnsafeRawBufferPointer(rebasing: bytes[record.fields])),
      let variance = VarianceCoding.decode(UnsafeRawBufferPointer(rebasing: bytes[record.variance]))
    else { return nil }
    self.init(
      status: Status(rawValue: record.status), fields: fields, requestTime: record.requestTime,
      responseTime: record.responseTime, variance: variance, targets: targets)
  }
}
