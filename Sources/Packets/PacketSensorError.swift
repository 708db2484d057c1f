// Why packets cannot be recorded here, in sentences that say what would help.

import Platform

/// What keeps the recorder from starting.
package enum PacketSensorError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The kernel asks for CAP_NET_RAW.
  case lacksCapability
  /// The kernel has no packet sockets, or a sandbox (seccomp) hides them.
  case noPacketSockets(Errno)
  /// The ring could not be had: locked memory, or none left.
  case noMemory(bytes: Int, Errno)
  /// The network namespace that was asked for cannot be entered.
  case namespace(path: String, Errno)
  /// Something that should not fail did.
  case failed(step: String, Errno)

  package var description: String {
    switch self {
    case .lacksCapability:
      "recording packets needs CAP_NET_RAW in this network namespace: give it with"
        + " `setcap cap_net_raw+ep` on the program, `AmbientCapabilities=CAP_NET_RAW` in its systemd unit,"
        + " or `capabilities: { add: [NET_RAW] }` in the pod's securityContext"
    case .noPacketSockets(let errno):
      "this kernel or sandbox has no packet sockets (\(errno.name)): load the module af_packet,"
        + " or allow socket(AF_PACKET) in the seccomp profile"
    case .noMemory(let bytes, let errno):
      "no memory for a ring of \(bytes / 1024) KiB to record packets in (\(errno.name)):"
        + " ask for fewer blocks, or raise the limit of memory"
    case .namespace(let path, let errno) where errno == .notPermitted:
      "the network namespace \(path) cannot be entered (\(errno.name)): that needs CAP_SYS_ADMIN here and in it"
    case .namespace(let path, let errno):
      "the network namespace \(path) cannot be entered (\(errno)): give the path of one,"
        + " such as /run/netns/NAME or /proc/PID/ns/net"
    case .failed(let step, let errno):
      "packets cannot be recorded: \(step) failed with \(errno)"
    }
  }
}
