// Why a probe could not be made, in a sentence that says what would help.

import Platform

package enum ProbeError: Error, Sendable, CustomStringConvertible {
  case lacksCapability
  case cannotListen(SocketAddress, Errno)
  case cannotResolve(String)
  case noRawSocket(Errno)
  /// What came in place of an answer.
  case notAnAnswer(String)

  package var description: String {
    switch self {
    case .lacksCapability:
      "the server of a probe writes segments by hand, which needs CAP_NET_RAW (the client needs nothing): run it as root, or with securityContext.capabilities.add: [NET_RAW]"
    case .cannotListen(let address, let error):
      "cannot listen on \(address) (\(error)): name another with --listen"
    case .cannotResolve(let name):
      "\(name) has no address: name the Service as HOST:PORT, and see that its name can be resolved here"
    case .notAnAnswer(let words):
      "whoever answers is no probe server: \(words.printable)"
    case .noRawSocket(let error):
      "the kernel gives no raw socket (\(error)): a sandbox (seccomp, gVisor) may forbid it"
    }
  }
}

extension StringProtocol {
  /// What a stranger sent, fit for a terminal: of control characters there are more than those below the space.
  var printable: String {
    String(unicodeScalars.prefix(200).map { (32..<127).contains($0.value) ? Character($0) : "?" })
  }
}
