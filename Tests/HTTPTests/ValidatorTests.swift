import Testing

@testable import HTTP

private func tag(_ text: String) -> EntityTag? { EntityTag(Array(text.utf8).span) }

@Suite("Validators")
struct ValidatorTests {
  @Test(
    "entity tags are quoted, weak ones after W/",
    arguments: [
      ("\"abc\"", "\"abc\""), ("W/\"abc\"", "W/\"abc\""), ("\"\"", "\"\""),
      (" \"a\" ", "\"a\""), ("\"a,b\\c'\"", "\"a,b\\c'\""), ("\"\u{E9}\"", "\"\u{E9}\""),
    ])
  func entityTags(text: String, serialised: String) {
    #expect(tag(text)?.description == serialised)
  }

  @Test(
    "anything else is no entity tag",
    arguments: [
      "", "abc", "\"abc", "abc\"", "w/\"abc\"", "W/abc", "W \"abc\"", "\"a\"b", "\"a b\"",
      "\"a\", \"b\"", "*", "\"a\u{7F}\"", "W/", "\"",
    ])
  func noEntityTag(text: String) {
    #expect(tag(text) == nil)
  }

  // RFC 9110 §8.8.3.2, the table.
  @Test(
    "comparison is strong or weak as the table of RFC 9110 says",
    arguments: [
      ("W/\"1\"", "W/\"1\"", false, true),
      ("W/\"1\"", "W/\"2\"", false, false),
      ("W/\"1\"", "\"1\"", false, true),
      ("\"1\"", "\"1\"", true, true),
    ])
  func comparison(left: String, right: String, strongly: Bool, weakly: Bool) throws {
    let (left, right) = (try #require(tag(left)), try #require(tag(right)))
    #expect(left.matchesStrongly(right) == strongly)
    #expect(left.matchesWeakly(right) == weakly)
  }

  @Test(
    "a list is searched for a tag",
    arguments: [
      ("\"a\", \"b\"", "\"b\"", true, true),
      ("\"a\",\"b\"", "\"b\"", true, true),
      (", \"a\" ,, \"b\"", "\"b\"", true, true),
      ("W/\"b\"", "\"b\"", false, true),
      ("\"b\"", "W/\"b\"", false, true),
      ("\"a,b\"", "\"b\"", false, false),
      ("\"a, \"b\"", "\"b\"", false, false),
      ("\"a\" \"b\"", "\"b\"", false, false),
      ("b, \"b\"", "\"b\"", false, false),
      ("\"b\", broken", "\"b\"", true, true),
      ("\"a\", *", "\"b\"", false, false),
      ("", "\"b\"", false, false),
    ])
  func lists(list: String, wanted: String, strongly: Bool, weakly: Bool) {
    let list = Array(list.utf8)
    #expect(
      (EntityTag.search(list.span, for: tag(wanted), strongly: true) == .contains) == strongly)
    #expect((EntityTag.search(list.span, for: tag(wanted), strongly: false) == .contains) == weakly)
  }

  @Test("a star matches whatever there is")
  func star() {
    #expect(EntityTag.search(Array(" * ".utf8).span, for: nil, strongly: true) == .any)
  }

  @Test("Last-Modified is strong a minute before Date")
  func lastModifiedStrength() {
    #expect(!Validators(lastModified: 1000, date: 1000).isLastModifiedStrong)
    #expect(!Validators(lastModified: 1000, date: 1059).isLastModifiedStrong)
    #expect(Validators(lastModified: 1000, date: 1060).isLastModifiedStrong)
    #expect(!Validators(lastModified: 2000, date: 1000).isLastModifiedStrong)
    #expect(!Validators(lastModified: .min, date: .max).isLastModifiedStrong)
  }

  @Test("validators that are repeated or broken count as absent")
  func singletons() {
    let twice: FieldSection = ["ETag": "\"a\"", "etag": "\"b\""]
    #expect(Validators(twice, receivedAt: 5).isEmpty)
    let broken: FieldSection = ["ETag": "a", "Last-Modified": "yesterday", "Date": "today"]
    let validators = Validators(broken, receivedAt: 5)
    #expect(validators.isEmpty)
    #expect(validators.date == 5)
  }
}
