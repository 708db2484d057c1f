// Netlink's messages as bytes (netlink(7), RFC 3549 §2.2): written for the kernel, and read with every length doubted.
//
//   length 4 │ type 2 │ flags 2 │ sequence 4 │ port 4 │ then for netfilter: family 1 │ version 1 │ resource 2 │ attributes …
//   an attribute: length 2 │ type 2, 0x8000 for one that nests │ value, padded to four
//
// Headers are in the machine's byte order, values of netfilter in the network's.

/// A message of netfilter's that came.
struct NetlinkMessage {
  /// Subsystem in the upper byte, message in the lower; 2 is an acknowledgement or an error.
  let type: UInt16
  let sequence: UInt32
  /// Behind netlink's header.
  let content: ArraySlice<UInt8>

  static let headerSize = 16
  static let errorType: UInt16 = 2
  /// Ends a list.
  static let doneType: UInt16 = 3

  /// Of an acknowledgement: 0, or the error number.
  var acknowledged: Int32? {
    guard type == Self.errorType, let number = content.native32(0) else { return nil }
    return 0 &- Int32(bitPattern: number)
  }

  /// `AF_INET`, `AF_INET6`.
  var family: UInt8? { content.first }
  /// What follows netfilter's own header.
  var attributes: NetlinkAttributes { NetlinkAttributes(content.dropFirst(4)) }
}

/// The messages of one datagram.
struct NetlinkMessages: Sequence, IteratorProtocol {
  private var rest: ArraySlice<UInt8>

  init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

  mutating func next() -> NetlinkMessage? {
    guard let length = rest.native32(0).map(Int.init), length >= NetlinkMessage.headerSize,
      length <= rest.count, let type = rest.native16(4), let sequence = rest.native32(8)
    else { return nil }
    let message = NetlinkMessage(
      type: type, sequence: sequence,
      content: rest.prefix(length).dropFirst(NetlinkMessage.headerSize))
    rest = rest.dropFirst((length + 3) & ~3)
    return message
  }
}

struct NetlinkAttribute {
  let type: UInt16
  let value: ArraySlice<UInt8>
  var nested: NetlinkAttributes { NetlinkAttributes(value) }
}

/// Attributes one after another; what follows a damaged one is not read.
struct NetlinkAttributes: Sequence, IteratorProtocol {
  private var rest: ArraySlice<UInt8>

  init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

  mutating func next() -> NetlinkAttribute? {
    guard let length = rest.native16(0).map(Int.init), length >= 4, length <= rest.count,
      let type = rest.native16(2)
    else { return nil }
    let attribute = NetlinkAttribute(
      type: type & 0x3FFF, value: rest.prefix(length).dropFirst(4))
    rest = rest.dropFirst((length + 3) & ~3)
    return attribute
  }
}

/// A message being put together.
struct NetlinkWriter {
  /// It is a request, and its result is to be told.
  static let request: UInt16 = 0x1
  static let acknowledge: UInt16 = 0x4
  /// A list of all there is.
  static let list: UInt16 = 0x300
  private static let nests: UInt16 = 0x8000

  private var bytes: [UInt8] = []

  init(
    type: UInt16, flags: UInt16, sequence: UInt32, family: UInt8, resource: UInt16 = 0
  ) {
    append(native: UInt32(0))
    append(native: type)
    append(native: flags)
    append(native: sequence)
    append(native: UInt32(0))
    bytes += [family, 0]
    bytes += resource.bytes
  }

  mutating func add(_ type: UInt16, _ value: [UInt8]) {
    append(native: UInt16(truncatingIfNeeded: value.count + 4))
    append(native: type)
    bytes += value
    pad()
  }

  mutating func nest(_ type: UInt16, _ body: (inout NetlinkWriter) -> Void) {
    let start = bytes.count
    append(native: UInt16(0))
    append(native: type | Self.nests)
    body(&self)
    replace(at: start, native: UInt16(truncatingIfNeeded: bytes.count - start))
  }

  /// The whole message.
  consuming func finish() -> [UInt8] {
    replace(at: 0, native: UInt32(truncatingIfNeeded: bytes.count))
    return bytes
  }

  private mutating func pad() {
    while bytes.count % 4 != 0 { bytes.append(0) }
  }

  private mutating func append<Number: FixedWidthInteger>(native number: Number) {
    Swift.withUnsafeBytes(of: number) { bytes += $0 }
  }

  private mutating func replace<Number: FixedWidthInteger>(at place: Int, native number: Number) {
    Swift.withUnsafeBytes(of: number) { raw in
      bytes.replaceSubrange(place..<place + raw.count, with: raw)
    }
  }
}

// MARK: - Numbers

extension FixedWidthInteger {
  /// In the network's byte order.
  var bytes: [UInt8] { Swift.withUnsafeBytes(of: bigEndian) { Array($0) } }
}

extension ArraySlice<UInt8> {
  /// A number in the machine's byte order, `offset` bytes from the slice's start; nil where there are too few.
  func native16(_ offset: Int) -> UInt16? { number(offset) }
  func native32(_ offset: Int) -> UInt32? { number(offset) }
  func native64(_ offset: Int) -> UInt64? { number(offset) }

  /// The same in the network's.
  func big16(_ offset: Int = 0) -> UInt16? { number(offset).map(UInt16.init(bigEndian:)) }
  func big32(_ offset: Int = 0) -> UInt32? { number(offset).map(UInt32.init(bigEndian:)) }
  func big64(_ offset: Int = 0) -> UInt64? { number(offset).map(UInt64.init(bigEndian:)) }

  private func number<Number: FixedWidthInteger>(_ offset: Int) -> Number? {
    let size = MemoryLayout<Number>.size
    guard offset >= 0, count >= size, offset <= count - size else { return nil }
    var number: Number = 0
    Swift.withUnsafeMutableBytes(of: &number) { target in
      for index in 0..<size { target[index] = self[startIndex + offset + index] }
    }
    return number
  }
}
