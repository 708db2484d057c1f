// An answer that goes to one client, and whose connection to the origin has ended: the request is made again, and the
// client gets the rest as if nothing had happened (Healing.swift says when which way). Safe methods without content only:
// what else was asked for may have been done already.

import Caching
import Forensics
import HTTP
import IO
import Telemetry

extension TransactionDriver {
  /// Tries to go on after the exchange has failed.
  /// - Returns: false when that is not possible, or has been tried often enough.
  func healRelay(_ error: ProxyError, after exchange: Exchange?) -> Bool {
    guard Healing.isPossible(after: error, worker.settings), request.method.isSafe,
      !request.hasContent, gathering?.isFromFill != true
    else { return failRelayHealing(error, nil) }
    var way = Healing.Way.again
    if machine.isAnswering {
      guard let relayed,
        let found = relayed.way(distrustingParts: healing?.distrustsParts == true)
      else { return failRelayHealing(error, "nothing would tell another version from this one") }
      way = found
    }
    guard
      var next = Healing.next(
        healing, after: error, of: exchange, at: relayed?.received ?? 0, &progress,
        to: request.origin, by: worker)
    else { return failRelayHealing(error, "tried often enough") }
    gathering = nil
    next.way = way
    let delay = next.delay(progress)
    healing = next
    if let delay {
      healing?.wait(delay, loop) { [weak self] in self?.relayAgain() }
    } else {
      relayAgain()
    }
    return true
  }

  private func relayAgain() {
    guard !isOver, let healing else { return }
    var request = request
    if machine.isAnswering, let relayed {
      relayed.ask(healing.way, in: &request.fields)
    } else if request.links != nil {
      Forwarding.askForWhole(&request.fields)
    }
    let asked: OriginRequest
    if let relayedForAll {
      // What was asked then was for all, whatever this client would have liked.
      asked = Forwarding.fillRequest(
        request, for: machine.isAnswering ? relayed : nil, healing.way, via: worker.via,
        forwarding: relayedForAll)
    } else {
      asked = Forwarding.relayedRequest(request, via: worker.via)
    }
    let exchange = Exchange(worker: worker, request: asked, consumer: self)
    exchange.avoided = healing.error.peer
    self.exchange = exchange
    exchange.start()
  }

  /// Judges the head of an answer to a request that was made again in the middle of its content.
  func relayHealingGotHead(_ exchange: Exchange, _ head: ResponseHead) {
    guard let healing, let relayed else { return }
    var fields = head.fields
    HopByHop.removeAll(from: &fields)
    switch head.status.rawValue {
    case 200, 206:
      switch relayed.judge(
        head.status, fields, head.framing, along: exchange.followed, after: healing.way,
        now: loop.wallSeconds)
      {
      case .rest:
        self.healing?.outcome = .resumed
      case .whole where relayed.received == 0:
        self.healing?.outcome = .compared
      case .whole:
        self.healing?.check = ContentCheck(0..<relayed.received)
      case .anotherVersion:
        giveUpRelay("it has changed meanwhile")
      case .wrongPart:
        self.healing?.distrustsParts = true
        relayOnceMore()
      }
    case 500..., 408, 425, 429:
      // An origin that comes up again says this for a while.
      relayOnceMore()
    default:
      giveUpRelay("the origin answered \(head.status) when it was asked again")
    }
  }

  private func relayOnceMore() {
    exchange?.cancel()
    exchange = nil
    guard let error = healing?.error, !healRelay(error, after: nil) else { return }
    relayBroke(error)
  }

  /// - Returns: whether it has taken all.
  func relayHealingGotContent(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let check = healing?.check, let relayed else {
      relayHealingGoesOn()
      return false
    }
    check.take(bytes)
    guard check.isComplete else { return true }
    guard relayed.isSame(check) else {
      giveUpRelay("what came of it a second time is not the same")
      return true
    }
    healing?.check = nil
    healing?.outcome = .compared
    let behind = check.behind
    if !behind.isEmpty {
      relayHealingGoesOn()
      behind.withUnsafeBytes { relayContent($0) }
    }
    return true
  }

  // MARK: Ends

  /// Something has come that was not there before, or all of it was.
  func relayHealingGoesOn() {
    if let outcome = healing?.outcome { relayHealingWorks(outcome) }
  }

  /// What comes from here on is the rest.
  func relayHealingWorks(_ outcome: EndingRecord.Resumption.Outcome) {
    guard let healing else { return }
    self.healing = nil
    healing.worked(outcome, worker)
  }

  /// The client is cut, as it would have been at once.
  func giveUpRelay(_ why: String) {
    guard let error = healing?.error else { return }
    endRelayHealing(why)
    dropExchange()
    relayBroke(error)
  }

  private func relayBroke(_ error: ProxyError) {
    record.error = error
    carryOut(machine.originFailed(error))
    client.advance()
  }

  /// - Returns: false, for who asks whether it is healed.
  private func failRelayHealing(_ error: ProxyError, _ why: String?) -> Bool {
    Healing.fail(
      &healing, after: error, why, isTold: machine.isAnswering, at: relayed?.received ?? 0, worker)
  }

  func endRelayHealing(_ why: String) {
    var ended = healing.take()
    ended?.failed(why, worker)
  }
}
