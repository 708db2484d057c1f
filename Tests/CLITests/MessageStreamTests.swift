// Standard error that nobody reads holds nobody up.

import Glibc
import Testing

@testable import CLI

@Suite("Messages") final class MessageStreamTests {
  private let stream: MessageStream
  private let ends: [Int32]

  init() throws {
    var ends: [Int32] = [0, 0]
    try #require(pipe(&ends) == 0)
    self.ends = ends
    stream = MessageStream(descriptor: ends[1])
    // Four pages, each of which holds one write (F_SETPIPE_SZ).
    try #require(fcntl(ends[1], 1031, 16384) == 16384)
  }

  deinit { for end in ends { close(end) } }

  private func read() -> String {
    var bytes = [UInt8](repeating: 0, count: 100_000)
    let count = Glibc.read(ends[0], &bytes, bytes.count)
    return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
  }

  @Test("a message is a line, with or without an end of its own")
  func line() {
    stream.say("one")
    stream.say("two\n")
    #expect(read() == "one\ntwo\n")
  }

  @Test("what finds no room is lost and counted, and that is said as soon as somebody reads again")
  func unread() {
    let page = String(repeating: "x", count: 4095) + "\n"
    for _ in 0..<4 { stream.say(page) }
    stream.say("lost")
    stream.say("lost too")
    #expect(read() == page + page + page + page)
    stream.say("back")
    #expect(read() == "holdfast: standard error was not read: 2 messages are lost\nback\n")
  }

  @Test("a message that is longer than the room there is ends early and waits for nobody")
  func long() {
    stream.say(String(repeating: "x", count: 50_000))
    #expect(read() == String(repeating: "x", count: 16384))
    stream.say("back")
    // Its end is among what is lost.
    #expect(read() == "\nholdfast: standard error was not read: 1 message is lost\nback\n")
  }
}
