// A record of an ending as the commands read it: a line of `resets.jsonl`, or of the admin API.

import Forensics
import Foundation

struct ResetEntry: Decodable {
  struct Connection: Decodable {
    var age: Double?
    var reused: Bool?
    var requests: Int?
    var idle: Double?
  }

  struct Content: Decodable {
    var expected: Int64?
    var received: Int64?
    var delivered: Int64?
    var confirmed: Int64?
  }

  struct Judgement: Decodable {
    var code: String
    var confidence: Double
    var tier: String
    var reasons: [String]
    var doubts: [String]
    var also: [String]

    enum CodingKeys: String, CodingKey {
      case code, confidence, tier, also
      case reasons = "for"
      case doubts = "against"
    }
  }

  struct Resumption: Decodable {
    var offset: Int64
    var outcome: String
    var after: Double
    var note: String?
  }

  /// A packet of the time line.
  struct Step: Decodable {
    /// Since the ending, in microseconds.
    var us: Int64
    var direction: String
    var what: String
    var seq: Int64?
    var ack: Int64?
    var len: Int64?
    var note: String?
  }

  /// What the reset looked like.
  struct Reset: Decodable {
    var direction: String
    var shape: String
    var to: String?
    var ttl: Int?
    var before: Int?
    var trigger: String?
    var afterTrigger: Int64?
    var odd: [String]?

    enum CodingKeys: String, CodingKey {
      case direction, shape, to, ttl, trigger, odd
      case before = "ttl_baseline"
      case afterTrigger = "after_trigger_us"
    }
  }

  /// What the table of translated connections said.
  struct Conntrack: Decodable {
    var hadEntry: Bool?
    var hasEntry: Bool?
    var lost: Bool?
    var state: String?
    var status: [String]?
    var timeout: Int64?
    var real: String?
    var switchedFrom: String?
    var ourAddress: String?
    var invalidPackets: Int64?
    var liberal: Bool?
    var loose: Bool?
    var establishedTimeout: Int64?
    var count: Int64?
    var max: Int64?
    var counters: [String: Int64]?

    enum CodingKeys: String, CodingKey {
      case lost, state, status, timeout, real, loose, count, max, counters
      case hadEntry = "had_entry"
      case hasEntry = "has_entry"
      case switchedFrom = "switched_from"
      case ourAddress = "our_address"
      case invalidPackets = "invalid_packets"
      case liberal = "be_liberal"
      case establishedTimeout = "timeout_established"
    }
  }

  struct RealOrigin: Decodable {
    var address: String
    var port: Int
    var source: String
  }

  /// Nothing will be written about it any more.
  var isFinal: Bool { stage == "final" }

  var id: String
  /// RFC 3339.
  var time: String
  var stage: String
  var side: String
  var phase: String
  var means: String
  var errno: String?
  var syscall: String?
  var localAddress: String?
  var localPort: Int?
  var peerAddress: String?
  var peerPort: Int?
  var client: String?
  var server: String?
  var method: String?
  var url: String?
  var status: Int?
  var connection: Connection?
  var content: Content?
  var information: [String: Int64]?
  var verdict: Judgement
  var remedy: String
  var resume: Resumption?
  var incident: String?
  var packets: [Step]?
  var reset: Reset?
  var realOrigin: RealOrigin?
  var capture: String?
  var community: String?
  var counters: [String: Int64]?
  var conntrack: Conntrack?
  var kernelReset: String?
  var kernelReason: String?
  var kernelState: String?
  var kernelDrops: [String: Int64]?

  enum CodingKeys: String, CodingKey {
    case id, time, stage, side, phase, means, errno, syscall, connection, content, verdict, remedy
    case resume, incident, packets, capture, counters, conntrack
    case kernelReset = "kernel.reset"
    case kernelReason = "kernel.reason"
    case kernelState = "kernel.state"
    case kernelDrops = "kernel.drops"
    case reset = "rst"
    case realOrigin = "origin.real"
    case community = "community_id"
    case localAddress = "network.local.address"
    case localPort = "network.local.port"
    case peerAddress = "network.peer.address"
    case peerPort = "network.peer.port"
    case client = "client.address"
    case server = "server.address"
    case method = "http.request.method"
    case url = "url.full"
    case status = "http.response.status_code"
    case information = "tcp_info"
  }

  /// Nil for a line that is no record, such as one that a full disk has cut off.
  init?(line: some Sequence<UInt8>) {
    guard let entry = try? JSONDecoder().decode(Self.self, from: Data(line)),
      // No judge has ever said such a thing.
      (0...1).contains(entry.verdict.confidence)
    else { return nil }
    self = entry
  }

  /// Seconds since 1970.
  var seconds: Int64 {
    // Names of records begin with their time.
    let digits = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ".utf8)
    let milliseconds = id.utf8.prefix(10).reduce(Int64(0)) { sum, byte in
      sum << 5 | Int64(digits.firstIndex(of: byte) ?? 0)
    }
    return milliseconds / 1000
  }

  var cause: Cause? { Cause(rawValue: verdict.code) }

  /// Whom it was with.
  var other: String {
    if side == "downstream" { return client ?? "a client" }
    return server ?? peerAddress ?? "an origin"
  }
}
