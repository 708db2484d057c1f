// Which packets the kernel copies for us. The filter runs in the kernel for every packet of the network namespace, so
// it asks first what throws out most, and what it lets through is cut to the headers.
//
// Loopback shows a packet twice, when it is sent and when it arrives; the second look is refused here. Offsets are
// counted from the beginning of the frame and not from the network header: the kernel reads fragments of a buffer only
// so (before Linux 6.15, a filter that counts otherwise loses packets of some drivers).

import Platform

/// What is to be recorded.
package struct PacketFilter: Hashable, Sendable {
  package enum Mode: String, Sendable, CaseIterable {
    /// TCP segments with SYN, FIN or RST, and ICMP errors: few, whatever the traffic.
    case lite
    /// The headers of all TCP segments, and ICMP errors.
    case full
  }

  package var mode: Mode
  /// Only segments with one of these ports at either end; empty for all. ICMP errors always pass.
  package var ports: [ClosedRange<UInt16>]
  /// Of segments with one of these ports at either end only those with SYN, FIN or RST, as in lite mode: a proxy has no
  /// question about its clients that would be worth a look at each packet that it serves them.
  package var briefPorts: [UInt16]

  /// So many bytes of a frame are kept: two VLAN tags, IPv6 and TCP with all options fit, or an ICMPv6 error with the
  /// first eight bytes of the TCP header it quotes.
  package static let snapLength: UInt32 = 128
  /// More ranges than that are not narrowed to.
  package static let maximumRanges = 256
  /// So many ports are recorded briefly; of others there are all segments.
  package static let maximumBriefPorts = 32

  package init(mode: Mode, ports: [ClosedRange<UInt16>] = [], briefPorts: [UInt16] = []) {
    self.mode = mode
    self.ports = ports.count <= PacketFilter.maximumRanges ? ports : []
    self.briefPorts = mode == .lite ? [] : Array(briefPorts.prefix(PacketFilter.maximumBriefPorts))
  }

  /// What is recorded of a connection with this port at our end.
  package func mode(ofPort port: UInt16) -> Mode { briefPorts.contains(port) ? .lite : mode }

  /// The program to attach.
  ///
  ///     kind of interface ─▶ ethernet ─▶ tags ─▶ IPv4 ─▶ ICMP ─▶ an error? accept
  ///                      └─▶ raw IP ───────────▶ IPv6 ─▶ TCP ──▶ lite: flags? ─▶ ports? accept
  package var program: [FilterInstruction] {
    var code = FilterAssembler()
    let ethernet = code.makeLabel()
    let raw = code.makeLabel()
    let loopback = code.makeLabel()
    let tagged = code.makeLabel()
    let dispatch = code.makeLabel()
    let twiceTagged = code.makeLabel()
    let v4 = code.makeLabel()
    let v6 = code.makeLabel()
    let icmpV4 = code.makeLabel()
    let icmpV6 = code.makeLabel()
    let tcpV4 = code.makeLabel()
    let tcpV6 = code.makeLabel()
    let hopByHop = code.makeLabel()
    let tcp = code.makeLabel()
    let reject = code.makeLabel()
    let accept = code.makeLabel()
    let narrowed = code.makeLabel()

    // What is for somebody else's address on this link (PACKET_OTHERHOST) is none of ours.
    code.load(.packetType)
    code.jump(if: .equal, 3, to: reject)
    code.load(.hardwareType)
    code.jump(if: .equal, 1, to: ethernet)
    code.jump(if: .equal, UInt32(LinkType.loopbackHardware), to: loopback)
    for hardware: UInt32 in [0xFFFE, 768, 769] { code.jump(if: .equal, hardware, to: raw) }
    code.jump(if: .equal, 776, to: raw, otherwise: reject)

    code.place(loopback)
    code.load(.packetType)
    code.jump(if: .equal, 4, to: ethernet, otherwise: reject)

    // X is where the IP header begins.
    code.place(ethernet)
    code.loadX(14)
    code.load(.half, at: 12)
    code.jump(if: .equal, 0x8100, to: tagged)
    code.jump(if: .equal, 0x88A8, to: tagged, otherwise: dispatch)
    code.place(tagged)
    code.loadX(18)
    code.load(.half, at: 16)
    code.jump(if: .equal, 0x8100, to: twiceTagged, otherwise: dispatch)
    code.place(twiceTagged)
    code.loadX(22)
    code.load(.half, at: 20)
    code.place(dispatch)
    code.jump(if: .equal, 0x0800, to: v4)
    code.jump(if: .equal, 0x86DD, to: v6, otherwise: reject)

    code.place(raw)
    code.loadX(0)
    code.load(.byte, at: 0)
    code.shiftRight(4)
    code.jump(if: .equal, 4, to: v4)
    code.jump(if: .equal, 6, to: v6, otherwise: reject)

    // Of a packet in pieces only the first has the ports.
    code.place(v4)
    code.load(.half, besideX: 6)
    code.jump(if: .anyBit, 0x1FFF, to: reject)
    code.load(.byte, besideX: 9)
    code.jump(if: .equal, 6, to: tcpV4)
    code.jump(if: .equal, 1, to: icmpV4, otherwise: reject)

    code.place(icmpV4)
    skipV4Header(&code)
    code.load(.byte, besideX: 0)
    for type: UInt32 in [3, 11, 12] { code.jump(if: .equal, type, to: accept) }
    code.jump(if: .equal, 4, to: accept, otherwise: reject)

    code.place(v6)
    code.load(.byte, besideX: 6)
    code.jump(if: .equal, 6, to: tcpV6)
    code.jump(if: .equal, 58, to: icmpV6)
    code.jump(if: .equal, 0, to: hopByHop, otherwise: reject)

    code.place(icmpV6)
    code.load(.byte, besideX: 40)
    code.jump(if: .above, 4, to: reject)
    code.jump(if: .atLeast, 1, to: accept, otherwise: reject)

    // The one extension header that is in front of ordinary segments: of large ones, before they are cut up.
    code.place(hopByHop)
    code.load(.byte, besideX: 40)
    code.jump(if: .equal, 6, to: nil, otherwise: reject)
    code.load(.byte, besideX: 41)
    code.add(6)
    code.shiftLeft(3)
    code.addX()
    code.moveToX()
    code.jump(if: .atLeast, 0, to: tcp)

    code.place(tcpV6)
    code.moveFromX()
    code.add(40)
    code.moveToX()
    code.jump(if: .atLeast, 0, to: tcp)

    code.place(tcpV4)
    skipV4Header(&code)

    code.place(tcp)
    if mode == .lite {
      code.load(.byte, besideX: 13)
      code.jump(if: .anyBit, 0x07, to: ports.isEmpty ? accept : narrowed, otherwise: reject)
    } else {
      if !briefPorts.isEmpty {
        let wanted = ports.isEmpty ? accept : narrowed
        code.load(.byte, besideX: 13)
        code.jump(if: .anyBit, 0x07, to: wanted)
        for end: UInt32 in [0, 2] {
          code.load(.half, besideX: end)
          for port in briefPorts { code.jump(if: .equal, UInt32(port), to: reject) }
        }
      }
      code.jump(if: .atLeast, 0, to: ports.isEmpty ? accept : narrowed)
    }
    code.place(reject)
    code.answer(0)
    code.place(accept)
    code.answer(PacketFilter.snapLength)

    code.place(narrowed)
    if !ports.isEmpty {
      // Each range answers for itself: a common place to jump to would be too far away from the first.
      for end: UInt32 in [0, 2] {
        code.load(.half, besideX: end)
        for range in ports {
          let next = code.makeLabel()
          code.jump(if: .atLeast, UInt32(range.lowerBound), to: nil, otherwise: next)
          code.jump(if: .above, UInt32(range.upperBound), to: next)
          code.answer(PacketFilter.snapLength)
          code.place(next)
        }
      }
      code.answer(0)
    }
    // Nothing but a mistake above makes it nil, and the tests run every form; it would let nothing through.
    return code.assemble() ?? [FilterInstruction(code: 0x06)]
  }

  /// X := where the header behind that of IPv4 begins.
  private func skipV4Header(_ code: inout FilterAssembler) {
    code.load(.byte, besideX: 0)
    code.and(0xF)
    code.shiftLeft(2)
    code.addX()
    code.moveToX()
  }
}

extension PacketFilter: CustomStringConvertible {
  /// In the words of pcap-filter(7), for people who read a capture.
  package var description: String {
    let brief = "tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0"
    var what = mode == .lite ? brief : "tcp"
    if !briefPorts.isEmpty {
      let others = briefPorts.map { "port \($0)" }.joined(separator: " or ")
      what = "(\(brief) or tcp and not (\(others)))"
    }
    if ports.isEmpty { return "\(what) or icmp errors" }
    let ranges = ports.map {
      $0.count == 1 ? "port \($0.lowerBound)" : "portrange \($0.lowerBound)-\($0.upperBound)"
    }
    return "\(what) and (\(ranges.joined(separator: " or "))) or icmp errors"
  }
}
