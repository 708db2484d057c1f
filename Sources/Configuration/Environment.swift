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
    if isRoot { return "/var/cache/holdfast" }
    // The specification says that a relative XDG_CACHE_HOME is to be ignored.
    if let cache = environment["XDG_CACHE_HOME"], cache.hasPrefix("/") {
      return cache + "/holdfast"
    }
    return (environment["HOME"] ?? "/var/tmp") + "/.cache/holdfast"
  }
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
