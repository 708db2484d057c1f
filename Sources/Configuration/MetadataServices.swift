// Addresses at which clouds give a machine its credentials. Most are link-local and so not public anyway;
// they are listed because a network that somebody opens for other reasons may have one in it, and because
// one of them is public.

import Platform

/// Where a machine in a cloud asks for its own credentials.
package enum MetadataServices {
  static let addresses: [IPAddress] = [
    "169.254.169.254",  // nearly all of them
    "169.254.170.2", "169.254.170.23",  // containers and pods
    "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254",
  ].compactMap { IPAddress($0) }

  /// Whether this is one of them, in any spelling.
  package static func contains(_ address: IPAddress) -> Bool {
    addresses.contains(address.unwrapped)
  }
}
