// What packets suggest, held against what a socket itself has counted.

import Forensics
import Glibc
import Platform
import Testing

@testable import Packets
@testable import Proxy

@Suite("Where a socket is")
struct SocketPlaceTests {
  /// What the kernel would say, with these counts.
  private static func info(
    confirmed: UInt64, received: UInt64 = 0, sent: UInt64, again: UInt64 = 0, state: UInt8 = 1
  ) throws -> TCPInfo {
    var bytes = [UInt8](repeating: 0, count: 232)
    bytes[0] = state
    for (offset, value) in [(120, confirmed), (128, received), (200, sent), (208, again)] {
      for byte in 0..<8 { bytes[offset + byte] = UInt8(truncatingIfNeeded: value >> (8 * byte)) }
    }
    return try #require(TCPInfo(bytes))
  }

  private static func number(_ value: UInt32) -> SequenceNumber { SequenceNumber(value) }

  @Test("its places follow from where it began and what it has counted, around the end of numbers")
  func places() throws {
    let info = try Self.info(confirmed: 101, received: 5000, sent: 300, again: 100)
    let place = SocketPlace(info, ours: Self.number(.max - 50), theirs: Self.number(70))
    #expect(place.outstanding?.first == Self.number(50))
    #expect(place.outstanding?.next == Self.number(150))
    #expect(place.expected == Self.number(5071))
    #expect(place.has(Self.number(50)) == true)
    #expect(place.has(Self.number(150)) == true)
    #expect(place.has(Self.number(49)) == false)
    #expect(place.has(Self.number(151)) == false)
    #expect(SocketPlace(info, ours: nil).has(Self.number(50)) == nil)
    #expect(SocketPlace(nil, ours: Self.number(1)).has(Self.number(1)) == nil)
    let old = TCPInfo([UInt8](repeating: 0, count: 192))
    #expect(SocketPlace(old, ours: Self.number(1)).has(Self.number(1)) == nil)
    // A FIN is a place more, and no byte.
    let finished = try Self.info(confirmed: 101, sent: 100, state: 4)
    #expect(SocketPlace(finished, ours: Self.number(0)).has(Self.number(102)) == true)
  }

  @Test("the kernel counts our SYN as a byte that is confirmed, and none as sent")
  func counts() throws {
    let (near, far) = try connected()
    defer { for fd in [near, far] { FileDescriptor.close(raw: fd) } }
    func info(_ fd: Int32) throws -> TCPInfo {
      try #require(Socket.information(fd).flatMap(TCPInfo.init))
    }
    #expect(try info(near).bytesAcknowledged == 1)
    #expect(try info(near).bytesSent == 0)
    #expect(try info(near).bytesReceived == 0)
    #expect(send(near, "0123456789", 10, 0) == 10)
    while try info(near).bytesAcknowledged == 1 { usleep(1000) }
    #expect(try info(near).bytesAcknowledged == 11)
    #expect(try info(near).bytesSent == 10)
    #expect(try info(far).bytesReceived == 10)
    shutdown(near, Int32(SHUT_WR))
    while try info(far).state != .closeWait { usleep(1000) }
    // A FIN counts for who receives it.
    #expect(try info(far).bytesReceived == 11)
  }

  private func connected() throws -> (Int32, Int32) {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { FileDescriptor.close(raw: listener) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let near = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    let isConnected = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, length) == 0 && listen(listener, 1) == 0
          && getsockname(listener, $0, &length) == 0 && connect(near, $0, length) == 0
      }
    }
    try #require(isConnected)
    return (near, accept(listener, nil, nil))
  }

  private static func stray(_ sequence: UInt32, initial: UInt32?) throws -> StrayNews {
    let local = SocketAddress(IPAddress(v4: 0x0A00_0001), port: 50000)
    let origin = SocketAddress(IPAddress(v4: 0x0A00_0009), port: 8080)
    let header = PacketHeader(
      endpoints: try #require(PacketEndpoints(source: local, destination: origin)), hopLimit: 64,
      identification: 0, doNotFragment: true, isFragment: false, length: 40,
      content: .tcp(TCPHeader(flags: .reset, sequence: SequenceNumber(sequence))))
    return StrayNews(
      Stray(
        token: 1, local: local, peer: origin, origin: origin, certainty: .sequencePlausible,
        initialSequence: initial.map { SequenceNumber($0) },
        sighting: PacketSighting(
          time: 5, interface: 1, link: .ethernet, isOutgoing: true, length: 54), header: header))
  }

  @Test("no connection is given up for a number that its socket has not been at")
  func doom() throws {
    // 100 bytes were sent, 40 of them are confirmed.
    let place = SocketPlace(try Self.info(confirmed: 41, sent: 100), ours: Self.number(1000))
    for sequence: UInt32 in [1041, 1100, 1101] {
      #expect(try Self.stray(sequence, initial: 1000).isOf(place))
    }
    for sequence: UInt32 in [1040, 1102, 1000, 0x1357_2468, 1 << 24, 0] {
      #expect(try !Self.stray(sequence, initial: 1000).isOf(place))
    }
    // Where that cannot be told, it is a suspicion and no more.
    #expect(try !Self.stray(1041, initial: nil).isOf(-1))
    #expect(try !Self.stray(1041, initial: 1000).isOf(SocketPlace(nil, ours: nil)))
  }

  @Test("a FIN that our kernel has not taken is not the peer's")
  func finish() throws {
    let local = SocketAddress(IPAddress(v4: 0x0A00_0001), port: 50000)
    let peer = SocketAddress(IPAddress(v4: 0x0A00_0009), port: 8080)
    var received = FlowBaseline()
    received.initialSequence = Self.number(90_000)
    func hasFinished(_ next: UInt32, received bytes: UInt64?) throws -> Bool {
      var received = received
      received.finish = FlowBaseline.Finish(
        next: Self.number(next), hopLimit: 60, lacksDoNotFragment: false, isOutOfStep: false)
      let flow = FlowPackets(
        local: local, peer: peer, began: nil, sent: FlowBaseline(), received: received,
        packets: [], total: 0, resets: [])
      let info = try bytes.map { try Self.info(confirmed: 1, received: $0, sent: 0) }
      return PacketSensor.hasFinished(flow, SocketPlace(info, flow))
    }
    // Behind 100 bytes.
    #expect(try hasFinished(90_102, received: 101))
    #expect(try !hasFinished(90_102, received: 100))
    #expect(try !hasFinished(700_090_000, received: 100))
    #expect(try hasFinished(90_102, received: nil))
  }

  @Test("a reset has ended a connection at exactly the place where its socket stands still")
  func resets() throws {
    let place = SocketPlace(
      try Self.info(confirmed: 1, received: 1000, sent: 0, state: 7), ours: nil,
      theirs: Self.number(90_000))
    var sender = FlowBaseline()
    sender.initialSequence = Self.number(90_000)
    sender.nextSequence = Self.number(91_501)
    func fit(_ sequence: UInt32, _ seen: SequenceFit = .unknown) -> SequenceFit {
      place.fit(
        TCPHeader(flags: .reset, sequence: SequenceNumber(sequence)), seen, sender: sender)
    }
    #expect(fit(91_001) == .exact)
    #expect(fit(91_002) == .ahead(1))
    #expect(fit(91_000, .exact) == .behind(1))
    #expect(fit(900_091_001) == .ahead(900_000_000))
    // The end of what has come out of order.
    #expect(fit(91_501, .exact) == .exact)
    sender.finish = FlowBaseline.Finish(
      next: Self.number(91_001), hopLimit: 60, lacksDoNotFragment: false, isOutOfStep: false)
    #expect(fit(91_000) == .exact)
    sender.initialSequence = nil
    #expect(fit(5) == .unknown)
  }
}
