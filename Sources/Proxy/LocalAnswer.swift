// What the proxy answers by itself without anything having gone wrong: OPTIONS and TRACE that were meant for it
// (RFC 9110 §7.6.2, §9.3.7, §9.3.8).
//
//   OPTIONS *, or with Max-Forwards: 0    what this proxy takes
//   TRACE with Max-Forwards: 0            the request as it came, less what is secret
//   TRACE otherwise                       405: it is never passed on
//   a page of an index by another name    301: where the index has it
//
// TRACE makes an origin repeat a request's credentials to whoever can read the answer. Nothing that
// fetches packages needs it, so here it shows what reaches this hop and no further.

import HTTP

struct LocalAnswer {
  var status: Status
  var contentType: StaticString?
  /// Said of OPTIONS: the methods that pass.
  var allows = false
  var content: [UInt8] = []
  /// Where to ask instead, relative to what was asked for.
  var location: [UInt8]?

  static func redirect(to location: [UInt8]) -> LocalAnswer {
    LocalAnswer(status: Status(301), location: location)
  }

  static let options = LocalAnswer(status: .ok, allows: true)

  /// The request's head as it was received, without fields that a client should not see repeated: "sensitive"
  /// ones must stay out (RFC 9110 §9.3.8).
  static func trace(_ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>) -> LocalAnswer {
    var fields = FieldSection(copying: head, of: bytes)
    fields.removeAll { known, name, _ in
      switch known {
      case .authorization, .proxyAuthorization: true
      default: UnkeyedFields.isCredential(known, name)
      }
    }
    var content = bytes.copy(head.methodRange)
    content.append(0x20)
    content += bytes.copy(head.targetRange)
    content += head.version == .http11 ? Array(" HTTP/1.1\r\n".utf8) : Array(" HTTP/1.0\r\n".utf8)
    fields.serialise(into: &content)
    content += [13, 10]
    return LocalAnswer(status: .ok, contentType: "message/http", content: content)
  }

  /// Methods this proxy passes on or answers. Others pass as well, but a list has an end.
  static var methods: StaticString {
    "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE, CONNECT"
  }
}
