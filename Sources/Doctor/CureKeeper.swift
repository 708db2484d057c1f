// Keeps a cure in place until told to end, and takes it back then: what a pod on each node does.
//
//   apply ─▶ wait ─▶ gone? apply again ─▶ wait … SIGTERM ─▶ undo
//
// What it finds set up by others it neither claims nor takes back (`Cure`). A keeper that was killed leaves the cure and
// its record; the next one on this machine goes on from there.

import Glibc
import Platform

package struct CureKeeper: ~Copyable {
  package let cure: Cure
  private let signals: Signals

  /// How often it is looked whether the cure is still there.
  package var interval = Duration.seconds(30)

  /// Signals wait from now on, so that one that comes early is not lost.
  package init(_ cure: Cure) throws(Errno) {
    self.cure = cure
    signals = try Signals([.terminate, .interrupt])
  }

  /// Returns when a signal has come and the cure is taken back.
  /// - Parameter tell: gets a sentence whenever something was done.
  package borrowing func keep(_ facts: HostFacts, tell: (String) -> Void) throws(CureError) {
    var complaint = ""
    while !waited() {
      if cure.isInPlace { continue }
      do throws(CureError) {
        tell("it was taken away by somebody else: \(try cure.apply(facts))")
        complaint = ""
      } catch {
        // Once, and again when it changes: it is tried every time.
        let words = "it was taken away by somebody else, and cannot be set up again: \(error)"
        if words != complaint { tell(words) }
        complaint = words
      }
    }
    tell(try cure.undo() ?? "nothing to take back: it was not set up by this program")
  }

  /// Waits for a signal or the interval's end.
  /// - Returns: whether there was a signal.
  private borrowing func waited() -> Bool {
    let end = Instant.now() + interval
    while true {
      var entry = pollfd(fd: signals.rawValue, events: Int16(POLLIN), revents: 0)
      let left = (end - Instant.now()).wholeNanoseconds / 1_000_000
      guard left > 0 else { return false }
      if poll(&entry, 1, Int32(clamping: left)) > 0, signals.next() != nil { return true }
    }
  }
}
