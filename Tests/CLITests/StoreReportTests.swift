// What the store commands print.

import Configuration
import Testing

@testable import CLI

@Suite("Reports of the store commands")
struct StoreReportTests {
  let now: Int64 = 1_772_446_272  // 2026-03-02 10:11:12 UTC
  var rows: [StoreRow] {
    [
      StoreRow(
        url: "http://deb.example.org/b.deb", status: 200, bytes: 4_404_019, stored: now - 300,
        varies: false, sha256: "ab12"),
      StoreRow(
        url: "http://deb.example.org/Release", status: 200, bytes: 900, stored: now - 90_000,
        varies: true, sha256: nil),
    ]
  }

  @Test("a list is aligned and ends with its totals")
  func list() {
    let lines = [
      "   SIZE  STATUS  STORED  VARIES  URL",
      "  900 B  200     1d ago  yes     http://deb.example.org/Release",
      "4.2 MiB  200     5m ago  no      http://deb.example.org/b.deb",
      "2 responses, 4.2 MiB",
    ]
    let text = StoreReport.list(rows, order: .url, now: now, style: .plain)
    #expect(text == lines.joined(separator: "\n"))
  }

  @Test("largest first, oldest first")
  func orders() {
    let bySize = StoreReport.list(rows, order: .size, now: now, style: .plain)
    #expect(bySize.split(separator: "\n")[1].hasSuffix("b.deb"))
    let byAge = StoreReport.list(rows, order: .age, now: now, style: .plain)
    #expect(byAge.split(separator: "\n")[1].hasSuffix("Release"))
    #expect(StoreReport.list([], order: .url, now: now, style: .plain) == "nothing is stored there")
  }

  @Test("one response is shown with its times, place and fields, and without control characters")
  func show() {
    let detail = StoreDetail(
      url: "http://deb.example.org/b.deb", status: 200, bytes: 4_404_019, stored: now - 300,
      freshUntil: now + 7200, sha256: "ab12",
      selectedBy: [.init(name: "accept-encoding", value: nil)],
      fields: [
        .init(name: "Content-Type", value: "application/x-deb"),
        .init(name: "X", value: "a\u{1B}[31m"),
      ])
    let text = StoreReport.show(detail, now: now, style: .plain)
    for part in [
      "4.2 MiB (4404019 bytes)", "blobs/ab/ab12", "2026-03-02 10:06:12 UTC (5m ago)",
      "until 2026-03-02 12:11:12 UTC (for 2h)", "accept-encoding: (not sent)",
      "Content-Type: application/x-deb", "X: a\u{FFFD}[31m",
    ] {
      #expect(text.contains(part), "\(part) in\n\(text)")
    }
  }

  @Test("a check names what is damaged")
  func verify() {
    var result = StoreVerification(
      records: 2, bodies: 1, bytes: 4_404_019, damage: [], leftovers: [], repaired: false)
    #expect(
      StoreReport.verify(result, style: .plain) == "2 records, 1 body file, 4.2 MiB: all whole")
    result.damage = ["blobs/ab/ab12: not what its name says"]
    result.leftovers = ["log/00000001: was being written"]
    #expect(
      StoreReport.verify(result, style: .plain) == """
        damaged    blobs/ab/ab12: not what its name says
        left over  log/00000001: was being written
        2 records, 1 body file, 4.2 MiB: 1 problem
        """)
    result.repaired = true
    #expect(StoreReport.verify(result, style: .plain).hasSuffix("1 problem, repaired"))
  }

  @Test(
    "what people type selects what they mean",
    arguments: [
      ("http://a/b", false, StoreSelector.exact("http://a/b")),
      ("http://a/b", true, .prefix(["http://a/b"])),
      ("http://a/b*", false, .prefix(["http://a/b"])),
      (
        "deb.example.org:80", true,
        .prefix(["http://deb.example.org:80/", "https://deb.example.org:80/"])
      ),
      (
        "deb.example.org/x", true,
        .prefix(["http://deb.example.org/x", "https://deb.example.org/x"])
      ),
      ("deb.*", false, .prefix(["http://deb.", "https://deb."])), ("*", false, .all),
    ])
  func selectors(text: String, isPrefix: Bool, selector: StoreSelector) {
    #expect(StoreSelector(text, isPrefix: isPrefix) == selector)
  }

  @Test("a whole URL is brought into the form of a key")
  func targets() throws {
    #expect(try StoreTarget.normalised("HTTP://Deb.Example.org:80") == "http://deb.example.org/")
    #expect(throws: Failure.self) { try StoreTarget.normalised("deb.example.org") }
  }

  @Test(
    "ages are told in their largest unit",
    arguments: [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (7199, "1h"), (172_800, "2d")])
  func ages(seconds: Int64, text: String) {
    #expect(age(seconds: seconds) == text)
  }

  @Test("colour needs a terminal, and no NO_COLOR")
  func colour() {
    #expect(Style(isTerminal: true, environment: [:]).hasColour)
    #expect(Style(isTerminal: true, environment: ["NO_COLOR": ""]).hasColour)
    #expect(!Style(isTerminal: true, environment: ["NO_COLOR": "1"]).hasColour)
    #expect(!Style(isTerminal: true, environment: ["TERM": "dumb"]).hasColour)
    #expect(!Style(isTerminal: false, environment: [:]).hasColour)
  }
}
