// Starting programs of others: in the network namespace of the calling thread, with no descriptor but the standard ones,
// and without what our threads do to signals.

import CLinux
import Glibc

package enum Spawn {
  /// Starts a program. Who does has to wait for it (waitpid(2)).
  /// - Parameters:
  ///   - arguments: the program first; looked for in PATH unless it has a slash.
  ///   - environment: `NAME=value`; ours if nil.
  ///   - input: becomes its standard input; nothing to read if nil.
  ///   - output: becomes its standard output; thrown away if nil.
  ///   - errors: the same for its standard error.
  ///   - inOwnGroup: what a terminal sends to this process (Ctrl-C) is not for it.
  /// - Returns: its number.
  package static func start(
    _ arguments: [String], environment: [String]? = nil, input: Int32? = nil,
    output: Int32? = nil, errors: Int32? = nil, inOwnGroup: Bool = false
  ) throws(Errno) -> pid_t {
    guard let program = arguments.first else { throw .invalidArgument }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for (number, descriptor) in [input, output, errors].enumerated() {
      if let descriptor {
        posix_spawn_file_actions_adddup2(&actions, descriptor, Int32(number))
      } else {
        posix_spawn_file_actions_addopen(
          &actions, Int32(number), "/dev/null", number == 0 ? O_RDONLY : O_WRONLY, 0)
      }
    }
    // What others in this process have opened is none of its business.
    let closed = linux_close_from(&actions, 3)
    guard closed == 0 else { throw Errno(rawValue: -closed) }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // Our threads block signals, and it would inherit that.
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    // What we ignore it need not.
    var usual = sigset_t()
    sigemptyset(&usual)
    sigaddset(&usual, SIGPIPE)
    posix_spawnattr_setsigdefault(&attributes, &usual)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes,
      Int16(
        POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | (inOwnGroup ? POSIX_SPAWN_SETPGROUP : 0)))
    var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    words.append(nil)
    var settings: [UnsafeMutablePointer<CChar>?] = (environment ?? []).map { strdup($0) }
    settings.append(nil)
    defer { for word in words + settings { free(word) } }
    var id = pid_t()
    let result =
      environment == nil
      ? posix_spawnp(&id, program, &actions, &attributes, words, environ)
      : posix_spawnp(&id, program, &actions, &attributes, words, settings)
    guard result == 0 else { throw Errno(rawValue: result) }
    return id
  }
}
