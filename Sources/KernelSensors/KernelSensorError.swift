// Why the kernel cannot be asked here, in sentences that say what would help.

import Platform

/// What keeps a kernel sensor from starting. Nothing of it touches traffic.
package enum KernelSensorError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The counters of the network stack cannot be read.
  case noCounters(Errno)
  /// The network namespace that was asked for cannot be entered.
  case namespace(path: String, Errno)
  /// The connection table may not be asked.
  case lacksAdmin(Errno)
  /// There is no connection table, or it does not answer: nf_conntrack or nf_conntrack_netlink is missing.
  case noConnectionTable(Errno)
  /// NFLOG's group cannot be had.
  case logGroup(UInt16, Errno)
  /// tracefs is not mounted, or may not be read.
  case noTraceFiles(Errno)
  /// The kernel has none of the tracepoints about resets.
  case noTracepoints
  /// Tracepoints may not be watched.
  case lacksPerfmon(Errno)
  /// The kernel, or a sandbox, has no perf events.
  case noPerfEvents(Errno)
  /// Something that should not fail did.
  case failed(step: String, Errno)

  package var description: String {
    switch self {
    case .noCounters(let errno):
      "counters of the kernel cannot be read (\(errno.name)): mount procfs at /proc in this container"
    case .namespace(let path, let errno) where errno == .notPermitted:
      "the network namespace \(path) cannot be entered (\(errno.name)): that needs CAP_SYS_ADMIN here and in it"
    case .namespace(let path, let errno):
      "the network namespace \(path) cannot be entered (\(errno)): give the path of one,"
        + " such as /run/netns/NAME or /proc/PID/ns/net"
    case .lacksAdmin(let errno):
      "the connection table may not be asked (\(errno.name)): that needs CAP_NET_ADMIN in the network namespace that"
        + " translates addresses; run an agent on the node with `hostNetwork: true` and"
        + " `capabilities: { add: [NET_ADMIN] }`, or AmbientCapabilities=CAP_NET_ADMIN in its systemd unit"
    case .noConnectionTable(let errno):
      "there is no connection table to ask (\(errno.name)): `modprobe nf_conntrack_netlink` on the node,"
        + " or look in the network namespace that translates addresses (`resets.namespace`)"
    // Asked for after the connection table has answered, so that the privilege is there.
    case .logGroup(let group, let errno) where errno == .notPermitted:
      "another program listens to NFLOG's group \(group) (\(errno.name)): take another number in the rule and in"
        + " `resets.nflog`"
    case .logGroup(let group, let errno):
      "NFLOG's group \(group) cannot be listened to (\(errno.name)): `modprobe nfnetlink_log` on the node"
    case .noTraceFiles(let errno):
      "tracepoints cannot be found (\(errno.name)): `mount -t tracefs none /sys/kernel/tracing` as root, and let this"
        + " program read it (root, or a mount with `gid=` and `mode=0750`)"
    case .noTracepoints:
      "this kernel has no tracepoints about resets: Linux 4.16 and younger have, with CONFIG_TRACEPOINTS"
    case .lacksPerfmon(let errno):
      "tracepoints may not be watched (\(errno.name)): give CAP_PERFMON (CAP_SYS_ADMIN before Linux 5.8), and allow"
        + " perf_event_open in the seccomp profile"
    case .noPerfEvents(let errno):
      "this kernel or sandbox has no perf events (\(errno.name)): it needs CONFIG_PERF_EVENTS, and perf_event_open in the"
        + " seccomp profile"
    case .failed(let step, let errno):
      "the kernel cannot be asked: \(step) failed with \(errno)"
    }
  }
}

extension Errno {
  /// The error in what a call of `CKernelSensors` answered: a negative error number.
  init(result: Int) {
    self.init(rawValue: Int32(truncatingIfNeeded: 0 &- result))
  }
}
