// What an origin allows caches to do: Cache-Control in a response (RFC 9111 §5.2.2), its extensions
// (RFC 5861, RFC 8246), and the targeted fields that replace it when present (RFC 9213).
//
// Repeated directives that agree count once. When they disagree RFC 9111 §4.2.1 leaves a choice, the
// first value or "stale"; stale is taken here, because it costs a validation and can never be wrong.
// A directive that restricts counts however it is written; one that permits has to be written right.

import HTTP

/// The directives of one response.
public struct ResponseDirectives: Sendable, Hashable {
  public struct Flags: OptionSet, Sendable, Hashable {
    public let rawValue: UInt16
    @inlinable
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    @inlinable public static var noStore: Flags { Flags(rawValue: 1 << 0) }
    /// `no-cache` for the whole response.
    @inlinable public static var noCache: Flags { Flags(rawValue: 1 << 1) }
    /// `private` for the whole response.
    @inlinable public static var isPrivate: Flags { Flags(rawValue: 1 << 2) }
    @inlinable public static var isPublic: Flags { Flags(rawValue: 1 << 3) }
    @inlinable public static var mustRevalidate: Flags { Flags(rawValue: 1 << 4) }
    @inlinable public static var proxyRevalidate: Flags { Flags(rawValue: 1 << 5) }
    @inlinable public static var mustUnderstand: Flags { Flags(rawValue: 1 << 6) }
    @inlinable public static var immutable: Flags { Flags(rawValue: 1 << 7) }
    @inlinable public static var noTransform: Flags { Flags(rawValue: 1 << 8) }
    /// They come from a targeted field, so Expires does not count either (RFC 9213 §2.2).
    @inlinable public static var targeted: Flags { Flags(rawValue: 1 << 9) }
  }

  public var flags: Flags = []
  /// Seconds, in `0...DeltaSeconds.maximum`; 0 where the value was broken or contradicted.
  public var maxAge: Int64?
  public var sMaxAge: Int64?
  public var staleWhileRevalidate: Int64?
  public var staleIfError: Int64?
  /// Names, in small letters, that `no-cache="…"` or `private="…"` list. Neither may reach another
  /// client without validation, so they are left out of what is stored, which both allow
  /// (RFC 9111 §5.2.2.4, §5.2.2.7).
  public var unsharedFields: [[UInt8]] = []

  public init() {}

  /// Reads the directives that apply to this cache: those of the targeted field that counts, else of
  /// Cache-Control.
  public init(_ fields: FieldSection, targets: TargetedFields = .standard) {
    if let dictionary = targets.directives(of: fields) {
      apply(targeted: dictionary)
    } else {
      for value in fields.all(.cacheControl) { add(cacheControl: value.span) }
    }
    // Without its target the response would mean something else when it is read again.
    if unsharedFields.contains(where: targets.contains) {
      flags.formUnion([.noCache, .isPrivate])
    }
  }

  // MARK: Cache-Control

  /// Adds the directives of one Cache-Control field value.
  public mutating func add(cacheControl value: borrowing Span<UInt8>) {
    var scanner = DirectiveScanner()
    while let directive = scanner.next(value) {
      let name = value.extracting(directive.name)
      let argument = directive.argument.map { [UInt8](span: value.extracting($0)) }
      apply(name, argument: directive.isWellFormed ? argument : argument.map { _ in [] })
    }
  }

  // An argument that is no number reads as nil, for which `settle` takes 0.
  private mutating func apply(_ name: borrowing Span<UInt8>, argument: [UInt8]?) {
    switch name.count {
    case 6 where name.equalsToken("public"):
      if argument == nil { flags.insert(.isPublic) }
    case 7 where name.equalsToken("max-age"):
      Self.settle(&maxAge, argument)
    case 7 where name.equalsToken("private"):
      restrict(.isPrivate, argument)
    case 8 where name.equalsToken("no-store"):
      flags.insert(.noStore)
    case 8 where name.equalsToken("no-cache"):
      restrict(.noCache, argument)
    case 8 where name.equalsToken("s-maxage"):
      Self.settle(&sMaxAge, argument)
    case 9 where name.equalsToken("immutable"):
      if argument == nil { flags.insert(.immutable) }
    case 12 where name.equalsToken("no-transform"):
      flags.insert(.noTransform)
    case 14 where name.equalsToken("stale-if-error"):
      Self.settle(&staleIfError, argument)
    case 15 where name.equalsToken("must-revalidate"):
      flags.insert(.mustRevalidate)
    case 15 where name.equalsToken("must-understand"):
      if argument == nil { flags.insert(.mustUnderstand) }
    case 16 where name.equalsToken("proxy-revalidate"):
      flags.insert(.proxyRevalidate)
    case 22 where name.equalsToken("stale-while-revalidate"):
      Self.settle(&staleWhileRevalidate, argument)
    default:
      // Unknown directives are ignored (§5.2.3).
      break
    }
  }

  // Broken, or repeated with another value: 0, that is stale.
  private static func settle(_ current: inout Int64?, _ argument: [UInt8]?) {
    let seconds = argument.flatMap { DeltaSeconds.parse($0.span) } ?? 0
    current = current == nil || current == seconds ? seconds : 0
  }

  // `no-cache` and `private`, with or without a list of field names.
  private mutating func restrict(_ whole: Flags, _ argument: [UInt8]?) {
    guard let argument, let names = Self.names(argument) else {
      flags.insert(whole)
      return
    }
    unsharedFields.append(contentsOf: names)
  }

  // Nil when the list is empty, has something that is no name, or names a field without which the
  // response means something else: then the directive is taken to speak of the whole response, as
  // RFC 9111 says caches often do.
  private static func names(_ list: [UInt8]) -> [[UInt8]]? {
    var names: [[UInt8]] = []
    for element in list.split(separator: 0x2C) {
      let range = element.span.trimmingWhitespace(0..<element.count)
      let name = element.span.extracting(range)
      if name.isEmpty { continue }
      for index in name.indices where !name[index].isTokenCharacter { return nil }
      if essential.contains(FieldName.recognise(name)) { return nil }
      names.append([UInt8](span: name).map(\.lowercased))
    }
    return names.isEmpty ? nil : names
  }

  private static var essential: FieldNameSet {
    FieldNameSet(
      .age, .cacheControl, .cdnCacheControl, .contentEncoding, .contentLength, .contentLocation,
      .contentRange, .contentType, .date, .etag, .expires, .lastModified, .location, .vary)
  }

  // MARK: Targeted fields

  private mutating func apply(targeted dictionary: StructuredField.Dictionary) {
    flags = .targeted
    for pair in dictionary.pairs {
      let name = Array(pair.key.utf8)
      switch pair.member.value {
      case .boolean(true):
        apply(name.span, argument: nil)
      case .boolean(false):
        continue
      case .integer(let number):
        var digits: [UInt8] = []
        digits.appendDecimal(number)
        apply(name.span, argument: digits)
      case .string(let text):
        apply(name.span, argument: Array(text.utf8))
      case .token(let text), .displayString(let text):
        apply(name.span, argument: Array(text.utf8))
      case .decimal, .bytes, .date, nil:
        // Of a type no directive has: present, with an argument nobody can read.
        apply(name.span, argument: [])
      }
    }
  }

  // MARK: Questions

  /// Whether the origin speaks to shared caches: to store is what it wants, credentials or not
  /// (RFC 9111 §3.5 lists these three).
  public var allowsSharedUseOfAuthorized: Bool {
    sMaxAge != nil || flags.contains(.isPublic) || flags.contains(.mustRevalidate)
  }

  /// Whether stale answers are out of the question: must-revalidate, proxy-revalidate, s-maxage
  /// which implies it (RFC 9111 §5.2.2.10), and no-cache.
  public var forbidsStale: Bool {
    sMaxAge != nil
      || !flags.isDisjoint(with: [.mustRevalidate, .proxyRevalidate, .noCache])
  }
}
