// The flows that the recorder has seen, to be asked from any thread. One lock, taken for a fraction of a microsecond by
// the recorder per packet, and for as long as it takes to copy a flow by who asks, which is after endings only.

import Platform
import Synchronization

/// The last packets of each flow, found by both ends or by the local port alone.
package final class FlowIndex: Sendable {
  /// How much is remembered.
  package struct Bounds: Hashable, Sendable {
    package var flows: Int
    /// Packets per flow.
    package var depth: Int

    package init(flows: Int, depth: Int) {
      self.flows = flows
      self.depth = depth
    }

    /// In lite mode a flow has few packets, in full mode the last ones are looked at.
    package init(_ mode: PacketFilter.Mode) {
      switch mode {
      case .lite: self.init(flows: 16384, depth: 8)
      case .full: self.init(flows: 4096, depth: 32)
      }
    }

    /// What that is in memory at most. It is touched only as flows come.
    package var maximumBytes: Int { FlowTable.maximumBytes(flows: flows, depth: depth) }
  }

  package let mode: PacketFilter.Mode
  private let table: Mutex<FlowTable>

  package init(mode: PacketFilter.Mode, bounds: Bounds? = nil) {
    self.mode = mode
    let bounds = bounds ?? Bounds(mode)
    table = Mutex(
      FlowTable(flows: bounds.flows, depth: bounds.depth, seed: Randomness.word()))
  }

  /// Takes in a packet.
  /// - Returns: false if it is one that was there already, seen on another interface.
  @discardableResult
  package func record(
    _ sighting: PacketSighting, _ header: PacketHeader, _ bytes: UnsafeBufferPointer<UInt8>
  ) -> Bool {
    table.withLock { $0.record(sighting, header, bytes) }
  }

  /// What is known about a connection, seen from `local`; nil when not a packet of it was seen, or it was forgotten.
  /// The newest packets are not there yet: they arrive up to `PacketRecorder.delay` late.
  /// - Parameter time: of connections between the same ends the last is meant that had begun by then; nanoseconds since
  ///   1970.
  package func packets(
    local: SocketAddress, peer: SocketAddress, at time: Int64 = .max
  ) -> FlowPackets? {
    guard let endpoints = PacketEndpoints(source: local, destination: peer) else { return nil }
    return table.withLock { $0.snapshot(endpoints, at: time) }
  }

  /// All flows with this port at our end, the newest ones first, at most `limit`.
  package func packets(localPort: UInt16, limit: Int = 64) -> [FlowPackets] {
    table.withLock { $0.snapshots(localPort: localPort, limit: limit) }
  }

  /// What the source of these endpoints has been sending.
  func baseline(of endpoints: PacketEndpoints) -> FlowBaseline? {
    table.withLock { $0.baseline(of: endpoints) }
  }

  /// How many flows are remembered, and how many have been forgotten for want of room.
  package var occupancy: (flows: Int, forgotten: UInt64) {
    table.withLock { ($0.count, $0.evictions) }
  }
}
