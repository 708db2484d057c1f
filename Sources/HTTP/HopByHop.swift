// Which fields end at this hop, and the mark this hop leaves: RFC 9110 §7.6.

/// Fields that are about one connection and must not be forwarded or stored.
public enum HopByHop {
  /// Whether fields of this name always stay behind.
  ///
  /// - Connection, Keep-Alive, Proxy-Connection, TE, Transfer-Encoding, Upgrade: RFC 9110 §7.6.1.
  /// - HTTP2-Settings: part of the `Upgrade: h2c` offer, and means nothing without it.
  /// - Proxy-Authenticate, Proxy-Authorization, Proxy-Authentication-Info: between a client and
  ///   *its* proxy, which is this one (RFC 9110 §11.7). Passing the credentials on would give
  ///   them to every origin.
  ///
  /// Not in the list: Trailer, which RFC 9110 no longer counts among them; `removeAll` has a
  /// switch for it. Content-Length, which belongs to the message; whoever changes the framing
  /// sets it anew.
  public static func isHopByHop(_ name: FieldName) -> Bool {
    switch name {
    case .connection, .keepAlive, .proxyConnection, .te, .transferEncoding, .upgrade,
      .http2Settings, .proxyAuthenticate, .proxyAuthorization, .proxyAuthenticationInfo:
      true
    default:
      false
    }
  }

  /// Whether a field disappears when Connection names it.
  ///
  /// Any name this program knows as end-to-end does not. A sender must not name such fields
  /// (RFC 9110 §7.6.1 gives Cache-Control as the example), so one that does is mistaken or
  /// wants to have Host, Authorization, Cache-Control or X-Forwarded-For taken away behind the back
  /// of the next hop. For names unknown here the standard is followed.
  public static func mayBeRemovedByConnection(_ name: FieldName) -> Bool {
    name == .other || isHopByHop(name) || name == .trailer
  }

  /// Removes all that ends at this hop, and what Connection names.
  ///
  /// `keepingTrailer` leaves the Trailer field, for messages whose trailers are relayed.
  public static func removeAll(from fields: inout FieldSection, keepingTrailer: Bool = false) {
    let named = fields.contains(.connection) ? unknownNames(in: fields) : []
    fields.removeAll { known, name, _ in
      if isHopByHop(known) { return true }
      if known == .trailer { return !keepingTrailer }
      return known == .other
        && named.contains { $0.span.equalsIgnoringCase(name.span) }
    }
  }

  private static func unknownNames(in fields: FieldSection) -> [ArraySlice<UInt8>] {
    var names: [ArraySlice<UInt8>] = []
    for value in fields.all(.connection) {
      var at = value.startIndex
      while let element = fields.bytes.span.nextListElement(from: &at, to: value.endIndex) {
        let name = fields.bytes.span.extracting(element)
        if FieldSection.isName(fields.bytes[element]), FieldName.recognise(name) == .other {
          names.append(fields.bytes[element])
        }
      }
    }
    return names
  }
}

/// The Via field (RFC 9110 §7.6.3): which way a message came, and whether it goes in circles.
///
/// The pseudonym has to differ between instances: two that stand one behind the other are no
/// loop. It must be a token.
public struct Via: Sendable {
  public let pseudonym: [UInt8]

  /// Nil when the pseudonym is not a token.
  public init?(pseudonym: String) {
    guard FieldSection.isName(pseudonym.utf8) else { return nil }
    self.pseudonym = Array(pseudonym.utf8)
  }

  /// Adds `1.1 pseudonym` (the version is the one the message was received with).
  public func append(to fields: inout FieldSection, receivedAs version: Version) {
    fields.append(.via, value(receivedAs: version))
  }

  /// The element this hop adds.
  public func value(receivedAs version: Version) -> [UInt8] {
    [0x31, 0x2E, 0x30 + version.rawValue, SP] + pseudonym
  }

  /// Whether a request has been here before.
  public func isLoop(_ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>) -> Bool {
    guard head.contains(.via) else { return false }
    var index = 0
    while let found = head.next(.via, from: index) {
      if isNamed(in: bytes, head.slot(at: found).value) { return true }
      index = found + 1
    }
    return false
  }

  /// The same for an owned section.
  public func isLoop(_ fields: FieldSection) -> Bool {
    fields.slots.contains { $0.known == .via && isNamed(in: fields.bytes.span, $0.value) }
  }

  // received-protocol RWS received-by [ RWS comment ]
  private func isNamed(in bytes: borrowing Span<UInt8>, _ value: Range<Int>) -> Bool {
    var at = value.lowerBound
    while let element = bytes.nextListElement(
      from: &at, to: value.upperBound, withComments: true)
    {
      var start = element.lowerBound
      while start < element.upperBound, !bytes[start].isWhitespace { start += 1 }
      while start < element.upperBound, bytes[start].isWhitespace { start += 1 }
      var end = start
      while end < element.upperBound, !bytes[end].isWhitespace { end += 1 }
      if bytes.extracting(start..<end).equalsIgnoringCase(pseudonym.span) { return true }
    }
    return false
  }
}
