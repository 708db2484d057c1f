// What a judgement comes to.

public struct Verdict: Sendable, Equatable {
  public let cause: Cause
  /// In hundredths; 99 at most.
  public internal(set) var confidence: Int
  /// What it was judged with.
  public let tier: Tier
  /// What speaks for it, in words.
  public let reasons: [String]
  /// What speaks against it.
  public internal(set) var doubts: [String]
  /// Other causes that are nearly as likely.
  public internal(set) var also: [Cause]

  /// Whether it is a fault at all: what is not is counted and not recorded.
  public var isFault: Bool { cause != .clientHalfClose && cause != .resetIgnored }
}
