// How closely packets are looked at.

/// `resets.sensors`.
package enum PacketSensing: String, Sendable, CaseIterable {
  /// `full` for connections with origins and `lite` for those with clients, where the system permits it.
  case auto
  /// Packets are not looked at.
  case off
  /// Segments that begin or end a connection, and ICMP errors.
  case lite
  /// The headers of all segments.
  case full
}
