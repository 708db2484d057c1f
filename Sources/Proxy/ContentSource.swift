// Where the content of an answer comes from, and how it gets to the client's socket: from a stored file
// or a growing body by sendfile at the client's own pace, or pushed by a relay. Content of a length
// nobody knows yet is chunked for those who understand it (RFC 9112 §7.1).

import IO
import Platform
import Storage

struct ContentSource {
  enum Kind: UInt8 {
    case none
    /// A stored file.
    case blob
    /// A body that is still arriving.
    case growing
    /// The driver writes it as it comes.
    case relay
  }

  private(set) var kind = Kind.none
  private(set) var blob: BlobFile?
  private(set) var reader: BodyReader?
  /// The next byte of the stored representation to be sent.
  var offset: Int64 = 0
  /// One past the last byte to be sent; `Int64.max` while the end is not known.
  private(set) var end: Int64 = 0
  private(set) var isChunked = false
  /// Bytes still to be sent of the chunk whose size is already out.
  var chunkRest: Int64 = 0
  /// A letter will come when there is more.
  var isWaiting = false
  /// Up to here the stored file was found in the page cache.
  var residentEnd: Int64 = 0
  /// The file was found there from its first byte on.
  var isAllResident = false

  init() {}

  init(blob: BlobFile, range: Range<Int64>) {
    kind = .blob
    self.blob = blob
    offset = range.lowerBound
    end = range.upperBound
    isAllResident = range.lowerBound == 0
  }

  /// - Parameter end: nil when the content ends where the body does, whose length is not known yet.
  init(growing reader: BodyReader, from offset: Int64, to end: Int64?, isChunked: Bool) {
    kind = .growing
    self.reader = reader
    self.offset = offset
    self.end = end ?? .max
    self.isChunked = isChunked
  }

  static var relay: ContentSource {
    var source = ContentSource()
    source.kind = .relay
    return source
  }

  /// There is content that this connection fetches by itself.
  var isActive: Bool { kind == .blob || kind == .growing }

  /// The socket is what is waited for.
  var isBlocked: Bool { isActive && !isWaiting }
}

extension ClientConnection {
  /// What one connection may send before it is another's turn, in one sendfile call. Short turns are not only
  /// fair: as long as a client is reading what it got, the kernel does its share of the work on the client's
  /// processor, and the two do not fight over the socket's lock. Measured with eight clients of 10 MiB files:
  /// turns of 512 KiB cost half as much as turns of 4 MiB, and shorter ones no less.
  private static let turnLimit: Int64 = 512 << 10

  /// Sends as much content as the socket takes and the source has.
  func sendContent() {
    var budget = Self.turnLimit
    while content.isActive, !content.isWaiting, waitingOutput == 0, phase == .answering {
      guard budget > 0 else {
        // More than its share for one turn: the socket is still writable, so the loop comes back.
        waitForSocket()
        return
      }
      guard allowance(1) > 0 else {
        waitForAllowance()
        return
      }
      let before = content.offset
      let goesOn = content.kind == .blob ? sendFromBlob() : sendFromGrowingBody()
      budget -= max(1, content.offset - before)
      if !goesOn { return }
    }
    if waitingOutput > 0, phase == .answering { waitForSocket() }
  }

  /// - Returns: whether there is more to try now.
  private func sendFromBlob() -> Bool {
    guard let blob = content.blob else { return false }
    let count = min(content.end - content.offset, Self.turnLimit)
    guard count > 0 else {
      contentSent()
      return false
    }
    if content.offset >= content.residentEnd {
      guard findResident(blob, count: count) else { return false }
    }
    return sendFile(blob.descriptor, count: min(count, content.residentEnd - content.offset))
  }

  /// Sees to it that the next piece of a file can be sent without waiting for the disk.
  /// - Returns: false when a pool thread reads it first; a letter comes then.
  private func findResident(_ blob: BlobFile, count: Int64) -> Bool {
    // Once for each piece, and once a second for a whole file: pages that were there a moment ago are hardly
    // ever gone by the time the socket takes them.
    let now = loop.wallSeconds
    if blob.lastFoundResident == now {
      content.residentEnd = blob.length
      return true
    }
    content.residentEnd = content.offset + count
    guard File.isResident(blob.descriptor, offset: content.offset, count: Int(count)) else {
      // Not asked again when the pool has read it: memory may be short, and some file systems never have
      // a page where this looks. Then the loop waits for the disk, but it gets on.
      content.isAllResident = false
      content.isWaiting = true
      worker.warm(blob, offset: content.offset, count: Int(count), for: self)
      return false
    }
    if content.isAllResident, content.residentEnd == blob.length { blob.lastFoundResident = now }
    return true
  }

  private func sendFromGrowingBody() -> Bool {
    guard let reader = content.reader else { return false }
    if content.chunkRest > 0, let blob = reader.body.file {
      return sendFile(blob.descriptor, count: min(content.chunkRest, Self.turnLimit))
    }
    let left = content.end - content.offset
    guard left > 0 else {
      contentSent()
      return false
    }
    let buffer = loop.sendBuffer
    let window = UnsafeMutableRawBufferPointer(
      rebasing: buffer[0..<allowance(Int(min(Int64(buffer.count), left)))])
    switch reader.next(at: content.offset, into: window)
    {
    case .copied(let count):
      if content.isChunked { writeChunkHeader(count) }
      write(UnsafeRawBufferPointer(rebasing: window[0..<count]), more: content.isChunked)
      if content.isChunked { writeChunkEnd() }
      content.offset += Int64(count)
      return phase == .answering
    case .file(let blob, let available):
      let count = min(available, left, Self.turnLimit)
      if content.isChunked {
        writeChunkHeader(Int(count))
        content.chunkRest = count
        guard waitingOutput == 0, phase == .answering else { return false }
      }
      return sendFile(blob.descriptor, count: count)
    case .wait:
      content.isWaiting = true
      return false
    case .end:
      guard content.end == .max else {
        // Shorter than promised: cannot be, since a fill ends complete only at its length.
        contentBroke()
        return false
      }
      if content.isChunked { writeLastChunk() }
      contentSent()
      return false
    case .cut:
      contentBroke()
      return false
    }
  }

  private func sendFile(_ file: Int32, count wanted: Int64) -> Bool {
    let count = allowance(Int(wanted))
    switch Socket.sendFile(to: descriptor, from: file, offset: content.offset, count: count) {
    case .bytes(let sent):
      countSent(sent)
      content.offset += Int64(sent)
      if content.chunkRest > 0 {
        content.chunkRest -= Int64(sent)
        if content.chunkRest == 0 { writeChunkEnd() }
      }
      if content.kind == .blob, content.offset == content.end {
        contentSent()
        return false
      }
      guard sent == count else {
        // The socket is full. To try again at once would find room for a few segments at a time and pay a
        // call for each; the kernel says when there is room worth having.
        if phase == .answering { waitForSocket() }
        return false
      }
      return phase == .answering
    case .wouldBlock:
      waitForSocket()
      return false
    case .endOfStream:
      // The file is shorter than it was: somebody truncated it.
      contentBroke()
      return false
    case .failed(let errno):
      if errno == .inputOutput { contentBroke() } else { close(.clientLeft) }
      return false
    }
  }

  private func contentSent() {
    content = ContentSource()
    if let driver {
      driver.answerSent()
    } else {
      if var record {
        self.record = nil
        record.sentBytes = sentBytes
        worker.log(record)
      }
      answerFinished()
    }
  }

  private func contentBroke() {
    if let driver { driver.storedContentFailed() } else { close(.cut) }
  }
}
