// What the lab needs of the machine, and what to do where it is missing.

import Glibc

package enum Requirements {
  /// A command, and the Debian package that has it.
  private static let commands = [
    ("ip", "iproute2"), ("ss", "iproute2"), ("iptables", "iptables"), ("ip6tables", "iptables"),
    ("nft", "nftables"), ("conntrack", "conntrack"),
    ("setpriv", "util-linux"), ("unshare", "util-linux"),
  ]

  package static func has(_ command: String) -> Bool {
    Shell.path.contains { access("\($0)/\(command)", X_OK) == 0 }
  }

  /// The commands that are missing, in a sentence that says where to get them; nil if none is.
  package static var missing: String? {
    let missing = commands.filter { !has($0.0) }
    guard !missing.isEmpty else { return nil }
    let packages = Set(missing.map(\.1)).sorted().joined(separator: " ")
    return "the lab needs \(missing.map(\.0).joined(separator: ", ")): apt-get install \(packages)"
  }

  /// Why no lab can be set up here, in a sentence that says what would help; nil where it can.
  package static let obstacle: String? = {
    if let missing { return missing }
    guard geteuid() == 0 else {
      return "the lab makes network namespaces, which takes root: use sudo"
    }
    let run: LabRun
    do {
      run = try LabRun()
    } catch {
      return "\(error)"
    }
    do {
      defer { run.remove() }
      let host = try Host("try", of: run)
      try host.shell(
        """
        iptables -t nat -A PREROUTING -d 192.0.2.1 -p tcp --dport 80 -j DNAT --to-destination 192.0.2.2:80
        iptables -t raw -A PREROUTING -m statistic --mode nth --every 20 --packet 0 -j CT --notrack
        conntrack -C >/dev/null
        """)
      return nil
    } catch {
      let words = "\(error)".split(separator: "\n").first.map(String.init) ?? ""
      return
        "no network namespace with netfilter can be had here (\(words)); it takes CAP_SYS_ADMIN and CAP_NET_ADMIN, which a container has with --privileged, and the kernel's modules for NAT and connection tracking"
    }
  }()
}
