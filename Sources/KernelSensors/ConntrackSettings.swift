// How the connection table is set, as far as it decides what becomes of odd packets and idle connections
// (nf_conntrack-sysctl.rst).

/// Settings of a network namespace; nil for what its kernel does not have.
package struct ConntrackSettings: Hashable, Sendable {
  /// Packets outside of the window are translated all the same.
  package var isLiberal: Bool?
  /// Connections that are met in the middle are picked up.
  package var isLoose: Bool?
  /// Resets outside of the window are not called invalid.
  package var ignoresInvalidResets: Bool?
  /// Seconds after which an established connection that is idle is forgotten.
  package var establishedTimeout: Int64?
  /// Connections in the table of this namespace.
  package var count: Int64?
  /// As many as there may be; one number for the whole machine.
  package var maximum: Int64?

  package init() {}

  /// Of the calling thread's namespace.
  package static func read() -> ConntrackSettings {
    let directory = "/proc/sys/net/netfilter/nf_conntrack_"
    func number(_ name: String) -> Int64? { KernelFile.number(directory + name) }
    var settings = ConntrackSettings()
    settings.isLiberal = number("tcp_be_liberal").map { $0 != 0 }
    settings.isLoose = number("tcp_loose").map { $0 != 0 }
    settings.ignoresInvalidResets = number("tcp_ignore_invalid_rst").map { $0 != 0 }
    settings.establishedTimeout = number("tcp_timeout_established")
    settings.count = number("count")
    settings.maximum = number("max")
    return settings
  }
}
