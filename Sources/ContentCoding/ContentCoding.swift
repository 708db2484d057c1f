// Content codings that can be undone here (RFC 9110 §8.4.1), by zlib: gzip, and deflate in both of the forms that are
// sent. Whole contents in memory, for documents that have to be read; what is only passed on stays as it came.

import CZlib

/// How a content was compressed.
public enum ContentCoding: Sendable, Hashable {
  /// RFC 1952; several members one after the other are one content.
  case gzip
  /// RFC 1950, or RFC 1951 without its wrapper, which some servers send under the same name.
  case deflate

  /// Why a content could not be read.
  public enum Fault: Error, Hashable, Sendable {
    /// It ends before it should.
    case truncated
    /// It is not what its name says, or fails its checksum.
    case corrupt
    /// More would come of it than there may.
    case tooLarge
    case noMemory
  }

  /// By its name (RFC 9110 §8.4.1, where `x-gzip` is another one for gzip); nil for what is not known.
  public init?(_ name: some Collection<UInt8>) {
    switch String(decoding: name, as: UTF8.self).lowercased() {
    case "gzip", "x-gzip": self = .gzip
    case "deflate": self = .deflate
    default: return nil
    }
  }

  private static let step = 256 << 10

  /// What was compressed.
  /// - Parameter limit: bytes that may come of it: a few thousand can say a million.
  public func decode(_ content: [UInt8], limit: Int) throws(Fault) -> [UInt8] {
    guard !content.isEmpty else { throw .truncated }
    var stream = z_stream()
    guard holdfast_inflate_init(&stream, windowBits(content)) == Z_OK else { throw .noMemory }
    defer { inflateEnd(&stream) }
    var result: [UInt8] = []
    result.reserveCapacity(min(limit, 4 * content.count))
    var fault: Fault?
    content.withUnsafeBytes { bytes in
      do throws(Fault) {
        try inflate(bytes, &stream, into: &result, limit: limit)
      } catch {
        fault = error
      }
    }
    if let fault { throw fault }
    return result
  }

  private func windowBits(_ content: [UInt8]) -> Int32 {
    switch self {
    case .gzip: return 16 + MAX_WBITS
    case .deflate:
      // RFC 1950 §2.2: the method is 8, and the first two bytes are a multiple of 31.
      let isWrapped =
        content.count >= 2 && content[0] & 0x0F == 8
        && (Int(content[0]) << 8 | Int(content[1])) % 31 == 0
      return isWrapped ? MAX_WBITS : -MAX_WBITS
    }
  }

  private func inflate(
    _ bytes: UnsafeRawBufferPointer, _ stream: inout z_stream, into result: inout [UInt8],
    limit: Int
  ) throws(Fault) {
    // zlib counts in 32 bits, and does not write to what it reads.
    guard bytes.count <= Int(UInt32.max) else { throw .tooLarge }
    let window = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: Self.step)
    defer { window.deallocate() }
    stream.next_in = UnsafeMutablePointer(
      mutating: bytes.assumingMemoryBound(to: UInt8.self).baseAddress)
    stream.avail_in = UInt32(bytes.count)
    while true {
      // One byte more than may come tells whether it would.
      let room = min(Self.step, limit - result.count + 1)
      stream.next_out = window.baseAddress
      stream.avail_out = UInt32(room)
      let status = CZlib.inflate(&stream, Z_NO_FLUSH)
      let written = room - Int(stream.avail_out)
      result.append(contentsOf: UnsafeBufferPointer(rebasing: window[..<written]))
      guard result.count <= limit else { throw .tooLarge }
      switch status {
      case Z_STREAM_END:
        if stream.avail_in == 0 { return }
        guard self == .gzip, inflateReset(&stream) == Z_OK else { throw .corrupt }
      case Z_OK, Z_BUF_ERROR:
        // It wants more, and there is none.
        if stream.avail_in == 0, stream.avail_out > 0 { throw .truncated }
        guard status == Z_OK || written > 0 else { throw .corrupt }
      case Z_MEM_ERROR: throw .noMemory
      default: throw .corrupt
      }
    }
  }
}
