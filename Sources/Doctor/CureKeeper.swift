// Keeps a cure in place until told to end, and takes it back then: what a pod on each node does.
//
//   begin ─▶ apply ─▶ wait ─▶ gone, changed? apply again ─▶ wait … SIGTERM ─▶ the last one? undo
//
// What it finds set up by others it neither claims nor takes back (`Cure`). Several keepers of one cure share it (`CureHold`),
// so that a successor may begin before its predecessor ends. A keeper that was killed leaves the cure and its record: the
// next one goes on from there, and one of another cure takes it back.

import Glibc
import Platform

package struct CureKeeper: ~Copyable {
  package let cure: Cure
  private let signals: Signals
  private var hold: CureHold?
  /// Whether it has been in place since.
  private var isSetUp = false
  /// What has been said of what does not work, so that it is said once, and again when it changes.
  private var complaint = ""
  private var complaintsOfOthers: Set<String> = []

  /// How often it is looked whether the cure is still there.
  package var interval = Duration.seconds(30)

  /// Signals wait from now on, so that one that comes early is not lost.
  package init(_ cure: Cure) throws(Errno) {
    self.cure = cure
    signals = try Signals([.terminate, .interrupt])
  }

  /// Becomes one of those who keep it; before anything is looked at, so that a predecessor that ends now leaves it in place.
  /// - Returns: whether to go on: false if a signal came.
  package mutating func begin(tell: (String) -> Void) -> Bool {
    do throws(Errno) {
      while true {
        if let hold = try CureHold.share(cure.holdPath) {
          self.hold = hold
          return true
        }
        if waited(.milliseconds(20)) { return false }
      }
    } catch {
      tell("cannot write \(cure.holdPath) (\(error)): another --hold will not know of this one")
      return true
    }
  }

  /// Sets it up for the first time.
  /// - Returns: what was done, or what is waited for.
  package mutating func setUp(_ facts: HostFacts) throws(CureError) -> String {
    do throws(CureError) {
      let words = try cure.apply(facts)
      isSetUp = true
      return words
    } catch {
      guard case .noConnectionTracking = error else { throw error }
      complaint = "\(error); waiting for it"
      return complaint
    }
  }

  /// Returns when a signal has come and the cure is taken back.
  /// - Parameter tell: gets a sentence whenever something was done.
  package mutating func keep(_ facts: HostFacts, tell: (String) -> Void) throws(CureError) {
    repeat {
      takeBackAbandoned(tell)
      look(facts, tell)
    } while !waited(interval)
    guard hold?.isLast() != false else {
      return tell("left in place: another --hold keeps it")
    }
    tell(try cure.undo() ?? "nothing to take back: it was not set up by this program")
    hold?.remove()
  }

  private mutating func look(_ facts: HostFacts, _ tell: (String) -> Void) {
    var found = ""
    do throws(CureError) {
      switch try cure.state(facts) {
      case .inPlace:
        isSetUp = true
        complaint = ""
        return
      case .absent: found = isSetUp ? "it was taken away by somebody else" : ""
      case .altered: found = "it was changed by somebody else"
      }
      let done = try cure.apply(facts)
      tell(found.isEmpty ? done : "\(found): \(done)")
      isSetUp = true
      complaint = ""
    } catch {
      // It is tried every time.
      var words = found.isEmpty ? "\(error)" : "\(found), and cannot be set up again: \(error)"
      if case .noConnectionTracking = error { words = "\(error); waiting for it" }
      if words != complaint { tell(words) }
      complaint = words
    }
  }

  /// Takes back other cures that keepers have set up who were killed: nobody else would.
  private mutating func takeBackAbandoned(_ tell: (String) -> Void) {
    for kind in CureKind.allCases where kind != cure.kind {
      let other = cure.sibling(kind)
      guard let left = CureHold.abandoned(other.holdPath) else { continue }
      do throws(CureError) {
        if let words = try other.undo() { tell("left by a --hold that was killed: \(words)") }
        left.remove()
      } catch {
        let words = "left by a --hold that was killed, and cannot be taken back: \(error)"
        if !complaintsOfOthers.contains(words) { tell(words) }
        complaintsOfOthers.insert(words)
      }
    }
  }

  /// Waits for a signal or the end of that time.
  /// - Returns: whether there was a signal.
  private func waited(_ time: Duration) -> Bool {
    let end = Instant.now() + time
    while true {
      var entry = pollfd(fd: signals.rawValue, events: Int16(POLLIN), revents: 0)
      let left = (end - Instant.now()).wholeNanoseconds / 1_000_000
      guard left > 0 else { return false }
      if poll(&entry, 1, Int32(clamping: left)) > 0, signals.next() != nil { return true }
    }
  }
}
