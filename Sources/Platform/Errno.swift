// Error numbers of the kernel as a type: comparable, printable by name, thrown by every call that can fail.
//
// A call that was interrupted (EINTR) is repeated inside this module and never seen outside. EBADF, EFAULT and
// ENOTSOCK mean that the program handled a descriptor or a pointer wrongly; they stop a debug build at the call
// that found out, and are passed on as ordinary errors in a release build, which has other connections to serve.

import CLinux
import Glibc

/// An error number of the kernel, such as `ECONNRESET`.
public struct Errno: Error, Hashable, Sendable {
  public let rawValue: Int32

  @inlinable
  public init(rawValue: Int32) {
    self.rawValue = rawValue
  }

  /// The error in what a call of `CLinux` answered: a negative error number.
  static func from(_ result: Int) -> Errno {
    let errno = Errno(rawValue: Int32(truncatingIfNeeded: 0 &- result))
    assert(!errno.isOurFault, "\(errno): a descriptor or a buffer was handled wrongly")
    return errno
  }

  /// `EBADF`, `EFAULT` or `ENOTSOCK`: no peer and no disk can cause these, only a mistake of this program.
  public var isOurFault: Bool {
    self == .badDescriptor || self == .badAddress || self == .notASocket
  }

  /// This process or the whole machine has no descriptor left (`EMFILE`, `ENFILE`).
  public var isOutOfDescriptors: Bool {
    self == .tooManyOpenFiles || self == .tooManyOpenFilesInSystem
  }

  /// The disk or the quota is full (`ENOSPC`, `EDQUOT`).
  public var isOutOfSpace: Bool {
    self == .noSpace || self == .quotaExceeded
  }
}

extension Errno {
  public static let notPermitted = Errno(rawValue: EPERM)
  public static let noSuchFile = Errno(rawValue: ENOENT)
  public static let interrupted = Errno(rawValue: EINTR)
  public static let noDeviceOrAddress = Errno(rawValue: ENXIO)
  public static let inputOutput = Errno(rawValue: EIO)
  public static let badDescriptor = Errno(rawValue: EBADF)
  public static let wouldBlock = Errno(rawValue: EAGAIN)
  public static let noMemory = Errno(rawValue: ENOMEM)
  public static let accessDenied = Errno(rawValue: EACCES)
  public static let badAddress = Errno(rawValue: EFAULT)
  public static let fileExists = Errno(rawValue: EEXIST)
  public static let crossDevice = Errno(rawValue: EXDEV)
  public static let notADirectory = Errno(rawValue: ENOTDIR)
  public static let isADirectory = Errno(rawValue: EISDIR)
  public static let invalidArgument = Errno(rawValue: EINVAL)
  public static let tooManyOpenFilesInSystem = Errno(rawValue: ENFILE)
  public static let tooManyOpenFiles = Errno(rawValue: EMFILE)
  public static let fileTooLarge = Errno(rawValue: EFBIG)
  public static let noSpace = Errno(rawValue: ENOSPC)
  public static let readOnlyFileSystem = Errno(rawValue: EROFS)
  public static let brokenPipe = Errno(rawValue: EPIPE)
  public static let nameTooLong = Errno(rawValue: ENAMETOOLONG)
  public static let notImplemented = Errno(rawValue: ENOSYS)
  public static let directoryNotEmpty = Errno(rawValue: ENOTEMPTY)
  public static let symbolicLinkLoop = Errno(rawValue: ELOOP)
  public static let `protocol` = Errno(rawValue: EPROTO)
  public static let notASocket = Errno(rawValue: ENOTSOCK)
  public static let notSupported = Errno(rawValue: EOPNOTSUPP)
  public static let addressFamilyNotSupported = Errno(rawValue: EAFNOSUPPORT)
  public static let addressInUse = Errno(rawValue: EADDRINUSE)
  public static let addressNotAvailable = Errno(rawValue: EADDRNOTAVAIL)
  public static let networkDown = Errno(rawValue: ENETDOWN)
  public static let networkUnreachable = Errno(rawValue: ENETUNREACH)
  public static let connectionAborted = Errno(rawValue: ECONNABORTED)
  public static let connectionReset = Errno(rawValue: ECONNRESET)
  public static let noBufferSpace = Errno(rawValue: ENOBUFS)
  public static let notConnected = Errno(rawValue: ENOTCONN)
  public static let timedOut = Errno(rawValue: ETIMEDOUT)
  public static let connectionRefused = Errno(rawValue: ECONNREFUSED)
  public static let hostUnreachable = Errno(rawValue: EHOSTUNREACH)
  public static let inProgress = Errno(rawValue: EINPROGRESS)
  public static let quotaExceeded = Errno(rawValue: EDQUOT)
  public static let canceled = Errno(rawValue: ECANCELED)
}

extension Errno: CustomStringConvertible {
  /// The symbolic name, such as `ECONNRESET`; `errno 4711` for a number without one.
  public var name: String {
    // A switch and not a table: names are asked for when something went wrong, never per request.
    switch rawValue {
    case EPERM: "EPERM"
    case ENOENT: "ENOENT"
    case ESRCH: "ESRCH"
    case EINTR: "EINTR"
    case EIO: "EIO"
    case ENXIO: "ENXIO"
    case E2BIG: "E2BIG"
    case ENOEXEC: "ENOEXEC"
    case EBADF: "EBADF"
    case ECHILD: "ECHILD"
    case EAGAIN: "EAGAIN"
    case ENOMEM: "ENOMEM"
    case EACCES: "EACCES"
    case EFAULT: "EFAULT"
    case EBUSY: "EBUSY"
    case EEXIST: "EEXIST"
    case EXDEV: "EXDEV"
    case ENODEV: "ENODEV"
    case ENOTDIR: "ENOTDIR"
    case EISDIR: "EISDIR"
    case EINVAL: "EINVAL"
    case ENFILE: "ENFILE"
    case EMFILE: "EMFILE"
    case ENOTTY: "ENOTTY"
    case ETXTBSY: "ETXTBSY"
    case EFBIG: "EFBIG"
    case ENOSPC: "ENOSPC"
    case ESPIPE: "ESPIPE"
    case EROFS: "EROFS"
    case EMLINK: "EMLINK"
    case EPIPE: "EPIPE"
    case EDOM: "EDOM"
    case ERANGE: "ERANGE"
    case EDEADLK: "EDEADLK"
    case ENAMETOOLONG: "ENAMETOOLONG"
    case ENOLCK: "ENOLCK"
    case ENOSYS: "ENOSYS"
    case ENOTEMPTY: "ENOTEMPTY"
    case ELOOP: "ELOOP"
    case ENODATA: "ENODATA"
    case ETIME: "ETIME"
    case EPROTO: "EPROTO"
    case EBADMSG: "EBADMSG"
    case EOVERFLOW: "EOVERFLOW"
    case EILSEQ: "EILSEQ"
    case ENOTSOCK: "ENOTSOCK"
    case EDESTADDRREQ: "EDESTADDRREQ"
    case EMSGSIZE: "EMSGSIZE"
    case EPROTOTYPE: "EPROTOTYPE"
    case ENOPROTOOPT: "ENOPROTOOPT"
    case EPROTONOSUPPORT: "EPROTONOSUPPORT"
    case EOPNOTSUPP: "EOPNOTSUPP"
    case EAFNOSUPPORT: "EAFNOSUPPORT"
    case EADDRINUSE: "EADDRINUSE"
    case EADDRNOTAVAIL: "EADDRNOTAVAIL"
    case ENETDOWN: "ENETDOWN"
    case ENETUNREACH: "ENETUNREACH"
    case ENETRESET: "ENETRESET"
    case ECONNABORTED: "ECONNABORTED"
    case ECONNRESET: "ECONNRESET"
    case ENOBUFS: "ENOBUFS"
    case EISCONN: "EISCONN"
    case ENOTCONN: "ENOTCONN"
    case ETIMEDOUT: "ETIMEDOUT"
    case ECONNREFUSED: "ECONNREFUSED"
    case EHOSTDOWN: "EHOSTDOWN"
    case EHOSTUNREACH: "EHOSTUNREACH"
    case EALREADY: "EALREADY"
    case EINPROGRESS: "EINPROGRESS"
    case ESTALE: "ESTALE"
    case EDQUOT: "EDQUOT"
    case ECANCELED: "ECANCELED"
    default: "errno \(rawValue)"
    }
  }

  /// What the C library says about it, such as `Connection reset by peer`.
  public var message: String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
      // The POSIX variant: it fills the buffer, and truncates what does not fit.
      guard let start = buffer.baseAddress, strerror_r(rawValue, start, buffer.count) == 0 else {
        return "Unknown error \(rawValue)"
      }
      return String(cString: start)
    }
  }

  public var description: String {
    "\(name) (\(message))"
  }
}

/// How a read or a write ended that had to end at once.
///
/// All payloads are trivial: handing one on costs no reference counting.
public enum Transfer: Hashable, Sendable {
  /// So many bytes were moved; always more than none.
  case bytes(Int)
  /// The peer has finished: no byte will follow (only when reading).
  case endOfStream
  /// Nothing could be moved now; wait for readiness.
  case wouldBlock
  /// The call failed; for a socket the connection is over.
  case failed(Errno)
}
