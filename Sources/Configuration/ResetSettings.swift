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
  /// How closely packets are looked at.
  package var sensors = PacketSensing.auto
  /// What the kernel is asked.
  package var kernel = KernelSensing.auto
  /// The network namespace that translates addresses, as a path; nil for the program's own.
  package var namespace: String?
  /// NFLOG's group for packets that the connection table calls invalid; 0 for none.
  package var nflog = 0
  /// The directory where the packets of each fault go, a file for each; nil for none.
  package var captures: String? = ResetSettings.defaultDirectory() + "/captures"
  /// Captures that are kept.
  package var captureFiles = 500
  /// A capture is no larger.
  package var captureSize: ByteCount = .kib(64)

  package init() {}

  package static func defaultPath() -> String { defaultDirectory() + "/resets.jsonl" }

  /// `/var/log/holdfast` for root, and for who has no home; for others what the XDG base directory specification says of state.
  package static func defaultDirectory(
    environment: [String: String] = ProcessInfo.processInfo.environment,
    isRoot: Bool = getuid() == 0
  ) -> String {
    ownDirectory(
      isRoot ? nil : ("XDG_STATE_HOME", ".local/state"), else: "/var/log/holdfast", environment)
  }
}
