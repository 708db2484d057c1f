// Requests and heads made from text.

import Caching
import Configuration
import HTTP

@testable import Proxy

/// Parses a request head and hands it on.
func withHead<Result>(
  _ text: String, _ body: (borrowing ParsedHead, borrowing Span<UInt8>) throws -> Result
) rethrows -> Result {
  let bytes = Array(text.utf8)
  var head = ParsedHead()
  guard case .complete = MessageParser.parseRequest(bytes.span, into: &head) else {
    fatalError("a test's own request is malformed: \(text)")
  }
  return try body(head, bytes.span)
}

/// A GET of http://origin.test/a with these field lines.
func request(_ method: Method = .get, _ fields: FieldSection = FieldSection()) throws
  -> ClientRequest
{
  guard let target = TargetURI("http://origin.test/a") else { throw Unusable() }
  return ClientRequest(
    method: method, methodName: [], version: .http11, fields: fields, framing: .none,
    route: Route(target: target, way: .forward, isConfigured: false),
    directives: RequestDirectives(fields),
    key: CacheKey(target.key, hasher: KeyHasher(seed: 1)),
    keepsAlive: true)
}

struct Unusable: Error {}
