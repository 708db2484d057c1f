// What lives on a loop: an object with a name, at most one descriptor and at most one deadline.
//
// From its birth until `unregister()` an object is kept alive by its loop and named by its id. After that no event, no
// letter and no deadline reaches it, not even one that was already on its way; the object itself stays valid until the
// end of the turn, so a method may unregister the object it runs on, or any other, and return as usual.

import Platform

/// Something that lives on an event loop. Not `Sendable`: it is born, used and released on its loop's thread.
open class LoopObject {
  /// The loop it lives on. Not counted: a loop outlives its objects.
  public final unowned(unsafe) let loop: EventLoop
  /// Its name in letters, until it is unregistered.
  public final let id: ObjectID

  /// Puts the object on the loop.
  public init(loop: EventLoop) {
    self.loop = loop
    id = loop.reserve()
    loop.occupy(id, with: self)
    SimulationProbe.countObject(1)
  }

  deinit { SimulationProbe.countObject(-1) }

  /// Takes the object from its loop: its descriptor is no longer watched (and still open), its deadline is void,
  /// and the loop lets go of it at the end of the turn. Doing so again does nothing.
  public final func unregister() {
    loop.unregister(id)
  }

  /// Whether the object is still on its loop.
  public final var isRegistered: Bool {
    loop.isRegistered(id)
  }

  /// The descriptor is ready.
  open func ready(_ readiness: Readiness) {}

  /// The deadline has come. It is void now; set a new one if need be.
  open func timerFired() {}

  /// A letter has come.
  open func receive(_ letter: Letter) {}

  /// The turn in which `loop.afterTurn(self)` was called is over.
  open func turnEnded() {}

  /// The loop ends, and the object with it: the last chance to hand over or cut off.
  open func loopEnding() {}
}
