// The forensics log: where records of endings go, and how much of them is kept.

import Foundation
import Platform

package struct ResetSettings: Sendable, Equatable {
  package var path = LogDestination.file(ResetSettings.defaultPath())
  /// A larger file is moved aside.
  package var fileSize: ByteCount = .mib(64)
  /// An older one too.
  package var fileAge: Duration = .seconds(7 * 86_400)
  /// Files that are kept, the one that is being written included.
  package var files = 8

  package init() {}

  /// `/var/log/holdfast/resets.jsonl` for root; for others what the XDG base directory specification says of state.
  package static func defaultPath(
    environment: [String: String] = ProcessInfo.processInfo.environment,
    isRoot: Bool = getuid() == 0
  ) -> String {
    let directory =
      isRoot
      ? "/var/log/holdfast"
      : ownDirectory("XDG_STATE_HOME", else: ".local/state", environment: environment)
    return directory + "/resets.jsonl"
  }
}
