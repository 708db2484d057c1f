// What can be told of TLS without its keys.

import Testing

@testable import TLS

@Suite("TLS records passed on unread") struct TLSRecordWatchTests {
  private static let hello = record(22, [1, 0, 0, 1, 0])
  private static let switching = record(20, [1])

  private static func record(_ type: UInt8, _ content: [UInt8]) -> [UInt8] {
    [type, 3, 3, UInt8(content.count >> 8), UInt8(content.count & 255)] + content
  }

  private static func encrypted(_ count: Int) -> [UInt8] {
    record(23, [UInt8](repeating: 7, count: count))
  }

  @Test(
    "an alert that ends a handshake is seen, and no other",
    arguments: [
      (hello + record(21, [2, 48]), .alert(TLSAlert(code: 48))),
      (record(21, [2, 112]), .alert(TLSAlert(code: 112))),
      // A warning, and what comes behind it.
      (hello + record(21, [1, 112]), nil),
      (hello + record(21, [1, 112]) + record(21, [2, 40]), .alert(TLSAlert(code: 40))),
      (hello + record(21, [1, 0]), nil),
      // In the place of Finished.
      (hello + switching + encrypted(19), .unreadable),
      (hello + encrypted(19), .unreadable),
      // Finished, and an end in order.
      (hello + switching + encrypted(53) + encrypted(19), nil),
      // TLS 1.2: keys, Finished, the end in order.
      (
        hello + switching + record(22, [UInt8](repeating: 1, count: 40))
          + record(21, [UInt8](repeating: 1, count: 26)), nil
      ),
      // TLS 1.2 without a nonce in its records (RFC 7905), and three bytes of content: no alert.
      (hello + switching + record(22, [UInt8](repeating: 0x9C, count: 32)) + encrypted(19), nil),
      (hello + switching + record(22, [UInt8](repeating: 0, count: 40)) + encrypted(19), nil),
      (
        hello + switching + record(22, [1, 0, 0, 36] + [UInt8](repeating: 9, count: 36))
          + encrypted(19), nil
      ),
      (hello + switching + record(22, [1, 0, 0]) + encrypted(19), nil),
      // TLS 1.3 after a second hello of either side.
      (hello + switching + record(22, [1, 0, 0, 4, 3, 3, 5, 5]) + encrypted(19), .unreadable),
      (hello + switching + record(22, [2, 0, 0, 2, 3, 3]) + encrypted(19), .unreadable),
      // A short tag, and the handshake goes on.
      (hello + switching + encrypted(19) + encrypted(300), nil),
      (hello + switching + encrypted(19) + [23], nil),
      // Content before the end of the handshake.
      (record(22, [1, 0, 0, 6, 3, 3, 0, 42, 0, 0]) + switching + encrypted(19), nil),
      (Array("GET / HTTP/1.1\r\n\r\n".utf8), nil),
      ([22, 3, 1, 0, 0], nil),
      ([22, 3, 1, 255, 255, 1], nil),
      ([], nil),
    ] as [([UInt8], TLSRecordWatch.Sighting?)])
  func sightings(bytes: [UInt8], expected: TLSRecordWatch.Sighting?) {
    for step in [1, 2, 3, 5, 7, max(1, bytes.count)] {
      var watch = TLSRecordWatch()
      var position = 0
      while position < bytes.count {
        let end = min(position + step, bytes.count)
        bytes.withUnsafeBytes { watch.take(UnsafeRawBufferPointer(rebasing: $0[position..<end])) }
        position = end
      }
      #expect(watch.sighting == expected, "in pieces of \(step)")
    }
  }

  @Test("behind the first content nothing is looked at any more")
  func ends() {
    var watch = TLSRecordWatch()
    (Self.hello + Self.encrypted(300)).withUnsafeBytes { watch.take($0) }
    #expect(watch.isOver)
    #expect(watch.sighting == nil)
  }
}
