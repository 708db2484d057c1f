// Max-Forwards: one plain decimal number, or nothing that could be followed.

import HTTP
import Testing

@Suite struct MaxForwardsTests {
  @Test(
    "a number is read, everything else is malformed",
    arguments: [
      ("", .absent), ("Max-Forwards: 0", .hops(0)), ("Max-Forwards: 10", .hops(10)),
      ("max-forwards:  007 ", .hops(7)), ("Max-Forwards: 99999999999999999999", .hops(.max)),
      ("Max-Forwards:", .malformed), ("Max-Forwards: -1", .malformed),
      ("Max-Forwards: +1", .malformed), ("Max-Forwards: 1, 1", .malformed),
      ("Max-Forwards: 1.5", .malformed), ("Max-Forwards: 0x1", .malformed),
      ("Max-Forwards: 1\r\nMax-Forwards: 1", .malformed),
    ] as [(String, MaxForwards)])
  func values(line: String, expected: MaxForwards) {
    let text = "OPTIONS / HTTP/1.1\r\nHost: a\r\n" + (line.isEmpty ? "" : line + "\r\n") + "\r\n"
    withRequest(text) { head, bytes in
      #expect(MaxForwards(head, in: bytes) == expected)
    }
  }
}
