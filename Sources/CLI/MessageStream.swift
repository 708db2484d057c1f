// Standard error of a program that runs for weeks. Somebody may have stopped reading it: a pager that waits for a key, a
// terminal stopped with Ctrl-S, a collector of logs that hangs. Then messages are lost, and no worker waits with its clients.

import Configuration
import Platform
import Synchronization

final class MessageStream: Sendable {
  static let standardError = MessageStream(descriptor: 2)

  /// What a pipe that has room at all takes without waiting (`PIPE_BUF`, pipe(7)).
  private static let pieceSize = 4096

  private let descriptor: Int32
  private struct State {
    var lost: UInt64 = 0
    /// The last line was left without its end.
    var isTorn = false
  }

  private let state = Mutex(State())

  /// - Parameter descriptor: somebody else's; it stays open.
  init(descriptor: Int32) { self.descriptor = descriptor }

  /// Writes a line, unless that would have to wait.
  func say(_ text: String) {
    state.withLock { state in
      var words = state.isTorn ? "\n" : ""
      if state.lost > 0 {
        let what = state.lost == 1 ? "message is" : "messages are"
        words += "\(Program.name): standard error was not read: \(state.lost) \(what) lost\n"
      }
      words += text.hasSuffix("\n") ? text : text + "\n"
      var rest = Array(words.utf8)[...]
      var isFirst = true
      while !rest.isEmpty {
        guard File.takesBytes(descriptor) else {
          state.lost = isFirst ? state.lost &+ 1 : 1
          if !isFirst { state.isTorn = true }
          return
        }
        // Where it fails there is nobody left to tell.
        guard File.writeAll(descriptor, Array(rest.prefix(Self.pieceSize))).error == nil else {
          return
        }
        rest = rest.dropFirst(Self.pieceSize)
        isFirst = false
      }
      state = State()
    }
  }
}
