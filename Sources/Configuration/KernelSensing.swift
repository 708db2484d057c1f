// What the kernel is asked about endings.

/// `resets.kernel`.
package enum KernelSensing: String, Sendable, CaseIterable {
  /// All that the system permits.
  case auto
  /// Only the counters that everybody may read.
  case counters
  /// Nothing.
  case off
}
