// What says who a client is: the PROXY header in front of a connection's first byte, and the credentials
// of a request. Both decide about access, and both come from strangers.

import HTTP
import IO

func fuzzPreface(_ bytes: [UInt8]) {
  require(PrefaceChecks.proxyProtocol(bytes))
  require(PrefaceChecks.basic(bytes))
  require(PrefaceChecks.base64(bytes))
}

/// Each answers nil, or says which promise was broken.
enum PrefaceChecks {
  /// However the bytes arrive, the header ends at the same place and names the same client: every
  /// beginning waits for more or has the verdict of the whole.
  static func proxyProtocol(_ bytes: [UInt8]) -> String? {
    let whole = ProxyProtocol.parse(bytes.span)
    var ends = Array(0...min(bytes.count, 256)) + cuts(for: bytes)
    switch whole {
    case .needsMoreBytes:
      if bytes.count >= ProxyProtocol.largest { return "a header without end" }
    case .complete(let end, _):
      guard (1...bytes.count).contains(end) else { return "\(end) of \(bytes.count) bytes taken" }
      ends += [end - 1, end]
    case .refused: break
    }
    for count in ends {
      let part = Array(bytes[..<count])
      let verdict = ProxyProtocol.parse(part.span)
      if case .complete(let end, _) = whole, count < end {
        if verdict != .needsMoreBytes { return "\(verdict) after \(count) of \(end) bytes" }
      } else if case .complete = whole {
        if verdict != whole { return "\(verdict) for what is \(whole)" }
      } else if verdict != .needsMoreBytes, verdict != whole {
        return "\(verdict) after \(count) bytes, \(whole) after all"
      }
    }
    return nil
  }

  static func basic(_ bytes: [UInt8]) -> String? {
    guard let read = BasicCredentials(bytes.span) else { return nil }
    let colon = UInt8(ascii: ":")
    if read.name.contains(colon) { return "a name with a colon" }
    let written = Array("Basic \(Base64.encode(read.name + [colon] + read.password))".utf8)
    let again = BasicCredentials(written.span)
    return again?.name == read.name && again?.password == read.password
      ? nil : "written again they are other credentials"
  }

  static func base64(_ bytes: [UInt8]) -> String? {
    if Base64.decode(Base64.encode(bytes).utf8) != bytes { return "bytes do not come back" }
    guard let decoded = Base64.decode(bytes) else { return nil }
    // Padding apart, there is one text for some bytes (RFC 4648 §3.5).
    let unpadded = bytes.prefix { $0 != UInt8(ascii: "=") }
    return unpadded.elementsEqual(Base64.encode(decoded).utf8)
      ? nil : "two texts for the same bytes"
  }
}
