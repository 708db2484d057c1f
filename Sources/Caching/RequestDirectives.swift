// What a client demands of caches: Cache-Control in a request (RFC 9111 §5.2.1) and Pragma (§5.4).
//
// Trivial and free of allocation: it is made for every request that is looked up. Where a directive
// is repeated or broken, the stricter reading is taken (§4.2.1): a client that says something odd
// gets an answer that was validated.

import HTTP

/// The directives of one request.
public struct RequestDirectives: Sendable, Hashable, BitwiseCopyable {
  public var noCache = false
  public var noStore = false
  public var onlyIfCached = false
  /// Seconds, in `0...DeltaSeconds.maximum`, as the others.
  public var maxAge: Int64?
  /// How stale a response may be; `DeltaSeconds.maximum` for `max-stale` without a value.
  public var maxStale: Int64?
  public var minFresh: Int64?
  /// RFC 5861 §4.
  public var staleIfError: Int64?

  private var sawCacheControl = false
  private var sawPragma = false

  @inlinable
  public static var none: RequestDirectives { RequestDirectives() }

  public init() {}

  /// Reads Cache-Control and Pragma of a parsed head.
  public init(_ head: borrowing ParsedHead, of bytes: borrowing Span<UInt8>) {
    self.init(reading: head, bytes)
  }

  /// Reads Cache-Control and Pragma of fields that own their bytes.
  public init(_ fields: FieldSection) {
    self.init(reading: fields, fields.bytes.span)
  }

  private init(
    reading fields: borrowing some FieldIndex & ~Copyable, _ bytes: borrowing Span<UInt8>
  ) {
    var start = 0
    while let index = fields.next(.cacheControl, from: start) {
      add(cacheControl: bytes.extracting(fields.slot(at: index).value))
      start = index + 1
    }
    start = 0
    while let index = fields.next(.pragma, from: start) {
      add(pragma: bytes.extracting(fields.slot(at: index).value))
      start = index + 1
    }
  }

  /// Adds the directives of one Cache-Control field value.
  public mutating func add(cacheControl value: borrowing Span<UInt8>) {
    // A Pragma read before has no meaning beside Cache-Control.
    if sawPragma && !sawCacheControl { noCache = false }
    sawCacheControl = true
    var scanner = DirectiveScanner()
    while let directive = scanner.next(value) {
      let name = value.extracting(directive.name)
      switch name.count {
      case 7 where name.equalsToken("max-age"):
        // Broken: as if the client accepted nothing older than now.
        let seconds = Self.seconds(directive, value) ?? 0
        maxAge = min(maxAge ?? seconds, seconds)
      case 8 where name.equalsToken("no-cache"):
        noCache = true
      case 8 where name.equalsToken("no-store"):
        noStore = true
      case 9 where name.equalsToken("max-stale"):
        let seconds =
          directive.argument == nil ? DeltaSeconds.maximum : Self.seconds(directive, value) ?? 0
        maxStale = min(maxStale ?? seconds, seconds)
      case 9 where name.equalsToken("min-fresh"):
        // Broken: nothing is fresh enough.
        let seconds = Self.seconds(directive, value) ?? DeltaSeconds.maximum
        minFresh = max(minFresh ?? seconds, seconds)
      case 14 where name.equalsToken("only-if-cached"):
        onlyIfCached = true
      case 14 where name.equalsToken("stale-if-error"):
        let seconds = Self.seconds(directive, value) ?? 0
        staleIfError = min(staleIfError ?? seconds, seconds)
      default:
        break
      }
    }
  }

  /// Adds a Pragma field value: `no-cache` counts where the request has no Cache-Control at all.
  public mutating func add(pragma value: borrowing Span<UInt8>) {
    sawPragma = true
    if sawCacheControl { return }
    var scanner = DirectiveScanner()
    while let directive = scanner.next(value) {
      if value.extracting(directive.name).equalsToken("no-cache") { noCache = true }
    }
  }

  private static func seconds(
    _ directive: DirectiveScanner.Directive, _ value: borrowing Span<UInt8>
  ) -> Int64? {
    guard directive.isWellFormed, let argument = directive.argument else { return nil }
    return DeltaSeconds.parse(value.extracting(argument))
  }

  /// Whether the client left everything to the cache; then a fresh response needs no more looks.
  @inlinable
  public var isDefault: Bool {
    !noCache && !onlyIfCached && maxAge == nil && maxStale == nil && minFresh == nil
  }
}
