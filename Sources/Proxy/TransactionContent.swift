// The content of a request on its way to the origin, as fast as the origin takes it.

import HTTP
import IO

extension TransactionDriver {
  /// The client is to be read: the origin can take more.
  var wantsContent: Bool {
    !content.isFinished && !isOver && (exchange?.canSendContent ?? false)
  }

  /// - Returns: how many of the bytes were content; the rest belongs to the next request.
  func contentArrived(_ bytes: UnsafeRawBufferPointer) -> Int {
    guard let exchange, !isOver else { return bytes.count }
    let span = Span<UInt8>(_unsafeBytes: bytes)
    var position = 0
    while position <= bytes.count {
      switch content.step(span, at: &position) {
      case .content(let range):
        let goesOn = exchange.sendContent(UnsafeRawBufferPointer(rebasing: bytes[range]))
        // The origin may have failed in this call, and with the answer to that the connection's bytes are gone.
        guard !isOver else { return bytes.count }
        if content.isFinished {
          exchange.finishContent()
          client.listenForContent(false)
          return position
        }
        if !goesOn {
          client.listenForContent(false)
          return position
        }
      case .needsMoreBytes:
        return bytes.count
      case .finished(let end):
        exchange.finishContent(trailers: content.trailers)
        client.listenForContent(false)
        return end
      case .refused(let refusal):
        contentFailed(ProxyError(refusal))
        return bytes.count
      case .tooLarge:
        contentFailed(.contentTooLarge(worker.settings.contentLimit))
        return bytes.count
      }
    }
    return position
  }

  func contentTimedOut() { contentFailed(.contentTimedOut(worker.settings.limits.contentTimeout)) }

  func contentTrickled() { contentFailed(.contentTrickled(worker.settings.clientProgress)) }

  func contentFailed(_ error: ProxyError) {
    dropExchange()
    record.error = error
    carryOut(machine.originFailed(error))
  }
}
