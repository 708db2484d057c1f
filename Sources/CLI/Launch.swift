// The one place where the command meets the server.

import Configuration

enum Launch {
  /// Runs the proxy until it is told to stop.
  ///
  /// `reload` reads the same file and options again; the server calls it on SIGHUP.
  static func run(
    _ configuration: Configuration,
    reload: @escaping () throws(Diagnostics) -> ConfigurationLoader.Loaded
  ) throws {
  }
}
