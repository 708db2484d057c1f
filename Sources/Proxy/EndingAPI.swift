// What the admin listener tells of endings: the youngest records as lines of JSON, one by its name, and the counts for
// Prometheus. `holdfast resets` reads the first two.
//
//   GET /api/resets[?count=N]        youngest last, as in the file
//   GET /api/resets?id=ID            one, 404 if it is not in memory any more

import Forensics
import Telemetry

enum EndingAPI {
  /// Nil for a path that is not its own.
  static func answer(_ request: AdminRequest, _ desk: EndingDesk) -> AdminAnswer? {
    guard request.path == "/api/resets" else { return nil }
    guard request.method == "GET" else {
      return AdminAnswer(status: 405, text: "records can only be read\n")
    }
    if let text = request.query.first(where: { $0.name == "id" })?.value {
      guard let id = RecordID(text) else {
        return AdminAnswer(status: 400, text: "`\(text.prefix(40))` is no name of a record\n")
      }
      guard let record = desk.record(id) else {
        return AdminAnswer(
          status: 404,
          text: "\(id) is not in memory any more; look into the file of `resets.path`\n")
      }
      return AdminAnswer(type: "application/json", content: record.line)
    }
    var count = 100
    if let text = request.query.first(where: { $0.name == "count" })?.value {
      guard let number = Int(text), number >= 0 else {
        return AdminAnswer(status: 400, text: "`count` is a number\n")
      }
      count = number
    }
    return AdminAnswer(
      type: "application/x-ndjson", content: desk.recent(count).reversed().flatMap(\.line))
  }

  /// In the text format of Prometheus. Series appear with their first ending: all that there could be are thousands.
  static func metrics(_ desk: EndingDesk) -> String {
    var text = """
      # HELP holdfast_endings_total Connections, and attempts at one, that ended otherwise than they should have, by side, phase and means, and by what the cause is judged to be.
      # TYPE holdfast_endings_total counter

      """
    let counts = desk.counts.map { count, value in
      let ending = count.ending
      return
        "holdfast_endings_total{side=\"\(ending.side)\",phase=\"\(ending.phase)\",means=\"\(ending.means)\",code=\"\(count.cause.rawValue)\"} \(value)\n"
    }
    text += counts.sorted().joined()
    text += """
      # HELP holdfast_resumptions_total What became of requests and downloads whose connection ended in the middle.
      # TYPE holdfast_resumptions_total counter

      """
    let resumptions = desk.resumptions
    for outcome in EndingRecord.Resumption.Outcome.allCases {
      text +=
        "holdfast_resumptions_total{outcome=\"\(outcome.rawValue)\"} \(resumptions[outcome] ?? 0)\n"
    }
    text += """
      # HELP holdfast_endings_lost_total Lines of the record of endings that could not be written.
      # TYPE holdfast_endings_lost_total counter
      holdfast_endings_lost_total \(desk.log?.dropped ?? 0)
      # HELP holdfast_endings_rotations_failed_total Attempts to move the record of endings aside that failed: it is written on, and grows.
      # TYPE holdfast_endings_rotations_failed_total counter
      holdfast_endings_rotations_failed_total \(desk.log?.stays ?? 0)

      """
    return text
  }
}
