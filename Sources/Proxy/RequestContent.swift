// The content of a request on its way through: the client's framing comes off, and what belongs to the
// next request is told apart. Counts against `limits.content`.

import HTTP

struct RequestContent {
  enum Step {
    /// This part of the bytes is content.
    case content(Range<Int>)
    /// All bytes given are used up, more content is to come.
    case needsMoreBytes
    /// The content ended; bytes from here on belong to the next request.
    case finished(Int)
    case refused(Refusal)
    case tooLarge
  }

  private let framing: MessageFraming
  private let limit: UInt64
  private var remaining: UInt64 = 0
  private var decoder = ChunkedDecoder(.request)
  private(set) var received: UInt64 = 0
  private(set) var isFinished: Bool

  init(_ framing: MessageFraming, limit: UInt64) {
    self.framing = framing
    self.limit = limit
    if case .length(let length) = framing { remaining = length }
    isFinished = framing == .none || framing == .length(0)
  }

  /// Trailers of chunked content, once it is finished.
  var trailers: FieldSection { decoder.trailers }

  mutating func step(_ bytes: Span<UInt8>, at position: inout Int) -> Step {
    guard !isFinished else { return .finished(position) }
    switch framing {
    case .none, .refused, .untilClose:
      isFinished = true
      return .finished(position)
    case .length:
      guard position < bytes.count else { return .needsMoreBytes }
      let count = Int(min(UInt64(bytes.count - position), remaining))
      let range = position..<position + count
      position += count
      remaining -= UInt64(count)
      if remaining == 0 { isFinished = true }
      return add(range)
    case .chunked:
      switch decoder.step(bytes, at: &position) {
      case .content(let range):
        return add(range)
      case .needsMoreBytes:
        return .needsMoreBytes
      case .finished:
        isFinished = true
        return .finished(position)
      case .refused(let refusal):
        return .refused(refusal)
      }
    }
  }

  private mutating func add(_ range: Range<Int>) -> Step {
    received &+= UInt64(range.count)
    return received > limit ? .tooLarge : .content(range)
  }
}
