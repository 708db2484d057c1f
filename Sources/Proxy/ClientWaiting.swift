// What a connection waits for while it answers: room in the client's socket, the rate, more of the request's content. And
// until when: a client that takes nothing, or next to nothing, is let go (`limits.write-timeout`, `limits.min-progress`).

import HTTP
import IO
import Platform
import Telemetry

extension ClientConnection {
  /// Something waits in `output`, or content could be sent: goes on when there is room in the socket (or sooner than
  /// that, if it is the rate that does not allow more).
  func waitForSocket() {
    if let throttle, throttle.isShut {
      waitForAllowance()
      return
    }
    guard writing.isEnough(sentBytes, loop.now, worker.settings.clientProgress) else {
      worker.metrics.add(.timeouts, .writeTrickle)
      close(.clientStalled)
      return
    }
    waitsForSocket = true
    // Who does not take answers is not asked for more requests: that bounds what can pile up here.
    loop.setInterest(self, driver?.wantsContent == true ? [.read, .write] : .write)
    writing.begin()
    deadlines.write = loop.deadline(after: worker.settings.writeCheck)
    armDeadlines()
  }

  /// Nothing waits to be sent: what is listened to is what may come.
  func settleInterest() {
    guard waitsForSocket, phase == .waiting || phase == .answering else { return }
    waitsForSocket = false
    writing.stop()
    loop.setInterest(self, phase == .waiting || driver?.wantsContent == true ? .read : [])
    deadlines.write = .distantFuture
    if phase == .waiting {
      loop.arm(
        self, after: input.isEmpty ? worker.settings.idleTimeout : worker.settings.headerTimeout)
    } else {
      armDeadlines()
    }
  }

  /// There has been no room in the socket for half of `limits.write-timeout`. That alone says little: the kernel
  /// tells of room only when a third of a large buffer is free, which a slow client may need minutes for. Only one
  /// that confirms nothing for the whole time stands still.
  func takesNothing() {
    guard !writing.standsStill(Socket.unconfirmed(descriptor)) else {
      worker.metrics.add(.timeouts, .write)
      close(.clientStalled)
      return
    }
    deadlines.write = loop.deadline(after: worker.settings.writeCheck)
    armDeadlines()
  }

  /// Sets the timer to what the client is to do next. Content that is wanted always has a time by which it has to come.
  func armDeadlines() {
    if let driver, driver.wantsContent {
      if !deadlines.hasContent {
        deadlines.content = loop.deadline(after: worker.settings.contentTimeout)
      }
    } else {
      deadlines.content = .distantFuture
    }
    if let next = deadlines.next { loop.arm(self, at: next) } else { loop.disarm(self) }
  }

  // MARK: Bandwidth

  /// How many of so many bytes may be sent now; with 0 `waitForAllowance` is due.
  func allowance(_ count: Int) -> Int {
    guard let throttle else { return count }
    // What TLS has begun to send it has to go on with.
    return min(count, max(throttle.allowance(), stream.leastNext))
  }

  /// The socket could take more, but the rate does not allow it yet. Time runs for nobody meanwhile: it is
  /// not the client that is slow. It begins anew when all that waits has gone, or the socket is what is waited for.
  func waitForAllowance() {
    waitsForSocket = true
    writing.stop()
    loop.setInterest(self, driver?.wantsContent == true ? .read : [])
    deadlines = AnswerDeadlines()
    loop.disarm(self)
  }

  func throttleOpened() { advance() }

  /// The configuration has other rates than before.
  func ratesChanged() {
    throttle?.end()
    throttle =
      worker.settings.isRated ? Throttle(worker: worker, client: peer.ip, owner: self) : nil
    advance()
  }
}
