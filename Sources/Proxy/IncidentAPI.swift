// What the admin listener tells of incidents: endings of one cause at one place that came close together.
//
//   GET /api/incidents        a JSON object per line, youngest last, out of the records in memory

import Forensics
import Telemetry

enum IncidentAPI {
  private struct Incident {
    var first: EndingRecord?
    let any: EndingRecord
    var last: Int64
    var count: Int
    var healed = 0
  }

  /// Nil for a path that is not its own.
  static func answer(_ request: AdminRequest, _ desk: EndingDesk) -> AdminAnswer? {
    guard request.path == "/api/incidents" else { return nil }
    guard request.method == "GET" else {
      return AdminAnswer(status: 405, text: "incidents can only be read\n")
    }
    let records = desk.recent(.max)
    let known = Dictionary(records.map { ($0.id, $0) }) { first, _ in first }
    var order: [RecordID] = []
    var incidents: [RecordID: Incident] = [:]
    for record in records.reversed() {
      guard let id = record.incident else { continue }
      if incidents[id] == nil {
        order.append(id)
        // Those that came before it was one do not name it.
        incidents[id] = Incident(
          first: known[id], any: record, last: record.time, count: Incidents.least - 1)
      }
      incidents[id]?.count += 1
      incidents[id]?.last = record.time
      if let outcome = record.resumption?.outcome, outcome != .failed { incidents[id]?.healed += 1 }
    }
    let lines = order.compactMap { id in incidents[id].map { line(id, $0) } }
    return AdminAnswer(type: "application/x-ndjson", content: lines.flatMap(\.self))
  }

  private static func line(_ id: RecordID, _ incident: Incident) -> [UInt8] {
    let record = incident.first ?? incident.any
    var object = JSONObject()
    object.add("incident", id.text)
    object.add("time", EndingRecord.timestamp(record.time))
    object.add("last", EndingRecord.timestamp(incident.last))
    object.add("count", Int64(incident.count))
    object.add("healed", Int64(incident.healed))
    object.add("side", "\(record.evidence.ending.side)")
    object.add("server.address", record.transaction.server)
    object.add("error.type", record.verdict.cause.rawValue)
    object.add("remedy", record.verdict.cause.remedy)
    return object.line
  }
}
