// From seconds since 1970 to year, month and day, and back, on integers.
//
// Years are taken to begin in March, so that the leap day is the last day of a year and the lengths
// of months follow one formula. A cycle of 400 years has 146,097 days; with years from March, month m
// (0 for March) begins on day (153 m + 2) / 5. Day 0 is 0000-03-01, which is 719,468 days before
// 1970-01-01.

/// A moment in the proleptic Gregorian calendar, in GMT.
package struct CivilTime: Sendable, Equatable {
  package var year: Int64
  package var month: Int64
  package var day: Int64
  /// Seconds since midnight.
  package var clock: Int64
  /// Days since 1970-01-01, a Thursday.
  var dayNumber: Int64

  /// The first second of the year 1 and the last one of 9999: what four digits can say.
  package static var range: ClosedRange<Int64> { -62_135_596_800...253_402_300_799 }

  /// - Parameter seconds: since 1970; outside the range, the nearest one inside.
  package init(_ seconds: Int64) {
    let seconds = min(max(seconds, Self.range.lowerBound), Self.range.upperBound)
    dayNumber = Self.floorDivide(seconds, 86_400)
    let days = dayNumber + 719_468
    let cycle = Self.floorDivide(days, 146_097)
    let dayOfCycle = days - cycle * 146_097
    let yearOfCycle =
      (dayOfCycle - dayOfCycle / 1460 + dayOfCycle / 36_524 - dayOfCycle / 146_096) / 365
    let dayOfYear = dayOfCycle - (365 * yearOfCycle + yearOfCycle / 4 - yearOfCycle / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    year = cycle * 400 + yearOfCycle + (month <= 2 ? 1 : 0)
    day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    clock = seconds - dayNumber * 86_400
  }

  /// 0 for Sunday.
  var weekday: Int { Int(Self.floorModulo(dayNumber + 4, 7)) }

  /// Seconds since 1970, or nil for a date that does not exist.
  static func seconds(year: Int64, month: Int64, day: Int64, clock: Int64) -> Int64? {
    guard (1...9999).contains(year), (1...12).contains(month), day >= 1,
      day <= daysIn(month: month, of: year)
    else { return nil }
    let shiftedYear = month <= 2 ? year - 1 : year
    let cycle = floorDivide(shiftedYear, 400)
    let yearOfCycle = shiftedYear - cycle * 400
    let shiftedMonth = month > 2 ? month - 3 : month + 9
    let dayOfYear = (153 * shiftedMonth + 2) / 5 + day - 1
    let dayOfCycle = yearOfCycle * 365 + yearOfCycle / 4 - yearOfCycle / 100 + dayOfYear
    return (cycle * 146_097 + dayOfCycle - 719_468) * 86_400 + clock
  }

  static func daysIn(month: Int64, of year: Int64) -> Int64 {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }

  private static func floorModulo(_ number: Int64, _ divisor: Int64) -> Int64 {
    let rest = number % divisor
    return rest < 0 ? rest + divisor : rest
  }

  private static func floorDivide(_ number: Int64, _ divisor: Int64) -> Int64 {
    (number - floorModulo(number, divisor)) / divisor
  }
}
