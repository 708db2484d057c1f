// The counts of `holdfast resets summary`, for scripts.

struct ResetSummary: Encodable {
  var endings: Int
  var healed: Int
  /// When the first and the last of them were, RFC 3339.
  var first: String?
  var last: String?
  var causes: [String: Int]
  var origins: [String: Int]
  var clients: [String: Int]
  /// By the first characters of their times, such as `2026-03-02T10`.
  var hours: [String: Int]

  init(_ entries: [ResetEntry]) {
    endings = entries.count
    healed = entries.count { $0.isHealed }
    first = entries.first?.time
    last = entries.last?.time
    causes = Self.counts(entries.map(\.verdict.code))
    origins = Self.counts(entries.filter { $0.side == "upstream" }.map(\.other))
    clients = Self.counts(entries.compactMap { $0.side == "downstream" ? $0.client : nil })
    hours = Self.counts(entries.map { String($0.time.prefix(13)) })
  }

  private static func counts(_ values: [String]) -> [String: Int] {
    Dictionary(values.map { ($0, 1) }, uniquingKeysWith: +)
  }
}

extension ResetEntry {
  /// Whether nobody noticed.
  var isHealed: Bool { resume.map { $0.outcome != "failed" } ?? false }
}
