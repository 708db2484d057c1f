// RFC 3339 times for log lines, without Foundation.

import HTTP

enum InternetTime {
  /// Writes `2026-03-02T10:11:12Z` into 20 bytes.
  static func write(_ seconds: Int64, into buffer: UnsafeMutableRawBufferPointer) {
    guard buffer.count >= 20 else { return }
    let time = CivilTime(seconds)
    func put(_ number: Int64, at offset: Int, digits: Int) {
      var rest = number
      for index in (0..<digits).reversed() {
        buffer[offset + index] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
        rest /= 10
      }
    }
    put(time.year, at: 0, digits: 4)
    put(time.month, at: 5, digits: 2)
    put(time.day, at: 8, digits: 2)
    put(time.clock / 3600, at: 11, digits: 2)
    put(time.clock / 60 % 60, at: 14, digits: 2)
    put(time.clock % 60, at: 17, digits: 2)
    buffer[4] = UInt8(ascii: "-")
    buffer[7] = UInt8(ascii: "-")
    buffer[10] = UInt8(ascii: "T")
    buffer[13] = UInt8(ascii: ":")
    buffer[16] = UInt8(ascii: ":")
    buffer[19] = UInt8(ascii: "Z")
  }
}
