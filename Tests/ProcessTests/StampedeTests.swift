// Many clients, one cold object: one upstream request, everybody's bytes right, and no more memory for it than
// for one client.
//
// A client that reads 64 KiB/s would need 17 minutes for 64 MiB. The slow ones here read for a bounded while
// (HOLDFAST_SLOW_SECONDS): half of them ask for a range that they can finish in that time, the other half for
// everything, and leave with what they have got by then, every byte of which is compared.

import Foundation
import Testing

extension WholeProgram {
  @Suite("A stampede")
  struct StampedeTests {
    private enum Role { case quick, leaving, slow, slowRange }

    private struct Outcome: Sendable {
      var isRight = false
      var received = 0
    }

    private static let size = 64 << 20
    private static let clients = 200
    private static let rate = 64 << 10

    private static func role(_ index: Int) -> Role {
      switch index % 20 {
      case 0: .slow
      case 10: .slowRange
      default: index % 3 == 1 ? .leaving : .quick
      }
    }

    @Test(
      "200 clients ask for one cold object of 64 MiB at once, some slow, a third leaving half-way")
    func stampede() throws {
      let directory = try TemporaryDirectory()
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let holdfast = try HoldfastProcess(store: directory.path + "/store")
      defer { holdfast.process.end() }
      let resource = Resource(.length, Self.size, "object")
      let seconds = setting("HOLDFAST_SLOW_SECONDS", default: 12)
      let idle = holdfast.process.memory()
      holdfast.process.resetMemoryPeak()

      // The origin says nothing until all have asked, and stops half-way until those who leave have left:
      // everybody meets a fill that is running.
      origin.hold(resource)
      origin.hold(resource, at: Self.size / 2 + 1)
      let asked = Shared(0)
      let left = Shared(0)
      let port = holdfast.port
      let crew = Crew(Self.clients) { index -> Outcome in
        let role = Self.role(index)
        let isSlow = role == .slow || role == .slowRange
        let client = try Client(
          port: port, receiveBuffer: isSlow ? 32 << 10 : nil,
          capacity: isSlow ? 16 << 10 : 256 << 10)
        let start = (index + 1) * 100_003 % (Self.size / 2)
        let range = start..<(start + Self.rate * seconds / 2)
        try client.ask(
          resource, of: origin,
          fields: role == .slowRange
            ? "Range: bytes=\(range.lowerBound)-\(range.upperBound - 1)\r\n" : "")
        asked.withLock { $0 += 1 }
        switch role {
        case .quick:
          let answer = try client.answer(resource)
          return Outcome(isRight: answer.isRight(resource), received: answer.received)
        case .leaving:
          defer { left.withLock { $0 += 1 } }
          let head = try client.readHead()
          guard head.status == 200 else { return Outcome() }
          return try Self.read(client, resource, 0..<(Self.size / 2))
        case .slow:
          let head = try client.readHead()
          guard head.status == 200 else { return Outcome() }
          return try Self.read(client, resource, 0..<(Self.rate * seconds), perSecond: Self.rate)
        case .slowRange:
          let head = try client.readHead()
          guard head.status == 206,
            head.fields["content-range"]
              == "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(Self.size)"
          else { return Outcome() }
          return try Self.read(client, resource, range, perSecond: Self.rate)
        }
      }
      try asked.wait(for: "all to have asked") { $0 == Self.clients ? () : nil }
      origin.letGo(resource)
      let leaving = (0..<Self.clients).count { Self.role($0) == .leaving }
      try left.wait(for: "those who leave half-way") { $0 == leaving ? () : nil }
      origin.letGo(resource, at: Self.size / 2 + 1)

      for (index, result) in crew.results().enumerated() {
        let role = Self.role(index)
        switch result {
        case .success(let outcome):
          #expect(outcome.isRight, "client \(index), \(role), \(outcome.received) bytes")
        case .failure(let error):
          Issue.record("client \(index), \(role): \(error)")
        }
      }
      #expect(origin.requestCount(resource) == 1)
      let peak = holdfast.process.memory("VmHWM")
      print("stampede: \(mebibytes(idle)) idle, \(mebibytes(peak)) at most")
      #expect(peak < idle + 64 << 20, "\(mebibytes(idle)) idle, \(mebibytes(peak)) at most")

      // It is in the store now, and whole.
      origin.setReachable(false)
      let later = try Client(port: port).get(resource, of: origin)
      #expect(later.isRight(resource) && later.head.isHit)
    }

    /// Reads a stretch of the object, at most so many bytes per second, and then leaves.
    private static func read(
      _ client: Client, _ resource: Resource, _ range: Range<Int>, perSecond rate: Int? = nil
    ) throws -> Outcome {
      let content = resource.content
      let begin = Date()
      var offset = 0
      var difference: Int?
      while offset < range.count {
        let isThere = try client.readPiece(at: &offset, upTo: range.count) { bytes, at in
          if difference == nil {
            difference = content.difference(bytes, at: range.lowerBound + at)
          }
        }
        guard isThere else { break }
        guard let rate else { continue }
        let ahead = Double(offset) / Double(rate) + begin.timeIntervalSinceNow
        if ahead > 0 { Thread.sleep(forTimeInterval: ahead) }
      }
      return Outcome(
        isRight: difference == nil && offset == range.count, received: offset)
    }
  }
}
