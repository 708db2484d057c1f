// A fill whose clients have all left goes on for a while, for the sake of the store, or is given up: the rule is
// OrphanRule (Orphans.swift), and here is when it is asked and what comes of it. Whoever comes for the same key before
// it is over adopts the fill.

import Caching
import Platform
import Storage
import Telemetry

extension FillDriver {
  /// The last one who wanted the answer has left.
  func deserted() {
    guard fill.isDeserted, canBeGivenUp else { return }
    if orphaned == nil {
      guard worker.shared.orphans.enter(limit: worker.settings.upstream.orphans.finishAtMost) else {
        giveUp()
        return
      }
    }
    orphaned = (loop.now, received)
    reconsider()
  }

  func reconsider() {
    guard let orphaned else { return }
    guard fill.isDeserted else {
      adopted()
      return
    }
    let waited = loop.now - orphaned.at
    if worker.settings.orphanRule.goesOn(
      received: received, expected: body?.expectedLength, since: received - orphaned.received,
      waited: waited, isRenewal: isRenewal)
    {
      loop.arm(self, after: worker.settings.upstream.orphans.finishWithin - waited)
    } else {
      giveUp()
    }
  }

  /// Somebody wants it, or it is over.
  func adopted() {
    guard orphaned != nil else { return }
    orphaned = nil
    loop.disarm(self)
    worker.shared.orphans.leave()
  }

  func giveUp() {
    guard canBeGivenUp else { return }
    // Who comes in this moment is not to hear of an end that has nothing to do with the origin.
    guard worker.fills.leaveIfDeserted(fill) else {
      adopted()
      return
    }
    // The next one would fare no better.
    if isRenewal { worker.fills.remember(.renewalGivenUp, hash: fill.key.hash, now: loop.now) }
    if fill.hasServedLess {
      worker.fills.remember(.wholeUnwanted, hash: fill.key.hash, now: loop.now)
    }
    if case .awaitingHead = state {
      exchange?.cancel()
      giveBackKept()
      end(.failed(.abandoned), .abandoned)
    } else {
      handOver()
      breakOff(.abandoned, as: .abandoned, keeps: true)
    }
  }

  /// Not once all of it is here: who comes until it is saved is to find it.
  private var canBeGivenUp: Bool {
    switch state {
    case .awaitingHead, .opening, .filling: true
    case .committing, .over: false
    }
  }
}
