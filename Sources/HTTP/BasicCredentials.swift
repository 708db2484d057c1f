// Name and password out of `Basic dXNlcjpwYXNz` (RFC 7617 §2).

package struct BasicCredentials: Sendable {
  package let name: [UInt8]
  package let password: [UInt8]

  /// Longer ones are nobody's.
  private static let longest = 1024

  /// Reads the value of an Authorization or Proxy-Authorization field; nil when it is anything else.
  package init?(_ value: borrowing Span<UInt8>) {
    let scheme = 5
    guard value.count > scheme + 1, value.count <= Self.longest,
      value.extracting(0..<scheme).equalsToken("basic"), value[scheme] == 0x20
    else { return nil }
    var start = scheme
    while start < value.count, value[start] == 0x20 { start += 1 }
    // The name ends at the first colon; the password may have more of them.
    var encoded: [UInt8] = []
    for index in start..<value.count { encoded.append(value[index]) }
    guard let bytes = Base64.decode(encoded),
      let colon = bytes.firstIndex(of: UInt8(ascii: ":"))
    else { return nil }
    name = Array(bytes[..<colon])
    password = Array(bytes[(colon + 1)...])
  }
}
