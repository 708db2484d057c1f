// Capture files in the pcapng format (draft-ietf-opsawg-pcapng), which Wireshark, tshark and tcpdump open. Bytes only:
// who asks writes them somewhere.
//
//   section header     comment: the verdict; hardware, operating system, application
//   interfaces         name, link type, filter; times are nanoseconds
//   names              addresses with the names they were asked for by
//   packets            direction; comments on those that matter
//   statistics         one for each interface: how many packets the recorder saw, and how many it lost
//
// A block is its type, its length, its body padded to 4 bytes, and its length again; options end with 0, 0. All
// numbers are little-endian, as the section header says.

import Platform

/// A capture file that is being put together. Whatever goes beyond its bound is left out and counted.
package struct CaptureFile: Sendable {
  /// What is said about the section as a whole.
  package struct Description: Sendable {
    package var comment: String
    package var hardware: String?
    package var operatingSystem: String?
    package var application: String?

    package init(
      comment: String, hardware: String? = nil, operatingSystem: String? = nil,
      application: String? = nil
    ) {
      self.comment = comment
      self.hardware = hardware
      self.operatingSystem = operatingSystem
      self.application = application
    }
  }

  private struct Interface {
    /// The kernel's number for it; its place in the list is the file's.
    var index: Int32
    var link: LinkType
  }

  /// A longer comment is cut: the length of an option has 16 bits.
  package static let maximumComment = 32 * 1024
  private static let maximumName = 255

  /// Bytes that the finished file may have.
  package let bound: Int
  /// Packets that found no room.
  package private(set) var omitted = 0
  package private(set) var packetCount = 0
  private let filter: String?
  private let nameOfInterface: @Sendable (Int32) -> String?
  private let head: [UInt8]
  private var body: [UInt8] = []
  private var tail: [UInt8] = []
  private var interfaces: [Interface] = []

  /// - Parameters:
  ///   - bound: bytes, at least enough for the header.
  ///   - filter: what had been recorded, in words.
  ///   - nameOfInterface: asked once for each interface that a packet was seen on.
  package init(
    _ description: Description, bound: Int, filter: String? = nil,
    nameOfInterface: @escaping @Sendable (Int32) -> String? = { _ in nil }
  ) {
    self.bound = bound
    self.filter = filter
    self.nameOfInterface = nameOfInterface
    var section = PcapngBlock(type: 0x0A0D_0D0A)
    section.append(UInt32(0x1A2B_3C4D))
    section.append(UInt16(1))
    section.append(UInt16(0))
    section.append(UInt64.max)  // the length of the section is not given
    section.option(1, description.comment, limit: CaptureFile.maximumComment)
    section.option(2, description.hardware, limit: CaptureFile.maximumName)
    section.option(3, description.operatingSystem, limit: CaptureFile.maximumName)
    section.option(4, description.application, limit: CaptureFile.maximumName)
    head = section.finish(hasOptions: true)
  }

  /// Says by which name an address is known.
  package mutating func add(name: String, of address: IPAddress) {
    guard !name.isEmpty,
      let flow = PacketEndpoints(
        source: SocketAddress(address, port: 0), destination: SocketAddress(address, port: 0))
    else { return }
    var block = PcapngBlock(type: 4)
    let record =
      flow.sourceAddressBytes + Array(name.utf8.prefix(CaptureFile.maximumName).filter { $0 != 0 })
      + [0]
    block.append(UInt16(flow.family == .v4 ? 1 : 2))
    block.append(UInt16(record.count))
    block.append(padded: record)
    block.append(UInt32(0))  // end of the records
    _ = append(block.finish(hasOptions: false))
  }

  /// Adds a packet; they should come in the order of their times.
  /// - Returns: false if there was no room for it.
  @discardableResult
  package mutating func add(_ packet: RecordedPacket, comment: String? = nil) -> Bool {
    let before = (body.count, interfaces.count)
    guard let interface = interface(of: packet) else {
      omitted += 1
      return false
    }
    let time = UInt64(clamping: packet.time)
    var block = PcapngBlock(type: 6)
    block.append(interface)
    block.append(UInt32(truncatingIfNeeded: time >> 32))
    block.append(UInt32(truncatingIfNeeded: time))
    block.append(UInt32(packet.bytes.count))
    block.append(max(packet.sighting.length, UInt32(packet.bytes.count)))
    block.append(padded: packet.bytes)
    block.option(1, comment, limit: CaptureFile.maximumComment)
    // Bits 0 and 1 of the flags: 1 in, 2 out.
    block.option(2, littleEndian: UInt32(packet.sighting.isOutgoing ? 2 : 1))
    guard append(block.finish(hasOptions: true)) else {
      body.removeLast(body.count - before.0)
      interfaces.removeLast(interfaces.count - before.1)
      omitted += 1
      return false
    }
    packetCount += 1
    return true
  }

  /// Says how complete the capture is, for each interface the same: the recorder counts for all of them.
  package mutating func add(statistics: PacketRecorder.Statistics, at time: WallTime) {
    tail = []
    let moment = UInt64(
      clamping: time.seconds.multipliedReportingOverflow(by: 1_000_000_000).partialValue
        &+ Int64(time.nanoseconds))
    for number in interfaces.indices {
      var block = PcapngBlock(type: 5)
      block.append(UInt32(number))
      block.append(UInt32(truncatingIfNeeded: moment >> 32))
      block.append(UInt32(truncatingIfNeeded: moment))
      block.option(4, littleEndian: statistics.received)
      block.option(5, littleEndian: statistics.dropped)
      tail += block.finish(hasOptions: true)
    }
  }

  /// The file.
  package var bytes: [UInt8] { head + body + tail }

  private mutating func append(_ block: [UInt8]) -> Bool {
    // Room for the statistics of each interface is kept.
    guard head.count + body.count + block.count + (interfaces.count + 1) * 64 <= bound else {
      return false
    }
    body += block
    return true
  }

  /// The number of the packet's interface, which gets its block when the first packet comes.
  private mutating func interface(of packet: RecordedPacket) -> UInt32? {
    if let known = interfaces.firstIndex(where: {
      $0.index == packet.sighting.interface && $0.link == packet.sighting.link
    }) {
      return UInt32(known)
    }
    var block = PcapngBlock(type: 1)
    block.append(packet.sighting.link.rawValue)
    block.append(UInt16(0))
    block.append(PacketFilter.snapLength)
    let name =
      nameOfInterface(packet.sighting.interface) ?? "interface \(packet.sighting.interface)"
    block.option(2, name, limit: CaptureFile.maximumName)
    block.option(9, bytes: [9])  // times are in units of 10^-9 s
    // The first byte: as a text.
    if let filter { block.option(11, bytes: [0] + Array(filter.utf8.prefix(4096))) }
    guard append(block.finish(hasOptions: true)) else { return nil }
    interfaces.append(
      Interface(index: packet.sighting.interface, link: packet.sighting.link))
    return UInt32(interfaces.count - 1)
  }
}

/// One block: what goes between the two lengths.
private struct PcapngBlock {
  private var bytes: [UInt8]

  init(type: UInt32) {
    bytes = []
    bytes.append(littleEndian: type)
    bytes.append(littleEndian: UInt32(0))
  }

  mutating func append<Number: FixedWidthInteger>(_ number: Number) {
    bytes.append(littleEndian: number)
  }

  mutating func append(padded content: [UInt8]) {
    bytes += content
    bytes += [UInt8](repeating: 0, count: (4 - content.count % 4) % 4)
  }

  mutating func option(_ code: UInt16, bytes content: [UInt8]) {
    append(code)
    append(UInt16(clamping: content.count))
    append(padded: content)
  }

  mutating func option<Number: FixedWidthInteger>(_ code: UInt16, littleEndian number: Number) {
    var content: [UInt8] = []
    content.append(littleEndian: number)
    option(code, bytes: content)
  }

  /// A text, cut between two characters where it is too long.
  mutating func option(_ code: UInt16, _ text: String?, limit: Int) {
    guard let text else { return }
    var content = Array(text.utf8)
    if content.count > limit {
      var end = limit
      while end > 0, content[end] & 0xC0 == 0x80 { end -= 1 }
      content.removeLast(content.count - end)
    }
    option(code, bytes: content)
  }

  consuming func finish(hasOptions: Bool) -> [UInt8] {
    if hasOptions { append(UInt32(0)) }
    let length = UInt32(clamping: bytes.count + 4)
    append(length)
    bytes.replaceSubrange(4..<8, with: withUnsafeBytes(of: length.littleEndian) { Array($0) })
    return bytes
  }
}
