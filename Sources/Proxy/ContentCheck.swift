// Content that comes a second time, and has to be what it was: hashed, and what is behind it kept for a moment. From the
// start, or from some way before the place where the first one broke off.

import Platform
import Storage

final class ContentCheck {
  /// What comes twice, as offsets into the content.
  let range: Range<Int64>
  /// Connections may end and others be under way before an answer about one of them is there.
  let number: Int
  private var left: Int64
  private var hasher = Hasher256()
  /// What has come behind it.
  private(set) var behind: [UInt8] = []
  var isAsked = false
  /// All of the content has come.
  var isFinished = false

  init(_ range: Range<Int64>, number: Int = 0) {
    self.range = range
    self.number = number
    left = Int64(range.count)
  }

  var isComplete: Bool { left == 0 }

  func take(_ bytes: UnsafeRawBufferPointer) {
    let count = Int(min(Int64(bytes.count), left))
    hasher.update(UnsafeRawBufferPointer(rebasing: bytes[0..<count]))
    left -= Int64(count)
    behind += bytes[count...]
  }

  /// Of what came the second time, once all of it has.
  var digest: Digest? { isComplete ? hasher.soFar() : nil }

  /// - Parameter content: all that had come the first time.
  func isSame(as content: [UInt8]) -> Bool {
    guard Int64(content.count) == range.upperBound else { return false }
    var other = Hasher256()
    content[Int(range.lowerBound)...].withUnsafeBytes { other.update($0) }
    let digest = other.finish()
    return digest != nil && digest == self.digest
  }

  /// Whether a file has the content of this digest there. Blocks.
  static func isSame(_ digest: Digest?, as blob: GrowingBlob, _ range: Range<Int64>) -> Bool {
    guard let digest, blob.watermark == range.upperBound else { return false }
    if range.lowerBound == 0 { return blob.digestSoFar == digest }
    var hasher = Hasher256()
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: range.count, alignment: 16)
    defer { buffer.deallocate() }
    var done = 0
    while done < range.count {
      let window = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
      guard
        let count = try? File.pread(
          blob.descriptor, into: window, at: range.lowerBound + Int64(done)),
        count > 0
      else { return false }
      done += count
    }
    hasher.update(UnsafeRawBufferPointer(buffer))
    return hasher.finish() == digest
  }
}
