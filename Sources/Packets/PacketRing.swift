// A packet socket and the ring the kernel writes captured packets into, shared memory without a copy and without a
// call per packet (packet_mmap.rst, TPACKET_V3).
//
//   block 0 │ block 1 │ block 2 │ …      a block is handed to us when it is full, or 10 ms after its first packet
//      ▲ next: read all packets of it, hand it back, go on
//
// All of the ring is counted against this process: blocks × 256 KiB of kernel memory that is never swapped.

import CPacketSocket
import Glibc
import Platform

/// A packet in the ring. Valid only until the closure it is given to returns.
struct RingPacket {
  var sighting: PacketSighting
  var bytes: UnsafeBufferPointer<UInt8>
}

struct PacketRing: ~Copyable, @unchecked Sendable {
  static let blockSize = 256 * 1024
  /// So long after its first packet a block is handed over though it is not full: what was captured is seen that
  /// much later at most, and some timer's step.
  static let retirement: Duration = .milliseconds(10)

  private let socket: FileDescriptor
  private let memory: UnsafeMutableRawPointer
  private let blockCount: Int
  private var next = 0

  /// Opens a socket in the calling thread's network namespace, and begins to record.
  init(filter: PacketFilter, blocks: Int) throws(PacketSensorError) {
    blockCount = min(max(blocks, 2), 1024)
    let opened = packet_open()
    guard opened >= 0 else {
      let errno = Errno(result: opened)
      switch errno {
      case .notPermitted, .accessDenied: throw .lacksCapability
      case .addressFamilyNotSupported: throw .noPacketSockets(errno)
      default: throw .failed(step: "opening a packet socket", errno)
      }
    }
    let socket = FileDescriptor(owning: Int32(truncatingIfNeeded: opened))

    // The filter before anything can arrive: what is in the queue already would not be filtered any more.
    let program = filter.program.map {
      packet_instruction(code: $0.code, if_true: $0.ifTrue, if_false: $0.ifFalse, k: $0.operand)
    }
    let attached = packet_attach_filter(
      socket.rawValue, program, UInt16(clamping: program.count))
    guard attached >= 0 else {
      throw .failed(step: "attaching the filter", Errno(result: attached))
    }
    var mapped: UnsafeMutableRawPointer?
    let made = packet_make_ring(
      socket.rawValue, UInt32(PacketRing.blockSize), UInt32(blockCount),
      UInt32(PacketRing.retirement.wholeNanoseconds / 1_000_000), &mapped)
    guard made >= 0, let mapped else {
      let errno = made < 0 ? Errno(result: made) : .noMemory
      if errno == .noMemory || errno == .wouldBlock {
        throw .noMemory(bytes: blockCount * PacketRing.blockSize, errno)
      }
      throw .failed(step: "making the ring", errno)
    }
    let bound = packet_bind_all(socket.rawValue)
    guard bound >= 0 else {
      packet_unmap_ring(mapped, blockCount * PacketRing.blockSize)
      throw .failed(step: "binding the packet socket", Errno(result: bound))
    }
    memory = mapped
    self.socket = socket
  }

  deinit {
    packet_unmap_ring(memory, blockCount * PacketRing.blockSize)
  }

  /// Readable when a block is ours.
  var rawValue: Int32 { socket.rawValue }

  /// The block that is read next has packets, and the kernel keeps it yet.
  var isHeldBack: Bool { packet_block_is_filling(memory + next * PacketRing.blockSize) != 0 }

  /// Which block that is.
  var position: Int { next }

  /// Reads one block, if one is ours, and hands it back.
  /// - Returns: how many packets of it could not be reached; nil when no block was ours.
  mutating func readBlock(_ body: (RingPacket) -> Void) -> UInt32? {
    let block = memory + next * PacketRing.blockSize
    guard packet_block_is_ours(block) != 0 else { return nil }
    var offset = packet_first_offset(block)
    var record = packet_record()
    var left = packet_count(block)
    while left > 0 {
      guard packet_read(block, UInt32(PacketRing.blockSize), offset, &record) != 0 else { break }
      left -= 1
      if let link = LinkType(hardware: record.hardware) {
        body(
          RingPacket(
            sighting: PacketSighting(
              time: record.nanoseconds, interface: record.interface, link: link,
              isOutgoing: record.kind == 4,
              isLoopback: record.hardware == LinkType.loopbackHardware, length: record.length),
            bytes: UnsafeBufferPointer(start: record.bytes, count: Int(record.captured))))
      }
      offset = record.next
      if offset == 0 { break }
    }
    packet_give_back(block)
    next = (next + 1) % blockCount
    return left
  }

  /// Since the last call: packets that passed the filter, those among them that found no room, and how often the
  /// ring was full.
  func takeStatistics() -> (packets: UInt32, drops: UInt32, freezes: UInt32)? {
    var statistics = packet_statistics()
    guard packet_get_statistics(socket.rawValue, &statistics) >= 0 else { return nil }
    return (statistics.packets, statistics.drops, statistics.freezes)
  }

  func interfaceName(_ index: Int32) -> String? {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(IF_NAMESIZE)) { name in
      guard let start = name.baseAddress,
        packet_interface_name(socket.rawValue, index, start) >= 0
      else { return nil }
      return String(cString: start)
    }
  }
}
