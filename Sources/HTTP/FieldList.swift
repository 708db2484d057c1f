// Values that are lists: `#element` of RFC 9110 §5.6.1, gone through without building anything.

extension Span where Element == UInt8 {
  /// The next element of a comma-separated list in `at..<end`, without white space around it, and
  /// `at` moved behind it; nil at the end of the list.
  ///
  /// Empty elements are skipped, as a recipient must. Commas inside quoted strings, and inside
  /// comments when `withComments` is set, belong to their element; a quote or comment that is never
  /// closed takes the rest.
  public func nextListElement(from at: inout Int, to end: Int, withComments: Bool = false)
    -> Range<Int>?
  {
    while at < end {
      let start = at
      var isQuoted = false
      var depth = 0
      scan: while at < end {
        switch self[at] {
        case 0x22 where depth == 0: isQuoted.toggle()
        case 0x5C where isQuoted || depth > 0: at += 1
        case 0x28 where withComments && !isQuoted: depth += 1
        case 0x29 where withComments && !isQuoted && depth > 0: depth -= 1
        case 0x2C where !isQuoted && depth == 0: break scan
        default: break
        }
        at += 1
      }
      let element = trimmingWhitespace(start..<Swift.min(at, end))
      at = Swift.min(at, end) + 1
      if !element.isEmpty { return element }
    }
    return nil
  }
}
