import Caching
import HTTP
import IO
import Synchronization
import Testing

@testable import Proxy

@Suite("A body that grows while it is read")
struct GrowingBodyTests {
  /// What the producer of a tail was told.
  private final class Told: Sendable {
    let taken = Mutex(0)
    let deserted = Mutex(0)

    var producer: GrowingBody.Producer {
      GrowingBody.Producer(
        taken: { count in self.taken.withLock { $0 += count } },
        deserted: { self.deserted.withLock { $0 += 1 } })
    }
  }

  private func makeBody() -> GrowingBody {
    GrowingBody(
      response: StoredResponse(
        status: .ok, fields: FieldSection(), requestTime: 0, responseTime: 0, variance: .none),
      expectedLength: nil)
  }

  private func follower() throws -> Follower { Follower(mailbox: try Mailbox(), id: .none) }

  /// Up to `limit` bytes from `offset`, as text; nil when it has to wait, empty at the end.
  private func read(_ reader: BodyReader, at offset: Int64, limit: Int = 100) -> String? {
    withUnsafeTemporaryAllocation(byteCount: limit, alignment: 1) { buffer in
      switch reader.next(at: offset, into: buffer) {
      case .copied(let count): String(decoding: buffer[..<count], as: UTF8.self)
      case .wait: nil
      case .end: ""
      case .file, .cut: "not expected here"
      }
    }
  }

  private func spill(_ text: String, _ body: GrowingBody, _ told: Told) -> Bool {
    Array(text.utf8).withUnsafeBytes { body.spill($0, behind: 0, producer: told.producer) }
  }

  @Test("content in memory is there for every reader, from the start, until the end is known")
  func memory() throws {
    let body = makeBody()
    let reader = try #require(body.join(try follower()))
    #expect(read(reader, at: 0) == nil)
    Array("hello".utf8).withUnsafeBytes { body.append($0) }
    #expect(read(reader, at: 0) == "hello")
    #expect(read(reader, at: 5) == nil)
    body.complete(length: 5)
    #expect(read(reader, at: 5) == "")
    let late = try #require(body.join(try follower()))
    #expect(read(late, at: 0) == "hello")
  }

  @Test("what the disk could not take stays until the slowest reader has it, and nobody may join")
  func tail() throws {
    let body = makeBody()
    let told = Told()
    let fast = try #require(body.join(try follower()))
    let slow = try #require(body.join(try follower()))
    #expect(spill("hello, ", body, told))
    #expect(spill("world", body, told))
    #expect(body.join(try follower()) == nil)
    #expect(read(fast, at: 0) == "hello, world")
    #expect(read(fast, at: 12) == nil)
    #expect(told.taken.withLock { $0 } == 0)
    #expect(read(slow, at: 0, limit: 5) == "hello")
    #expect(read(slow, at: 5, limit: 2) == ", ")
    #expect(told.taken.withLock { $0 } == 5)
    #expect(read(slow, at: 7) == "world")
    #expect(read(slow, at: 12) == nil)
    #expect(told.taken.withLock { $0 } == 12)
    body.complete(length: 12)
    #expect(read(fast, at: 12) == "")
    #expect(read(slow, at: 12) == "")
  }

  @Test("a reader that leaves holds nobody up, and the last one to leave ends the fill")
  func leaving() throws {
    let body = makeBody()
    let told = Told()
    var slow = body.join(try follower())
    var fast = body.join(try follower())
    #expect(spill("hello", body, told))
    #expect(read(try #require(fast), at: 0) == "hello")
    #expect(read(try #require(fast), at: 5) == nil)
    #expect(told.taken.withLock { $0 } == 0)
    #expect(slow != nil)
    slow = nil
    #expect(told.taken.withLock { $0 } == 5)
    #expect(told.deserted.withLock { $0 } == 0)
    fast = nil
    #expect(told.deserted.withLock { $0 } == 1)
    #expect(!spill("more", body, told))
  }
}
