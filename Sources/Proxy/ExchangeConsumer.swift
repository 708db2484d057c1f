// What an exchange tells, and to whom: the relay of a transaction, or a fill.

import HTTP
import IO
import Platform

/// The final response's head.
struct ResponseHead {
  var status: Status
  var version: Version
  var fields: FieldSection
  var framing: MessageFraming

  /// Server-sent events, which may be rare and small by design.
  var isEventStream: Bool {
    let name = Array("text/event-stream".utf8)
    return fields.first(.contentType).map { value in
      value.prefix(name.count).map { $0 | 0x20 } == name.map { $0 | 0x20 }
    } ?? false
  }
}

/// For whom an answer is fetched, as far as that is known.
struct Beneficiary {
  var client: SocketAddress
  /// Bytes that were sent to it of the answer; nil where others get it too.
  var delivered: UInt64?
}

/// Who gets the response of an exchange. A base class rather than a protocol: calls cost a table look-up.
class ExchangeConsumer: LoopObject {
  func exchangeGotInformational(_ exchange: Exchange, status: Status, fields: FieldSection) {}
  /// 101: the connection is the consumer's now, with what has been read of it behind the head.
  func exchangeSwitchedProtocols(
    _ exchange: Exchange, _ fields: FieldSection, _ connection: OriginConnection,
    unread: UnsafeRawBufferPointer
  ) { connection.close() }
  func exchangeGotHead(_ exchange: Exchange, _ head: ResponseHead) {}
  func exchangeGotContent(_ exchange: Exchange, _ bytes: UnsafeRawBufferPointer) {}
  /// A redirect was followed: from here on this exchange is over, and the other one reports.
  func exchangeGoesOn(_ exchange: Exchange, as next: Exchange) {}
  func exchangeFinished(_ exchange: Exchange, trailers: FieldSection?) {}
  func exchangeFailed(_ exchange: Exchange, _ error: ProxyError) {}
  /// For the record of an ending.
  var beneficiary: Beneficiary? { nil }
  /// Request content may be sent again after `sendContent` asked to wait.
  func exchangeWantsContent(_ exchange: Exchange) {}
}
