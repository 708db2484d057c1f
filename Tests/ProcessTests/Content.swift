// Content that follows from its path, so that every byte that comes back can be checked, wherever it was cut,
// kept or mixed up. Each page of 4 KiB begins with the path's hash and its own number; the rest is a stretch of
// one pool of random bytes. Made and compared by memcpy and memcmp, because debug builds check gigabytes.

import Glibc
import SeededRandom

struct Content: Sendable {
  private static let page = 4096
  private static let pool: [UInt8] = {
    var generator = SeededGenerator(seed: 4711)
    return (0..<(1 << 16)).flatMap { _ -> [UInt8] in
      let number = generator.next()
      return (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }
  }()

  let length: Int
  private let hash: UInt64

  /// The content of a path with so many bytes.
  init(path: String, length: Int) {
    self.length = length
    // FNV-1a.
    hash = path.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
  }

  /// Writes as many bytes as fit, from `offset` on.
  /// - Returns: how many; 0 at the end.
  func copy(from offset: Int, to buffer: UnsafeMutableRawBufferPointer) -> Int {
    let count = min(buffer.count, length - offset)
    guard count > 0, let target = buffer.baseAddress else { return 0 }
    var done = 0
    withPage { page, bytes in
      while done < count {
        let position = offset + done
        let inside = position % Self.page
        let piece = min(count - done, Self.page - inside)
        page(position / Self.page)
        memcpy(target + done, bytes + inside, piece)
        done += piece
      }
    }
    return count
  }

  /// Where `bytes` differ from the content from `offset` on, as an offset in the content; `nil` if nowhere.
  func difference(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Int? {
    guard let source = bytes.baseAddress else { return nil }
    guard offset + bytes.count <= length else { return length }
    var done = 0
    var found: Int?
    withPage { page, expected in
      while done < bytes.count {
        let position = offset + done
        let inside = position % Self.page
        let piece = min(bytes.count - done, Self.page - inside)
        page(position / Self.page)
        if memcmp(source + done, expected + inside, piece) != 0 {
          let index = (0..<piece).first { bytes[done + $0] != expected[inside + $0] }
          found = position + (index ?? 0)
          return
        }
        done += piece
      }
    }
    return found
  }

  /// Gives `body` a function that makes a page, and the place where it makes it.
  private func withPage(_ body: ((Int) -> Void, UnsafeMutablePointer<UInt8>) -> Void) {
    Self.pool.withUnsafeBytes { pool in
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.page) { buffer in
        guard let pool = pool.baseAddress, let bytes = buffer.baseAddress else { return }
        body(
          { number in
            let room = Self.pool.count - Self.page
            let start = Int((hash &+ UInt64(number) &* 4099) % UInt64(room))
            memcpy(bytes, pool + start, Self.page)
            UnsafeMutableRawPointer(bytes).storeBytes(of: hash, as: UInt64.self)
            UnsafeMutableRawPointer(bytes).storeBytes(
              of: UInt64(number), toByteOffset: 8, as: UInt64.self)
          }, bytes)
      }
    }
  }
}

/// A path of the scripted origin: how the content is framed, how long it is, and a name.
struct Resource: Hashable, Sendable, CustomStringConvertible {
  enum Kind: String, CaseIterable, Sendable {
    /// `Content-Length`, fresh for a day.
    case length
    /// Chunked, fresh for a day.
    case chunked
    /// Ends with the connection, fresh for a day.
    case close
    /// `Content-Length`, never fresh, with an entity-tag: validated each time it is asked for.
    case validated
  }

  let kind: Kind
  let size: Int
  let name: String

  init(_ kind: Kind, _ size: Int, _ name: String) {
    self.kind = kind
    self.size = size
    self.name = name
  }

  init?(path: String) {
    let parts = path.split(separator: "/")
    guard parts.count == 3, let kind = Kind(rawValue: String(parts[0])), let size = Int(parts[1])
    else { return nil }
    self.init(kind, size, String(parts[2]))
  }

  var path: String { "/\(kind.rawValue)/\(size)/\(name)" }
  var content: Content { Content(path: path, length: size) }
  var description: String { path }
}
