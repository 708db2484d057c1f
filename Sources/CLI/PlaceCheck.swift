// What `check` can tell of the places that a server will write to, without making anything there.

import Configuration
import Foundation
import Platform

enum PlaceCheck {
  /// Warnings about files and directories that this user could not make.
  static func warnings(_ configuration: Configuration) -> [Diagnostic] {
    var warnings: [Diagnostic] = []
    func warn(_ key: String, _ obstacle: String?) {
      guard let obstacle else { return }
      warnings.append(
        Diagnostic(severity: .warning, place: .whole, key: key, message: obstacle))
    }
    warn("store.path", obstacle(directory: configuration.store.path))
    if case .file(let path) = configuration.log.access {
      warn("log.access", obstacle(file: path))
    }
    if case .file(let path) = configuration.resets.path {
      warn("resets.path", obstacle(file: path))
    }
    return warnings
  }

  private static func obstacle(file path: String) -> String? {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
      return obstacle(directory: String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]))
    }
    if isDirectory.boolValue { return "\(path) is a directory; name a file" }
    return FileManager.default.isWritableFile(atPath: path) ? nil : refusal(path)
  }

  /// Why a directory could not be made, or written into: the nearest one that exists tells.
  private static func obstacle(directory path: String) -> String? {
    var path = path
    while path.count > 1 {
      var isDirectory: ObjCBool = false
      if FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) {
        guard isDirectory.boolValue else { return "\(path) is not a directory" }
        return FileManager.default.isWritableFile(atPath: path) ? nil : refusal(path)
      }
      path = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
    }
    return FileManager.default.isWritableFile(atPath: "/") ? nil : refusal("/")
  }

  private static func refusal(_ path: String) -> String {
    "\(NSUserName()) may not write to \(path); check as the user that the server runs as, or name another place"
  }
}
