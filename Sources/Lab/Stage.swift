// What a story is told with: the machines, the proxy between them, a clock for the faults, and somebody who listens to the
// steps. Touched by the story's thread alone.

import Forensics
import Glibc
import Platform

package final class Stage {
  package let network: Network
  package let fix: Fix
  package let tier: Tier
  private let proxy: ProxyUnderTest
  private let announce: (String) -> Void
  /// When the first fault was made, seconds since 1970.
  private(set) var faultTime: Double?
  /// What did not happen as the story says.
  private(set) var complaints: [String] = []

  init(
    network: Network, fix: Fix, tier: Tier, proxy: ProxyUnderTest,
    announce: @escaping (String) -> Void
  ) {
    self.network = network
    self.fix = fix
    self.tier = tier
    self.proxy = proxy
    self.announce = announce
  }

  package var client: Host { get throws { try network[.client] } }
  package var holdfast: Host { get throws { try network[.proxy] } }
  package var node: Host { get throws { try network[.node] } }
  package var origin: Host { get throws { try network[.origin] } }
  package var process: Child { proxy.process }

  // MARK: Telling

  /// Says what happens next.
  package func step(_ words: String) { announce(words) }

  /// Says what is broken next, and breaks it.
  @discardableResult
  package func fault<Result>(_ words: String, _ body: () throws -> Result) rethrows -> Result {
    announce(words)
    if faultTime == nil { faultTime = Self.now }
    return try body()
  }

  /// Something that has to be so.
  package func check(_ words: String, _ isSo: Bool) {
    if !isSo { complaints.append("not so: \(words)") }
  }

  static var now: Double {
    let now = WallTime.now()
    return Double(now.seconds) + Double(now.nanoseconds) / 1_000_000_000
  }

  /// Lets time pass, where it is time that the scenario is about.
  package func pass(_ duration: Duration) { sleepThread(duration) }

  /// Does something while Holdfast does not look, so that it finds all of it at once.
  package func unseen(_ body: () throws -> Void) throws {
    process.signal(SIGSTOP)
    defer { process.signal(SIGCONT) }
    try patiently("waited for holdfast to stand still") { process.standsStill }
    try body()
  }

  package func waitForFinal(_ count: Int) throws { try proxy.waitForFinal(count) }

  // MARK: Who takes part

  /// The address at which the origin is asked for.
  package var originAuthority: String {
    let topology = network.topology
    if topology.services.first?.name == "REGISTRY" {
      return topology.asksOverV6
        ? "[\(Topology.serviceAddress6)]:\(Topology.servicePort)"
        : "\(Topology.serviceAddress):\(Topology.servicePort)"
    }
    return topology.asksOverV6
      ? "[\(topology.originAddress6)]:\(Topology.originPort)"
      : "\(topology.originAddress):\(Topology.originPort)"
  }

  /// The origin's own.
  private var originAddress: String {
    network.topology.asksOverV6 ? network.topology.originAddress6 : network.topology.originAddress
  }

  package static func address(_ text: String, _ port: UInt16) throws -> SocketAddress {
    guard let ip = IPAddress(text) else { throw LabError("\(text) is no address") }
    return SocketAddress(ip, port: port)
  }

  /// The origin begins to listen.
  package func originListens(backlog: Int32 = 64) throws -> LabListener {
    try LabListener(
      try origin, Self.address(originAddress, Topology.originPort),
      backlog: backlog)
  }

  /// Where clients find the proxy.
  package var proxyAddress: SocketAddress {
    get throws {
      network.topology.services.first?.name == "PROXY"
        ? try Self.address(Topology.serviceAddress, Topology.servicePort)
        : try Self.address(network.topology.proxyAddress, Topology.proxyPort)
    }
  }

  package func connectClient() throws -> LabConnection {
    try LabConnection.connect(from: try client, to: try proxyAddress)
  }

  /// Begins to send content that is more than lies in buffers.
  /// - Returns: waits until all of it is sent.
  package func sends(_ range: Range<Int>, on connection: LabConnection) throws -> () throws -> Void
  {
    let sender = Sender(connection)
    let thread = try WorkerThread.start(name: "lab-sender") { sender.send(range) }
    return {
      thread.join()
      if let error = sender.error { throw error }
    }
  }

  /// A client asks for something.
  package func get(_ path: String, on connection: LabConnection? = nil, fields: String = "") throws
    -> LabConnection
  {
    let connection = try connection ?? connectClient()
    try connection.send(
      "GET http://\(originAuthority)\(path) HTTP/1.1\r\nHost: \(originAuthority)\r\n\(fields)\r\n")
    return connection
  }
}

/// Uses a connection on a thread of its own, while its owner leaves it alone.
private final class Sender: @unchecked Sendable {
  private let connection: LabConnection
  private(set) var error: (any Error)?

  init(_ connection: LabConnection) { self.connection = connection }

  func send(_ range: Range<Int>) {
    do { try connection.sendContent(range) } catch { self.error = error }
  }
}

// MARK: - HTTP, as little as it takes

/// Bytes that follow from their place, so that every one that arrives can be judged: pieces of a length that is a prime
/// number, each beginning with its number.
package enum Content {
  private static let piece: [UInt8] = (0..<65521).map {
    UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8)
  }

  package static func bytes(_ range: Range<Int>) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(range.count)
    var place = range.lowerBound
    while place < range.upperBound {
      let (number, start) = place.quotientAndRemainder(dividingBy: piece.count)
      let end = min(piece.count, start + range.upperBound - place)
      if start < 8 {
        for index in start..<min(8, end) {
          bytes.append(UInt8(truncatingIfNeeded: number >> (8 * (7 - index))))
        }
      }
      if end > 8 { bytes += piece[max(8, start)..<end] }
      place += end - start
    }
    return bytes
  }
}

extension LabConnection {
  /// The origin's head for content that may be stored, and taken up again.
  package func answerHead(_ length: Int, from offset: Int = 0, fields: String = "") throws {
    let status =
      offset == 0
      ? "200 OK\r\nContent-Length: \(length)"
      : "206 Partial Content\r\nContent-Length: \(length - offset)\r\nContent-Range: bytes \(offset)-\(length - 1)/\(length)"
    try send(
      "HTTP/1.1 \(status)\r\nETag: \"lab\"\r\nCache-Control: max-age=3600\r\n\(fields)\r\n")
  }

  package func sendContent(_ range: Range<Int>) throws { try send(Content.bytes(range)) }

  /// Where a request for the rest of something begins; 0 for the whole.
  package func readRequest() throws -> Int {
    let head = try readHead()
    guard let range = head.firstRange(of: "bytes=") else { return 0 }
    return Int(head[range.upperBound...].prefix { $0.isNumber }) ?? 0
  }

  /// Reads so many bytes of content and says whether they are right.
  package func readContent(_ range: Range<Int>) throws -> Bool {
    try read(range.count) == Content.bytes(range)
  }
}
