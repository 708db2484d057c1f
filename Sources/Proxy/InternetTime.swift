// RFC 3339 times for log lines, without Foundation.

import HTTP

enum InternetTime {
  /// Writes `2026-03-02T10:11:12Z` into 20 bytes.
  static func write(_ seconds: Int64, into buffer: UnsafeMutableRawBufferPointer) {
    guard buffer.count >= 20 else { return }
    let seconds = min(max(seconds, HTTPDate.range.lowerBound), HTTPDate.range.upperBound)
    let days = seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
    let time = seconds - days * 86_400
    let (year, month, day) = civil(days)
    func put(_ number: Int64, at offset: Int, digits: Int) {
      var rest = number
      for index in (0..<digits).reversed() {
        buffer[offset + index] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
        rest /= 10
      }
    }
    put(year, at: 0, digits: 4)
    put(month, at: 5, digits: 2)
    put(day, at: 8, digits: 2)
    put(time / 3600, at: 11, digits: 2)
    put(time / 60 % 60, at: 14, digits: 2)
    put(time % 60, at: 17, digits: 2)
    buffer[4] = UInt8(ascii: "-")
    buffer[7] = UInt8(ascii: "-")
    buffer[10] = UInt8(ascii: "T")
    buffer[13] = UInt8(ascii: ":")
    buffer[16] = UInt8(ascii: ":")
    buffer[19] = UInt8(ascii: "Z")
  }

  /// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar. Years begin
  /// in March here, so that the leap day is the last one.
  private static func civil(_ day: Int64) -> (Int64, Int64, Int64) {
    let shifted = day + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
  }
}
