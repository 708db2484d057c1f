// A store as the store commands see it, whether it lies on disk or in a running instance.

import ArgumentParser

/// Which stored responses are meant.
enum StoreSelector: Equatable {
  case all
  /// The response to this target URI, in all its variants.
  case exact(String)
  /// Every response whose target URI begins with one of these.
  case prefix([String])

  /// Reads what people type: a URL, the beginning of one with `*` behind it, or a host with or
  /// without a path, which stands for all that is below it. A host alone means each of its ports.
  ///
  /// - Parameter isPrefix: whether a URL without `*` is a beginning as well.
  init(_ text: String, isPrefix: Bool) {
    let hasStar = text.hasSuffix("*")
    let text = hasStar ? String(text.dropLast()) : text
    guard text.contains("://") else {
      if text.isEmpty {
        self = .all
      } else if text.contains("/") || hasStar {
        self = .prefix(["http://\(text)", "https://\(text)"])
      } else {
        // A colon inside brackets belongs to an IPv6 address.
        let hasPort = text.drop { $0 != "]" }.isEmpty ? text.contains(":") : text.contains("]:")
        let ends = hasPort ? ["/"] : ["/", ":"]
        self = .prefix(
          ["http", "https"].flatMap { scheme in ends.map { "\(scheme)://\(text)\($0)" } })
      }
      return
    }
    self = hasStar || isPrefix ? .prefix([text]) : .exact(text)
  }

  /// Nothing is stored under any other scheme: a slip would be answered with nothing.
  static func checkScheme(_ text: String) throws {
    guard let end = text.firstRange(of: "://") else { return }
    let scheme = text[..<end.lowerBound]
    if scheme != "http", scheme != "https" {
      throw ValidationError("'\(scheme)' is no scheme of anything stored; write http or https.")
    }
  }

  func matches(_ uri: String) -> Bool {
    switch self {
    case .all: true
    case .exact(let text): uri == text
    case .prefix(let prefixes): prefixes.contains { uri.hasPrefix($0) }
    }
  }
}

/// One stored response in a list.
struct StoreRow: Codable, Equatable, Sendable {
  var url: String
  var status: Int
  /// Length of the content.
  var bytes: Int64
  /// When it was received or last confirmed, in seconds since 1970.
  var stored: Int64
  /// Whether requests with other fields may get other variants.
  var varies: Bool
  /// The end of the content is missing; the next fetch asks for the rest only.
  var incomplete: Bool?
  /// The content's SHA-256, when it has a file of its own.
  var sha256: String?
}

/// One stored response with everything that is kept of it.
struct StoreDetail: Codable, Equatable, Sendable {
  struct Field: Codable, Equatable, Sendable {
    var name: String
    var value: String?
  }

  var url: String
  var status: Int
  var bytes: Int64
  /// The end of the content is missing; `expected` is its length with it, if that is known.
  var incomplete: Bool?
  var expected: Int64?
  var stored: Int64
  /// Until when it is fresh, in seconds since 1970.
  var freshUntil: Int64
  var sha256: String?
  /// The request fields it was selected by, with their values then.
  var selectedBy: [Field]
  var fields: [Field]
}

/// What a check of the whole store found.
struct StoreVerification: Codable, Equatable, Sendable {
  /// In the log: those of purged and replaced responses count until they are reclaimed.
  var records: Int
  var bodies: Int
  /// Of the bodies.
  var bytes: Int64
  /// Responses without their end.
  var incomplete: Int?
  /// What is damaged, and how.
  var damage: [String]
  /// What an unclean stop has left behind: harmless, and gone after the next start.
  var leftovers: [String]
  /// Whether the damage was let go of.
  var repaired: Bool
}

/// What was purged.
struct StorePurge: Codable, Equatable, Sendable {
  var responses: Int
  /// Of their content.
  var bytes: Int64
}

/// The operations of the store commands.
protocol StoreAccess {
  /// Calls `body` for every stored response that is meant, in no order.
  func list(_ selector: StoreSelector, _ body: (StoreRow) throws -> Void) throws
  /// All variants stored for one target URI.
  func show(_ url: String) throws -> [StoreDetail]
  /// Reads everything and compares it with its checksums and names.
  func verify(repair: Bool) throws -> StoreVerification
  func purge(_ selector: StoreSelector) throws -> StorePurge
}
