// Which response fields speak to this cache in particular (RFC 9213): an ordered list of names, each of
// a field with cache directives in the syntax of structured fields.
//
// The first of them that is there, well-formed and not empty takes the place of Cache-Control and
// Expires (§2.2). One that is malformed anywhere, or empty, is as if it had not been sent.

import HTTP

/// The target list of RFC 9213 §2.2.
public struct TargetedFields: Sendable, Hashable {
  /// In small letters, the most important first.
  public let names: [[UInt8]]

  public init(_ names: [String]) {
    self.names = names.map { Array($0.utf8).map(\.lowercased) }
  }

  /// CDN-Cache-Control alone.
  public static let standard = TargetedFields(["CDN-Cache-Control"])

  public func contains(_ name: [UInt8]) -> Bool { names.contains(name) }

  /// The directives of the field that counts; nil when Cache-Control does.
  func directives(of fields: FieldSection) -> StructuredField.Dictionary? {
    for name in names {
      if let value = fields.combinedValue(named: name[...]),
        let dictionary = try? StructuredField.dictionary(value.span), !dictionary.pairs.isEmpty
      {
        return dictionary
      }
    }
    return nil
  }
}
