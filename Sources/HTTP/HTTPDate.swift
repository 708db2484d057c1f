// Dates in fields (RFC 9110 §5.6.7): three forms are read, one is written.
//
// Time is a count of seconds since 1970-01-01T00:00:00Z without leap seconds; what day that is,
// CivilTime knows. No time zone but GMT exists.

/// Reading and writing of HTTP-date.
public enum HTTPDate {
  /// How many bytes a written date takes.
  public static var length: Int { 29 }

  /// The first second of the year 1 and the last one of 9999: what four digits can say.
  public static var range: ClosedRange<Int64> { CivilTime.range }

  // MARK: Reading

  /// Reads an IMF-fixdate, an RFC 850 date or the output of C's `asctime`.
  ///
  /// Names match in any case, as RFC 9111 §4.2 asks of a cache; everything else is as the grammar
  /// says, a zone other than GMT and a day that does not exist included. Whether the name of the
  /// day belongs to the date is not looked at: senders get that wrong and nothing depends on it.
  ///
  /// - Parameter now: the present, in Unix seconds. It settles the century of two-digit years:
  ///   what would lie more than 50 years ahead is taken from the century before.
  /// - Returns: Unix seconds, or nil when the bytes are no date.
  public static func parse(_ bytes: borrowing Span<UInt8>, now: Int64) -> Int64? {
    let range = bytes.trimmingWhitespace(0..<bytes.count)
    let text = bytes.extracting(range)
    guard text.count >= 24 else { return nil }
    // The third byte after the start tells the forms apart: `Sun,`, `Sun `, `Sund`.
    switch text[3] {
    case 0x2C: return fixdate(text)
    case 0x20: return asctime(text)
    default: return rfc850(text, now: now)
    }
  }

  // Sun, 06 Nov 1994 08:49:37 GMT
  private static func fixdate(_ text: borrowing Span<UInt8>) -> Int64? {
    guard text.count == 29, weekday(text, at: 0),
      text[4] == 0x20, text[7] == 0x20, text[11] == 0x20, text[16] == 0x20,
      zone(text, at: 26),
      let day = digits(text, at: 5, count: 2),
      let month = month(text, at: 8),
      let year = digits(text, at: 12, count: 4),
      let clock = timeOfDay(text, at: 17)
    else { return nil }
    return CivilTime.seconds(year: year, month: month, day: day, clock: clock)
  }

  // Sunday, 06-Nov-94 08:49:37 GMT
  private static func rfc850(_ text: borrowing Span<UInt8>, now: Int64) -> Int64? {
    var comma = 0
    while comma < text.count, text[comma] != 0x2C { comma += 1 }
    guard text.count - comma == 24, longWeekday(text, count: comma) else { return nil }
    let start = comma + 2
    guard text[comma + 1] == 0x20, text[start + 2] == 0x2D, text[start + 6] == 0x2D,
      text[start + 9] == 0x20, zone(text, at: start + 19),
      let day = digits(text, at: start, count: 2),
      let month = month(text, at: start + 3),
      let shortYear = digits(text, at: start + 7, count: 2),
      let clock = timeOfDay(text, at: start + 10)
    else { return nil }
    let today = CivilTime(now)
    let century = today.year - today.year % 100
    // The latest year with these two digits that is not more than 50 years ahead. Whole years are
    // compared first; in the fiftieth year the rest of the date decides.
    var year = century + shortYear + 100
    while year > today.year + 50 { year -= 100 }
    guard let date = CivilTime.seconds(year: year, month: month, day: day, clock: clock) else {
      return nil
    }
    if year == today.year + 50,
      let limit = CivilTime.seconds(
        year: year, month: today.month,
        day: min(today.day, CivilTime.daysIn(month: today.month, of: year)),
        clock: today.clock),
      date > limit
    {
      return CivilTime.seconds(year: year - 100, month: month, day: day, clock: clock)
    }
    return date
  }

  // Sun Nov  6 08:49:37 1994
  private static func asctime(_ text: borrowing Span<UInt8>) -> Int64? {
    guard text.count == 24, weekday(text, at: 0),
      text[7] == 0x20, text[10] == 0x20, text[19] == 0x20,
      let month = month(text, at: 4),
      let day = text[8] == 0x20
        ? digits(text, at: 9, count: 1) : digits(text, at: 8, count: 2),
      let clock = timeOfDay(text, at: 11),
      let year = digits(text, at: 20, count: 4)
    else { return nil }
    return CivilTime.seconds(year: year, month: month, day: day, clock: clock)
  }

  private static func digits(_ text: borrowing Span<UInt8>, at start: Int, count: Int) -> Int64? {
    text.decimal(in: start..<start + count)
  }

  // 08:49:37, as seconds of the day. A leap second counts as the one before it: a cache takes the
  // nearest earlier time it can express (RFC 9111 §4.2).
  private static func timeOfDay(_ text: borrowing Span<UInt8>, at start: Int) -> Int64? {
    guard text[start + 2] == 0x3A, text[start + 5] == 0x3A,
      let hour = digits(text, at: start, count: 2), hour < 24,
      let minute = digits(text, at: start + 3, count: 2), minute < 60,
      let second = digits(text, at: start + 6, count: 2), second <= 60
    else { return nil }
    return hour * 3600 + minute * 60 + min(second, 59)
  }

  private static func zone(_ text: borrowing Span<UInt8>, at start: Int) -> Bool {
    text[start - 1] == 0x20
      && text.extracting(start..<start + 3).equalsToken("gmt")
  }

  private static func month(_ text: borrowing Span<UInt8>, at start: Int) -> Int64? {
    switch abbreviation(text, at: start) {
    case 0x6A616E: 1
    case 0x666562: 2
    case 0x6D6172: 3
    case 0x617072: 4
    case 0x6D6179: 5
    case 0x6A756E: 6
    case 0x6A756C: 7
    case 0x617567: 8
    case 0x736570: 9
    case 0x6F6374: 10
    case 0x6E6F76: 11
    case 0x646563: 12
    default: nil
    }
  }

  private static func weekday(_ text: borrowing Span<UInt8>, at start: Int) -> Bool {
    switch abbreviation(text, at: start) {
    case 0x6D6F6E, 0x747565, 0x776564, 0x746875, 0x667269, 0x736174, 0x73756E: true
    default: false
    }
  }

  private static func longWeekday(_ text: borrowing Span<UInt8>, count: Int) -> Bool {
    let name = text.extracting(0..<count)
    return name.equalsToken("sunday") || name.equalsToken("monday")
      || name.equalsToken("tuesday") || name.equalsToken("wednesday")
      || name.equalsToken("thursday") || name.equalsToken("friday")
      || name.equalsToken("saturday")
  }

  // Three letters as one number, small, the first one highest; 0 when one of them is no letter.
  private static func abbreviation(_ text: borrowing Span<UInt8>, at start: Int) -> UInt32 {
    var word: UInt32 = 0
    for index in start..<start + 3 {
      guard text[index].isLetter else { return 0 }
      word = word << 8 | UInt32(text[index] | 0x20)
    }
    return word
  }

  // MARK: Writing

  /// Writes `seconds` as an IMF-fixdate into the 29 bytes of `buffer` from `offset`.
  ///
  /// Times outside the years 1 to 9999 become the nearest one inside.
  public static func write(
    _ seconds: Int64, into buffer: inout MutableSpan<UInt8>, at offset: Int = 0
  ) {
    precondition(offset >= 0 && offset <= buffer.count - length, "no room for a date")
    let date = CivilTime(seconds)
    let weekday = date.weekday
    copy("SunMonTueWedThuFriSat", from: weekday * 3, to: &buffer, at: offset)
    buffer[offset + 3] = 0x2C
    buffer[offset + 4] = 0x20
    put(date.day, 2, &buffer, offset + 5)
    buffer[offset + 7] = 0x20
    copy(
      "JanFebMarAprMayJunJulAugSepOctNovDec", from: Int(date.month - 1) * 3, to: &buffer,
      at: offset + 8)
    buffer[offset + 11] = 0x20
    put(date.year, 4, &buffer, offset + 12)
    buffer[offset + 16] = 0x20
    put(date.clock / 3600, 2, &buffer, offset + 17)
    buffer[offset + 19] = 0x3A
    put(date.clock / 60 % 60, 2, &buffer, offset + 20)
    buffer[offset + 22] = 0x3A
    put(date.clock % 60, 2, &buffer, offset + 23)
    buffer[offset + 25] = 0x20
    copy("GMT", from: 0, to: &buffer, at: offset + 26)
  }

  /// `seconds` as the 29 bytes of an IMF-fixdate.
  public static func bytes(_ seconds: Int64) -> [UInt8] {
    var date = [UInt8](repeating: 0, count: length)
    var span = date.mutableSpan
    write(seconds, into: &span)
    return date
  }

  private static func put(
    _ number: Int64, _ width: Int, _ buffer: inout MutableSpan<UInt8>, _ offset: Int
  ) {
    var rest = number
    var index = offset + width
    while index > offset {
      index -= 1
      buffer[index] = UInt8(truncatingIfNeeded: 0x30 + rest % 10)
      rest /= 10
    }
  }

  private static func copy(
    _ text: StaticString, from start: Int, to buffer: inout MutableSpan<UInt8>, at offset: Int
  ) {
    for index in 0..<3 { buffer[offset + index] = unsafe text.utf8Start[start + index] }
  }
}
