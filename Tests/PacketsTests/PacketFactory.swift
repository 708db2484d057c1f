// Packets written byte by byte, as the standards draw them, for the tests to read.

import Platform

@testable import Packets

/// A TCP segment in IPv4 or IPv6, with or without a link header.
struct Packet {
  var source = SocketAddress(IPAddress(v4: 0x0A00_0001), port: 40000)
  var destination = SocketAddress(IPAddress(v4: 0x0A00_0002), port: 80)
  var flags: TCPFlags = .acknowledge
  var sequence: UInt32 = 1000
  var acknowledgement: UInt32 = 0
  var window: UInt16 = 0
  var hopLimit: UInt8 = 64
  var identification: UInt16 = 0
  var fragment: UInt16 = 0x4000
  var options: [UInt8] = []
  var content = 0
  /// Tags in front of the type of the frame.
  var tags: [UInt16] = []
  var isRaw = false
  var ipOptions = 0
  var extensions: [UInt8] = []

  static func timestamps(_ value: UInt32, _ echo: UInt32) -> [UInt8] {
    [1, 1, 8, 10] + be(value) + be(echo)
  }

  var tcp: [UInt8] {
    let padded = options + [UInt8](repeating: 0, count: (4 - options.count % 4) % 4)
    return be(source.port) + be(destination.port) + be(sequence) + be(acknowledgement)
      + [UInt8((20 + padded.count) / 4) << 4, flags.rawValue] + be(window) + [0, 0, 0, 0] + padded
      + [UInt8](repeating: 0x61, count: content)
  }

  var bytes: [UInt8] { link + ip(protocol: 6, tcp) }

  var link: [UInt8] {
    if isRaw { return [] }
    let type: UInt16 = source.ip.family == .v4 ? 0x0800 : 0x86DD
    return [UInt8](repeating: 2, count: 12) + tags.flatMap { be($0) + [0, 7] } + be(type)
  }

  func ip(protocol number: UInt8, _ payload: [UInt8]) -> [UInt8] {
    let from = PacketEndpoints(source: source, destination: destination)
    guard let from else { return [] }
    switch source.ip.family {
    case .v4:
      let header = 20 + ipOptions
      return [0x40 | UInt8(header / 4), 0] + be(UInt16(header + payload.count))
        + be(identification) + be(fragment) + [hopLimit, number, 0, 0]
        + be(UInt32(from.sourceLow)) + be(UInt32(from.destinationLow))
        + [UInt8](repeating: 1, count: ipOptions) + payload
    case .v6:
      var next = number
      if let first = extensions.first { next = first }
      return [0x60, 0, 0, 0] + be(UInt16(extensionBytes(number).count + payload.count))
        + [next, hopLimit] + be(from.sourceHigh) + be(from.sourceLow) + be(from.destinationHigh)
        + be(from.destinationLow) + extensionBytes(number) + payload
    }
  }

  /// Each extension header is 16 bytes, fragment headers 8.
  private func extensionBytes(_ number: UInt8) -> [UInt8] {
    extensions.indices.flatMap { index -> [UInt8] in
      let next = index + 1 < extensions.count ? extensions[index + 1] : number
      if extensions[index] == 44 { return [next, 0, 0, 1, 0, 0, 0, 9] }
      return [next, extensions[index] == 51 ? 2 : 1] + [UInt8](repeating: 0, count: 14)
    }
  }

  /// An ICMP error that quotes this packet, from somebody to its source.
  func error(type: UInt8, code: UInt8, from sender: IPAddress, word: UInt32 = 0) -> [UInt8] {
    var carrier = Packet()
    carrier.source = SocketAddress(sender, port: 0)
    carrier.destination = SocketAddress(source.ip, port: 0)
    carrier.isRaw = isRaw
    let quoted = Array(ip(protocol: 6, tcp).prefix(source.ip.family == .v4 ? 28 + ipOptions : 60))
    return carrier.link
      + carrier.ip(
        protocol: source.ip.family == .v4 ? 1 : 58, [type, code, 0, 0] + be(word) + quoted)
  }

  func parsed(captured: Int = 128) -> PacketHeader? {
    let all = bytes
    let frame = Array(all.prefix(captured))
    return parse(frame, link: isRaw ? .rawIP : .ethernet, length: all.count)
  }
}

/// The headers of a frame that was captured whole, unless a length says otherwise.
func parse(_ frame: [UInt8], link: LinkType = .ethernet, length: Int? = nil) -> PacketHeader? {
  PacketParser.parse(frame.span, link: link, length: length ?? frame.count)
}

func be<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
  withUnsafeBytes(of: number.bigEndian) { Array($0) }
}

let v6a = IPAddress(v6High: 0x2001_0DB8_0000_0000, low: 1)
let v6b = IPAddress(v6High: 0x2001_0DB8_0000_0000, low: 2)

extension FlowIndex {
  /// Shows it a packet as if it had just been captured; directions as seen from the packet's host 10.0.0.1.
  @discardableResult
  func see(
    _ packet: Packet, at time: Int64, outgoing: Bool? = nil, interface: Int32 = 1,
    loopback: Bool = false
  ) -> Bool {
    see(
      packet.bytes, at: time,
      outgoing: outgoing ?? (packet.source.ip == Packet().source.ip), interface: interface,
      loopback: loopback)
  }

  @discardableResult
  func see(
    _ bytes: [UInt8], at time: Int64, outgoing: Bool, interface: Int32 = 1, loopback: Bool = false
  ) -> Bool {
    guard let header = parse(bytes) else { return false }
    let sighting = PacketSighting(
      time: time, interface: interface, link: .ethernet, isOutgoing: outgoing,
      isLoopback: loopback, length: UInt32(bytes.count))
    return Array(bytes.prefix(128)).withUnsafeBufferPointer { record(sighting, header, $0) }
  }
}

extension Packet {
  /// The same between the same ends, the other way.
  var back: Packet {
    var packet = self
    swap(&packet.source, &packet.destination)
    return packet
  }
}

/// A connection as its packets tell it: 10.0.0.1:40000 asks 10.0.0.2:80.
struct Conversation {
  var hasTimestamps = true
  var isV6 = false
  var serverHopLimit: UInt8 = 60
  var clientHopLimit: UInt8 = 64
  private(set) var client: UInt32 = 5000
  private(set) var server: UInt32 = 90_000
  private(set) var time: Int64 = 1_000_000_000
  private(set) var clientNumber: UInt16 = 100
  private(set) var serverNumber: UInt16 = 7000
  let index: FlowIndex

  init(_ index: FlowIndex) { self.index = index }

  var fromClient: Packet {
    var packet = Packet()
    if isV6 {
      packet.source = SocketAddress(v6a, port: 40000)
      packet.destination = SocketAddress(v6b, port: 80)
    }
    packet.hopLimit = clientHopLimit
    packet.sequence = client
    packet.acknowledgement = server
    packet.identification = clientNumber
    packet.window = 501
    packet.options = hasTimestamps ? Packet.timestamps(1, 2) : []
    return packet
  }

  var fromServer: Packet {
    var packet = fromClient.back
    packet.hopLimit = serverHopLimit
    packet.sequence = server
    packet.acknowledgement = client
    packet.identification = serverNumber
    packet.options = hasTimestamps ? Packet.timestamps(3, 4) : []
    return packet
  }

  var local: SocketAddress { fromClient.source }
  var peer: SocketAddress { fromClient.destination }

  mutating func pass(_ nanoseconds: Int64) { time += nanoseconds }

  @discardableResult
  mutating func see(_ packet: Packet) -> Bool {
    time += 1_000_000
    return index.see(packet, at: time, outgoing: packet.source == local)
  }

  mutating func handshake(serverSegment: UInt16 = 1460) {
    var syn = fromClient
    syn.flags = .synchronise
    syn.acknowledgement = 0
    syn.options = [2, 4] + be(UInt16(1460)) + (hasTimestamps ? Packet.timestamps(1, 0) : [])
    see(syn)
    client &+= 1
    clientNumber &+= 1
    var synAck = fromServer
    synAck.flags = [.synchronise, .acknowledge]
    synAck.identification = 0
    synAck.options = [2, 4] + be(serverSegment) + (hasTimestamps ? Packet.timestamps(3, 1) : [])
    see(synAck)
    server &+= 1
    see(fromClient)
    clientNumber &+= 1
  }

  mutating func ask(_ count: Int) {
    var packet = fromClient
    packet.content = count
    packet.flags = [.push, .acknowledge]
    see(packet)
    client &+= UInt32(count)
    clientNumber &+= 1
  }

  mutating func answer(_ count: Int) {
    var packet = fromServer
    packet.content = count
    see(packet)
    server &+= UInt32(count)
    serverNumber &+= UInt16(max(1, (count + 1459) / 1460))
  }

  var flow: FlowPackets? { index.packets(local: local, peer: peer) }
}
