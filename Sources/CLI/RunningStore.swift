// The store of a running instance, through its admin API, which `StoreAPI` describes.

import Foundation

struct RunningStore: StoreAccess {
  let client: AdminClient

  func list(_ selector: StoreSelector, _ body: (StoreRow) throws -> Void) throws {
    for query in Self.queries(selector) {
      for line in try ask("GET", "/api/store", query).lines {
        try body(decode(StoreRow.self, from: Array(line)))
      }
    }
  }

  func show(_ url: String) throws -> [StoreDetail] {
    try ask("GET", "/api/store/entry", [("url", url)], absent: 404).lines
      .map { try decode(StoreDetail.self, from: Array($0)) }
  }

  func verify(repair: Bool) throws -> StoreVerification {
    let query = repair ? [("repair", "true")] : []
    return try decode(
      StoreVerification.self, from: ask("POST", "/api/store/verify", query).content)
  }

  func purge(_ selector: StoreSelector) throws -> StorePurge {
    var sum = StorePurge(responses: 0, bytes: 0)
    for query in Self.queries(selector, all: [("all", "true")]) {
      let part = try decode(
        StorePurge.self, from: ask("POST", "/api/store/purge", query).content)
      sum.responses += part.responses
      sum.bytes += part.bytes
    }
    return sum
  }

  /// One query for each request that is needed: the API takes one beginning at a time.
  static func queries(
    _ selector: StoreSelector, all: [(String, String)] = []
  ) -> [[(String, String)]] {
    switch selector {
    case .all: [all]
    case .exact(let url): [[("url", url)]]
    case .prefix(let prefixes): prefixes.map { [("prefix", $0)] }
    }
  }

  private func ask(
    _ method: String, _ path: String, _ query: [(String, String)], absent: Int? = nil
  ) throws -> AdminClient.Answer {
    try client.ask(method, path, query, absent: absent)
  }

  private func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
    try client.decode(type, from: bytes)
  }
}

extension AdminClient {
  /// Sends a request and waits for an answer that is what was asked for.
  /// - Parameter absent: a status that says that there is none, which becomes 404.
  func ask(
    _ method: String, _ path: String, _ query: [(String, String)] = [], absent: Int? = nil
  ) throws -> Answer {
    let answer = try send(method, path, query: query)
    if answer.status == absent { return Answer(status: 404, content: []) }
    if answer.status == 401 {
      throw Failure(
        "the instance at \(address) asks for its token; say with --token-file or --config where it is"
      )
    }
    guard answer.status == 200 else {
      let text = String(decoding: answer.content.prefix(500), as: UTF8.self)
      throw Failure(
        "the instance at \(address) refuses: \(answer.status) \(StoreReport.printable(text.trimmingCharacters(in: .whitespacesAndNewlines)))"
      )
    }
    return answer
  }

  func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
    do {
      return try JSONDecoder().decode(type, from: Data(bytes))
    } catch {
      throw Failure("the instance at \(address) gives an answer that is not understood")
    }
  }
}
