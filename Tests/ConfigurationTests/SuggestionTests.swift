// "Did you mean …?"

import Testing

@testable import Configuration

@Suite("Suggestions")
struct SuggestionTests {
  @Test(
    "the nearest word is found when it is near enough",
    arguments: [
      ("stor", "store"), ("Store", "store"), ("lsiten", "listen"), ("mirror", "mirrors"),
      ("upstraem", "upstream"), ("x", nil), ("intercept", nil), ("", nil),
    ])
  func nearest(word: String, expected: String?) {
    let words = ["listen", "store", "mirrors", "upstream", "log"]
    #expect(Suggestion.nearest(to: word, among: words) == expected)
  }

  @Test(
    "one insertion, deletion, replacement or swap counts one",
    arguments: [
      ("", "", 0), ("", "abc", 3), ("abc", "abc", 0), ("abc", "abd", 1), ("abc", "ab", 1),
      ("abc", "acb", 1), ("kitten", "sitting", 3),
    ])
  func distances(left: String, right: String, distance: Int) {
    #expect(Suggestion.distance(left, right) == distance)
    #expect(Suggestion.distance(right, left) == distance)
  }
}
