// What we show by the Basic scheme ourselves, to origins and parents (RFC 7617 §2).

import HTTP

enum BasicAuthorization {
  /// The value of the field.
  static func value(user: String, password: String) -> String {
    let encoded = Base64.encode(Array("\(user):\(password)".utf8))
    // The scheme wants the padding that is left out elsewhere.
    return "Basic \(encoded)" + String(repeating: "=", count: (4 - encoded.utf8.count % 4) % 4)
  }
}
