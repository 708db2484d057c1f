// Pages that come compressed although they were asked for as they are, or were stored so by clients of the forward
// proxy: read if it is gzip or deflate, and nothing else. Their links are written anew in what was compressed, and
// clients get the page as it is then.

import ContentCoding
import HTTP

enum PageCoding {
  case identity
  case coded(ContentCoding)
  /// By its names, for the error.
  case unreadable(String)

  init(_ fields: FieldSection) {
    guard let value = fields.combinedValue(.contentEncoding), !value.isEmpty,
      !value.span.equalsToken("identity")
    else {
      self = .identity
      return
    }
    self =
      ContentCoding(value).map { .coded($0) } ?? .unreadable(String(decoding: value, as: UTF8.self))
  }

  static func canRead(_ fields: FieldSection) -> Bool {
    if case .unreadable = PageCoding(fields) { return false }
    return true
  }
}
