// What packets add to records: a whole proxy in a network of its own, with its packet sensor on.

import Configuration
import Forensics
import Glibc
import Platform
import Support
import Telemetry
import TestNetwork
import Testing

@testable import Proxy

/// A host that knows an origin by the address of a Service only, and the node in between that translates it.
private struct Service {
  let proxy: Host
  let node: Host
  let origin: Host
  let url = "http://10.96.0.10/"
  let real = "10.73.0.2:8080"

  init() throws {
    proxy = try Host()
    node = try Host()
    origin = try Host()
    try Host.join(proxy, node, network: 72)
    try Host.join(node, origin, network: 73)
    try shell(
      """
      ip -n \(proxy.name) route add default via 10.72.0.2
      ip -n \(origin.name) route add default via 10.73.0.1
      """)
    try node.command(
      """
      echo 1 > /proc/sys/net/ipv4/ip_forward
      iptables -t nat -A PREROUTING -d 10.96.0.10 -p tcp --dport 80 -j DNAT --to-destination \(real)
      """)
  }
}

@Suite(
  "Evidence of packets", .timeLimit(.minutes(2)), .serialized,
  .enabled(if: Host.obstacle == nil, Host.obstacle))
struct PacketEvidenceTests {

  private static func configure(
    _ sensing: PacketSensing, _ configuration: inout Configuration, captures: String
  ) {
    configuration.resets.sensors = sensing
    configuration.resets.captures = captures
  }

  private static func withCaptures<Value>(_ body: (String) throws -> Value) throws -> Value {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-captures-")
    defer { try? File.removeTree(directory) }
    return try body(directory + "/captures")
  }

  @Test(
    "an origin that aborts is known by its reset",
    arguments: [PacketSensing.auto, .full, .lite, .off])
  func abort(sensing: PacketSensing) throws {
    try Host().run {
      try Self.withCaptures { captures in
        try wire(configure: { configuration, _ in
          Self.configure(sensing, &configuration, captures: captures)
        }) { origin, proxy in
          let client = try proxy.connect().get(origin.url("/"))
          let upstream = try origin.accept()
          try upstream.expectRequest()
          try upstream.send(head: 200, ["Content-Length: 100", "Cache-Control: no-store"])
          try upstream.send("0123456789")
          try client.expectHead(200)
          #expect(try client.expectContent(10) == Array("0123456789".utf8))
          upstream.abort()
          try proxy.expect("a record") { _ in !proxy.server.recentEndings().isEmpty }
          proxy.server.finishEndings()
          let record = try #require(proxy.server.recentEndings().first)
          #expect(record.verdict.cause == .originAborted)
          let line = String(decoding: record.line, as: UTF8.self)
          guard sensing != .off else {
            #expect(record.verdict.tier == .sockets)
            #expect(record.verdict.confidence == 60)
            #expect(record.capture == nil)
            #expect(!line.contains("\"rst\""))
            return
          }
          #expect(record.verdict.tier == .packets)
          #expect(record.verdict.confidence >= 80)
          #expect(record.evidence.packets?.reset?.shape == .active)
          #expect(line.contains("\"rst\":{\"direction\":\"in\",\"shape\":\"active\""))
          #expect(line.contains("\"community_id\":\"1:"))
          #expect(record.evidence.packets?.steps.last?.what == "RST+ACK")
          let file = try #require(record.capture)
          #expect(file == "\(captures)/\(record.id).pcapng")
          let told = try shell(
            "tshark -r \(file) -Y tcp.flags.reset==1 -T fields -e frame.comment 2>/dev/null")
          #expect(told.contains("reset, active: origin-aborted"))
          // The IDs in an answer and in a file name are the same, and the section has the whole record.
          #expect(try shell("strings \(file) | grep -c '\"code\":\"origin-aborted\"'") == "1\n")
        }
      }
    }
  }

  @Test("nobody listens")
  func refused() throws {
    try Host().run {
      try wire(configure: { configuration, _ in
        configuration.resets.sensors = .auto
      }) { _, proxy in
        let client = try proxy.connect().get("http://127.0.0.1:1/")
        try client.expectResponse(502)
        proxy.server.finishEndings()
        let record = try #require(proxy.server.recentEndings().first)
        #expect(record.verdict.cause == .originRefused)
        #expect(record.verdict.confidence == 97)
        #expect(record.evidence.packets?.reset?.shape == .refusal)
        #expect(record.evidence.socket.local?.port != nil)
        // There was no connection on which anything could have come last.
        #expect(record.evidence.socket.info != nil)
        #expect(!String(decoding: record.line, as: UTF8.self).contains("last_data_recv"))
        #expect(record.evidence.packets?.lost == 0)
      }
    }
  }

  @Test("a client that aborts is known by its reset")
  func client() throws {
    try Host().run {
      try wire(configure: { configuration, _ in
        configuration.resets.sensors = .auto
      }) { origin, proxy in
        let client = try proxy.connect().get(origin.url("/"))
        let upstream = try origin.accept()
        try upstream.expectRequest()
        try upstream.send(head: 200, ["Content-Length: 100", "Cache-Control: no-store"])
        try client.expectHead(200)
        client.abort()
        try upstream.expectEnd()
        try proxy.expect("a record") { _ in !proxy.server.recentEndings().isEmpty }
        proxy.server.finishEndings()
        let record = try #require(proxy.server.recentEndings().first)
        #expect(record.evidence.ending == Ending(.downstream, .content, .reset))
        #expect(record.verdict.cause == .clientLeft)
        #expect(record.verdict.tier == .packets)
        #expect(record.verdict.confidence == 95)
      }
    }
  }

  @Test(
    "a reply that nobody translated dooms its connection, and the download goes on at once",
    arguments: [PacketSensing.auto, .lite])
  func stray(sensing: PacketSensing) throws {
    let service = try Service()
    let content = patterned(40_000).map { 0x41 + $0 % 26 }
    let listener = try service.origin.listen(service.real)
    let captures = try File.makeTemporaryDirectory(prefix: "holdfast-captures-")
    defer { try? File.removeTree(captures) }
    let proxy = try service.proxy.run {
      var configuration = TestProxy.configuration()
      Self.configure(sensing, &configuration, captures: captures + "/a")
      configuration.upstream.retries = 3
      configuration.destinations.privateNetworks += [
        IPNetwork(IPAddress(v4: 0x0A00_0000), prefixLength: 8)
      ].compactMap(\.self)
      return try TestProxy(Script(), configuration)
    }
    let client = try service.proxy.run { try proxy.connect().get(service.url) }

    let first = try accept(listener)
    try receive(first)
    let head =
      "HTTP/1.1 200 OK\r\nContent-Length: 40000\r\nETag: \"1\"\r\nCache-Control: max-age=60\r\n\r\n"
    try send(first, head + String(decoding: content[..<10_000], as: UTF8.self))
    try client.expectHead(200)
    #expect(try client.expectContent(10_000) == Array(content[..<10_000]))
    // From now on the node passes on what the origin says on this connection as it is.
    let port = try Socket.peerAddress(first).port
    try service.node.command(
      "iptables -t raw -A PREROUTING -s 10.73.0.2 -p tcp --dport \(port) -j CT --notrack")
    try send(first, String(decoding: content[10_000..<11_000], as: UTF8.self))

    let second = try accept(listener)
    let request = try read(second)
    #expect(request.contains("Range: bytes=10000-\r\n"))
    #expect(request.contains("If-Range: \"1\"\r\n"))
    try send(
      second,
      "HTTP/1.1 206 Partial Content\r\nContent-Length: 30000\r\nETag: \"1\"\r\nContent-Range: bytes 10000-39999/40000\r\n\r\n"
        + String(decoding: content[10_000...], as: UTF8.self))
    #expect(try client.expectContent(30_000) == Array(content[10_000...]))
    proxy.server.finishEndings()
    let records = proxy.server.recentEndings()
    let record = try #require(records.first)
    #expect(records.count == 1)
    #expect(record.evidence.ending == Ending(.upstream, .content, .reset))
    #expect(record.evidence.socket.errno == nil)
    #expect(record.verdict.cause == .undnatHere)
    #expect(record.verdict.confidence >= (sensing == .lite ? 80 : 95))
    #expect(record.evidence.packets?.stray == SocketAddress(service.real))
    #expect(record.resumption?.outcome == .resumed)
    #expect(record.resumption?.offset == 10_000)
    let line = String(decoding: record.line, as: UTF8.self)
    #expect(
      line.contains(
        "\"origin.real\":{\"address\":\"10.73.0.2\",\"port\":8080,\"source\":\"stray\"}"))
    let file = try #require(record.capture)
    #expect(try shell("tshark -r \(file) 2>/dev/null").contains("10.73.0.2"))
    for fd in [first, second, listener] { FileDescriptor.close(raw: fd) }
  }

  @Test(
    "a stranger whose packets draw resets of ours ends nothing, whatever he guesses",
    arguments: [PacketSensing.auto, .lite])
  func stranger(sensing: PacketSensing) throws {
    let service = try Service()
    let listener = try service.origin.listen(service.real)
    let proxy = try service.proxy.run {
      var configuration = TestProxy.configuration()
      configuration.resets.sensors = sensing
      configuration.destinations.privateNetworks += [
        IPNetwork(IPAddress(v4: 0x0A00_0000), prefixLength: 8)
      ].compactMap(\.self)
      return try TestProxy(Script(), configuration)
    }
    let client = try service.proxy.run { try proxy.connect().get(service.url) }
    let origin = try accept(listener)
    try receive(origin)
    try send(
      origin, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\nCache-Control: no-store\r\n\r\n0123456789")
    try client.expectHead(200)
    #expect(try client.expectContent(10) == Array("0123456789".utf8))
    let port = try Socket.peerAddress(origin).port
    // One of each four million numbers, so that some lie not far behind where the connection began.
    try service.node.run {
      let raw = socket(AF_INET, Int32(SOCK_RAW.rawValue), Int32(IPPROTO_RAW))
      defer { FileDescriptor.close(raw: raw) }
      let target = SocketAddress(IPAddress(v4: 0x0A48_0001), port: 0)
      for number in UInt32(0)..<1024 {
        let packet = Self.segment(to: port, acknowledging: number << 22)
        let sent = target.withSockaddr { sendto(raw, packet, packet.count, 0, $0, $1) }
        #expect(sent == packet.count)
      }
    }
    usleep(100_000)
    try send(origin, "0123456789")
    #expect(try client.expectContent(10) == Array("0123456789".utf8))
    proxy.server.finishEndings()
    #expect(proxy.server.recentEndings().isEmpty)
    for fd in [origin, listener] { FileDescriptor.close(raw: fd) }
  }

  /// An ACK from 10.72.0.2:4444 to 10.72.0.1.
  private static func segment(to port: UInt16, acknowledging number: UInt32) -> [UInt8] {
    func bytes<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
      withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }
    let ends: [UInt8] = [10, 72, 0, 2, 10, 72, 0, 1]
    var tcp = bytes(UInt16(4444)) + bytes(port) + bytes(UInt32(1)) + bytes(number)
    tcp += [0x50, 0x10, 0, 10, 0, 0, 0, 0]
    let pseudo = ends + [0, 6, 0, 20] + tcp
    var sum = stride(from: 0, to: pseudo.count, by: 2).reduce(UInt32(0)) {
      $0 + UInt32(pseudo[$1]) << 8 + UInt32(pseudo[$1 + 1])
    }
    while sum > 0xFFFF { sum = sum & 0xFFFF + sum >> 16 }
    tcp.replaceSubrange(16..<18, with: bytes(~UInt16(truncatingIfNeeded: sum)))
    return [0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0] + ends + tcp
  }

  /// What there is to be read now.
  private func read(_ fd: Int32) throws -> String {
    try waitUntilReady(fd, .read)
    return withUnsafeTemporaryAllocation(byteCount: 65536, alignment: 1) { buffer in
      guard case .bytes(let count) = Socket.receive(fd, into: buffer) else { return "" }
      return String(decoding: buffer[..<count], as: UTF8.self)
    }
  }

  @Test("the oldest captures go")
  func rotation() throws {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-captures-")
    defer { try? File.removeTree(directory) }
    var settings = ResetSettings()
    settings.captureFiles = 3
    // What somebody else has put there stays, whatever it is called.
    let foreign = ["0.pcapng", "01kj2m5v6c0000000000000000.pcapng", "capture.pcapng", "notes.txt"]
    try File.makeDirectories(directory + "/a/b", mode: 0o700)
    for name in foreign { _ = try File.open("\(directory)/a/b/\(name)", [.write, .create]) }
    func name(_ round: Int, _ number: Int) -> String {
      RecordID(milliseconds: Int64(round * 10 + number), random: (1, 2)).text
    }
    for round in 0..<2 {
      // The second one finds what the first has left.
      let captures = CaptureDirectory(directory + "/a/b", settings, logger: TestProxy.quiet)
      for number in 0..<4 {
        #expect(captures.write([1, 2, 3], name: name(round, number)) != nil)
      }
    }
    #expect(
      try File.list(directory + "/a/b").map(\.name).sorted()
        == (foreign + [1, 2, 3].map { name(1, $0) + ".pcapng" }).sorted())
  }

  @Test("a directory that cannot be written costs the captures and nothing else")
  func unwritable() throws {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-captures-")
    defer { try? File.removeTree(directory) }
    let file = directory + "/file"
    _ = try File.open(file, [.write, .create], mode: 0o600)
    let captures = CaptureDirectory(file + "/a", ResetSettings(), logger: TestProxy.quiet)
    #expect(captures.write([1], name: "a") == nil)
    #expect(captures.write([1], name: "b") == nil)
    #expect(captures.failures == 2)
    try File.unlink(file)
    #expect(captures.write([1], name: "c") == file + "/a/c.pcapng")
  }
}
