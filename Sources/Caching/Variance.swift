// Which requests a stored response answers: the fields its Vary names, with the values they had in
// the request that fetched it (RFC 9111 §4.1).
//
// Values are kept as they were received, so that the store can write them down and a match is in the
// usual case a comparison of bytes. When they differ, both are brought into a normal form that does
// not change their meaning. `Vary: *` and a Vary that cannot be read match nothing.

import HTTP

/// The selecting fields of a stored response and the values that select it.
public struct Variance: Sendable, Hashable {
  /// One field that Vary names.
  public struct Selector: Sendable, Hashable {
    /// In small letters.
    public let name: [UInt8]
    public let known: FieldName
    /// The value in the original request, repeated fields joined by `, `; nil when it was absent.
    public let value: [UInt8]?
    let normalised: [UInt8]?

    public init(name: [UInt8], value: [UInt8]?) {
      let lowerCase = name.map(\.lowercased)
      let known = FieldName.recognise(lowerCase.span)
      self.name = lowerCase
      self.known = known
      self.value = value
      normalised = value.map { Variance.normalise($0, of: known) }
    }

    /// Not a field of requests, but something that is remembered with the response: its name begins with a colon, which
    /// ends the name of a field. No request is asked for it, and its value tells no variants apart.
    public var isNote: Bool { name.first == 0x3A }

    /// Whether the field carries a secret, by its name: there are many besides Authorization and
    /// Cookie (X-Api-Key, Private-Token, X-JFrog-Art-Api), and new ones keep coming. A field that is
    /// taken for one by mistake costs no more than a variant that is not kept.
    var isCredential: Bool {
      Self.marks.contains { mark in
        mark.withUTF8Buffer { unsafe Self.contains(name, $0) }
      }
    }

    private static var marks: [StaticString] {
      [
        "auth", "token", "key", "secret", "cookie", "session", "credential", "passw", "signature",
        "jwt", "art-api",
      ]
    }

    private static func contains(_ name: [UInt8], _ mark: UnsafeBufferPointer<UInt8>) -> Bool {
      guard name.count >= mark.count else { return false }
      return (0...name.count - mark.count).contains { start in
        mark.indices.allSatisfy { unsafe name[start + $0] == mark[$0] }
      }
    }

    public static func == (left: Selector, right: Selector) -> Bool {
      left.name == right.name && left.normalised == right.normalised
    }

    public func hash(into hasher: inout Hasher) {
      hasher.combine(name)
      hasher.combine(normalised)
    }
  }

  public let selectors: [Selector]
  /// `Vary: *`, or one that cannot be read: no request matches.
  public let matchesNothing: Bool

  /// More names than this are not kept; such a response matches nothing.
  static var maximumCount: Int { 32 }

  /// A response without Vary.
  public static var none: Variance { Variance(selectors: []) }

  /// Rebuilds what the store kept.
  public init(selectors: [Selector], matchesNothing: Bool = false) {
    self.selectors = selectors
    self.matchesNothing = matchesNothing
  }

  /// Takes the names from a response's Vary and the values from the request that got it: the
  /// client's request, as it was before the proxy changed it.
  public init(response: FieldSection, request: FieldSection) {
    self.init(response) { name in request.combinedValue(named: name[...]) }
  }

  private init(_ response: FieldSection, value: ([UInt8]) -> [UInt8]?) {
    guard response.contains(.vary) else {
      self.init(selectors: [])
      return
    }
    var selectors: [Selector] = []
    for line in response.all(.vary) {
      for element in line.split(separator: 0x2C) {
        let range = element.span.trimmingWhitespace(0..<element.count)
        let name = [UInt8](span: element.span.extracting(range)).map(\.lowercased)
        if name.isEmpty || selectors.contains(where: { $0.name == name }) { continue }
        guard name != [0x2A], name.allSatisfy(\.isTokenCharacter),
          selectors.count < Self.maximumCount
        else {
          self.init(selectors: [], matchesNothing: true)
          return
        }
        selectors.append(Selector(name: name, value: value(name)))
      }
    }
    // The order in which Vary names fields has no meaning.
    selectors.sort { $0.name.lexicographicallyPrecedes($1.name) }
    self.init(selectors: selectors)
  }

  /// Whether a credential of the request is among the values: such a response is for one client,
  /// and its credential must not be written to disk.
  public var holdsCredentials: Bool {
    selectors.contains { $0.value != nil && $0.isCredential }
  }

  // MARK: Matching

  /// Which of a key's stored responses, the newest first, a request gets (§4.1); nil when it selects
  /// none.
  ///
  /// The newest that matches, with one exception: origins forget Vary on what they send to those who
  /// express no preference, and such a response matches everybody. It stands back for one with a Vary
  /// as long as that one `isFresh`; after that the newest is what the origin last said.
  @inlinable
  public static func select<Stored>(
    _ newestFirst: [Stored], _ variance: (Stored) -> Variance, for request: FieldSection,
    isFresh: (Stored) -> Bool
  ) -> Stored? {
    guard let first = newestFirst.first(where: { variance($0).matches(request) }) else {
      return nil
    }
    guard variance(first).selectors.isEmpty, newestFirst.count > 1 else { return first }
    return newestFirst.first {
      !variance($0).selectors.isEmpty && variance($0).matches(request) && isFresh($0)
    } ?? first
  }

  /// Whether a request selects the response.
  public func matches(_ head: borrowing ParsedHead, of bytes: borrowing Span<UInt8>) -> Bool {
    if selectors.isEmpty { return !matchesNothing }
    return matchesAll(head, bytes)
  }

  /// The same for fields that own their bytes.
  public func matches(_ request: FieldSection) -> Bool {
    if selectors.isEmpty { return !matchesNothing }
    return matchesAll(request, request.bytes.span)
  }

  private func matchesAll(
    _ fields: borrowing some FieldIndex & ~Copyable, _ bytes: borrowing Span<UInt8>
  ) -> Bool {
    if matchesNothing { return false }
    for index in selectors.indices where !selectors[index].isNote {
      guard Self.matches(selectors[index], fields, bytes) else { return false }
    }
    return true
  }

  private static func matches(
    _ selector: Selector, _ fields: borrowing some FieldIndex & ~Copyable,
    _ bytes: borrowing Span<UInt8>
  ) -> Bool {
    guard let first = next(selector, fields, bytes, from: 0) else { return selector.value == nil }
    guard let value = selector.value else { return false }
    let slot = fields.slot(at: first)
    let second = next(selector, fields, bytes, from: first + 1)
    if second == nil, bytes.extracting(slot.value).equals(value.span) { return true }

    var combined = [UInt8](span: bytes.extracting(slot.value))
    var following = second
    while let index = following {
      combined.append(literal: ", ")
      combined.append(contentsOf: [UInt8](span: bytes.extracting(fields.slot(at: index).value)))
      following = next(selector, fields, bytes, from: index + 1)
    }
    return normalise(combined, of: selector.known) == selector.normalised
  }

  private static func next(
    _ selector: Selector, _ fields: borrowing some FieldIndex & ~Copyable,
    _ bytes: borrowing Span<UInt8>, from start: Int
  ) -> Int? {
    if selector.known != .other { return fields.next(selector.known, from: start) }
    var index = start
    while index < fields.count {
      let slot = fields.slot(at: index)
      if slot.known == .other,
        bytes.extracting(slot.name).equalsIgnoringCase(selector.name.span)
      {
        return index
      }
      index += 1
    }
    return nil
  }

  // MARK: Normal forms

  // Only where the field's own syntax says that the difference has no meaning (§4.1): for the
  // fields of content negotiation white space around separators, for Accept-Encoding also case,
  // order, `q=1` and the old name of gzip. All other values are compared as they are.
  static func normalise(_ value: [UInt8], of name: FieldName) -> [UInt8] {
    switch name {
    case .accept, .acceptLanguage: withoutOptionalWhitespace(value)
    case .acceptEncoding: acceptEncoding(value)
    default: value
    }
  }

  private static func withoutOptionalWhitespace(_ value: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(value.count)
    var isQuoted = false
    var index = 0
    while index < value.count {
      let byte = value[index]
      index += 1
      if isQuoted {
        result.append(byte)
        if byte == 0x5C, index < value.count {
          result.append(value[index])
          index += 1
        } else if byte == 0x22 {
          isQuoted = false
        }
        continue
      }
      switch byte {
      case 0x2C, 0x3B:
        while let last = result.last, last.isWhitespace { result.removeLast() }
        result.append(byte)
        while index < value.count, value[index].isWhitespace { index += 1 }
      case 0x22:
        isQuoted = true
        result.append(byte)
      default: result.append(byte)
      }
    }
    return result
  }

  private static func acceptEncoding(_ value: [UInt8]) -> [UInt8] {
    let plain = withoutOptionalWhitespace(value).map(\.lowercased)
    var codings: [[UInt8]] = []
    for element in plain.split(separator: 0x2C) {
      var coding = Array(element)
      if coding.starts(with: "x-gzip".utf8), coding.count == 6 || coding[6] == 0x3B {
        coding.removeFirst(2)
      }
      for whole in [";q=1", ";q=1.", ";q=1.0", ";q=1.00", ";q=1.000"]
      where coding.count > whole.utf8.count
        && coding.suffix(whole.utf8.count).elementsEqual(whole.utf8)
      {
        coding.removeLast(whole.utf8.count)
        break
      }
      codings.append(coding)
    }
    codings.sort { $0.lexicographicallyPrecedes($1) }
    return Array(codings.joined(separator: [0x2C]))
  }
}
