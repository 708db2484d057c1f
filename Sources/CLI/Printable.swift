// What strangers have chosen, as it may be shown on a terminal: nothing of it moves the cursor, changes colours, breaks a
// line, or turns the direction in which the rest is read.

enum Printable {
  /// The text with `mark` in the place of what is not to be seen.
  static func text(_ text: String, mark: Character) -> String {
    String(text.unicodeScalars.map { isHarmless($0) ? Character($0) : mark })
  }

  private static func isHarmless(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    // C0 and C1 (U+009B begins a sequence as ESC [ does); what has no width, among it the marks of direction.
    case .control, .format, .lineSeparator, .paragraphSeparator: false
    default: true
    }
  }
}
