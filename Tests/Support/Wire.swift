// The frame of a wire test: an origin, a proxy, and the check that nothing is left when the script is over.

import Configuration
import Platform
import TLS

/// Runs a script with an origin called `origin.test` and a proxy. Afterwards, all peers gone, the proxy must
/// have no connection, no fill and no tunnel left.
/// - Parameter configure: changes the configuration before the proxy starts; the origin's port is known then.
package func wire(
  tls: TLSContext? = nil,
  configure: (inout Configuration, WireOrigin) throws -> Void = { _, _ in },
  lookup: @escaping TestProxy.Lookup = TestProxy.testNames, file: String = #fileID,
  line: UInt = #line, _ body: (WireOrigin, TestProxy) throws -> Void
) throws {
  let script = Script()
  let origin = try WireOrigin(script, tls: tls)
  var configuration = TestProxy.configuration()
  try configure(&configuration, origin)
  let proxy = try TestProxy(script, configuration, lookup: lookup)
  try body(origin, proxy)
  origin.close()
  try proxy.expectQuiet(file: file, line: line)
  try proxy.expectNoOrigins(file: file, line: line)
}

/// A part of a script that runs beside the rest: a peer that has to read while another writes.
package final class Background<Result: Sendable>: Sendable {
  private let outcome = Monitor<Swift.Result<Result, any Error>?>(nil)
  private let thread: WorkerThread

  package init(_ body: @escaping @Sendable () throws -> Result) throws {
    let outcome = self.outcome
    thread = try WorkerThread.start(name: "wire-peer") {
      let result = Swift.Result { try body() }
      outcome.withLock { $0 = result }
      outcome.wakeAll()
    }
  }

  /// Waits for its end and throws what it threw.
  @discardableResult
  package func join() throws -> Result {
    defer { thread.join() }
    return try outcome.wait { $0 }.get()
  }
}

/// Bytes that are different at every place for which it matters, the same each time.
package func patterned(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
  var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
  var bytes: [UInt8] = []
  bytes.reserveCapacity(count + 8)
  while bytes.count < count {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    withUnsafeBytes(of: state) { bytes.append(contentsOf: $0) }
  }
  return Array(bytes[..<count])
}
