// What the defaults take from the machine: cores and directories.

import Foundation
import Platform

extension ThreadCount {
  /// The number of worker threads to start.
  package var resolved: Int {
    switch self {
    case .automatic: ProcessLimits.processorCount()
    case .fixed(let count): count
    }
  }
}

extension StoreSettings {
  /// `/var/cache/holdfast` for root; for others what the XDG base directory specification says.
  package static func defaultPath(
    environment: [String: String] = ProcessInfo.processInfo.environment,
    isRoot: Bool = getuid() == 0
  ) -> String {
    isRoot
      ? "/var/cache/holdfast"
      : ownDirectory("XDG_CACHE_HOME", else: ".cache", environment: environment)
  }
}

/// Where the XDG base directory specification has a user's files of one kind.
/// - Parameter fallback: below the user's home, where the variable does not say.
func ownDirectory(
  _ variable: String, else fallback: String, environment: [String: String]
) -> String {
  // The specification says that a relative one is to be ignored.
  if let directory = environment[variable], directory.hasPrefix("/") {
    return directory + "/holdfast"
  }
  return (environment["HOME"] ?? "/var/tmp") + "/\(fallback)/holdfast"
}

/// A file name from the configuration, made absolute.
///
/// `~/` is the home directory; a relative name counts from `directory`.
func absolutePath(_ path: String, from directory: String) -> String {
  var path = path
  if path == "~" || path.hasPrefix("~/") {
    path = (ProcessInfo.processInfo.environment["HOME"] ?? "") + path.dropFirst()
  }
  if !path.hasPrefix("/") { path = directory + "/" + path }
  return URL(fileURLWithPath: path).standardizedFileURL.path
}

func currentDirectory() -> String { FileManager.default.currentDirectoryPath }
