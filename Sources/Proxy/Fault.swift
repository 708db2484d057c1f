// What a `ProxyError` was on the wire: for those errors that ended a connection, or an attempt at one. The error is for
// the client; this is for the judge.

import Forensics
import IO
import Platform
import TLS

struct Fault: Sendable {
  var means: Means
  /// Why we ended it, if it was we.
  var own: OwnReason?
  var errno: Errno?
  var syscall: Syscall? = .recv
  /// Of TLS, by name.
  var alert: String?
  /// What we did not accept, or could not do, in words.
  var complaint: String?
  /// This machine has no way to the address.
  var hasNoWay = false
  /// Of an attempt to connect, which has left nothing else behind.
  var attempt: ConnectionRace.Attempt?

  init(_ means: Means, own: OwnReason? = nil) {
    self.means = means
    self.own = own
  }

  /// No call has said anything.
  init(_ means: Means, inSilence: Bool) {
    self.means = means
    syscall = nil
  }

  /// What a call on the socket said; nil for the end of the stream.
  init(_ errno: Errno?, in syscall: Syscall = .recv) {
    means = errno.map(Means.init) ?? .finish
    self.errno = errno
    self.syscall = syscall
  }

  /// - Parameter isShakingHands: nothing has been said over TLS yet.
  init(_ failure: TLSFailure, isShakingHands: Bool) {
    switch failure {
    case .alertReceived(let alert):
      self.init(.alert)
      self.alert = "\(alert)"
    case .truncated: self.init(.finish)
    case .connection(let errno): self.init(errno)
    case .certificate(let problem):
      self.init(.abort, own: .tls)
      complaint = "the certificate is not accepted here: \(problem.sentence)"
    case .protocolError(let reason, _) where isShakingHands:
      self.init(.abort, own: .tls)
      complaint = "the handshake failed here: \(reason)"
    case .protocolError(let reason, _):
      self.init(.malformed, own: .malformed)
      complaint = "what came over TLS is not in order: \(reason)"
    case .plainHTTP, .notTLS:
      self.init(.malformed, own: .malformed)
      complaint = "what came is no TLS"
    case .unavailable(let reason):
      self.init(.exhausted, inSilence: true)
      complaint = "TLS could not go on here: \(reason)"
    }
  }

  /// Attempts to connect, one of which tells. Nil where none was made.
  /// - Parameter machine: the addresses of this machine's interfaces.
  init?(
    _ attempts: [ConnectionRace.Attempt], machine: () -> [IPAddress] = IPAddress.ofInterfaces
  ) {
    guard let telling = attempts.telling else { return nil }
    self.init(telling.errno ?? .timedOut, in: .connect)
    attempt = telling
    guard telling.isRefusedHere, let errno = telling.errno else { return }
    hasNoWay =
      errno.saysThatThereIsNoWay
      || errno == .addressNotAvailable && !telling.address.ip.hasFamily(among: machine())
    if hasNoWay { means = .exhausted }
  }
}

extension Errno {
  /// Of connect(2), which has not sent anything then: no route, one that forbids it, no such family, a rule of ours.
  fileprivate var saysThatThereIsNoWay: Bool {
    switch self {
    case .networkUnreachable, .hostUnreachable, .networkDown, .accessDenied, .notPermitted,
      .invalidArgument, .addressFamilyNotSupported:
      true
    default: false
    }
  }
}

extension IPAddress {
  /// Whether a connection to this address could come from one of those. One to somebody else does not come from the
  /// loopback interface.
  fileprivate func hasFamily(among own: [IPAddress]) -> Bool {
    let target = unwrapped
    return own.contains {
      $0.unwrapped.family == target.family && (target.isLoopback || !$0.isLoopback)
    }
  }
}

extension Means {
  init(_ errno: Errno) {
    switch errno {
    case .timedOut: self = .timeout
    case .hostUnreachable, .networkUnreachable, .networkDown: self = .icmp
    case .connectionAborted: self = .killed
    case .tooManyOpenFiles, .tooManyOpenFilesInSystem, .noMemory, .noBufferSpace,
      .addressNotAvailable:
      self = .exhausted
    default: self = .reset
    }
  }
}
