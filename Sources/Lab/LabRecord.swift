// A line of the proxy's resets.jsonl, as far as scenarios compare it.

import Forensics
import Foundation

package struct LabRecord: Sendable {
  package let id: String
  package let isFinal: Bool
  /// Seconds since 1970.
  package let time: Double
  package let side: String
  package let phase: String
  package let means: String
  package let errno: String?
  package let received: Int64?
  package let expected: Int64?
  package let delivered: Int64?
  package let code: String
  /// In hundredths.
  package let confidence: Int
  package let tier: String
  package let reasons: [String]
  package let doubts: [String]
  package let also: [String]
  package let outcome: String?
  /// Seconds from the ending to the first byte after it.
  package let after: Double?
  package let capture: String?
  /// Everything else, by names joined with points: `rst.shape`, `tcp_info.state`, `origin.real.address`.
  package let facts: [String: String]

  init?(_ line: Data) {
    guard let object = try? JSONSerialization.jsonObject(with: line) as? [String: Any],
      let id = object["id"] as? String, let verdict = object["verdict"] as? [String: Any],
      let code = verdict["code"] as? String
    else { return nil }
    self.id = id
    self.code = code
    isFinal = object["stage"] as? String == "final"
    time = Self.seconds(object["time"] as? String ?? "")
    side = object["side"] as? String ?? ""
    phase = object["phase"] as? String ?? ""
    means = object["means"] as? String ?? ""
    errno = object["errno"] as? String
    let content = object["content"] as? [String: Any]
    func bytes(_ name: String) -> Int64? { (content?[name] as? NSNumber)?.int64Value }
    received = bytes("received")
    expected = bytes("expected")
    delivered = bytes("delivered")
    confidence = Int((((verdict["confidence"] as? NSNumber)?.doubleValue ?? 0) * 100).rounded())
    tier = verdict["tier"] as? String ?? ""
    reasons = verdict["for"] as? [String] ?? []
    doubts = verdict["against"] as? [String] ?? []
    also = verdict["also"] as? [String] ?? []
    let resume = object["resume"] as? [String: Any]
    outcome = resume?["outcome"] as? String
    after = (resume?["after"] as? NSNumber)?.doubleValue
    capture = object["capture"] as? String
    var facts: [String: String] = [:]
    Self.flatten(object, "", into: &facts)
    self.facts = facts
  }

  private static func flatten(
    _ object: [String: Any], _ prefix: String, into facts: inout [String: String]
  ) {
    for (name, value) in object {
      switch value {
      case let inner as [String: Any]: flatten(inner, prefix + name + ".", into: &facts)
      case let text as String: facts[prefix + name] = text
      case let number as NSNumber:
        let isBoolean = isTruth(number)
        facts[prefix + name] = isBoolean ? (number.boolValue ? "true" : "false") : "\(number)"
      default: break
      }
    }
  }

  private static func isTruth(_ number: NSNumber) -> Bool {
    String(cString: number.objCType) == "c" || String(cString: number.objCType) == "B"
  }

  /// Of `2026-03-02T10:11:12.345678Z`.
  private static func seconds(_ time: String) -> Double {
    let digits = time.split { !$0.isNumber }.compactMap { Int($0) }
    guard digits.count == 7 else { return 0 }
    var date = DateComponents()
    (date.year, date.month, date.day) = (digits[0], digits[1], digits[2])
    (date.hour, date.minute, date.second) = (digits[3], digits[4], digits[5])
    date.timeZone = TimeZone(secondsFromGMT: 0)
    let whole = Calendar(identifier: .gregorian).date(from: date)?.timeIntervalSince1970 ?? 0
    return whole + Double(digits[6]) / 1_000_000
  }
}
