// One wait for a resolver's answer, with a deadline, on a loop.

import Platform

/// Who waits for a `HostLookup`.
package protocol HostLookupDelegate: AnyObject {
  /// The addresses of a host, in the order they should be tried, or why there are none. Told once.
  func lookup(
    _ lookup: HostLookup, of host: String, found result: Result<[IPAddress], Resolver.Failure>)
}

/// Asks the resolver and tells its delegate, in time: in a later turn, unless cancelled, and always exactly once.
package final class HostLookup: LoopObject {
  package let host: String
  // Held until the answer, and by nothing after.
  private var delegate: (any HostLookupDelegate)?

  /// Begins to wait.
  package init(
    loop: EventLoop, resolver: Resolver, host: String, timeout: Duration,
    delegate: any HostLookupDelegate
  ) {
    self.host = host
    self.delegate = delegate
    super.init(loop: loop)
    let deadline = loop.now + timeout
    loop.arm(self, at: deadline)
    resolver.resolve(host, deadline: deadline, reply: loop.mailbox, id)
  }

  /// Ends waiting; the delegate is told nothing.
  package func cancel() {
    delegate = nil
    unregister()
  }

  package override func receive(_ letter: Letter) {
    guard let answer = letter.payload as? Resolver.Answer else { return }
    finish(answer.result)
  }

  package override func timerFired() {
    finish(.failure(.timedOut))
  }

  private func finish(_ result: Result<[IPAddress], Resolver.Failure>) {
    let delegate = self.delegate
    cancel()
    delegate?.lookup(self, of: host, found: result)
  }
}
