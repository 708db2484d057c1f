// Where the content of an answer comes from, and how it gets to the client's socket: from a stored file
// or a growing body by sendfile at the client's own pace, or pushed by a relay. Content of a length
// nobody knows yet is chunked for those who understand it (RFC 9112 §7.1).

import HTTP
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
    /// A page in memory that was written anew.
    case page
    /// The driver writes it as it comes.
    case relay
  }

  private(set) var kind = Kind.none
  private(set) var blob: BlobFile?
  private(set) var reader: BodyReader?
  private(set) var page: RewrittenPage?
  /// The next byte of the stored representation to be sent.
  var offset: Int64 = 0
  /// One past the last byte to be sent; `Int64.max` while the end is not known.
  private(set) var end: Int64 = 0
  private(set) var isChunked = false
  /// Several ranges: the ones whose turn comes, after the one from `offset` to `end`.
  private(set) var parts: PartSequence?
  /// Bytes still to be sent of the chunk whose size is already out.
  var chunkRest: Int64 = 0
  /// A letter will come when there is more.
  var isWaiting = false
  /// Up to here the stored file was found in the page cache.
  var residentEnd: Int64 = 0
  /// The file was found there from its first byte on.
  var isAllResident = false

  init() {}

  /// What one connection may send before it is another's turn, in one sendfile call. Short turns are not only
  /// fair: as long as a client is reading what it got, the kernel does its share of the work on the client's
  /// processor, and the two do not fight over the socket's lock. Measured with eight clients of 10 MiB files:
  /// turns of 512 KiB cost half as much as turns of 4 MiB, and shorter ones no less.
  static let turnLimit: Int64 = 512 << 10

  /// - Parameter residentEnd: up to where the file was just found in memory.
  init(blob: BlobFile, range: Range<Int64>, residentEnd: Int64) {
    kind = .blob
    self.blob = blob
    offset = range.lowerBound
    end = range.upperBound
    self.residentEnd = residentEnd
    isAllResident = range.lowerBound == 0
  }

  /// - Parameter page: held for as long as it is sent.
  init(page: RewrittenPage, range: Range<Int64>) {
    kind = .page
    self.page = page
    offset = range.lowerBound
    end = range.upperBound
  }

  /// Several ranges of a page.
  init(page: RewrittenPage, parts: MultipartRanges) {
    kind = .page
    self.page = page
    self.parts = PartSequence(parts)
  }

  /// Several ranges of a stored file.
  init(blob: BlobFile, parts: MultipartRanges) {
    kind = .blob
    self.blob = blob
    self.parts = PartSequence(parts)
  }

  /// Several ranges of a growing body.
  init(growing reader: BodyReader, parts: MultipartRanges) {
    kind = .growing
    self.reader = reader
    self.parts = PartSequence(parts)
  }

  /// The range that is sent next, at whose start the file may not be in memory.
  mutating func begin(_ range: Range<Int64>) {
    offset = range.lowerBound
    end = range.upperBound
    residentEnd = range.lowerBound
    isAllResident = false
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

  /// Bytes that have not been given to the connection; nil where that is not known, or not known here.
  var remaining: Int64? {
    guard isActive, parts == nil, !isChunked, end != .max else { return nil }
    return max(0, end &- offset)
  }

  /// There is content that this connection fetches by itself.
  var isActive: Bool { kind != .none && kind != .relay }

  /// The socket is what is waited for.
  var isBlocked: Bool { isActive && !isWaiting }
}

/// The ranges of an answer with several parts, one after the other. An object, so that every other answer
/// carries no more than an empty reference.
final class PartSequence {
  private let parts: MultipartRanges
  private var index = 0
  private var isEnded = false

  enum Next {
    case part(MultipartRanges.Part)
    /// All ranges are out, and this comes behind them.
    case end([UInt8])
    case nothing
  }

  init(_ parts: MultipartRanges) { self.parts = parts }

  func next() -> Next {
    if index < parts.parts.count {
      index += 1
      return .part(parts.parts[index - 1])
    }
    guard !isEnded else { return .nothing }
    isEnded = true
    return .end(parts.end)
  }
}

extension ClientConnection {
  /// Sends as much content as the socket takes and the source has.
  func sendContent() {
    var budget = ContentSource.turnLimit
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
      let before = sentBytes
      let goesOn =
        switch content.kind {
        case .blob: sendFromBlob()
        case .page: sendFromPage()
        case .growing, .relay, .none: sendFromGrowingBody()
        }
      budget -= max(1, Int64(clamping: sentBytes &- before))
      if !goesOn { break }
    }
    if waitingOutput > 0, phase == .answering { waitForSocket() }
  }

  /// - Returns: whether there is more to try now.
  private func sendFromBlob() -> Bool {
    guard let blob = content.blob else { return false }
    let count = min(content.end - content.offset, ContentSource.turnLimit)
    guard count > 0 else { return rangeSent() }
    if content.offset >= content.residentEnd {
      guard findResident(blob, count: count) else { return false }
    }
    return sendFile(blob.descriptor, count: min(count, content.residentEnd - content.offset))
  }

  /// Sees to it that the next piece of a file can be sent without waiting for the disk.
  /// - Returns: false when a pool thread reads it first; a letter comes then.
  private func findResident(_ blob: BlobFile, count: Int64) -> Bool {
    let now = loop.wallSeconds
    guard let end = blob.residentEnd(from: content.offset, count: count, now: now) else {
      // Not asked again when the pool has read it: memory may be short, and some file systems never have
      // a page where this looks. Then the loop waits for the disk, but it gets on.
      content.residentEnd = content.offset + count
      content.isAllResident = false
      content.isWaiting = true
      worker.warm(blob, offset: content.offset, count: Int(count), for: self)
      return false
    }
    content.residentEnd = end
    if content.isAllResident, end == blob.length { blob.lastFoundResident = now }
    return true
  }

  private func sendFromGrowingBody() -> Bool {
    guard let reader = content.reader else { return false }
    if content.chunkRest > 0, let blob = reader.body.file {
      return sendFile(blob.descriptor, count: min(content.chunkRest, ContentSource.turnLimit))
    }
    let left = content.end - content.offset
    guard left > 0 else { return rangeSent() }
    let buffer = loop.sendBuffer
    let window = UnsafeMutableRawBufferPointer(
      rebasing: buffer[0..<allowance(Int(min(Int64(buffer.count), left)))])
    switch reader.next(at: content.offset, into: window)
    {
    case .copied(let count):
      let bytes = UnsafeRawBufferPointer(rebasing: window[0..<count])
      if content.isChunked { writeChunk(bytes) } else { write(bytes) }
      content.offset += Int64(count)
      return phase == .answering
    case .file(let blob, let available):
      let count = min(available, left, ContentSource.turnLimit)
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

  /// - Returns: whether there is more to try now.
  private func sendFromPage() -> Bool {
    guard let page = content.page else { return false }
    // What the socket does not take is copied, so not too much at a time.
    let count = allowance(Int(min(content.end - content.offset, ContentSource.turnLimit / 2)))
    guard count > 0 else { return rangeSent() }
    let start = Int(content.offset)
    content.offset += Int64(count)
    write(
      UnsafeRawBufferPointer(rebasing: page.entry.inlineBody[start..<start + count]),
      more: content.offset < content.end)
    guard phase == .answering else { return false }
    return content.offset == content.end ? rangeSent() : waitingOutput == 0
  }

  private func sendFile(_ file: Int32, count wanted: Int64) -> Bool {
    // Over TLS it goes through memory, of which there is so much.
    let count = allowance(
      stream.tls == nil ? Int(wanted) : min(Int(wanted), loop.sendBuffer.count))
    guard count > 0 else {
      waitForAllowance()
      return false
    }
    switch stream.sendFile(file, offset: content.offset, count: count, through: loop.sendBuffer) {
    case .bytes(let sent):
      countSent(sent)
      content.offset += Int64(sent)
      if content.chunkRest > 0 {
        content.chunkRest -= Int64(sent)
        if content.chunkRest == 0 { writeChunkEnd() }
      }
      if content.kind == .blob, content.offset == content.end { return rangeSent() }
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
      storedContentBroke()
      return false
    case .failed(let errno):
      if errno == .inputOutput {
        storedContentBroke()
      } else {
        lostBy = errno
        close(.clientLeft)
      }
      return false
    }
  }

  /// The range is out: the next part's head, or the end.
  /// - Returns: whether there is more to try now.
  private func rangeSent() -> Bool {
    switch content.parts?.next() {
    case .part(let part):
      content.begin(part.range)
      part.head.withUnsafeBytes { write($0, more: true) }
      return waitingOutput == 0 && phase == .answering
    case .end(let end):
      end.withUnsafeBytes { write($0) }
      // What the socket did not take goes out ahead of whatever comes next.
      if phase == .answering { contentSent() }
      return false
    case .nothing, nil:
      contentSent()
      return false
    }
  }

  /// The disk does not give what it should. The head is out: all that is left is to cut, and to see to it that the
  /// next one fares better.
  private func storedContentBroke() {
    if let blob = content.blob { worker.store.reportDamaged(blob) }
    contentBroke()
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
