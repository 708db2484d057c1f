// The normalised target URI, written straight into a buffer of the caller: the key under which a
// response is found. One target, one key, whichever way the request came in.
//
//   http://host[:port]/path?query
//
// What is normalised, and only for the key (the wire keeps what the client sent):
// - scheme and host in lower case, the scheme's default port and an empty port dropped;
// - an empty path becomes "/";
// - percent-encoding with capital hex digits; unreserved characters decoded (RFC 3986 §6.2.2).
//   In the path sub-delims are decoded as well, because clients disagree about them: Go sends `!`
//   as `%21`, apt sends `+` as `%2b`, others send both bare. In the query they stay as they are:
//   there `&`, `=` and `+` are structure, and `%26` is not `&`. `%2F` is never `/`.
// - A target in which some `%` is not followed by two hex digits is no URI, but is seen; its path
//   and query are kept as they are. Decoding around such a `%` could spell an escape that nobody
//   sent (`%E%39` would become `%E9`) and so give two targets one key.
//
// Dot segments are kept. Removing them makes two targets one key that the origin may well answer
// differently, and the rules that go by path would judge another path than the one sent; keeping
// them costs at worst a second copy of something nobody asks for twice.

public enum TargetKey {
  /// Longer than any key made from a head within `HeadLimits`' defaults.
  public static var roomNeeded: Int { 9 << 10 }

  public enum Outcome: Hashable, Sendable {
    /// The key is in the first `count` bytes of the buffer; its path begins at `pathStart`.
    case key(count: Int, pathStart: Int)
    /// CONNECT and `OPTIONS *` have no target that could be stored.
    case notKeyed
    case refused(Refusal)
  }

  /// Writes the key of a complete request head into `buffer`.
  ///
  /// - Parameters:
  ///   - scheme: the scheme of origin-form targets: https on a TLS listener.
  ///   - origin: for a listener that stands for one origin, the start of its keys
  ///     (`http://host:port`, as `TargetURI.keyPrefix` gives it); empty elsewhere, where the Host
  ///     field says the authority.
  ///
  /// An absolute target wins over Host (RFC 9112 §3.2.2), but a Host that is not valid is refused
  /// in any case (§3.2).
  @unsafe
  public static func write(
    _ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>, scheme: Scheme = .http,
    origin: borrowing Span<UInt8>, into buffer: UnsafeMutableBufferPointer<UInt8>
  ) -> Outcome {
    let target = RequestTarget.parse(head, in: bytes)
    switch target {
    case .refused(let refusal): return .refused(refusal)
    case .authority, .asterisk: return .notKeyed
    case .origin(let pathAndQuery):
      let host = head.first(.host)?.value ?? 0..<0
      if !origin.isEmpty {
        // The client names a host that does not matter here, and may name none; but not nonsense.
        if let reason = faultOfHost(bytes, host) { return .refused(Refusal(reason, .request)) }
        return unsafe write(prefix: origin, path: bytes, pathAndQuery, into: buffer)
      }
      return unsafe write(
        scheme, authority: host, pathAndQuery: pathAndQuery, in: bytes, into: buffer)
    case .absolute(let scheme, let authority, let pathAndQuery):
      if let host = head.first(.host)?.value,
        !bytes.extracting(host).equals(bytes.extracting(authority)),
        let reason = faultOfHost(bytes, host)
      {
        return .refused(Refusal(reason, .request))
      }
      return unsafe write(
        scheme, authority: authority, pathAndQuery: pathAndQuery, in: bytes, into: buffer)
    }
  }

  /// Writes the key for a scheme, an authority and a path that lie in `bytes`: also for mirrors
  /// that find the authority in the first segment of the path.
  @unsafe
  public static func write(
    _ scheme: Scheme, authority: Range<Int>, pathAndQuery: Range<Int>,
    in bytes: borrowing Span<UInt8>, into buffer: UnsafeMutableBufferPointer<UInt8>
  ) -> Outcome {
    let parsed: AuthorityRange
    switch AuthorityRange.parse(bytes, authority) {
    case .fault(let reason): return .refused(Refusal(reason, .request))
    case .authority(let authority): parsed = authority
    }
    var writer = unsafe KeyWriter(buffer)
    writer.append(scheme == .http ? "http://" : "https://")
    for index in parsed.host { writer.append(bytes[index].lowercased) }
    if let port = parsed.port, port != scheme.defaultPort { writer.append(port: port) }
    let pathStart = writer.count
    writer.append(pathAndQuery: pathAndQuery, of: bytes)
    return writer.outcome(pathStart: pathStart)
  }

  /// Writes the key for a path behind a prefix that is normalised already: the target of a named
  /// mirror, or of a listener with one origin. A prefix that ends with `/` takes the place of the
  /// path's first slash.
  @unsafe
  public static func write(
    prefix: borrowing Span<UInt8>, path bytes: borrowing Span<UInt8>,
    _ pathAndQuery: Range<Int>, into buffer: UnsafeMutableBufferPointer<UInt8>
  ) -> Outcome {
    var writer = unsafe KeyWriter(buffer)
    writer.append(prefix, 0..<prefix.count)
    if prefix.count > 0, prefix[prefix.count - 1] == 0x2F {
      var rest = pathAndQuery
      if let first = rest.first, bytes[first] == 0x2F { rest = first + 1..<rest.upperBound }
      writer.append(normalising: rest, of: bytes)
    } else {
      writer.append(pathAndQuery: pathAndQuery, of: bytes)
    }
    return writer.outcome(pathStart: writer.pathStart(after: prefix))
  }

  /// An empty Host is what a client sends for a target without authority (RFC 9110 §7.2).
  private static func faultOfHost(_ bytes: borrowing Span<UInt8>, _ host: Range<Int>)
    -> Refusal.Reason?
  {
    if host.isEmpty { return nil }
    if case .fault(let reason) = AuthorityRange.parse(bytes, host) { return reason }
    return nil
  }
}

/// Writes bytes into a buffer and remembers whether they all fitted.
@safe
struct KeyWriter {
  private let buffer: UnsafeMutableBufferPointer<UInt8>
  private let capacity: Int
  private(set) var count = 0
  private var isFull = false

  @unsafe
  init(_ buffer: UnsafeMutableBufferPointer<UInt8>) {
    unsafe self.buffer = buffer
    capacity = buffer.count
  }

  func outcome(pathStart: Int) -> TargetKey.Outcome {
    isFull ? .refused(Refusal(.targetTooLong, .request)) : .key(count: count, pathStart: pathStart)
  }

  mutating func append(_ byte: UInt8) {
    guard count < capacity else {
      isFull = true
      return
    }
    unsafe buffer[count] = byte
    count &+= 1
  }

  mutating func append(_ literal: StaticString) {
    for index in 0..<literal.utf8CodeUnitCount { unsafe append(literal.utf8Start[index]) }
  }

  mutating func append(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) {
    guard range.count <= capacity - count else {
      isFull = true
      return
    }
    let source = bytes.extracting(range)
    unsafe source.withUnsafeBufferPointer { source in
      guard let from = source.baseAddress, let to = unsafe buffer.baseAddress else {
        return
      }
      unsafe (to + count).update(from: from, count: source.count)
    }
    count &+= range.count
  }

  mutating func append(port: UInt16) {
    append(0x3A)
    var divisor: UInt16 = 10000
    while divisor > port { divisor /= 10 }
    while divisor > 0 {
      append(0x30 + UInt8(truncatingIfNeeded: port / divisor % 10))
      divisor /= 10
    }
  }

  /// Appends a path and query; an empty path becomes `/`.
  mutating func append(pathAndQuery range: Range<Int>, of bytes: borrowing Span<UInt8>) {
    if range.isEmpty || bytes[range.lowerBound] != 0x2F { append(0x2F) }
    append(normalising: range, of: bytes)
  }

  mutating func append(normalising range: Range<Int>, of bytes: borrowing Span<UInt8>) {
    // Most targets have nothing encoded, and are copied whole.
    var percent = bytes.firstIndex(of: 0x25, in: range)
    append(bytes, range.lowerBound..<percent)
    if percent == range.upperBound { return }
    let start = percent
    let rewind = count
    let query = bytes.firstIndex(of: 0x3F, in: range)
    while percent < range.upperBound {
      guard percent + 2 < range.upperBound, let high = bytes[percent + 1].hexadecimalValue,
        let low = bytes[percent + 2].hexadecimalValue
      else {
        count = rewind
        return append(bytes, start..<range.upperBound)
      }
      let decoded = high << 4 | low
      if decoded.isUnreserved || percent < query && decoded.isSubDelimiter {
        append(decoded)
      } else {
        append(0x25)
        append(high < 10 ? 0x30 + high : 0x37 + high)
        append(low < 10 ? 0x30 + low : 0x37 + low)
      }
      let next = bytes.firstIndex(of: 0x25, in: percent + 3..<range.upperBound)
      append(bytes, percent + 3..<next)
      percent = next
    }
  }

  /// Where the path begins in a key that starts with `prefix`.
  func pathStart(after prefix: borrowing Span<UInt8>) -> Int {
    let authority = prefix.firstIndex(of: 0x3A, in: 0..<prefix.count) + 3
    guard authority < prefix.count else { return prefix.count }
    return prefix.firstIndex(of: 0x2F, in: authority..<prefix.count)
  }
}

extension UInt8 {
  /// unreserved (RFC 3986 §2.3).
  @inlinable
  public var isUnreserved: Bool {
    isLetter || isDigit || self == 0x2D || self == 0x2E || self == 0x5F || self == 0x7E
  }

  /// sub-delims (RFC 3986 §2.2): `!$&'()*+,;=`.
  @inlinable
  public var isSubDelimiter: Bool {
    let set: UInt64 = 0x2800_1FD2_0000_0000
    return self < 64 && set & (1 &<< UInt64(self)) != 0
  }
}
