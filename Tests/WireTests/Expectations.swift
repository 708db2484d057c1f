// Expectations that several suites share.

import Support
import Testing

extension WireClient {
  /// Expects one of the proxy's own error answers: plain text that says what was wrong, the same in
  /// `Proxy-Status`, and never stored.
  /// - Parameters:
  ///   - sentence: part of what the answer says to people.
  ///   - type: the error type of RFC 9209, if the test cares.
  ///   - closes: whether the connection ends with this answer; if not, another request may follow.
  @discardableResult
  func expectError(
    _ status: Int, _ sentence: String, type: String? = nil, closes: Bool = false,
    isHead: Bool = false, file: String = #fileID, line: UInt = #line,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> WireResponse {
    let answer = try expectResponse(
      status, ["Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"],
      isHead: isHead, file: file, line: line)
    if !isHead {
      #expect(
        (sentence.isEmpty || answer.text.contains(sentence)) && answer.text.hasPrefix("\(status) "),
        "\(answer.text)", sourceLocation: sourceLocation)
    }
    let proxyStatus = answer["Proxy-Status"] ?? "no Proxy-Status"
    #expect(
      proxyStatus.contains("; error=\(type ?? "")") && proxyStatus.contains("; details=\""),
      "\(proxyStatus)", sourceLocation: sourceLocation)
    #expect(answer["Date"] != nil, sourceLocation: sourceLocation)
    #expect(answer["Connection"] == (closes ? "close" : nil), sourceLocation: sourceLocation)
    if closes { try expectEnd(file: file, line: line) }
    return answer
  }
}

/// A Cache-Status whose ttl is up to half a minute short of 600 as one with 600: seconds may go by on a busy machine.
func roundedUp(_ cacheStatus: String?) -> String? {
  cacheStatus?.replacing(/ttl=(\d+)/) { match in
    let left = Int(match.output.1) ?? 0
    return (570..<600).contains(left) ? "ttl=600" : String(match.output.0)
  }
}
