// What goes to the terminal: text, and colour where somebody looks.

import Configuration
import Foundation
import Platform
import Synchronization

/// The process's standard output and standard error.
package enum Console {
  /// Why standard output could not be written.
  private static let failure = Mutex<Errno?>(nil)

  /// Writes a line to standard output.
  /// - Returns: whether more can be written. That a reader has gone, as with `| head`, is no failure; anything else is
  ///   said by `exit`, whose code it makes 1.
  @discardableResult
  package static func print(_ text: String) -> Bool { write(ended(text)) }

  /// Writes a line to standard error.
  package static func complain(_ text: String) {
    // There is nobody left to tell.
    _ = File.writeAll(STDERR_FILENO, ended(text))
  }

  /// Writes bytes to standard output as they are.
  @discardableResult
  package static func write(_ bytes: [UInt8]) -> Bool {
    guard let error = File.writeAll(STDOUT_FILENO, bytes).error else { return true }
    if error != .brokenPipe { failure.withLock { $0 = $0 ?? error } }
    return false
  }

  private static func ended(_ text: String) -> [UInt8] {
    Array(text.utf8) + (text.hasSuffix("\n") ? [] : [10])
  }

  /// Ends the process; what did not get out is no success.
  package static func exit(_ code: Int32) -> Never {
    guard let errno = failure.withLock({ $0 }) else { Foundation.exit(code) }
    complain("\(Program.name): the output could not be written: \(errno.message)")
    Foundation.exit(code == 0 ? 1 : code)
  }

  /// How many columns the terminal of standard output has; nil where that is none.
  package static var width: Int? {
    var size = winsize()
    guard isatty(STDOUT_FILENO) == 1, ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0,
      size.ws_col > 0
    else { return nil }
    return Int(size.ws_col)
  }

  /// Colours for standard output: only on a terminal, and not if NO_COLOR is set (no-color.org).
  package static var style: Style {
    Style(
      isTerminal: isatty(STDOUT_FILENO) == 1, environment: ProcessInfo.processInfo.environment)
  }
}

/// How words are set off.
package struct Style: Sendable {
  package let hasColour: Bool

  package init(isTerminal: Bool, environment: [String: String]) {
    let refuses = environment["NO_COLOR"].map { !$0.isEmpty } ?? false
    hasColour = isTerminal && !refuses && environment["TERM"] != "dumb"
  }

  package static let plain = Style(isTerminal: false, environment: [:])

  func bold(_ text: String) -> String { wrap(text, "1") }
  func dim(_ text: String) -> String { wrap(text, "2") }
  func good(_ text: String) -> String { wrap(text, "32") }
  func warning(_ text: String) -> String { wrap(text, "33") }
  func bad(_ text: String) -> String { wrap(text, "31") }

  private func wrap(_ text: String, _ code: String) -> String {
    hasColour && !text.isEmpty ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
  }
}
