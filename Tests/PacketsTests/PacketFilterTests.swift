// The filter on a machine for classic BPF written in a few lines: every packet it lets through and every one it keeps
// out, without a privilege. That the kernel takes the same programs is shown by the recorder's tests.

import Platform
import SeededRandom
import Testing

@testable import Packets

/// Runs a program as the kernel would.
private struct Machine {
  var packetType: UInt32 = 0
  var hardwareType: UInt32 = 1

  func run(_ program: [FilterInstruction], on packet: [UInt8]) -> UInt32? {
    var a: UInt32 = 0
    var x: UInt32 = 0
    var at = 0
    func load(_ offset: UInt32, _ size: Int) -> UInt32? {
      guard Int(offset) + size <= packet.count else { return nil }
      return packet[Int(offset)..<(Int(offset) + size)].reduce(0) { $0 << 8 | UInt32($1) }
    }
    while at < program.count {
      let step = program[at]
      at += 1
      switch step.code {
      case 0x20 where step.operand == 0xFFFF_F004: a = packetType
      case 0x20 where step.operand == 0xFFFF_F01C: a = hardwareType
      case 0x20, 0x28, 0x30, 0x40, 0x48, 0x50:
        let size = [4, 2, 1][Int(step.code >> 3 & 3)]
        let offset = step.code & 0x40 != 0 ? x &+ step.operand : step.operand
        guard let value = load(offset, size) else { return 0 }
        a = value
      case 0x01: x = step.operand
      case 0x04: a &+= step.operand
      case 0x0C: a &+= x
      case 0x54: a &= step.operand
      case 0x64: a <<= step.operand
      case 0x74: a >>= step.operand
      case 0x07: x = a
      case 0x87: a = x
      case 0x15: at += Int(a == step.operand ? step.ifTrue : step.ifFalse)
      case 0x25: at += Int(a > step.operand ? step.ifTrue : step.ifFalse)
      case 0x35: at += Int(a >= step.operand ? step.ifTrue : step.ifFalse)
      case 0x45: at += Int(a & step.operand != 0 ? step.ifTrue : step.ifFalse)
      case 0x06: return step.operand
      default: return nil
      }
    }
    return nil
  }
}

@Suite("Filtering packets")
struct PacketFilterTests {
  private func passes(
    _ bytes: [UInt8], _ mode: PacketFilter.Mode, ports: [ClosedRange<UInt16>] = [],
    hardware: UInt32 = 1, type: UInt32 = 0
  ) -> Bool {
    let machine = Machine(packetType: type, hardwareType: hardware)
    let answer = machine.run(PacketFilter(mode: mode, ports: ports).program, on: bytes)
    #expect(answer == 0 || answer == 128)
    return answer == 128
  }

  private static let shapes: [(name: String, packet: Packet)] = {
    var v6 = Packet()
    v6.source = SocketAddress(v6a, port: 40000)
    v6.destination = SocketAddress(v6b, port: 80)
    var large = v6
    large.extensions = [0]
    var tagged = Packet()
    tagged.tags = [0x8100]
    var twice = v6
    twice.tags = [0x88A8, 0x8100]
    var options = Packet()
    options.ipOptions = 12
    var tunnel = Packet()
    tunnel.isRaw = true
    var tunnelV6 = v6
    tunnelV6.isRaw = true
    return [
      ("IPv4", Packet()), ("IPv6", v6), ("IPv6, jumbo", large), ("tagged", tagged),
      ("tagged twice", twice), ("IP options", options), ("tunnel", tunnel), ("tunnel v6", tunnelV6),
    ]
  }()

  @Test("lite mode takes segments that begin or end something; full mode takes all")
  func flags() {
    for (name, shape) in Self.shapes {
      for raw in UInt8.min...UInt8.max {
        var packet = shape
        packet.flags = TCPFlags(rawValue: raw)
        let hardware: UInt32 = packet.isRaw ? 0xFFFE : 1
        #expect(
          passes(packet.bytes, .lite, hardware: hardware) == (raw & 7 != 0), "\(name) \(raw)")
        #expect(passes(packet.bytes, .full, hardware: hardware), "\(name)")
      }
    }
  }

  @Test("ports narrow it, at either end", arguments: PacketFilter.Mode.allCases)
  func ports(mode: PacketFilter.Mode) {
    let many = (0..<200).map { UInt16($0 * 10)...UInt16($0 * 10) }
    let cases: [(ports: [ClosedRange<UInt16>], source: UInt16, destination: UInt16, isIn: Bool)] = [
      ([40000...40000], 40000, 80, true), ([80...80], 40000, 80, true),
      ([81...90], 40000, 80, false), ([81...90], 40000, 81, true), ([81...90], 90, 1, true),
      ([81...90], 91, 1, false), ([1...1, 5...5, 0...65535], 7, 7, true), (many, 1990, 3, true),
      (many, 3, 1990, true), (many, 3, 1991, false), ([65535...65535], 65535, 0, true),
    ]
    for (name, shape) in Self.shapes {
      for (ports, source, destination, isIn) in cases {
        var packet = shape
        packet.flags = .reset
        packet.source = SocketAddress(packet.source.ip, port: source)
        packet.destination = SocketAddress(packet.destination.ip, port: destination)
        let isPassed = passes(
          packet.bytes, mode, ports: ports, hardware: packet.isRaw ? 0xFFFE : 1)
        #expect(isPassed == isIn, "\(name) \(ports.count) \(source) \(destination)")
      }
    }
  }

  @Test("of connections with brief ports only beginnings and ends are recorded")
  func briefPorts() {
    let filter = PacketFilter(mode: .full, briefPorts: [3128, 8080])
    let program = filter.program
    func passes(_ packet: Packet) -> Bool {
      let machine = Machine(packetType: 0, hardwareType: packet.isRaw ? 0xFFFE : 1)
      return machine.run(program, on: packet.bytes) == 128
    }
    for (name, shape) in Self.shapes {
      for raw in UInt8.min...UInt8.max {
        var packet = shape
        packet.flags = TCPFlags(rawValue: raw)
        #expect(passes(packet), "\(name): another port")
        packet.source = SocketAddress(packet.source.ip, port: 8080)
        #expect(passes(packet) == (raw & 7 != 0), "\(name) \(raw) from the port")
        packet.source = SocketAddress(packet.source.ip, port: 50_000)
        packet.destination = SocketAddress(packet.destination.ip, port: 3128)
        #expect(passes(packet) == (raw & 7 != 0), "\(name) \(raw) to the port")
      }
    }
    #expect(filter.mode(ofPort: 3128) == .lite)
    #expect(filter.mode(ofPort: 443) == .full)
    #expect(PacketFilter(mode: .lite, briefPorts: [1]).briefPorts.isEmpty)
    let most = PacketFilter(mode: .full, briefPorts: Array(1...100))
    #expect(most.briefPorts.count == PacketFilter.maximumBriefPorts)
    #expect(most.program.count > 1)
  }

  @Test("ICMP errors pass, other messages do not")
  func icmp() {
    var v6 = Packet()
    v6.source = SocketAddress(v6a, port: 40000)
    v6.destination = SocketAddress(v6b, port: 80)
    for type in UInt8.min...UInt8.max {
      let isError = [3, 4, 11, 12].contains(type)
      #expect(passes(Packet().error(type: type, code: 0, from: IPAddress(v4: 9)), .lite) == isError)
      #expect(passes(v6.error(type: type, code: 0, from: v6b), .full) == (1...4).contains(type))
    }
  }

  @Test("loopback is looked at once, somebody else's packets never, odd interfaces not at all")
  func places() {
    var packet = Packet()
    packet.flags = .reset
    #expect(passes(packet.bytes, .lite, hardware: 772, type: 4))
    #expect(!passes(packet.bytes, .lite, hardware: 772, type: 0))
    #expect(passes(packet.bytes, .lite, hardware: 1, type: 4))
    #expect(!passes(packet.bytes, .lite, hardware: 1, type: 3))
    #expect(!passes(packet.bytes, .lite, hardware: 824))
  }

  @Test("later fragments and other protocols stay out")
  func others() {
    var fragment = Packet()
    fragment.flags = .reset
    fragment.fragment = 0x2003
    #expect(!passes(fragment.bytes, .full))
    #expect(
      !passes(Packet().link + Packet().ip(protocol: 17, [UInt8](repeating: 7, count: 40)), .full))
    #expect(!passes([UInt8](repeating: 0xFF, count: 60), .full))
  }

  @Test("what is cut short or made of noise gets an answer")
  func noise() {
    var random = SeededGenerator(seed: 77)
    for (_, shape) in Self.shapes {
      let bytes = shape.bytes
      for count in 0..<bytes.count {
        _ = passes(Array(bytes.prefix(count)), .full, hardware: shape.isRaw ? 0xFFFE : 1)
      }
    }
    for _ in 0..<5000 {
      let bytes = (0..<Int.random(in: 0...120, using: &random)).map { _ in
        UInt8.random(in: 0...255, using: &random)
      }
      _ = passes(
        bytes, .lite, ports: [80...80],
        hardware: [1, 772, 0xFFFE].randomElement(using: &random) ?? 1,
        type: 4)
    }
  }

  @Test("what passes in full mode is what can be read as TCP")
  func agreesWithTheParser() {
    var random = SeededGenerator(seed: 4711)
    for round in 0..<20_000 {
      let shape = Self.shapes[round % Self.shapes.count].packet
      var bytes = shape.bytes
      // Two bytes of the IP header or behind it are changed.
      for _ in 0..<2 {
        bytes[Int.random(in: shape.link.count..<bytes.count, using: &random)] = .random(
          in: 0...255, using: &random)
      }
      let isRead = parse(bytes, link: shape.isRaw ? .rawIP : .ethernet)?.tcp != nil
      // The filter looks less closely than the parser: it lets through what the parser then refuses, never the
      // other way round; but for extension headers of IPv6, of which it steps over one.
      if isRead, shape.extensions.isEmpty, bytes[shape.link.count] >> 4 == 4 {
        #expect(passes(bytes, .full, hardware: shape.isRaw ? 0xFFFE : 1))
      }
    }
  }

  @Test("too many ranges are no narrowing")
  func tooMany() {
    let ranges = (0..<300).map { UInt16($0)...UInt16($0) }
    #expect(PacketFilter(mode: .lite, ports: ranges).ports.isEmpty)
    let most = PacketFilter(mode: .full, ports: Array(ranges.prefix(256)))
    #expect(most.ports.count == 256)
    #expect(most.program.count <= 4096)
    #expect(
      PacketFilter(mode: .full, ports: [80...80, 8000...8080]).description
        == "tcp and (port 80 or portrange 8000-8080) or icmp errors")
  }
}
