// Capabilities that this process may have without having them: those of a program file that is marked `+p` (setcap(8)), as
// the one in the container image is. Such a file starts for an ordinary user whether or not the container leaves it the
// capability, which `+ep` does not; and what it may have it has to take up itself.

import CLinux

package enum Privileges {
  /// What sensors, probes and cures can use (capabilities(7)): NET_ADMIN, NET_RAW, SYS_ADMIN, PERFMON.
  private static let useful: UInt64 = 1 << 12 | 1 << 13 | 1 << 21 | 1 << 38

  /// Takes up what is permitted of these. For root they are in force already. To be called before threads are started: each
  /// has its own.
  package static func takeUp() {
    // A kernel that refuses leaves us as we were, and each sensor says what it lacks.
    _ = linux_raise_capabilities(useful)
  }
}
