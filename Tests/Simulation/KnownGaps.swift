// What the simulation has found and the program does not do right yet: each is kept out of the runs, or out of their
// judgement, until it is mended. Take a line out to see it.

enum KnownGaps {
  /// Answers that wait to be sent are lost when a tunnel opens behind them: CONNECT is asked for alone.
  static let tunnelDropsAnswers = true
  /// What is removed while its fetch breaks off is kept all the same, and answers ranges or is completed.
  static let incompleteOutlivesRemoval = true
}
