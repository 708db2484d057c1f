// A descriptor that belongs to somebody, and is closed exactly once: when its holder lets go.
//
// Code that runs per request works on the raw number (`Socket`, `File`); this type is for the places where a
// descriptor changes hands, so that the compiler sees to it that none is lost and none is closed twice.

import CLinux

/// An open descriptor and the duty to close it.
public struct FileDescriptor: ~Copyable, Sendable {
  /// The number the kernel knows it by. Valid as long as this value lives.
  public let rawValue: Int32

  /// Takes over an open descriptor.
  /// - Parameter rawValue: a descriptor that nobody else will close.
  public init(owning rawValue: Int32) {
    self.rawValue = rawValue
  }

  /// Takes over what a call of `CLinux` opened.
  init(result: Int) throws(Errno) {
    guard result >= 0 else { throw Errno.from(result) }
    self.init(owning: Int32(truncatingIfNeeded: result))
  }

  /// Another descriptor for the same open file.
  public static func duplicate(_ number: Int32) throws(Errno) -> FileDescriptor {
    try FileDescriptor(result: linux_duplicate(number))
  }

  /// Closes now, and says what the kernel said: after a write, an error here may be the first news of lost data.
  public consuming func close() throws(Errno) {
    let result = Kernel.close(release())
    if result < 0 { throw Errno.from(result) }
  }

  /// Gives up the duty to close.
  /// - Returns: the number, which the caller now has to close.
  public consuming func release() -> Int32 {
    let number = rawValue
    discard self
    return number
  }

  deinit {
    FileDescriptor.close(raw: rawValue)
  }

  /// Closes a descriptor that is kept as a plain number. Errors are of no use to anyone here and are dropped.
  public static func close(raw number: Int32) {
    let result = Kernel.close(number)
    // EBADF here means that the number was closed before, and may by now be another connection's.
    assert(result != -9, "descriptor \(number) was closed twice")
  }
}
