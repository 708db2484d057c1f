// What the two ends of one connection tell each other: will it persist, is there an upgrade, does
// the client wait for 100 (Continue). Read from a parsed head without allocating.

/// The connection options that mean something here (RFC 9110 §7.6.1).
public struct ConnectionOptions: OptionSet, Sendable {
  public let rawValue: UInt8

  @inlinable
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  @inlinable public static var close: ConnectionOptions { ConnectionOptions(rawValue: 1) }
  @inlinable public static var keepAlive: ConnectionOptions { ConnectionOptions(rawValue: 2) }
  @inlinable public static var upgrade: ConnectionOptions { ConnectionOptions(rawValue: 4) }

  /// The options a message names in Connection. Proxy-Connection, which no standard knows, is
  /// read by `persists` only.
  public init(_ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>) {
    self = Self.named(by: .connection, head, bytes)
  }

  private static func named(
    by field: FieldName, _ head: borrowing ParsedHead, _ bytes: borrowing Span<UInt8>
  ) -> ConnectionOptions {
    var options: ConnectionOptions = []
    guard head.contains(field) else { return options }
    var index = 0
    while let found = head.next(field, from: index) {
      let value = head.slot(at: found).value
      var at = value.lowerBound
      while let element = bytes.nextListElement(from: &at, to: value.upperBound) {
        switch element.count {
        case 5 where bytes.equalsToken("close", at: element.lowerBound):
          options.insert(.close)
        case 7 where bytes.equalsToken("upgrade", at: element.lowerBound):
          options.insert(.upgrade)
        case 10 where bytes.equalsToken("keep-alive", at: element.lowerBound):
          options.insert(.keepAlive)
        default:
          break
        }
      }
      index = found + 1
    }
    return options
  }

  /// Whether the connection may be used again after this message (RFC 9112 §9.3), as far as its
  /// sender says; the framing has a say too.
  ///
  /// Old proxy clients that speak HTTP/1.0 ask with Proxy-Connection; that is honoured for
  /// requests, and its `close` always.
  public static func persists(_ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>)
    -> Bool
  {
    // The usual request says nothing at all.
    if head.names.isDisjoint(with: FieldNameSet(connection: ())) { return head.version == .http11 }
    let options = named(by: .connection, head, bytes)
      .union(named(by: .proxyConnection, head, bytes))
    if options.contains(.close) { return false }
    return head.version == .http11 || options.contains(.keepAlive)
  }
}

extension FieldNameSet {
  fileprivate init(connection: Void) {
    self.init()
    insert(.connection)
    insert(.proxyConnection)
  }
}

/// What a request expects before it sends its content (RFC 9110 §10.1.1).
public enum RequestExpectation: Sendable {
  case nothing
  /// The client waits for 100 (Continue), or for a final answer.
  case `continue`
  /// Something that cannot be met: 417.
  case unknown

  /// HTTP/1.0 clients cannot expect anything, so theirs is ignored.
  public static func of(_ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>)
    -> RequestExpectation
  {
    guard let slot = head.first(.expect), head.version == .http11 else { return .nothing }
    guard slot.value.count == 12, head.occurrences(of: .expect) == 1,
      bytes.equalsToken("100-continue", at: slot.value.lowerBound)
    else { return .unknown }
    return .continue
  }
}
