// Request fields that could make an answer another one although the key does not tell: what a fetch for all
// goes without, and what makes a request one client's own.
//
// An origin that reflects X-Forwarded-Host in a link, or serves X-Original-URL in place of the target, would have
// its answer to one client stored for all: cache poisoning. So these fields stay behind when the store is filled;
// who asks for themselves alone still sends them. The list is closed, `upstream.forward-fields` takes names off
// it. Credentials, in whatever field they come, are another matter: without them the origin would refuse, with
// them the answer may be one client's. Such a request is answered from the store or asks for itself, and never
// fills the store.

import HTTP

/// Names of fields, in small letters.
typealias FieldNames = Set<[UInt8]>

enum UnkeyedFields {
  // MARK: Left behind

  /// Whether a fetch whose answer may be shared goes without this field, as far as the list says.
  static func isLeftBehind(_ known: FieldName, _ name: ArraySlice<UInt8>) -> Bool {
    switch known {
    case .forwarded, .xForwardedFor, .xForwardedHost, .xForwardedProto, .origin, .referer: true
    case .other: isUnkeyed(plain(name))
    default: false
    }
  }

  /// The same, where the configuration, or what is known of the answers, lets some through.
  static func isLeftBehind(
    _ known: FieldName, _ name: ArraySlice<UInt8>, forwarding allowed: FieldNames
  ) -> Bool {
    isLeftBehind(known, name) && (allowed.isEmpty || !allowed.contains(name.map(\.lowercased)))
  }

  private static func isUnkeyed(_ name: Name) -> Bool {
    // What an origin behind CGI takes for If-None-Match or Accept-Language shapes its answer like these.
    if name.isRespelled, FieldName.recognise(name.bytes.span) != .other { return true }
    return name.bytes.first.map { $0 | 0x20 } == UInt8(ascii: "x") && isAmongPrefixes(name.bytes)
      || others.contains { name.bytes.span.equalsIgnoringCase($0.span) }
  }

  private typealias Name = (bytes: ArraySlice<UInt8>, isRespelled: Bool)

  /// CGI, WSGI and their like give an origin one variable for `X-Real-IP` and `X_Real_IP` (RFC 3875 §4.1.18).
  private static func plain(_ name: ArraySlice<UInt8>) -> Name {
    let underscore = UInt8(ascii: "_")
    guard name.contains(underscore) else { return (name, false) }
    return (name.map { $0 == underscore ? UInt8(ascii: "-") : $0 }[...], true)
  }

  private static func isAmongPrefixes(_ name: ArraySlice<UInt8>) -> Bool {
    prefixes.contains { prefix in
      guard name.count > prefix.count else { return false }
      let start = name.prefix(prefix.count)
      return start.span.equalsIgnoringCase(prefix.span)
    }
  }

  /// What proxies and frameworks have named after these.
  private static let prefixes: [[UInt8]] = [
    "X-Forwarded-", "X-Original-", "X-Rewrite-", "X-Envoy-", "X-Proxy-", "X-HTTP-",
  ].map { Array($0.utf8) }

  private static let others: [[UInt8]] = [
    // Another host, path or scheme than the target's.
    "X-Host", "X-Forwarded", "X-Forward-For", "X-Backend-Host",
    "X-Override-URL", "X-Request-URI", "X-Script-Name",
    "X-Base-URL", "Base-URL", "X-URL-Scheme", "X-Scheme", "X-Port", "Front-End-HTTPS",
    "X-WAP-Profile",
    // Another method.
    "X-Method-Override",
    // Another client.
    "X-Real-IP", "X-Client-IP", "Client-IP", "True-Client-IP", "X-Cluster-Client-IP",
    "CF-Connecting-IP", "CF-Connecting-IPv6", "Fastly-Client-IP", "X-Remote-IP", "X-Remote-Addr",
    "X-Originating-IP", "X-ProxyUser-IP", "X-Custom-IP-Authorization", "X-Remote-User",
    "X-Authenticated-User",
    // Instructions to caches and shields further up.
    "Surrogate-Capability", "Fastly-Debug", "X-Varnish", "CDN-Loop",
  ].map { Array($0.utf8) }

  // MARK: One client's own

  /// Whether a field is a credential in all but name. Authorization is not among them: RFC 9111 §3.5 says
  /// what a cache does about it.
  static func isCredential(_ known: FieldName, _ name: ArraySlice<UInt8>) -> Bool {
    switch known {
    case .cookie: true
    case .other:
      credentials.contains { credential in
        let plain = plain(name).bytes
        return plain.span.equalsIgnoringCase(credential.span)
      }
    default: false
    }
  }

  private static let credentials: [[UInt8]] = [
    "Private-Token", "Job-Token", "Deploy-Token", "X-API-Key", "API-Key", "APIKey", "X-Auth-Token",
    "X-Access-Token", "X-Token", "X-JFrog-Art-Api", "X-NuGet-ApiKey", "X-Amz-Security-Token",
    "X-Goog-API-Key", "X-Vault-Token", "X-GitLab-Token", "X-Ms-Authorization-Auxiliary",
    "X-Auth-Key", "X-Session-Token", "X-CSRF-Token", "Circle-Token", "Cookie2",
  ].map { Array($0.utf8) }

  /// Whether a request has any such field.
  static func areInside(_ fields: FieldSection) -> Bool {
    if fields.contains(.cookie) { return true }
    return fields.slots.contains { slot in
      slot.known == .other && isCredential(.other, fields.bytes[slot.name])
    }
  }
}
