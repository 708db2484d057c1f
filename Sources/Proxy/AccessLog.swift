// One line per request, in words for people or in JSON for machines. Lines are put together in a buffer of
// the worker and handed to a writer thread (AccessLogWriter) when it is full or a second old.

import Configuration
import Forensics
import HTTP
import IO
import Platform
import Synchronization
import Telemetry

/// What is known of a request when its answer is over.
struct AccessRecord {
  var client: SocketAddress
  var method: [UInt8]
  /// The target URI, normalised.
  var target: [UInt8]
  /// Which of the ways in the request took.
  var way: Route.Way
  var startedAt: Instant
  var status = Status(0)
  var handling = Transaction.Handling.bypass
  var sentBytes: UInt64 = 0
  /// Content that came from an origin for this request.
  var upstreamBytes: UInt64 = 0
  var ending = ClientEnding.finished
  /// What the record of that ending is called, if there is one.
  var recordID: RecordID?
  var error: ProxyError?
  /// Who asked, where clients have to say so.
  var user: AuthenticatedUser?

  var methodClass: MethodClass {
    switch method.span {
    case let name where name.equals("GET"): .get
    case let name where name.equals("HEAD"): .head
    case let name where name.equals("CONNECT"): .connect
    case let name
    where name.equals("POST") || name.equals("PUT") || name.equals("DELETE") || name.equals("PATCH"):
      .write
    default: .other
    }
  }

  var verdict: CacheVerdict {
    if way == .tunnel || methodClass == .connect, error == nil { return .tunnel }
    switch handling {
    case .hit: return .hit
    case .stale: return .stale
    case .validated: return .validated
    case .collapsed: return .collapsed
    case .miss: return .miss
    case .bypass: return .bypass
    case .error: return status.kind == .clientError ? .refused : .error
    }
  }
}

/// Puts lines together.
struct AccessLogFormatter {
  let format: LogFormat

  /// Appends one line with its line end.
  func append(
    _ record: AccessRecord, now: Instant, time: UnsafeRawBufferPointer, to line: inout [UInt8]
  ) {
    switch format {
    case .text: appendText(record, now: now, time: time, to: &line)
    case .json: appendJSON(record, now: now, time: time, to: &line)
    }
  }

  // 2026-03-02T10:11:12Z 127.0.0.1 GET http://deb.example.org/a.deb 200 hit 1234 0.012s
  private func appendText(
    _ record: AccessRecord, now: Instant, time: UnsafeRawBufferPointer, to line: inout [UInt8]
  ) {
    line.append(contentsOf: time)
    line.append(0x20)
    line.append(contentsOf: "\(record.client.ip)".utf8)
    line.append(0x20)
    Self.appendPlain(record.method, to: &line)
    line.append(0x20)
    Self.appendPlain(record.target, to: &line)
    line.append(0x20)
    MessageWriter.appendDecimal(UInt64(record.status.rawValue), to: &line)
    line.append(0x20)
    line.append(contentsOf: record.verdict.labelValue.utf8)
    line.append(0x20)
    MessageWriter.appendDecimal(record.sentBytes, to: &line)
    line.append(0x20)
    Self.appendSeconds(now - record.startedAt, to: &line)
    line.append(UInt8(ascii: "s"))
    if let user = record.user {
      line.append(contentsOf: " user=".utf8)
      Self.appendPlain(user.name, to: &line)
    }
    if record.ending != .finished {
      line.append(0x20)
      line.append(contentsOf: record.ending.rawValue.utf8)
    }
    if let id = record.recordID { line.append(contentsOf: " record=\(id)".utf8) }
    if let error = record.error {
      line.append(contentsOf: " \(error.type.rawValue): ".utf8)
      Self.appendPlain(Array(error.detail.utf8), to: &line)
    }
    line.append(0x0A)
  }

  private func appendJSON(
    _ record: AccessRecord, now: Instant, time: UnsafeRawBufferPointer, to line: inout [UInt8]
  ) {
    line.append(contentsOf: "{\"time\":\"".utf8)
    line.append(contentsOf: time)
    line.append(contentsOf: "\",\"client.address\":\"\(record.client.ip)\",\"client.port\":".utf8)
    MessageWriter.appendDecimal(UInt64(record.client.port), to: &line)
    if let user = record.user {
      line.append(contentsOf: ",\"user.name\":".utf8)
      Self.appendQuoted(user.name, to: &line)
    }
    line.append(contentsOf: ",\"http.request.method\":".utf8)
    Self.appendQuoted(record.method, to: &line)
    line.append(contentsOf: ",\"url.full\":".utf8)
    Self.appendQuoted(record.target, to: &line)
    line.append(
      contentsOf: ",\"way\":\"\(record.way.rawValue)\",\"http.response.status_code\":".utf8)
    MessageWriter.appendDecimal(UInt64(record.status.rawValue), to: &line)
    line.append(contentsOf: ",\"cache\":\"\(record.verdict.labelValue)\",\"sent\":".utf8)
    MessageWriter.appendDecimal(record.sentBytes, to: &line)
    line.append(contentsOf: ",\"upstream\":".utf8)
    MessageWriter.appendDecimal(record.upstreamBytes, to: &line)
    line.append(contentsOf: ",\"duration\":".utf8)
    Self.appendSeconds(now - record.startedAt, to: &line)
    line.append(contentsOf: ",\"ending\":\"\(record.ending.rawValue)\"".utf8)
    if let id = record.recordID ?? record.error?.record {
      line.append(contentsOf: ",\"record\":\"\(id)\"".utf8)
    }
    if let error = record.error {
      line.append(contentsOf: ",\"error.type\":\"\(error.type.rawValue)\",\"error.message\":".utf8)
      Self.appendQuoted(Array(error.detail.utf8), to: &line)
    }
    line.append(contentsOf: "}\n".utf8)
  }

  /// Seconds with milliseconds; the loop's clock is no finer.
  private static func appendSeconds(_ duration: Duration, to line: inout [UInt8]) {
    let milliseconds = UInt64(clamping: duration.wholeNanoseconds / 1_000_000)
    MessageWriter.appendDecimal(milliseconds / 1000, to: &line)
    line.append(UInt8(ascii: "."))
    let rest = milliseconds % 1000
    if rest < 100 { line.append(0x30) }
    if rest < 10 { line.append(0x30) }
    MessageWriter.appendDecimal(rest, to: &line)
  }

  /// What a stranger sent must not write lines or colours of its own.
  private static func appendPlain(_ bytes: [UInt8], to line: inout [UInt8]) {
    for byte in bytes { line.append(byte > 0x20 && byte < 0x7F || byte == 0x20 ? byte : 0x3F) }
  }

  private static func appendQuoted(_ bytes: [UInt8], to line: inout [UInt8]) {
    line.append(0x22)
    for byte in bytes {
      switch byte {
      case 0x22, 0x5C:
        line.append(0x5C)
        line.append(byte)
      case 0x20..<0x7F:
        line.append(byte)
      default:
        // Targets and methods are ASCII; anything else is shown as the byte it is.
        let digits = Array("0123456789abcdef".utf8)
        line.append(contentsOf: "\\u00".utf8)
        line.append(digits[Int(byte >> 4)])
        line.append(digits[Int(byte & 15)])
      }
    }
    line.append(0x22)
  }
}
