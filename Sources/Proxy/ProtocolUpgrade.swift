// Upgrade (RFC 9110 §7.8): a client and an origin that agree on another protocol than HTTP, such as WebSocket, get their
// connections joined to a tunnel. Offers of another HTTP version stay behind, because that one would be between the client
// and us; so do those on mirrors, where nobody speaks anything but HTTP.
//
//   request with Upgrade ─▶ relayed ─▶ 101 ─▶ both sockets belong to a Tunnel
//                                 └─▶ any other answer, as if nothing had been offered

import HTTP
import IO
import Platform

enum ProtocolUpgrade {
  /// The protocols a client offers that may be passed on, as the value of an Upgrade field; nil when there are none.
  static func offer(in request: borrowing FieldSection, version: Version) -> [UInt8]? {
    guard version == .http11,
      elements(of: .connection, in: request).contains(where: { $0.span.equalsToken("upgrade") })
    else { return nil }
    let names = elements(of: .upgrade, in: request).filter { !isHTTP($0) }
    return names.isEmpty ? nil : list(names)
  }

  /// Whether an origin that switches protocols keeps to what it was offered.
  static func accepts(_ answer: borrowing FieldSection, offer: [UInt8]) -> Bool {
    var request = FieldSection()
    request.append(.upgrade, offer)
    let offered = elements(of: .upgrade, in: request)
    return elements(of: .upgrade, in: answer).contains { chosen in
      offered.contains { $0.span.equalsIgnoringCase(chosen.span) }
    }
  }

  /// The head that tells the client: what the origin said, with what is about the connection put back.
  static func head(_ answer: FieldSection) -> [UInt8] {
    var head = Answers.informational(status: Status(101), fields: answer)
    head.removeLast(2)
    head += "Connection: upgrade\r\nUpgrade: ".utf8
    return head + list(elements(of: .upgrade, in: answer)) + [13, 10, 13, 10]
  }

  /// HTTP in another version, or in TLS: `h2c`, `HTTP/2.0`, `TLS/1.0`.
  private static func isHTTP(_ name: [UInt8]) -> Bool {
    let lower = name.map(\.lowercased)
    return lower.elementsEqual("h2c".utf8) || lower.starts(with: "http/".utf8)
      || lower.starts(with: "tls/".utf8)
  }

  private static func elements(
    of field: FieldName, in fields: borrowing FieldSection
  ) -> [[UInt8]] {
    var elements: [[UInt8]] = []
    for value in fields.all(field) {
      var at = value.startIndex
      while let element = fields.bytes.span.nextListElement(from: &at, to: value.endIndex) {
        elements.append(Array(fields.bytes[element]))
      }
    }
    return elements
  }

  private static func list(_ elements: [[UInt8]]) -> [UInt8] {
    Array(elements.joined(separator: ", ".utf8))
  }
}

extension TransactionDriver {
  /// The origin speaks another protocol from here on: its socket and the client's belong together now.
  func joinSides(
    _ fields: FieldSection, _ connection: OriginConnection, unread: UnsafeRawBufferPointer
  ) {
    guard !isOver, client.phase == .answering else { return connection.close() }
    guard worker.takeFarSides(1) else {
      connection.close()
      carryOut(
        machine.originFailed(.tooManyConnections(worker.settings.budget.clients, isBudget: true)))
      client.advance()
      return
    }
    record.status = Status(101)
    let tunnel = Tunnel(
      worker: worker, client: client, authority: request.target.authority, record: record)
    let far = connection.surrender()
    client.driver = nil
    finishSwitched()
    tunnel.join(
      far, peer: connection.peer, head: ProtocolUpgrade.head(fields), unread: Array(unread))
  }
}
