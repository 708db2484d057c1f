// The layouts in which kernels have told of resets, old and new, and records in them.

import Platform
import SeededRandom
import Testing

@testable import KernelSensors

private let common = """
  format:
  \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
  \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
  \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
  \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;


  """

/// Linux 6.10 and younger.
private let sendReset = """
  name: tcp_send_reset
  ID: 2280
  \(common)
  \tfield:const void * skbaddr;\toffset:8;\tsize:8;\tsigned:0;
  \tfield:const void * skaddr;\toffset:16;\tsize:8;\tsigned:0;
  \tfield:int state;\toffset:24;\tsize:4;\tsigned:1;
  \tfield:enum sk_rst_reason reason;\toffset:28;\tsize:4;\tsigned:0;
  \tfield:__u8 saddr[28];\toffset:32;\tsize:28;\tsigned:0;
  \tfield:__u8 daddr[28];\toffset:60;\tsize:28;\tsigned:0;

  print fmt: "skbaddr=%p src=%pISpc state=%s reason=%s", REC->skbaddr, REC->saddr, REC->state ? __print_symbolic(REC->state, { TCP_ESTABLISHED, "TCP_ESTABLISHED" }, { 10, "TCP_LISTEN" }) : "UNKNOWN", __print_symbolic(REC->reason, { 0, "NOT_SPECIFIED" }, { 1, "NO_SOCKET" }, { 0x10, "TCP_DISCONNECT_WITH_DATA" })
  """

/// Linux 4.16 to 6.9: tcp_event_sk_skb, without a reason.
private let oldSendReset = """
  name: tcp_send_reset
  ID: 1400
  \(common)
  \tfield:const void * skbaddr;\toffset:8;\tsize:8;\tsigned:0;
  \tfield:const void * skaddr;\toffset:16;\tsize:8;\tsigned:0;
  \tfield:int state;\toffset:24;\tsize:4;\tsigned:1;
  \tfield:__u16 sport;\toffset:28;\tsize:2;\tsigned:0;
  \tfield:__u16 dport;\toffset:30;\tsize:2;\tsigned:0;
  \tfield:__u16 family;\toffset:32;\tsize:2;\tsigned:0;
  \tfield:__u8 saddr[4];\toffset:34;\tsize:4;\tsigned:0;
  \tfield:__u8 daddr[4];\toffset:38;\tsize:4;\tsigned:0;
  \tfield:__u8 saddr_v6[16];\toffset:42;\tsize:16;\tsigned:0;
  \tfield:__u8 daddr_v6[16];\toffset:58;\tsize:16;\tsigned:0;

  print fmt: "sport=%hu dport=%hu state=%s", REC->sport, REC->dport, __print_symbolic(REC->state, { 1, "TCP_ESTABLISHED" })
  """

/// Linux 4.16 to 5.x: no family.
private let oldReceiveReset = """
  name: tcp_receive_reset
  ID: 1399
  \(common)
  \tfield:const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;
  \tfield:__u16 sport;\toffset:16;\tsize:2;\tsigned:0;
  \tfield:__u16 dport;\toffset:18;\tsize:2;\tsigned:0;
  \tfield:__u8 saddr[4];\toffset:20;\tsize:4;\tsigned:0;
  \tfield:__u8 daddr[4];\toffset:24;\tsize:4;\tsigned:0;
  \tfield:__u8 saddr_v6[16];\toffset:28;\tsize:16;\tsigned:0;
  \tfield:__u8 daddr_v6[16];\toffset:44;\tsize:16;\tsigned:0;
  \tfield:__u64 sock_cookie;\toffset:64;\tsize:8;\tsigned:0;

  print fmt: "sport=%hu dport=%hu sock_cookie=%llx", REC->sport, REC->dport, REC->sock_cookie
  """

private func drop(_ fields: String, _ symbols: String = "") -> String {
  """
  name: kfree_skb
  ID: 2310
  \(common)
  \tfield:void * skbaddr;\toffset:8;\tsize:8;\tsigned:0;
  \tfield:void * location;\toffset:16;\tsize:8;\tsigned:0;
  \(fields)
  print fmt: "skbaddr=%p", REC->skbaddr\(symbols)
  """
}

private let reasons =
  ", __print_symbolic(REC->reason, { 2, \"NOT_SPECIFIED\" }, { 12, \"NETFILTER_DROP\" }, { 40, \"TCP_LISTEN_OVERFLOW\" })"
private let youngDrop = drop(
  "\tfield:void * rx_sk;\toffset:24;\tsize:8;\tsigned:0;\n"
    + "\tfield:unsigned short protocol;\toffset:32;\tsize:2;\tsigned:0;\n"
    + "\tfield:enum skb_drop_reason reason;\toffset:36;\tsize:4;\tsigned:0;\n", reasons)
/// Linux 5.17 to 6.10: the reason, and not whose.
private let middleDrop = drop(
  "\tfield:unsigned short protocol;\toffset:24;\tsize:2;\tsigned:0;\n"
    + "\tfield:enum skb_drop_reason reason;\toffset:28;\tsize:4;\tsigned:0;\n", reasons)
/// Before: neither.
private let oldDrop = drop("\tfield:unsigned short protocol;\toffset:24;\tsize:2;\tsigned:0;\n")

/// A record being put together.
private struct Record {
  var bytes: [UInt8]

  init(_ format: TraceFormat, size: Int = 96) {
    bytes = [UInt8](repeating: 0, count: size)
    put(UInt16(format.id), at: 0)
  }

  mutating func put<Number: FixedWidthInteger>(_ number: Number, at offset: Int) {
    withUnsafeBytes(of: number) { raw in
      bytes.replaceSubrange(offset..<offset + raw.count, with: raw)
    }
  }

  mutating func put(_ text: [UInt8], at offset: Int) {
    bytes.replaceSubrange(offset..<offset + text.count, with: text)
  }

  mutating func put(_ address: SocketAddress, at offset: Int) {
    address.withSockaddr {
      put(Array(UnsafeRawBufferPointer(start: $0, count: Int($1))), at: offset)
    }
  }
}

private let moment = Instant(nanoseconds: 5)
private let four = (
  SocketAddress(IPAddress(v4: 0x0A00_0001), port: 8080),
  SocketAddress(IPAddress(v4: 0x0A00_0002), port: 40000)
)
private let mapped: [UInt8] = [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF]

@Suite("Formats of tracepoints")
struct TraceFormatTests {
  @Test("younger kernels give whole addresses and reasons")
  func young() throws {
    let format = try #require(TraceFormat(sendReset))
    #expect(format.name == "tcp_send_reset" && format.id == 2280)
    var record = Record(format)
    record.put(UInt64(0xFFFF_8880_0000_0010), at: 8)
    record.put(UInt64(0xFFFF_8880_0000_0020), at: 16)
    record.put(UInt32(1), at: 24)
    record.put(UInt32(16), at: 28)
    record.put(four.0, at: 32)
    record.put(four.1, at: 60)
    let event = try #require(TraceEvent(.resetSent, format, record.bytes[...], time: moment))
    #expect(event.local == four.0 && event.remote == four.1)
    #expect(event.state == "TCP_ESTABLISHED")
    #expect(event.reason == "TCP_DISCONNECT_WITH_DATA")
    #expect(event.packet == 0xFFFF_8880_0000_0010 && event.socket == 0xFFFF_8880_0000_0020)
    // A reason that the format does not know is a number; no state is none.
    record.put(UInt32(77), at: 28)
    record.put(UInt32(0), at: 24)
    let unknown = try #require(TraceEvent(.resetSent, format, record.bytes[...], time: moment))
    #expect(unknown.reason == "77" && unknown.state == nil)
    // IPv6, and IPv4 in its clothes.
    let six = SocketAddress(IPAddress(v6High: 0xFD00 << 48, low: 7), port: 443)
    record.put(six, at: 32)
    record.put(SocketAddress(IPAddress(v6High: 0, low: 0xFFFF_0A00_0002), port: 40000), at: 60)
    let other = try #require(TraceEvent(.resetSent, format, record.bytes[...], time: moment))
    #expect(other.local == six && other.remote == four.1)
  }

  @Test("older ones give ports and addresses apart, and no reason")
  func old() throws {
    let format = try #require(TraceFormat(oldSendReset))
    var record = Record(format)
    record.put(UInt16(8080), at: 28)
    record.put(UInt16(40000), at: 30)
    record.put(UInt16(2), at: 32)
    record.put([10, 0, 0, 1], at: 34)
    record.put([10, 0, 0, 2], at: 38)
    let event = try #require(TraceEvent(.resetSent, format, record.bytes[...], time: moment))
    #expect(event.local == four.0 && event.remote == four.1)
    #expect(event.reason == nil)
    // Of IPv6 the other fields hold junk.
    record.put(UInt16(10), at: 32)
    record.put([0xFD] + [UInt8](repeating: 0, count: 14) + [1], at: 42)
    let six = try #require(TraceEvent(.resetSent, format, record.bytes[...], time: moment))
    #expect(six.local == SocketAddress("[fd00::1]:8080"))
  }

  @Test("the oldest do not say which family")
  func oldest() throws {
    let format = try #require(TraceFormat(oldReceiveReset))
    var record = Record(format)
    record.put(UInt16(8080), at: 16)
    record.put(UInt16(40000), at: 18)
    record.put([10, 0, 0, 1], at: 20)
    record.put(mapped + [10, 0, 0, 1], at: 28)
    record.put(mapped + [10, 0, 0, 2], at: 44)
    record.put(UInt64(4711), at: 64)
    let event = try #require(TraceEvent(.resetReceived, format, record.bytes[...], time: moment))
    #expect(event.local == four.0 && event.remote == four.1)
    #expect(event.cookie == 4711)
    record.put([0xFD] + [UInt8](repeating: 0, count: 14) + [1], at: 28)
    let six = try #require(TraceEvent(.resetReceived, format, record.bytes[...], time: moment))
    #expect(six.local == SocketAddress("[fd00::1]:8080"))
  }

  @Test("drops are watched where they have a reason, and only those that tell something")
  func drops() throws {
    let young = try #require(TraceFormat(youngDrop))
    let middle = try #require(TraceFormat(middleDrop))
    let filter = "(protocol == 0x800 || protocol == 0x86dd) && (reason == 12 || reason == 40)"
    #expect(ResetTracer.filter(young) == filter)
    #expect(ResetTracer.filter(middle) == filter)
    #expect(ResetTracer.filter(try #require(TraceFormat(oldDrop))) == nil)
    var record = Record(young)
    record.put(UInt64(11), at: 8)
    record.put(UInt64(22), at: 24)
    record.put(UInt32(40), at: 36)
    let event = try #require(TraceEvent(.dropped, young, record.bytes[...], time: moment))
    #expect(event.reason == "TCP_LISTEN_OVERFLOW" && event.socket == 22 && event.packet == 11)
    record = Record(middle)
    record.put(UInt32(12), at: 28)
    let older = try #require(TraceEvent(.dropped, middle, record.bytes[...], time: moment))
    #expect(older.reason == "NETFILTER_DROP" && older.socket == 0)
  }

  @Test("a record of another tracepoint is none of this one")
  func other() throws {
    let format = try #require(TraceFormat(sendReset))
    var record = Record(format)
    record.put(UInt16(2281), at: 0)
    #expect(TraceEvent(.resetSent, format, record.bytes[...], time: moment) == nil)
    #expect(TraceEvent(.resetSent, format, [], time: moment) == nil)
  }

  @Test(
    "what is no format is none",
    arguments: [
      "", "name:", "name: x\nID: 5\n", "ID: 5\n\tfield:int a;\toffset:0;\tsize:4;\tsigned:1;",
      "name: x\nID: -3\n\tfield:int a;\toffset:0;\tsize:4;\tsigned:1;",
      "name: x\nID: 5\n\tfield:int a;\toffset:9223372036854775807;\tsize:4;\tsigned:1;",
      "name: x\nID: 5\n\tfield:int a;\toffset:0;\tsize:9223372036854775807;\tsigned:1;",
      "name: x\nID: 5\n\tfield:;\toffset:0;\tsize:1;\tsigned:1;",
    ])
  func none(text: String) {
    #expect(TraceFormat(text) == nil)
  }

  @Test("formats and records that are damaged are read without trapping")
  func hostile() {
    var random = SeededGenerator(seed: 5)
    for text in [sendReset, oldSendReset, oldReceiveReset, youngDrop] {
      let bytes = Array(text.utf8)
      for _ in 0..<300 {
        var changed = bytes
        for _ in 0..<6 {
          changed[Int.random(in: 0..<changed.count, using: &random)] = UInt8.random(
            in: 0...255, using: &random)
        }
        changed = Array(changed.prefix(Int.random(in: 0...changed.count, using: &random)))
        guard let format = TraceFormat(String(decoding: changed, as: UTF8.self)) else { continue }
        var record = Record(format, size: 128)
        record.bytes = Array(record.bytes.prefix(Int.random(in: 2...128, using: &random)))
        for kind in TraceEvent.Kind.allCases {
          _ = TraceEvent(kind, format, record.bytes[...], time: moment)
        }
      }
    }
  }

  @Test("records of the ring: samples, losses, and nonsense")
  func ring() {
    func bytes(_ numbers: [UInt32]) -> [UInt8] {
      var bytes: [UInt8] = []
      for number in numbers { withUnsafeBytes(of: number) { bytes += $0 } }
      return bytes
    }
    guard
      case .sample(let time, let data)? = TraceRing.parse(bytes([9, 0, 5, 0, 1, 0, 4, 77])[...])
    else {
      Issue.record("a sample is one")
      return
    }
    #expect(time == moment && data.native32(0) == 77)
    guard case .lost(3)? = TraceRing.parse(bytes([2, 0, 1, 0, 3, 0])[...]) else {
      Issue.record("a loss is one")
      return
    }
    // It says that it is longer than it is.
    guard case .lost(1)? = TraceRing.parse(bytes([9, 0, 5, 0, 1, 0, .max, 77])[...]) else {
      Issue.record("a sample that is cut is a loss")
      return
    }
    #expect(TraceRing.parse([]) == nil)
    #expect(TraceRing.parse(bytes([1, 0])[...]) == nil)
  }

  @Test("numbers of processors")
  func processors() {
    #expect(ResetTracer.processors("0-3,8\n") == [0, 1, 2, 3, 8])
    #expect(ResetTracer.processors("0\n") == [0])
    #expect(ResetTracer.processors("3-1,x,-2,99999999,5-,1") == [1])
    #expect(ResetTracer.processors("").isEmpty)
  }
}

@Suite("What the kernel said about a flow")
struct TraceHistoryTests {
  private let flow = tuple("10.81.0.1:40000", "10.96.0.10:80")
  private let alias = tuple("10.81.0.1:40000", "10.82.0.2:8080")

  private func event(
    _ kind: TraceEvent.Kind, _ time: Int64, _ tuple: ConntrackTuple? = nil, reason: String? = nil,
    socket: UInt64 = 0, packet: UInt64 = 0, cookie: UInt64? = nil
  ) -> TraceEvent {
    var event = TraceEvent(kind, time: Instant(nanoseconds: time))
    event.local = tuple?.source
    event.remote = tuple?.destination
    event.reason = reason
    event.socket = socket
    event.packet = packet
    event.cookie = cookie
    return event
  }

  private func report(_ events: [TraceEvent], cookie: UInt64? = 7) -> TraceReport {
    var history = TraceHistory()
    for event in events { history.add(event) }
    return history.report([flow, alias], cookie: cookie, since: Instant(nanoseconds: 100))
  }

  @Test("who reset whom is told by the direction, also behind a translation")
  func direction() {
    let report = report([
      event(.resetSent, 200, flow, reason: "TCP_STATE"),
      event(.resetSent, 150, alias.reversed, reason: "NO_SOCKET"),
      event(.resetSent, 300, alias.reversed, reason: "LATER"),
      event(.resetSent, 200, tuple("10.81.0.1:40001", "10.96.0.10:80"), reason: "OTHER"),
    ])
    #expect(report.sent?.reason == "TCP_STATE")
    #expect(report.sentByPeer?.reason == "NO_SOCKET")
    #expect(report.received == nil)
  }

  @Test("a reset that was believed is found by the socket's cookie or its addresses")
  func received() {
    #expect(
      report([event(.resetReceived, 200, alias.reversed, cookie: 7)]).received?.nanoseconds == 200)
    #expect(report([event(.resetReceived, 200, flow)]).received != nil)
    #expect(report([event(.resetReceived, 200, alias.reversed, cookie: 8)]).received == nil)
    #expect(report([event(.resetReceived, 200, cookie: nil)], cookie: nil).received == nil)
  }

  @Test("drops are those of its sockets and packets, or of nobody")
  func drops() {
    let report = report([
      event(.dropped, 110, reason: "NETFILTER_DROP", socket: 0, packet: 5),
      event(.retransmitted, 150, flow, socket: 9),
      event(.dropped, 160, reason: "PROTO_MEM", socket: 9),
      event(.dropped, 160, reason: "PROTO_MEM", socket: 10),
      event(.dropped, 170, reason: "TCP_LISTEN_OVERFLOW", socket: 11),
      event(.dropped, 180, reason: "TCP_CSUM", packet: 4),
      event(.resetSent, 180, flow, packet: 4),
    ])
    #expect(report.retransmissions == 1)
    #expect(report.drops == ["PROTO_MEM": 1, "TCP_CSUM": 1])
    #expect(report.machineDrops == ["NETFILTER_DROP": 1, "TCP_LISTEN_OVERFLOW": 1])
  }

  @Test("what was before belongs to somebody else")
  func before() {
    #expect(
      report([
        event(.resetSent, 99, flow), event(.resetReceived, 50, flow),
        event(.retransmitted, 1, flow),
      ])
      .isEmpty)
  }

  @Test(
    "a reset to who is behind the translation is one of nobody's sockets, and not after the end")
  func stray() {
    let real = SocketAddress(IPAddress(v4: 0x0A52_0002), port: 8080)
    func stray(_ events: [TraceEvent], until: Int64 = 1000) -> SocketAddress? {
      var history = TraceHistory()
      for event in events { history.add(event) }
      return history.report(
        [flow, alias], stray: real, cookie: nil, since: Instant(nanoseconds: 100),
        until: Instant(nanoseconds: until)
      ).stray
    }
    #expect(stray([event(.resetSent, 200, alias)]) == real)
    #expect(stray([event(.resetSent, 200, alias)], until: 199) == nil)
    #expect(stray([event(.resetSent, 200, alias, socket: 7)]) == nil)
    #expect(stray([event(.resetSent, 200, flow)]) == nil)
  }

  @Test("the youngest thousands are kept")
  func bounded() {
    var history = TraceHistory()
    for time in 0..<Int64(TraceHistory.limit * 5) {
      history.add(event(.retransmitted, time + 1000, flow))
    }
    #expect(history.counts[.retransmitted] == UInt64(TraceHistory.limit * 5))
    let count = history.report([flow], cookie: nil, since: Instant(nanoseconds: 0)).retransmissions
    #expect((TraceHistory.limit...TraceHistory.limit * 2).contains(count))
  }
}
