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

  init(_ failure: TLSFailure) {
    switch failure {
    case .alertReceived(let alert):
      self.init(.alert)
      self.alert = "\(alert)"
    case .truncated: self.init(.finish)
    case .connection(let errno): self.init(errno)
    case .certificate, .protocolError, .plainHTTP, .notTLS, .unavailable:
      self.init(.malformed, own: .malformed)
    }
  }

  /// Attempts to connect, the last one that said something being the one that tells. Nil where none was made.
  init?(_ attempts: [ConnectionRace.Attempt]) {
    let outcomes = attempts.map(\.outcome)
    let last = outcomes.reversed().lazy.compactMap { outcome -> Errno? in
      if case .failed(let errno) = outcome { errno } else { nil }
    }.first
    let telling =
      attempts.last { if case .failed = $0.outcome { true } else { false } }
      ?? attempts.last { $0.local != nil }
    guard last != nil || outcomes.contains(where: { $0 == .underWay || $0 == .abandoned }) else {
      return nil
    }
    self.init(last ?? .timedOut, in: .connect)
    attempt = telling
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
