// The catalogue of causes: a stable code for each, how sure one may be of it with which sensors, what it means and what
// to do. Codes are for machines and never change their meaning; the sentences are for somebody at night.

/// Why a connection ended.
public enum Cause: String, CaseIterable, Sendable {
  // The client's side.
  case clientLeft = "client-left"
  case clientHalfClose = "client-half-close"
  // The origin's program and kernel.
  case originRefused = "origin-refused"
  case serviceWithoutEndpoints = "service-without-endpoints"
  case originAcceptOverflow = "origin-accept-overflow"
  case originListenerClosed = "origin-listener-closed"
  case originClosedIdle = "origin-closed-idle"
  case originAborted = "origin-aborted"
  case originFinishedEarly = "origin-finished-early"
  case originRefusedContent = "origin-refused-content"
  case originLostState = "origin-lost-state"
  case originMalformed = "origin-malformed"
  case originStalled = "origin-stalled"
  // Translation and state on the path.
  case undnatHere = "undnat-here"
  case undnatThere = "undnat-there"
  case backendSwitched = "backend-switched"
  case natIdleExpired = "nat-idle-expired"
  case conntrackFull = "conntrack-full"
  // Interference.
  case pathRejected = "path-rejected"
  case resetInjected = "reset-injected"
  case resetIgnored = "reset-ignored"
  // Loss.
  case connectTimeout = "connect-timeout"
  case unreachable = "unreachable"
  case noRouteHere = "no-route-here"
  case blackhole = "blackhole"
  case pmtuBlackhole = "pmtu-blackhole"
  case peerSilent = "peer-silent"
  // TLS, and this machine.
  case tlsAlert = "tls-alert"
  case tlsRefused = "tls-refused"
  case proxyAborted = "proxy-aborted"
  case killedHere = "killed-here"
  case localResources = "local-resources"
  case unexplained = "unexplained"

  /// How sure one may be of it in a fresh case, in hundredths. A cause that needs a sensor counts next to nothing
  /// without it, and no sensor ever makes a verdict less sure.
  public func confidence(with tier: Tier) -> Int {
    let row: (Int, Int, Int, Int) =
      switch self {
      case .clientLeft: (60, 60, 95, 97)
      case .clientHalfClose: (90, 90, 90, 90)
      case .originRefused: (80, 80, 97, 97)
      case .serviceWithoutEndpoints: (30, 30, 90, 97)
      case .originAcceptOverflow: (40, 40, 60, 90)
      case .originListenerClosed: (40, 40, 85, 90)
      case .originClosedIdle: (80, 80, 95, 95)
      case .originAborted: (60, 60, 90, 95)
      case .originFinishedEarly: (95, 95, 97, 97)
      case .originRefusedContent: (80, 80, 95, 95)
      case .originLostState: (30, 30, 70, 80)
      case .originMalformed: (95, 95, 95, 95)
      case .originStalled: (80, 80, 90, 90)
      case .undnatHere: (10, 40, 97, 99)
      case .undnatThere: (10, 10, 70, 97)
      case .backendSwitched: (10, 10, 40, 97)
      case .natIdleExpired: (40, 40, 50, 95)
      case .conntrackFull: (10, 10, 20, 97)
      case .pathRejected: (20, 20, 90, 95)
      case .resetInjected: (10, 10, 90, 90)
      case .resetIgnored: (10, 50, 95, 95)
      case .connectTimeout: (90, 90, 95, 95)
      case .unreachable: (90, 90, 97, 97)
      case .noRouteHere: (95, 95, 95, 95)
      case .blackhole: (85, 90, 93, 93)
      case .pmtuBlackhole: (40, 40, 70, 70)
      case .peerSilent: (90, 90, 95, 95)
      case .tlsAlert: (90, 90, 90, 90)
      case .tlsRefused: (99, 99, 99, 99)
      case .proxyAborted: (99, 99, 99, 99)
      case .killedHere: (98, 98, 98, 98)
      case .localResources: (95, 95, 95, 95)
      case .unexplained: (0, 0, 0, 0)
      }
    return switch tier {
    case .sockets: row.0
    case .counters: row.1
    case .packets: row.2
    case .kernel: row.3
    }
  }

  /// Its column for the kernel holds only where the kernel has said what makes sure of it, and not merely could have.
  var takesProof: Bool {
    switch self {
    case .serviceWithoutEndpoints, .originAcceptOverflow, .originLostState, .undnatHere,
      .undnatThere, .backendSwitched, .natIdleExpired, .conntrackFull:
      true
    default: false
    }
  }

  /// What happened, in a sentence.
  public var meaning: String {
    switch self {
    case .clientLeft: "The client closed its connection before it had its whole answer."
    case .clientHalfClose:
      "The client said that it would send no more, and went on waiting for its answer, as it may."
    case .originRefused:
      "The connection was refused in the origin's name: as a rule nothing listens at its address and port. A firewall that"
        + " rejects with a reset looks the same."
    case .serviceWithoutEndpoints:
      "A node refused the connection in the name of a Service that has no endpoint that is ready."
    case .originAcceptOverflow:
      "The origin's kernel had no room left for connections that its program had not accepted yet."
    case .originListenerClosed:
      "The origin's program stopped listening while this connection waited to be accepted, as in a restart."
    case .originClosedIdle:
      "The origin had just closed the kept connection, for it had been idle, when the next request was sent on it."
    case .originAborted:
      "The origin's program broke the connection off: it crashed, was killed, or closed it without having read all."
    case .originFinishedEarly:
      "The origin closed the connection in order, but before the content was complete."
    case .originRefusedContent:
      "The origin answered before it had read the whole request, and broke the connection off behind its answer."
    case .originLostState:
      "The origin's machine no longer knew the connection: it was restarted, or the pod behind the address is another one."
    case .originMalformed:
      "The origin answered with something that is not HTTP (or not TLS, where that was to come first), or contradicts itself."
    case .originStalled:
      "The connection was in order, but the origin's program sent nothing for too long."
    case .undnatHere:
      "A packet of the origin reached this machine with its address untranslated. The kernel knew no such connection and"
        + " reset it, which killed the origin's side; ours did not notice."
    case .undnatThere:
      "A packet of ours reached the client with our real address in the place of the Service's. The client's kernel knew no"
        + " such connection and reset it, which killed ours."
    case .backendSwitched:
      "The entry that led this connection to its backend was lost, and the next packet went to another backend, which knew"
        + " nothing of it."
    case .natIdleExpired:
      "Something on the path (NAT, load balancer, firewall) had forgotten the connection while it was idle."
    case .conntrackFull:
      "The table of connections of a node was full, and it dropped packets for that reason."
    case .pathRejected:
      "A firewall between here and the peer rejected the connection; the peer has not ended it."
    case .resetInjected: "Somebody who is not the peer forged a reset."
    case .resetIgnored:
      "A reset came that fits no connection exactly. It was ignored, and nothing broke."
    case .connectTimeout: "Nobody answered the attempt to connect."
    case .unreachable:
      "The peer cannot be reached: a router said so, or nobody on its own network answered for its address."
    case .noRouteHere:
      "This machine has no way to the address: no route, no address of its family to come from, or a rule that forbids it."
    case .blackhole:
      "What was sent is not confirmed any more: packets vanish on the way, or the peer's machine is gone."
    case .pmtuBlackhole: "Small packets arrive and large ones vanish on the way."
    case .peerSilent: "The peer's machine no longer answers keepalive probes."
    case .tlsAlert: "The peer ended TLS with an alert."
    case .tlsRefused:
      "Holdfast ended the handshake of TLS: it does not accept the certificate that was shown, or what came is not in"
        + " order, or there is nothing that both can speak."
    case .proxyAborted: "Holdfast ended the connection itself."
    case .killedHere: "Somebody on this machine destroyed the socket."
    case .localResources: "This machine had no descriptor, memory or port left."
    case .unexplained: "Nothing that was observed says why."
    }
  }

  /// What to do about it, in plain words.
  public var remedy: String {
    switch self {
    case .clientLeft, .clientHalfClose:
      "Nothing to do here. If builds are cancelled often, this is how it shows."
    case .originRefused:
      "See whether the origin runs and listens on this port; if it does, look for a rule that rejects."
    case .serviceWithoutEndpoints: "See the Service's endpoints and the readiness of its pods."
    case .originAcceptOverflow:
      "Raise the backlog of the origin's listen(2) and net.core.somaxconn there, or give it more processors."
    case .originListenerClosed:
      "Have the origin drain before it restarts. A second attempt usually succeeds."
    case .originClosedIdle:
      "Set `upstream.idle-timeout` below the time after which the origin closes idle connections."
    case .originAborted:
      "Look at the origin's logs at this time: crash, out of memory, restart, time limit."
    case .originFinishedEarly:
      "Look at the origin's logs at this time, and at its limits of time and size for answers."
    case .originRefusedContent:
      "See the answer's status: the origin did not want this content. Clients that send `Expect: 100-continue` save it."
    case .originLostState: "Look for a restart of the origin, or of its pod, at this time."
    case .originMalformed: "Ask the origin directly and look at its answer; tell whoever runs it."
    case .originStalled:
      "Look at the origin's load at this time; `upstream.read-timeout` says how long it may be silent."
    case .undnatHere, .undnatThere:
      "On the node that translates: `sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1`, or drop what conntrack calls"
        + " INVALID in FORWARD (in INPUT where it masquerades)."
    case .backendSwitched:
      "Look for pods of this Service that came or went at this time; let them drain before they end."
    case .natIdleExpired:
      "Set `upstream.idle-timeout` below the time after which the flow is forgotten, or keepalive probes below it."
    case .conntrackFull:
      "Raise net.netfilter.nf_conntrack_max on the node, and look for who opens so many connections."
    case .pathRejected:
      "Look for the rule: network policies, security groups, firewalls on the way to the peer."
    case .resetInjected:
      "Look for an intrusion prevention system or a policy box on the path; TLS or another route avoids it."
    case .resetIgnored: "Nothing to do; if there are many, somebody tries to break connections."
    case .connectTimeout:
      "Look at the route, at firewalls that drop without a word, and whether the origin's machine is up."
    case .unreachable:
      "Look at the route from here to the peer; whoever sent the message knows where it ends."
    case .noRouteHere:
      "See `ip route get` with the address, the addresses of this machine, and the rules of its firewall for what it sends."
    case .blackhole:
      "Look at the path and whether the peer's machine is up; a firewall that lost its state drops like this."
    case .pmtuBlackhole:
      "Lower the MSS or MTU on this path, set net.ipv4.tcp_mtu_probing=1, or let ICMP \"fragmentation needed\" through."
    case .peerSilent:
      "See whether the peer's machine is up, and whether the path forgets idle flows."
    case .tlsAlert:
      "The alert's name says what the peer did not like: versions, certificate, or names."
    case .tlsRefused:
      "The record says what is not accepted. An authority that is to be trusted belongs into the file of `upstream.ca`; a"
        + " certificate that has expired, or is another host's, is for whoever runs the origin."
    case .proxyAborted: "The record names the limit; raise it if it was in the way."
    case .killedHere:
      "Look for who runs `ss -K`, or a tool that destroys sockets of pods that have ended."
    case .localResources:
      "Raise the limit that errno names: descriptors (`ulimit -n`), ports, or memory."
    case .unexplained:
      "More sensors would show more: docs/endings.md says what each of them needs."
    }
  }
}
