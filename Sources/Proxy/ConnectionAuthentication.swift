// Authentication that holds for a connection instead of a request: NTLM and Negotiate (RFC 4559), against all that
// HTTP says of requests. Whoever has shown such credentials is who the origin takes all later requests on that
// connection to be from, so none of anybody else's may follow.

import HTTP

enum ConnectionAuthentication {
  /// Whether a request shows credentials of this kind.
  static func isUsed(by fields: borrowing FieldSection) -> Bool {
    for value in fields.all(.authorization) {
      let scheme = value.prefix { $0 != 0x20 && $0 != 0x09 }.map(\.lowercased)
      if scheme.elementsEqual("ntlm".utf8) || scheme.elementsEqual("negotiate".utf8) { return true }
    }
    return false
  }
}
