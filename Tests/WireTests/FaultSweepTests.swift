// Every call to the kernel that a transaction makes fails once: call 1, call 2, … until none is left to fail. Whatever
// fails, the client gets the right answer whole, a clear error, or a cut that nobody can take for an end; afterwards
// the proxy serves the same request well, and nothing is left over.

import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite struct FaultSweepTests {
  enum Transaction: String, CaseIterable, Sendable {
    case hitInline, hitBlob, missInline, missBlob, missChunkedBlob, relay, oldRelay, tunnel

    func path(_ number: Int) -> String {
      switch self {
      case .hitInline, .missInline: "/inline/\(number)"
      case .hitBlob, .missBlob: "/blob/\(number)"
      case .relay, .tunnel: "/relay/\(number)"
      case .missChunkedBlob: "/growing/\(number)"
      case .oldRelay: "/chunked/\(number)"
      }
    }

    var isHit: Bool { self == .hitInline || self == .hitBlob }
  }

  struct Fault: Sendable, CustomTestStringConvertible {
    var call: FaultPlan.Call
    var errno: Errno
    var testDescription: String { "\(errno) from \(call)" }
  }

  static let faults: [Fault] = [
    Fault(call: .accept, errno: .tooManyOpenFiles),
    Fault(call: .accept, errno: .noMemory),
    Fault(call: .connect, errno: .tooManyOpenFilesInSystem),
    Fault(call: .connect, errno: .connectionRefused),
    Fault(call: .watch, errno: .noSpace),
    Fault(call: .receive, errno: .connectionReset),
    Fault(call: .send, errno: .noBufferSpace),
    Fault(call: .sendFile, errno: .noMemory),
    Fault(call: .open, errno: .tooManyOpenFiles),
  ]

  @Test(
    "whichever call fails, nobody gets a wrong or a short answer that looks whole",
    arguments: Transaction.allCases, faults)
  func sweep(transaction: Transaction, fault: Fault) throws {
    let script = Script()
    let origin = try AutoOrigin()
    defer { origin.stop() }
    var configuration = TestProxy.configuration()
    configuration.upstream.readTimeout = .seconds(2)
    configuration.limits.writeTimeout = .seconds(4)
    let proxy = try TestProxy(script, configuration, inMemory: true)
    var number = 0
    var fired = true
    while fired, number < 200 {
      number += 1
      let path = transaction.path(number)
      if transaction.isHit {
        #expect(try outcome(transaction, path, origin, proxy) == .whole)
        try proxy.expectStored()
      }
      let scope: FaultPlan.Scope =
        fault.call == .open
        ? .directory(proxy.scratchDirectory)
        : .sockets(local: proxy.address.port, peer: origin.port)
      let plan = FaultPlan(in: scope, failing: [fault.call], number: number, with: fault.errno)
      plan.install()
      let first = Result { try outcome(transaction, path, origin, proxy) }
      plan.remove()
      fired = plan.fired > 0
      let seen = try first.get()
      if !fired { #expect(seen == .whole, "call \(number) was not made") }
      // A disk that fails takes away storing, not serving.
      if fault.call == .open { #expect(seen == .whole, "file \(number) could not be opened") }
      // A pause of the listener is over soon, and what failed once does not fail again.
      #expect(
        try outcome(transaction, path, origin, proxy) == .whole,
        "after call \(number) had failed, with the outcome \(seen)")
    }
    #expect(number < 200)
    try proxy.expectQuiet()
    origin.stop()
    try proxy.expectNoOrigins()
  }

  enum Outcome: Equatable {
    case whole
    case error(Int)
    case cut
  }

  /// Asks once, and judges what came.
  private func outcome(
    _ transaction: Transaction, _ path: String, _ origin: AutoOrigin, _ proxy: TestProxy
  ) throws -> Outcome {
    let client = try proxy.connect()
    defer { client.close() }
    let version = transaction == .oldRelay ? "1.0" : "1.1"
    let request =
      "GET \(transaction == .tunnel ? path : origin.url(path)) HTTP/\(version)\r\n"
      + "Host: origin.test:\(origin.port)\r\nConnection: close\r\n\r\n"
    do {
      if transaction == .tunnel {
        try client.send(
          "CONNECT origin.test:\(origin.port) HTTP/1.1\r\nHost: origin.test:\(origin.port)\r\n\r\n")
        let head = try client.expectConnectHead()
        guard head.status == 200 else {
          _ = try client.expectRest()
          try judgeError(head)
          return .error(head.status)
        }
      }
      try client.send(request)
      let answer = try client.expectAnyResponse()
      guard answer.status == 200 else {
        try judgeError(answer.head)
        return .error(answer.status)
      }
      #expect(answer.content == AutoOrigin.content(path), "wrong content for \(path)")
      return .whole
    } catch let failure as WireFailure {
      // A client that waits in vain was forgotten, which is none of the three.
      if failure.description.contains("in vain") { throw failure }
      return .cut
    }
  }

  private func judgeError(_ head: WireHead) throws {
    #expect(head.status >= 500 && head["Proxy-Status"] != nil, "\(head.startLine)")
  }
}
