// A log for tests to look into.

import Logging
import Synchronization

/// Warnings and errors, in the order in which they were logged.
package final class Warnings: LogHandler, Sendable {
  private let taken = Mutex<[String]>([])

  package init() {}

  package var lines: [String] { taken.withLock { $0 } }

  var logger: Logger { Logger(label: "test") { _ in self } }

  package var logLevel: Logger.Level {
    get { .warning }
    set {}
  }

  package var metadata: Logger.Metadata {
    get { [:] }
    set {}
  }

  package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { nil }
    set {}
  }

  package func log(event: LogEvent) { taken.withLock { $0.append("\(event.message)") } }
}
