// The bytes of a record in the log, as docs/store-format.md specifies them: values in, bytes out, and back.
//
// A record is 64 bytes of fixed header, its parts one after the other, zeros up to a multiple of eight, and the
// checksum of all that. `decode` is given whatever a disk has and trusts none of it: it checks that every
// length fits before it looks at anything else, and the checksum before it says that this is a record.

/// What a record in the log says.
package enum RecordKind: UInt8, Sendable {
  /// A response that may be served.
  case response = 1
  /// Nothing stored before this for the key counts any more.
  case tombstone = 2
  /// The last record of a sealed segment: the keys of all others (`SegmentFooter`).
  case footer = 3
  /// A response whose body is still coming: the note beside a file in partial/, never in the log.
  case partial = 4
}

/// A record as it lies in some buffer; ranges are offsets into that buffer.
package struct RecordView: Sendable {
  package enum Body: Sendable, Equatable {
    case none
    case inline(Range<Int>)
    case blob(Digest, length: UInt64)
  }

  package var kind: RecordKind
  package var sequence: UInt64
  package var keyHash: UInt64
  package var variantHash: UInt32
  package var status: UInt16
  package var requestTime: Int64
  package var responseTime: Int64
  package var key: Range<Int>
  package var variance: Range<Int>
  package var fields: Range<Int>
  package var body: Body
  /// The whole record, checksum included.
  package var length: Int
}

/// What goes into a record.
package struct RecordContent {
  package enum Body {
    case none
    case inline(UnsafeRawBufferPointer)
    case blob(Digest, length: UInt64)
  }

  package var kind: RecordKind = .response
  package var sequence: UInt64 = 0
  package var keyHash: UInt64 = 0
  package var variantHash: UInt32 = 0
  package var status: UInt16 = 0
  package var requestTime: Int64 = 0
  package var responseTime: Int64 = 0
  package var key: [UInt8] = []
  package var variance: [UInt8] = []
  package var fields: [UInt8] = []
  package var body: Body = .none

  package init() {}
}

package enum RecordFormat {
  /// "HFR1"
  static let magic: UInt32 = 0x3152_4648
  package static let headerLength = 64
  static let checksumLength = 8
  static let alignment = 8

  // Bounds of the parts. Nothing larger is written, and nothing larger is believed.
  package static let maximumKey = 64 << 10
  package static let maximumVariance = 64 << 10
  package static let maximumFields = 256 << 10
  /// Bodies up to this length live in the log; longer ones are blobs.
  package static let inlineLimit = 16 << 10
  static let maximumFooter = 256 << 20
  static let blobReferenceLength = Digest.byteCount + 8

  package enum Damage: Error, Sendable, CaseIterable {
    case noMagic, truncated, lengths, kind, padding, checksum
  }

  package enum Decoded: Sendable {
    case record(RecordView)
    case damaged(Damage)
  }

  /// What the first 64 bytes say about the length of the record, before its checksum could be checked.
  package static func announcedLength(_ header: UnsafeRawBufferPointer) -> Int? {
    var reader = ByteReader(header)
    guard header.count >= headerLength, let magic = reader.integer(UInt32.self),
      magic == Self.magic, let length = reader.integer(UInt32.self),
      length >= headerLength + checksumLength, Int(length) % alignment == 0,
      Int(length) <= headerLength + maximumFooter + alignment + checksumLength
    else { return nil }
    return Int(length)
  }

  /// The record at the start of `bytes`, which may be followed by anything.
  package static func decode(_ bytes: UnsafeRawBufferPointer, seed: UInt64) -> Decoded {
    guard bytes.count >= headerLength else { return .damaged(.truncated) }
    var reader = ByteReader(bytes)
    guard let magic = reader.integer(UInt32.self), magic == Self.magic else {
      return .damaged(.noMagic)
    }
    guard let length = announcedLength(bytes) else { return .damaged(.lengths) }
    guard bytes.count >= length else { return .damaged(.truncated) }

    _ = reader.integer(UInt32.self)
    guard let sequence = reader.integer(UInt64.self), let keyHash = reader.integer(UInt64.self),
      let variantHash = reader.integer(UInt32.self), let rawKind = reader.integer(UInt8.self),
      let form = reader.integer(UInt8.self), let status = reader.integer(UInt16.self),
      let requestTime = reader.integer(Int64.self), let responseTime = reader.integer(Int64.self),
      let keyLength = reader.integer(UInt32.self),
      let varianceLength = reader.integer(UInt32.self),
      let fieldsLength = reader.integer(UInt32.self), let bodyLength = reader.integer(UInt32.self)
    else { return .damaged(.truncated) }
    guard let kind = RecordKind(rawValue: rawKind) else { return .damaged(.kind) }

    guard keyLength <= maximumKey, varianceLength <= maximumVariance,
      fieldsLength <= maximumFields,
      Int(bodyLength) <= (kind == .footer ? maximumFooter : inlineLimit),
      length
        == totalLength(
          Int(keyLength) + Int(varianceLength) + Int(fieldsLength) + Int(bodyLength)),
      let key = reader.range(Int(keyLength)), let variance = reader.range(Int(varianceLength)),
      let fields = reader.range(Int(fieldsLength)), let bodyRange = reader.range(Int(bodyLength))
    else { return .damaged(.lengths) }

    var trailer = ByteReader(bytes, at: length - checksumLength)
    let covered = UnsafeRawBufferPointer(rebasing: bytes[0..<length - checksumLength])
    guard trailer.integer(UInt64.self) == Checksum.of(covered, seed: seed) else {
      return .damaged(.checksum)
    }
    guard bytes[bodyRange.upperBound..<length - checksumLength].allSatisfy({ $0 == 0 }) else {
      return .damaged(.padding)
    }

    let body: RecordView.Body
    switch form {
    case 0 where bodyLength == 0:
      body = .none
    case 1:
      body = .inline(bodyRange)
    case 2 where Int(bodyLength) == blobReferenceLength:
      var reference = ByteReader(bytes, at: bodyRange.lowerBound)
      guard let digest = reference.digest(), let length = reference.integer(UInt64.self),
        length <= UInt64(Int64.max)
      else { return .damaged(.lengths) }
      body = .blob(digest, length: length)
    default:
      return .damaged(.kind)
    }
    return .record(
      RecordView(
        kind: kind, sequence: sequence, keyHash: keyHash, variantHash: variantHash, status: status,
        requestTime: requestTime, responseTime: responseTime, key: key, variance: variance,
        fields: fields, body: body, length: length))
  }

  /// Appends `content` as a record to `out`. `nil`, and nothing appended, if a part is longer than the format allows.
  package static func encode(
    _ content: RecordContent, seed: UInt64, into out: inout [UInt8]
  ) -> Int? {
    let bodyLength =
      switch content.body {
      case .none: 0
      case .inline(let bytes): bytes.count
      case .blob: blobReferenceLength
      }
    guard content.key.count <= maximumKey, content.variance.count <= maximumVariance,
      content.fields.count <= maximumFields,
      bodyLength <= (content.kind == .footer ? maximumFooter : inlineLimit)
    else { return nil }
    let length = totalLength(
      content.key.count + content.variance.count + content.fields.count + bodyLength)
    let start = out.count
    out.reserveCapacity(start + length)

    out.append(littleEndian: magic)
    out.append(littleEndian: UInt32(length))
    out.append(littleEndian: content.sequence)
    out.append(littleEndian: content.keyHash)
    out.append(littleEndian: content.variantHash)
    out.append(content.kind.rawValue)
    switch content.body {
    case .none: out.append(0)
    case .inline: out.append(1)
    case .blob: out.append(2)
    }
    out.append(littleEndian: content.status)
    out.append(littleEndian: content.requestTime)
    out.append(littleEndian: content.responseTime)
    out.append(littleEndian: UInt32(content.key.count))
    out.append(littleEndian: UInt32(content.variance.count))
    out.append(littleEndian: UInt32(content.fields.count))
    out.append(littleEndian: UInt32(bodyLength))
    out.append(contentsOf: content.key)
    out.append(contentsOf: content.variance)
    out.append(contentsOf: content.fields)
    switch content.body {
    case .none: break
    case .inline(let bytes): out.append(contentsOf: bytes)
    case .blob(let digest, let length):
      digest.withBytes { out.append(contentsOf: $0) }
      out.append(littleEndian: length)
    }
    while out.count - start < length - checksumLength { out.append(0) }
    out.append(littleEndian: checksum(of: out, from: start, seed: seed))
    return length
  }

  /// Gives a record that is copied to a new place the sequence number of that place.
  package static func renumber(_ record: inout [UInt8], sequence: UInt64, seed: UInt64) {
    record.overwrite(littleEndian: sequence, at: 8)
    let end = record.count - checksumLength
    let checksum = record.withUnsafeBytes {
      Checksum.of(UnsafeRawBufferPointer(rebasing: $0[..<end]), seed: seed)
    }
    record.overwrite(littleEndian: checksum, at: end)
  }

  /// The length of a record whose parts have `parts` bytes together.
  package static func totalLength(_ parts: Int) -> Int {
    let unpadded = headerLength + parts
    return (unpadded + alignment - 1) / alignment * alignment + checksumLength
  }

  private static func checksum(of out: [UInt8], from start: Int, seed: UInt64) -> UInt64 {
    out.withUnsafeBytes { Checksum.of(UnsafeRawBufferPointer(rebasing: $0[start...]), seed: seed) }
  }
}
