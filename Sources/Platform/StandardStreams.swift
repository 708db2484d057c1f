// Standard input, output and error that exist: whoever starts a program with one of them closed has the next file it
// opens take that number, and what is meant for a terminal or a log is then written into that file.

import Glibc

package enum StandardStreams {
  /// Puts /dev/null where the descriptors 0, 1 and 2 are closed. To be called before anything is opened.
  package static func fill() {
    for number in Int32(0)...2 where fcntl(number, F_GETFD) < 0 && errno == EBADF {
      // The lowest free number is given, and that is this one. Children inherit it like the others.
      if Glibc.open("/dev/null", O_RDWR) < 0 {
        // Without a /dev: what can be opened anywhere and written by nobody keeps the number taken.
        _ = Glibc.open("/", O_RDONLY | O_DIRECTORY)
      }
    }
  }
}
