// Ten thousand clients that keep their connection and say nothing: what each costs, and that all are still
// served. Resident memory of the process, counted by the kernel; the sockets' own memory is the kernel's and
// the same for every server.

import Foundation
import Testing

extension WholeProgram {
  @Suite("Idle connections")
  struct IdleConnectionTests {
    private static let count = setting("HOLDFAST_IDLE_CONNECTIONS", default: 10_000)
    private static let descriptors = Sockets.raiseDescriptorLimit()

    @Test(
      "an idle connection costs less than 4 KiB, and is answered when it speaks again",
      .enabled(
        if: descriptors >= count + 1000,
        "needs \(count + 1000) descriptors per process, the hard limit is \(descriptors)"))
    func idle() throws {
      let directory = try TemporaryDirectory()
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let holdfast = try HoldfastProcess(store: directory.path + "/store")
      defer { holdfast.process.end() }
      let resource = Resource(.length, 1000, "small")
      // Whatever a first request brings into memory is not the connections'.
      for _ in 0..<50 {
        let answer = try Client(port: holdfast.port).get(resource, of: origin)
        try #require(answer.isRight(resource))
      }
      let before = holdfast.process.memory()

      var clients: [Client] = []
      clients.reserveCapacity(Self.count)
      for number in 0..<Self.count {
        // Fewer than 10,000 ports are needed of each own address.
        let client = try Client(
          port: holdfast.port, from: UInt8(1 + number / 8000), capacity: 2048)
        let answer = try client.get(resource, of: origin)
        guard answer.isRight(resource), answer.head.fields["connection"] != "close" else {
          throw Failure("connection \(number): \(answer)")
        }
        clients.append(client)
      }
      let after = holdfast.process.memory()
      let open = try holdfast.status()["connections"] as? Int
      #expect(open == Self.count)
      let each = Double(after - before) / Double(Self.count)
      print(
        "idle connections: \(Int(each)) bytes each; \(mebibytes(before)) before, \(mebibytes(after)) with \(Self.count)"
      )
      #expect(each < 4096)

      var right = 0
      for client in clients where try client.get(resource, of: origin).isRight(resource) {
        right += 1
      }
      #expect(right == Self.count)
      #expect(origin.requestCount(resource) == 1)

      clients = []
      try poll("end of all connections") { try holdfast.status()["connections"] as? Int == 0 }
      #expect(try Client(port: holdfast.port).get(resource, of: origin).isRight(resource))
    }
  }
}
