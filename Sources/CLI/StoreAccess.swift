// A store as the store commands see it, whether it lies on disk or in a running instance.

/// Which stored responses are meant.
enum StoreSelector: Equatable {
  case all
  /// The response to this target URI, in all its variants.
  case exact(String)
  /// Every response whose target URI begins with one of these.
  case prefix([String])

  /// Reads what people type: a URL, the beginning of one with `*` behind it, or a host with or
  /// without a path, which stands for all that is below it.
  ///
  /// - Parameter isPrefix: whether a URL without `*` is a beginning as well.
  init(_ text: String, isPrefix: Bool) {
    let hasStar = text.hasSuffix("*")
    let text = hasStar ? String(text.dropLast()) : text
    guard text.contains("://") else {
      let path = text.contains("/") || hasStar || text.isEmpty ? text : text + "/"
      self = text.isEmpty ? .all : .prefix(["http://\(path)", "https://\(path)"])
      return
    }
    self = hasStar || isPrefix ? .prefix([text]) : .exact(text)
  }

  func matches(_ uri: String) -> Bool {
    switch self {
    case .all: true
    case .exact(let text): uri == text
    case .prefix(let prefixes): prefixes.contains { uri.hasPrefix($0) }
    }
  }
}

/// What the commands know of one stored response.
struct StoredSummary: Codable, Equatable, Sendable {
  var url: String
  var status: Int
  /// Length of the content.
  var bytes: Int64
  /// When it was received or last confirmed, in seconds since 1970.
  var stored: Int64
  /// Until when it is fresh, in seconds since 1970.
  var freshUntil: Int64
  /// The media type.
  var type: String?
  /// The content's SHA-256, when it has a file of its own.
  var sha256: String?
}

/// One stored response with everything that is kept of it.
struct StoredDetail: Codable, Equatable, Sendable {
  struct Field: Codable, Equatable, Sendable {
    var name: String
    var value: String?
  }

  var summary: StoredSummary
  /// The request fields it was selected by, with their values then.
  var varies: [Field]
  var fields: [Field]
}

/// What a check of the whole store found.
struct StoreVerification: Codable, Equatable, Sendable {
  struct Damage: Codable, Equatable, Sendable {
    /// The file, relative to the store.
    var file: String
    var problem: String
  }

  var responses: Int
  var bodies: Int
  var bytes: Int64
  var damage: [Damage]
}

/// What was purged.
struct StorePurge: Codable, Equatable, Sendable {
  var responses: Int
  var bytes: Int64
}

/// The operations of the store commands.
protocol StoreAccess {
  /// Calls `body` for every stored response that is meant, in no order.
  func list(_ selector: StoreSelector, _ body: (StoredSummary) throws -> Void) throws
  /// All variants stored for one target URI.
  func show(_ url: String) throws -> [StoredDetail]
  /// Reads everything and compares it with its checksums and names.
  func verify() throws -> StoreVerification
  func purge(_ selector: StoreSelector) throws -> StorePurge
}
