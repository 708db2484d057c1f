// The one place where the command meets the server.

import Configuration
import Logging
import Proxy

enum Launch {
  /// Runs the proxy until it is told to stop.
  ///
  /// - Parameters:
  ///   - started: called when clients can connect, with the real ports in place of those left to the kernel.
  ///   - reload: reads the same file and options again; the server calls it on SIGHUP.
  static func run(
    _ configuration: Configuration, started: (Configuration, [SensorState]) -> Void,
    reload: @escaping () throws(Diagnostics) -> ConfigurationLoader.Loaded
  ) throws {
    let level = Logger.Level(rawValue: configuration.log.level.rawValue) ?? .info
    var logger = Logger(label: Program.name, factory: { _ in ConsoleLog() })
    logger.logLevel = level
    do {
      try Runner.run(
        configuration, logger: logger,
        reload: {
          do {
            let loaded = try reload()
            if !loaded.warnings.all.isEmpty {
              MessageStream.standardError.say(loaded.warnings.description)
            }
            return loaded.configuration
          } catch {
            MessageStream.standardError.say("The configuration stays as it was:\n\(error)")
            return nil
          }
        },
        handler: { server in StoreAPI.handler(server.store) },
        started: started)
    } catch let failure as StartFailure {
      throw Failure(failure.description)
    }
  }
}

/// What the running program has to say, on standard error: one line, with the level where it matters.
struct ConsoleLog: LogHandler {
  var logLevel = Logger.Level.info
  var metadata: Logger.Metadata = [:]

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let word = event.level >= .warning ? "\(event.level): " : ""
    MessageStream.standardError.say("\(Program.name): \(word)\(event.message)")
  }
}
