// The keys of a sealed segment, so that a start reads a few kilobytes per segment and not the segment.
//
//   footer record:  one entry per record, in log order
//   entry:          key hash u64 · variant hash u32 · offset/8 u32 · length u32 · kind u8 · blob? u8 · zero u16
//                   and, when it names a blob: SHA-256 (32 bytes) · blob length u64
//   trailer:        offset of the footer record u64 · "HFSEALED"       (the last 16 bytes of the file)

/// What the footer keeps about one record.
package struct FooterEntry: Sendable, Equatable {
  package var keyHash: UInt64
  package var variantHash: UInt32
  /// Where in the segment; a multiple of eight.
  package var offset: Int
  package var length: Int
  package var kind: RecordKind
  package var blob: BlobReference?
}

/// A blob as a record names it.
package struct BlobReference: Sendable, Hashable {
  package var digest: Digest
  package var length: UInt64
}

package enum SegmentFooter {
  package static let trailerLength = 16
  /// "HFSEALED"
  static let trailerMagic: UInt64 = 0x4445_4C41_4553_4648
  static let entryLength = 24
  static let blobEntryLength = entryLength + RecordFormat.blobReferenceLength

  static func encodedLength(of entry: FooterEntry) -> Int {
    entry.blob == nil ? entryLength : blobEntryLength
  }

  /// The footer record and the trailer, to be written at `offset`.
  package static func encode(
    _ entries: [FooterEntry], at offset: Int, sequence: UInt64, seed: UInt64
  ) -> [UInt8]? {
    var table: [UInt8] = []
    table.reserveCapacity(entries.count * entryLength)
    for entry in entries {
      table.append(littleEndian: entry.keyHash)
      table.append(littleEndian: entry.variantHash)
      table.append(littleEndian: UInt32(truncatingIfNeeded: entry.offset / RecordFormat.alignment))
      table.append(littleEndian: UInt32(truncatingIfNeeded: entry.length))
      table.append(entry.kind.rawValue)
      table.append(entry.blob == nil ? 0 : 1)
      table.append(littleEndian: UInt16(0))
      if let blob = entry.blob {
        blob.digest.withBytes { table.append(contentsOf: $0) }
        table.append(littleEndian: blob.length)
      }
    }
    var out: [UInt8] = []
    let encoded = table.withUnsafeBytes { bytes in
      var content = RecordContent()
      content.kind = .footer
      content.sequence = sequence
      content.body = .inline(bytes)
      return RecordFormat.encode(content, seed: seed, into: &out)
    }
    guard encoded != nil else { return nil }
    out.append(littleEndian: UInt64(offset))
    out.append(littleEndian: trailerMagic)
    return out
  }

  /// Where the trailer says the footer is, if it is one.
  package static func footerOffset(trailer: UnsafeRawBufferPointer, fileLength: Int) -> Int? {
    var reader = ByteReader(trailer)
    guard let offset = reader.integer(UInt64.self), let magic = reader.integer(UInt64.self),
      magic == trailerMagic,
      offset <= UInt64(max(0, fileLength - trailerLength)), offset % 8 == 0
    else { return nil }
    return Int(offset)
  }

  /// The entries of a footer record; `nil` if it is not one, is damaged, or points outside `limit`.
  package static func decode(_ bytes: UnsafeRawBufferPointer, limit: Int, seed: UInt64)
    -> [FooterEntry]?
  {
    guard case .record(let record) = RecordFormat.decode(bytes, seed: seed), record.kind == .footer,
      case .inline(let body) = record.body
    else { return nil }
    var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[body]))
    var entries: [FooterEntry] = []
    entries.reserveCapacity(reader.remaining / entryLength)
    while reader.remaining > 0 {
      guard let keyHash = reader.integer(UInt64.self), let variant = reader.integer(UInt32.self),
        let place = reader.integer(UInt32.self), let length = reader.integer(UInt32.self),
        let rawKind = reader.integer(UInt8.self), let kind = RecordKind(rawValue: rawKind),
        let hasBlob = reader.integer(UInt8.self), reader.integer(UInt16.self) != nil
      else { return nil }
      let offset = Int(place) * RecordFormat.alignment
      guard offset >= SegmentHeader.length, offset + Int(length) <= limit else { return nil }
      var blob: BlobReference?
      if hasBlob != 0 {
        guard let digest = reader.digest(), let length = reader.integer(UInt64.self) else {
          return nil
        }
        blob = BlobReference(digest: digest, length: length)
      }
      entries.append(
        FooterEntry(
          keyHash: keyHash, variantHash: variant, offset: offset, length: Int(length), kind: kind,
          blob: blob))
    }
    return entries
  }
}

/// The first 32 bytes of a segment: that it is one, which, and of which store.
package enum SegmentHeader {
  package static let length = 32
  /// "HFSEG001"
  static let magic: UInt64 = 0x3130_3047_4553_4648

  package static func encode(segment: UInt32, store: UInt64) -> [UInt8] {
    var out: [UInt8] = []
    out.append(littleEndian: magic)
    out.append(littleEndian: UInt64(segment))
    out.append(littleEndian: store)
    out.append(littleEndian: Checksum.of(out, seed: store))
    return out
  }

  package static func isValid(_ bytes: UnsafeRawBufferPointer, segment: UInt32, store: UInt64)
    -> Bool
  {
    bytes.count >= length
      && bytes.prefix(length).elementsEqual(encode(segment: segment, store: store))
  }
}
