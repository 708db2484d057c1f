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
  /// `/var/cache/holdfast` for root, and for who has no home; for others what the XDG base directory specification says.
  package static func defaultPath(
    environment: [String: String] = ProcessInfo.processInfo.environment,
    isRoot: Bool = getuid() == 0
  ) -> String {
    ownDirectory(
      isRoot ? nil : ("XDG_CACHE_HOME", ".cache"), else: "/var/cache/holdfast", environment)
  }
}

/// Where the XDG base directory specification has a user's files of one kind.
/// - Parameters:
///   - place: the variable that says so, and where below the user's home otherwise; nil for root.
///   - system: for root, and for who has no home. What everybody can write to, such as /var/tmp, stands in for none:
///     somebody else might have made the directory there first.
func ownDirectory(
  _ place: (variable: String, fallback: String)?, else system: String,
  _ environment: [String: String]
) -> String {
  guard let place else { return system }
  // The specification says that a relative one is to be ignored.
  if let directory = environment[place.variable], directory.hasPrefix("/") {
    return directory + "/holdfast"
  }
  guard let home = environment["HOME"], home.hasPrefix("/"), home != "/" else { return system }
  return "\(home)/\(place.fallback)/holdfast"
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
