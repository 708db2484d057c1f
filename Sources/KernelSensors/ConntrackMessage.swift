// ctnetlink: asking the connection table about one flow, and reading what it says (nfnetlink_conntrack.h).

import Platform

enum ConntrackMessage {
  /// Subsystem 1 of netfilter's.
  static let get: UInt16 = 1 << 8 | 1
  static let created: UInt16 = 1 << 8 | 0
  static let deleted: UInt16 = 1 << 8 | 2
  /// Groups of events.
  static let createdGroup: Int32 = 1
  static let deletedGroup: Int32 = 3

  private static let tcp: UInt8 = 6
  private static let inet: UInt8 = 2
  private static let inet6: UInt8 = 10

  /// Asks for the flow that this is a direction of, either one.
  static func query(_ tuple: ConntrackTuple, sequence: UInt32) -> [UInt8] {
    let isV6 = tuple.source.ip.family == .v6
    var writer = NetlinkWriter(
      type: get, flags: NetlinkWriter.request | NetlinkWriter.acknowledge, sequence: sequence,
      family: isV6 ? inet6 : inet)
    writer.nest(1) { writer in
      writer.nest(1) { writer in
        writer.add(isV6 ? 3 : 1, bytes(tuple.source.ip))
        writer.add(isV6 ? 4 : 2, bytes(tuple.destination.ip))
      }
      writer.nest(2) { writer in
        writer.add(1, [tcp])
        writer.add(2, tuple.source.port.bytes)
        writer.add(3, tuple.destination.port.bytes)
      }
    }
    return writer.finish()
  }

  /// Asks for all entries of a family.
  static func list(_ family: IPAddress.Family, sequence: UInt32) -> [UInt8] {
    NetlinkWriter(
      type: get, flags: NetlinkWriter.request | NetlinkWriter.list, sequence: sequence,
      family: family == .v6 ? inet6 : inet
    ).finish()
  }

  /// An entry of TCP; nil for anything else.
  static func entry(_ message: NetlinkMessage) -> ConntrackEntry? {
    var original: ConntrackTuple?
    var reply: ConntrackTuple?
    var status: UInt32 = 0
    var state: ConntrackEntry.TCPState?
    var timeout: UInt32?
    var mark: UInt32?
    var zone: UInt16?
    var id: UInt32?
    for attribute in message.attributes {
      switch attribute.type {
      case 1: original = tuple(attribute.nested)
      case 2: reply = tuple(attribute.nested)
      case 3: status = attribute.value.big32() ?? 0
      case 4: state = tcpState(attribute.nested)
      case 7: timeout = attribute.value.big32()
      case 8: mark = attribute.value.big32()
      case 12: id = attribute.value.big32()
      case 18: zone = attribute.value.big16()
      default: break
      }
    }
    guard let original, let reply else { return nil }
    var entry = ConntrackEntry(original: original, reply: reply)
    entry.status = ConntrackEntry.Status(rawValue: status)
    entry.state = state
    entry.timeout = timeout
    entry.mark = mark
    entry.zone = zone
    entry.id = id
    return entry
  }

  private static func tuple(_ attributes: NetlinkAttributes) -> ConntrackTuple? {
    var source: IPAddress?
    var destination: IPAddress?
    var ports: (UInt16?, UInt16?) = (nil, nil)
    var number: UInt8?
    for attribute in attributes {
      switch attribute.type {
      case 1:
        for part in attribute.nested {
          switch part.type {
          case 1, 3: source = address(part.value)
          case 2, 4: destination = address(part.value)
          default: break
          }
        }
      case 2:
        for part in attribute.nested {
          switch part.type {
          case 1: number = part.value.first
          case 2: ports.0 = part.value.big16()
          case 3: ports.1 = part.value.big16()
          default: break
          }
        }
      default: break
      }
    }
    guard number == tcp, let source, let destination, let from = ports.0, let to = ports.1
    else { return nil }
    return ConntrackTuple(
      source: SocketAddress(source, port: from), destination: SocketAddress(destination, port: to))
  }

  private static func tcpState(_ attributes: NetlinkAttributes) -> ConntrackEntry.TCPState? {
    for attribute in attributes where attribute.type == 1 {
      for part in attribute.nested where part.type == 1 {
        return part.value.first.flatMap(ConntrackEntry.TCPState.init)
      }
    }
    return nil
  }

  static func address(_ bytes: ArraySlice<UInt8>) -> IPAddress? {
    switch bytes.count {
    case 4: bytes.big32().map(IPAddress.init(v4:))
    case 16:
      if let high = bytes.big64(0), let low = bytes.big64(8) {
        IPAddress(v6High: high, low: low)
      } else {
        nil
      }
    default: nil
    }
  }

  private static func bytes(_ address: IPAddress) -> [UInt8] {
    if let number = address.v4Number { return number.bytes }
    // An IPv6 address shows its number in the kernel's form only: family 2, port 2, flow 4, then the address.
    return SocketAddress(address, port: 0).withSockaddr { pointer, length in
      let raw = UnsafeRawBufferPointer(start: pointer, count: Int(length))
      guard raw.count >= 24 else { return [UInt8](repeating: 0, count: 16) }
      return Array(raw[8..<24])
    }
  }
}
