// The rules, each with the evidence it is about and the evidence that must change its mind.

import Platform
import SeededRandom
import Telemetry
import Testing

@testable import Forensics

private let peer = SocketAddress(IPAddress(v4: 0x0A60_000A), port: 80)
private let real = SocketAddress(IPAddress(v4: 0x0A08_0309), port: 8080)

private func evidence(
  _ side: Side, _ phase: Phase, _ means: Means, _ change: (inout Evidence) -> Void = { _ in }
) -> Evidence {
  var evidence = Evidence(Ending(side, phase, means))
  evidence.socket.peer = peer
  evidence.connection.requests = 1
  evidence.connection.age = .seconds(60)
  change(&evidence)
  return evidence
}

private func packets(
  _ shape: PacketEvidence.Shape?, _ change: (inout PacketEvidence) -> Void = { _ in }
) -> PacketEvidence {
  var packets = PacketEvidence()
  packets.reset = shape.map { PacketEvidence.Reset($0, isOutgoing: false) }
  change(&packets)
  return packets
}

/// What a kernel tells, by offset: tcp(7), linux/tcp.h.
private func info(bytes: [Int: UInt8] = [:], words: [Int: UInt32] = [:], longs: [Int: UInt64] = [:])
  -> TCPInfo?
{
  var raw = [UInt8](repeating: 0, count: 248)
  for (offset, value) in bytes { raw[offset] = value }
  for (offset, value) in words {
    for index in 0..<4 { raw[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index)) }
  }
  for (offset, value) in longs {
    for index in 0..<8 { raw[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index)) }
  }
  return TCPInfo(raw)
}

/// Of a connection on which so much was sent and confirmed, the SYN not counted.
private func sent(_ sent: UInt64, confirmed: UInt64) -> TCPInfo? {
  info(longs: [200: sent, 120: confirmed + 1])
}

/// Of a connection on which the last content came, and the last segment, so many milliseconds ago.
private func silence(content: UInt32, segment: UInt32, probes: UInt8 = 0) -> TCPInfo? {
  info(bytes: [3: probes], words: [44: content, 52: content, 56: segment])
}

private func told(_ change: (inout KernelEvidence) -> Void) -> KernelEvidence {
  var kernel = KernelEvidence()
  change(&kernel)
  return kernel
}

@Suite("Judging an ending") struct JudgeTests {
  struct Row: Sendable, CustomTestStringConvertible {
    let name: String
    let evidence: Evidence
    let cause: Cause
    let atLeast: Int
    var atMost = 99
    var testDescription: String { name }
  }

  static let rows: [Row] = [
    Row(
      name: "we were told to end",
      evidence: evidence(.downstream, .content, .abort) { $0.own = .shutdown },
      cause: .proxyAborted, atLeast: 95),
    Row(
      name: "ECONNABORTED on an established connection",
      evidence: evidence(.upstream, .content, .reset) { $0.socket.errno = .connectionAborted },
      cause: .killedHere, atLeast: 95),
    Row(
      name: "no descriptor left",
      evidence: evidence(.upstream, .connect, .exhausted) { $0.socket.errno = .tooManyOpenFiles },
      cause: .localResources, atLeast: 95),
    Row(
      name:
        "refused, without packets: by a node in the name of a Service, for all one knows (lab L06)",
      evidence: evidence(.upstream, .connect, .reset) { $0.socket.errno = .connectionRefused },
      cause: .originRefused, atLeast: 75, atMost: 75),
    Row(
      name: "refused by a reset to the SYN",
      evidence: evidence(.upstream, .connect, .reset) {
        $0.socket.errno = .connectionRefused
        $0.packets = packets(.refusal)
      }, cause: .originRefused, atLeast: 95),
    Row(
      name: "a firewall says so of a connection that falls silent",
      evidence: evidence(.upstream, .content, .timeout) {
        $0.socket.errno = .timedOut
        $0.packets = packets(nil) { $0.unreachable = (IPAddress(v4: 0x0A00_0001), false, true) }
      }, cause: .pathRejected, atLeast: 90),
    Row(
      name: "somebody says that a firewall forbids it, and the origin goes on and says FIN",
      evidence: evidence(.upstream, .content, .finish) {
        $0.content.hasHead = true
        $0.content.answerBytes = 500
        $0.packets = packets(nil) { $0.unreachable = (IPAddress(v4: 0x0A00_0001), false, true) }
      }, cause: .originFinishedEarly, atLeast: 90),
    Row(
      name: "somebody says that a firewall forbids it, and the origin's socket sends a reset",
      evidence: evidence(.upstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.content.hasHead = true
        $0.content.answerBytes = 500
        $0.packets = packets(.active) { $0.unreachable = (IPAddress(v4: 0x0A00_0001), false, true) }
      }, cause: .originAborted, atLeast: 80),
    Row(
      name: "refused by a node in the name of a Service",
      evidence: evidence(.upstream, .connect, .reset) {
        $0.socket.errno = .connectionRefused
        $0.packets = packets(nil) {
          $0.unreachable = (IPAddress(v4: 0x0A00_0001), true, false)
        }
      }, cause: .serviceWithoutEndpoints, atLeast: 70, atMost: 79),
    Row(
      name: "refused by a rule on the origin's machine, whose kernel would send a reset",
      evidence: evidence(.upstream, .connect, .reset) {
        $0.socket.errno = .connectionRefused
        $0.packets = packets(nil) { $0.unreachable = (peer.ip, true, false) }
      }, cause: .pathRejected, atLeast: 70, atMost: 79),
    Row(
      name: "refused by a reset to nothing that was seen to leave: a rule of this machine's",
      evidence: evidence(.upstream, .connect, .reset) {
        $0.socket.errno = .connectionRefused
        $0.packets = packets(.active)
      }, cause: .pathRejected, atLeast: 70, atMost: 79),
    Row(
      name: "nobody answers the SYN",
      evidence: evidence(.upstream, .connect, .timeout), cause: .connectTimeout, atLeast: 90),
    Row(
      name: "a router says that there is no way",
      evidence: evidence(.upstream, .connect, .icmp) { $0.socket.errno = .hostUnreachable },
      cause: .unreachable, atLeast: 90),
    Row(
      name: "FIN in the middle of the content",
      evidence: evidence(.upstream, .content, .finish) {
        $0.content.expected = 100
        $0.content.received = 50
        $0.content.hasHead = true
      }, cause: .originFinishedEarly, atLeast: 95),
    Row(
      name: "FIN as the next request is sent",
      evidence: evidence(.upstream, .head, .finish) {
        $0.connection.requests = 3
        $0.socket.info = sent(300, confirmed: 200)
      }, cause: .originClosedIdle, atLeast: 80),
    Row(
      name: "FIN after the origin's kernel has taken the next request: its program died over it",
      evidence: evidence(.upstream, .head, .finish) {
        $0.connection.requests = 3
        $0.socket.info = sent(300, confirmed: 300)
      }, cause: .originFinishedEarly, atLeast: 70, atMost: 79),
    Row(
      name: "FIN and reset as the next request is sent",
      evidence: evidence(.upstream, .head, .reset) {
        $0.connection.requests = 3
        $0.socket.errorBehindEnd = Errno(rawValue: 32)
      }, cause: .originClosedIdle, atLeast: 80),
    Row(
      name: "reset as the next request is sent, and no FIN seen",
      evidence: evidence(.upstream, .head, .reset) {
        $0.connection.requests = 3
        $0.connection.idle = .seconds(7)
        $0.socket.errno = .connectionReset
      }, cause: .originClosedIdle, atLeast: 50, atMost: 60),
    Row(
      name: "dead after idling for as long as a balancer remembers",
      evidence: evidence(.upstream, .head, .reset) {
        $0.connection.requests = 3
        $0.connection.idle = .seconds(352)
        $0.socket.errno = .connectionReset
      }, cause: .natIdleExpired, atLeast: 40, atMost: 79),
    Row(
      name: "the third death after longer idling, where shorter is survived: or a restart",
      evidence: evidence(.upstream, .head, .reset) {
        $0.connection.requests = 3
        $0.connection.idle = .seconds(3)
        $0.socket.errno = .connectionReset
        $0.idleSurvival.survived(.milliseconds(1500))
        $0.idleSurvival.wasForgotten(after: .seconds(3))
        $0.idleSurvival.wasForgotten(after: .seconds(3))
        $0.packets = packets(.passive) { $0.reset?.isAfterIdle = true }
      }, cause: .natIdleExpired, atLeast: 70, atMost: 79),
    Row(
      name: "an origin's program resets in the middle",
      evidence: evidence(.upstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.content.hasHead = true
        $0.content.answerBytes = 1000
        $0.packets = packets(.active)
      }, cause: .originAborted, atLeast: 90),
    Row(
      name: "the same without packets is a suggestion",
      evidence: evidence(.upstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.content.hasHead = true
        $0.content.answerBytes = 1000
      }, cause: .originAborted, atLeast: 50, atMost: 60),
    Row(
      name: "an early answer, and a reset behind it",
      evidence: evidence(.upstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.content.hasHead = true
        $0.content.answerBytes = 1000
        $0.content.hasUnsentRequest = true
        $0.content.status = 413
      }, cause: .originRefusedContent, atLeast: 80),
    Row(
      name: "a reset within an answer that all is well, with the request still being sent",
      evidence: evidence(.upstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.content.hasHead = true
        $0.content.answerBytes = 1000
        $0.content.received = 1000
        $0.content.expected = 100_000
        $0.content.hasUnsentRequest = true
        $0.content.status = 200
        $0.packets = packets(.active)
      }, cause: .originAborted, atLeast: 80),
    Row(
      name: "a program that accepts and breaks off looks like a listener that closes",
      evidence: evidence(.upstream, .head, .reset) {
        $0.socket.errno = .connectionReset
        $0.connection.age = .milliseconds(5)
        $0.socket.info = sent(100, confirmed: 0)
        $0.packets = packets(.active)
      }, cause: .originListenerClosed, atLeast: 70, atMost: 79),
    Row(
      name: "silence in which the origin's kernel has answered",
      evidence: evidence(.upstream, .content, .timeout) {
        $0.own = .deadline
        $0.socket.info = silence(content: 30_000, segment: 400)
        $0.packets = packets(nil)
      }, cause: .originStalled, atLeast: 80),
    Row(
      name: "silence in which nobody was asked",
      evidence: evidence(.upstream, .content, .timeout) {
        $0.own = .deadline
        $0.socket.info = silence(content: 4000, segment: 3960)
        $0.packets = packets(nil)
      }, cause: .originStalled, atLeast: 60, atMost: 70),
    Row(
      name: "silence in which probes were not answered, and our limit came first",
      evidence: evidence(.upstream, .content, .timeout) {
        $0.own = .deadline
        $0.socket.info = silence(content: 4000, segment: 4000, probes: 2)
        $0.packets = packets(nil)
      }, cause: .peerSilent, atLeast: 70, atMost: 79),
    Row(
      name: "a stray of ours, before any error",
      evidence: evidence(.upstream, .content, .timeout) {
        $0.own = .deadline
        $0.packets = packets(nil) { $0.stray = real }
      }, cause: .undnatHere, atLeast: 95),
    Row(
      name: "silence, and a reset of ours that is none of our aborts",
      evidence: evidence(.upstream, .content, .timeout) {
        $0.own = .deadline
        $0.counters = ["OutRsts": 1]
      }, cause: .originStalled, atLeast: 50, atMost: 79),
    Row(
      name: "a client's kernel that knows no such connection, and a client that goes on",
      evidence: evidence(.downstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.packets = packets(.passive) { $0.peerAliveAfter = true }
      }, cause: .undnatThere, atLeast: 90),
    Row(
      name: "a client that left",
      evidence: evidence(.downstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.packets = packets(.active)
      }, cause: .clientLeft, atLeast: 95),
    Row(
      name: "a forged reset",
      evidence: evidence(.upstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.packets = packets(.handmade) { $0.peerAliveAfter = true }
      }, cause: .resetInjected, atLeast: 85),
    Row(
      name: "a firewall that rejects",
      evidence: evidence(.upstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.packets = packets(.passive) { $0.reset?.hopDifference = 1 }
      }, cause: .pathRejected, atLeast: 90),
    Row(
      name: "a firewall that rejects, and an origin that goes on (lab L15)",
      evidence: evidence(.upstream, .head, .reset) {
        $0.socket.errno = .connectionReset
        $0.packets = packets(.passive) {
          $0.reset?.hopDifference = 1
          $0.peerAliveAfter = true
        }
      }, cause: .pathRejected, atLeast: 95),
    Row(
      name: "a reset from far away, and an origin that goes on",
      evidence: evidence(.upstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.packets = packets(.active) {
          $0.reset?.hopDifference = 40
          $0.peerAliveAfter = true
        }
      }, cause: .resetInjected, atLeast: 90),
    Row(
      name:
        "reset between SYN-ACK and the first look, by a kernel that knew nothing of it (lab L07)",
      evidence: evidence(.upstream, .connect, .reset) {
        $0.socket.errno = .connectionReset
        $0.packets = packets(.passive)
      }, cause: .originAcceptOverflow, atLeast: 60, atMost: 60),
    Row(
      name: "the Service leads elsewhere now",
      evidence: evidence(.upstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.content.answerBytes = 10
        $0.packets = packets(.passive)
        $0.kernel = KernelEvidence()
        $0.kernel?.switchedFrom = real
      }, cause: .backendSwitched, atLeast: 95),
    Row(
      name: "the same, and the backend it led to before speaks untranslated afterwards (lab L26)",
      evidence: evidence(.upstream, .head, .reset) {
        $0.socket.errno = .connectionReset
        $0.packets = packets(.passive)
        $0.kernel = told {
          $0.switchedFrom = real
          $0.stray = real
        }
      }, cause: .backendSwitched, atLeast: 95),
    Row(
      name: "an entry that leads elsewhere now, without packets",
      evidence: evidence(.upstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.content.answerBytes = 10
        $0.kernel = told { $0.switchedFrom = real }
      }, cause: .backendSwitched, atLeast: 95),
    Row(
      name: "an entry that was forgotten in its time",
      evidence: evidence(.upstream, .head, .reset) {
        $0.socket.errno = .connectionReset
        $0.connection.requests = 2
        $0.connection.idle = .seconds(40)
        $0.packets = packets(.passive)
        $0.kernel = told {
          $0.hadEntry = true
          $0.isEntryLost = true
          $0.translatedSource = real
          $0.settings = KernelEvidence.Settings()
          $0.settings?.establishedTimeout = .seconds(30)
        }
      }, cause: .natIdleExpired, atLeast: 95),
    Row(
      name: "an entry that somebody deleted",
      evidence: evidence(.upstream, .head, .reset) {
        $0.socket.errno = .connectionReset
        $0.connection.requests = 2
        $0.connection.idle = .seconds(40)
        $0.kernel = told {
          $0.hadEntry = true
          $0.hasEntry = false
          $0.realPeer = real
          $0.settings = KernelEvidence.Settings()
          $0.settings?.establishedTimeout = .seconds(432_000)
        }
      }, cause: .natIdleExpired, atLeast: 80, atMost: 85),
    Row(
      name: "an entry that is gone where nothing is translated",
      evidence: evidence(.upstream, .head, .reset) {
        $0.socket.errno = .connectionReset
        $0.connection.requests = 2
        $0.connection.idle = .seconds(40)
        $0.kernel = told {
          $0.hadEntry = true
          $0.hasEntry = false
          $0.realPeer = peer
        }
      }, cause: .originClosedIdle, atLeast: 40, atMost: 79),
    Row(
      name: "a table that could tell and has nothing to tell proves nothing",
      evidence: evidence(.upstream, .head, .reset) {
        $0.socket.errno = .connectionReset
        $0.connection.requests = 2
        $0.connection.idle = .seconds(350)
        $0.packets = packets(.passive)
        $0.kernel = told {
          $0.hadEntry = true
          $0.hasEntry = true
        }
      }, cause: .natIdleExpired, atLeast: 40, atMost: 79),
    Row(
      name: "the kernel itself tells of a reset to the real origin",
      evidence: evidence(.upstream, .content, .timeout) {
        $0.own = .deadline
        $0.kernel = told { $0.stray = real }
      }, cause: .undnatHere, atLeast: 99),
    Row(
      name: "no answer, and a table that dropped for want of room",
      evidence: evidence(.upstream, .connect, .timeout) {
        $0.socket.errno = .timedOut
        $0.counters = ["conntrack.drop": 4]
        $0.kernel = told {
          var settings = KernelEvidence.Settings()
          settings.count = 998
          settings.maximum = 1000
          $0.settings = settings
        }
      }, cause: .conntrackFull, atLeast: 97),
    Row(
      name: "no answer, and a table with room that has dropped something for another reason",
      evidence: evidence(.upstream, .connect, .timeout) {
        $0.socket.errno = .timedOut
        $0.counters = ["conntrack.drop": 4]
      }, cause: .connectTimeout, atLeast: 90),
    Row(
      name: "a young connection, and a listener without room",
      evidence: evidence(.upstream, .head, .reset) {
        $0.socket.errno = .connectionReset
        $0.connection.age = .seconds(1)
        $0.connection.requests = 1
        $0.packets = packets(.passive)
        $0.kernel = told { $0.counters = ["ListenOverflows": 1, "EmbryonicRsts": 1] }
      }, cause: .originAcceptOverflow, atLeast: 90),
    Row(
      name: "a listener without room, and no handshake that was reset: perhaps another one",
      evidence: evidence(.upstream, .head, .reset) {
        $0.socket.errno = .connectionReset
        $0.connection.age = .seconds(2)
        $0.packets = packets(.passive)
        $0.kernel = told { $0.counters = ["ListenOverflows": 1] }
      }, cause: .originAcceptOverflow, atLeast: 40, atMost: 70),
    Row(
      name: "the same of somebody else's listeners",
      evidence: evidence(.upstream, .head, .reset) {
        $0.socket.errno = .connectionReset
        $0.connection.age = .seconds(1)
        $0.connection.requests = 1
        $0.counters = ["ListenOverflows": 1]
        $0.packets = packets(.passive)
      }, cause: .originAcceptOverflow, atLeast: 40, atMost: 70),
    Row(
      name: "a client whose entry has not seen the reset",
      evidence: evidence(.downstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.kernel = told {
          $0.hasEntry = true
          $0.entry = KernelEvidence.Entry()
          $0.entry?.state = "established"
        }
      }, cause: .undnatThere, atLeast: 97),
    Row(
      name: "a client whose entry has",
      evidence: evidence(.downstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.kernel = told {
          $0.hasEntry = true
          $0.entry = KernelEvidence.Entry()
          $0.entry?.state = "close"
        }
      }, cause: .clientLeft, atLeast: 60, atMost: 60),
    Row(
      name: "the reason of an origin's kernel that is ours",
      evidence: evidence(.upstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.content.answerBytes = 10
        $0.connection.age = .seconds(9)
        $0.kernel = told { $0.sentByPeer = KernelEvidence.Reset(reason: "TCP_ABORT_ON_CLOSE") }
      }, cause: .originAborted, atLeast: 95),
    Row(
      name: "a stall, and no resets but those that programs sent",
      evidence: evidence(.upstream, .content, .timeout) {
        $0.own = .deadline
        $0.counters = ["OutRsts": 5, "TCPAbortOnData": 3, "TCPAbortOnClose": 2]
      }, cause: .originStalled, atLeast: 80),
    Row(
      name: "a reset of ours to a stranger, and the socket was not at its place",
      evidence: evidence(.upstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.content.answerBytes = 10
        $0.packets = packets(.active) {
          $0.stray = real
          $0.isStrayExact = false
        }
      }, cause: .originAborted, atLeast: 60, atMost: 79),
    Row(
      name: "the same, to whom the table of connections says that the Service leads",
      evidence: evidence(.upstream, .content, .timeout) {
        $0.own = .deadline
        $0.packets = packets(nil) {
          $0.stray = real
          $0.isStrayExact = false
        }
        $0.kernel = told { $0.realPeer = real }
      }, cause: .undnatHere, atLeast: 97),
    Row(
      name: "a reset whose place nobody knows",
      evidence: evidence(.downstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.packets = packets(.handmade) { $0.reset?.isExact = nil }
      }, cause: .resetInjected, atLeast: 60, atMost: 79),
    Row(
      name: "a hop limit that no way explains",
      evidence: evidence(.upstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.content.answerBytes = 10
        $0.packets = packets(.passive) {
          $0.reset?.hopDifference = 24
          $0.reset?.isShorterWay = false
        }
      }, cause: .pathRejected, atLeast: 60, atMost: 79),
    Row(
      name: "a client's kernel that does not know it, and a program with a hop limit of its own",
      evidence: evidence(.downstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.packets = packets(.passive) {
          $0.reset?.hopDifference = -191
          $0.reset?.isShorterWay = false
          $0.peerAliveAfter = true
        }
      }, cause: .resetInjected, atLeast: 60, atMost: 79),
    Row(
      name: "a reset that came too soon, where packets were lost",
      evidence: evidence(.upstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.content.answerBytes = 10
        $0.packets = packets(.passive) {
          $0.reset?.isNear = true
          $0.lost = 3
        }
      }, cause: .pathRejected, atLeast: 60, atMost: 79),
    Row(
      name: "an abort with an odd number",
      evidence: evidence(.upstream, .content, .reset) {
        $0.socket.errno = .connectionReset
        $0.content.answerBytes = 10
        $0.packets = packets(.active) { $0.reset?.isOdd = true }
      }, cause: .originAborted, atLeast: 60, atMost: 79),
    Row(
      name: "a stall with all confirmed, and a router that says there is no way",
      evidence: evidence(.upstream, .content, .timeout) {
        $0.own = .deadline
        $0.socket.info = TCPInfo([1] + [UInt8](repeating: 0, count: 231))
        $0.socket.softError = .hostUnreachable
        $0.packets = packets(nil) {
          $0.unreachable = (IPAddress(v4: 0x0A00_0001), false, false)
        }
      }, cause: .originStalled, atLeast: 70),
    Row(
      name: "a FIN unlike the peer's packets, and a peer that goes on",
      evidence: evidence(.upstream, .content, .finish) {
        $0.content.answerBytes = 10
        $0.packets = packets(nil) {
          $0.finish = PacketEvidence.Finish()
          $0.finish?.hopDifference = 137
          $0.finish?.hasGoneOn = true
        }
      }, cause: .originFinishedEarly, atLeast: 60, atMost: 79),
    Row(
      name: "a client that said FIN, as it may, and a reset that somebody else wrote",
      evidence: evidence(.downstream, .content, .finish) {
        $0.socket.errorBehindEnd = Errno(rawValue: 32)
        $0.packets = packets(.handmade) { $0.peerFinished = true }
      }, cause: .resetInjected, atLeast: 80),
    Row(
      name: "a client that said FIN, and its kernel's reset",
      evidence: evidence(.downstream, .content, .finish) {
        $0.socket.errorBehindEnd = Errno(rawValue: 32)
        $0.packets = packets(.passive) { $0.peerFinished = true }
      }, cause: .clientLeft, atLeast: 95),
    Row(
      name: "an alert",
      evidence: evidence(.upstream, .tls, .alert) { $0.alert = "unknown_ca" },
      cause: .tlsAlert, atLeast: 90),
    Row(
      name: "a certificate that we do not accept",
      evidence: evidence(.upstream, .tls, .abort) {
        $0.own = .tls
        $0.complaint = "self-signed certificate"
      }, cause: .tlsRefused, atLeast: 95),
    Row(
      name: "no memory for TLS",
      evidence: evidence(.upstream, .content, .exhausted) { $0.complaint = "out of memory" },
      cause: .localResources, atLeast: 95),
    Row(
      name: "no port left to connect from",
      evidence: evidence(.upstream, .connect, .exhausted) {
        $0.socket.errno = .addressNotAvailable
      }, cause: .localResources, atLeast: 95),
    Row(
      name: "no port left for IPv6, or its address is being tried out yet",
      evidence: evidence(.upstream, .connect, .exhausted) {
        $0.socket.errno = .addressNotAvailable
        $0.socket.peer = SocketAddress("[2001:db8::7]:80")
      }, cause: .localResources, atLeast: 50, atMost: 79),
    Row(
      name: "no address of that family to connect from",
      evidence: evidence(.upstream, .connect, .exhausted) {
        $0.socket.errno = .addressNotAvailable
        $0.socket.hasNoWay = true
      }, cause: .noRouteHere, atLeast: 95),
    Row(
      name: "no route here",
      evidence: evidence(.upstream, .connect, .exhausted) {
        $0.socket.errno = .networkUnreachable
        $0.socket.hasNoWay = true
        $0.packets = packets(nil)
      }, cause: .noRouteHere, atLeast: 95),
    Row(
      name: "an answer that is no HTTP",
      evidence: evidence(.upstream, .head, .malformed) { $0.own = .malformed },
      cause: .originMalformed, atLeast: 90),
  ]

  @Test("each rule", arguments: rows)
  func rule(row: Row) {
    let verdict = Judge.judge(row.evidence)
    #expect(verdict.cause == row.cause)
    #expect((row.atLeast...row.atMost).contains(verdict.confidence), "\(verdict.confidence)")
    #expect(!verdict.reasons.isEmpty)
  }

  @Test("whatever is observed, fewer sensors never make a verdict surer, and it has reasons")
  func monotonous() {
    var random = SeededGenerator(seed: 1)
    for _ in 0..<50_000 {
      let all = Self.random(&random)
      var fewer = all
      if fewer.kernel != nil {
        fewer.kernel = nil
      } else if fewer.packets != nil {
        fewer.packets = nil
      } else {
        fewer.counters = nil
      }
      let with = Judge.judge(all)
      let without = Judge.judge(fewer)
      #expect((0...99).contains(with.confidence))
      #expect(without.confidence <= with.confidence, "\(without) \(with) \(all)")
      #expect(with.cause == .unexplained || !with.reasons.isEmpty, "\(all)")
    }
  }

  @Test("a socket alone never says that a reset was one of those it cannot tell apart")
  func modest() {
    var random = SeededGenerator(seed: 2)
    for _ in 0..<50_000 {
      var evidence = Self.random(&random)
      evidence.packets = nil
      evidence.kernel = nil
      evidence.counters = nil
      let verdict = Judge.judge(evidence)
      if evidence.ending.means == .reset, evidence.own == nil,
        evidence.socket.errno == .connectionReset,
        evidence.socket.errorBehindEnd == nil, !evidence.content.hasHead
      {
        #expect(verdict.confidence < 80, "\(verdict) of \(evidence)")
      }
    }
  }

  private static func random(_ random: inout SeededGenerator) -> Evidence {
    var evidence = Evidence(
      Ending(
        random.pick(Side.allCases), random.pick(Phase.allCases), random.pick(Means.allCases)))
    evidence.socket.peer = peer
    evidence.socket.errno = random.pick(
      [nil, .connectionReset, .connectionRefused, .timedOut, .hostUnreachable, .connectionReset])
    if random.oneIn(6) { evidence.socket.errorBehindEnd = Errno(rawValue: 32) }
    evidence.connection.requests = random.below(4)
    evidence.connection.age = .seconds(random.below(10))
    evidence.connection.idle = .seconds(random.below(700))
    evidence.content.hasHead = random.oneIn(2)
    evidence.content.hasUnsentRequest = random.oneIn(4)
    evidence.content.answerBytes = Int64(random.oneIn(2) ? 0 : random.below(1000))
    if random.oneIn(4) { evidence.own = random.pick(OwnReason.allCases) }
    if random.oneIn(2) { evidence.counters = counters(&random) }
    if random.oneIn(3) { evidence.socket.local = random.oneIn(2) ? peer : real }
    if random.oneIn(2) {
      var packets = PacketEvidence()
      if random.oneIn(2) {
        var reset = PacketEvidence.Reset(
          random.pick([.active, .passive, .refusal, .handmade]), isOutgoing: false)
        reset.hopDifference = random.oneIn(4) ? random.below(3) - 1 : 0
        reset.isNear = random.oneIn(8)
        reset.isShorterWay = random.oneIn(2)
        reset.isOdd = random.oneIn(6)
        if random.oneIn(6) { reset.isExact = nil }
        reset.isAfterIdle = random.oneIn(4)
        packets.reset = reset
      }
      packets.peerFinished = random.oneIn(3)
      packets.peerAliveAfter = random.pick([nil, true, false])
      if random.oneIn(8) { packets.stray = real }
      packets.isStrayExact = random.oneIn(2)
      packets.lost = random.oneIn(8) ? 1 : 0
      evidence.packets = packets
      if evidence.counters == nil { evidence.counters = [:] }
    }
    if random.oneIn(2) { evidence.kernel = kernel(&random) }
    return evidence
  }

  private static func counters(_ random: inout SeededGenerator) -> [String: Int64] {
    var counters: [String: Int64] = [:]
    for name in [
      "OutRsts", "TCPAbortOnData", "ListenOverflows", "conntrack.drop", "conntrack.invalid",
    ] where random.oneIn(3) {
      counters[name] = Int64(random.below(3))
    }
    return counters
  }

  private static func kernel(_ random: inout SeededGenerator) -> KernelEvidence {
    var kernel = KernelEvidence()
    if random.oneIn(4) { kernel.switchedFrom = real }
    if random.oneIn(4) { kernel.realPeer = real }
    if random.oneIn(8) { kernel.stray = real }
    kernel.hadEntry = random.pick([nil, true, false])
    kernel.hasEntry = random.pick([nil, true, false])
    kernel.isEntryLost = random.oneIn(4)
    if random.oneIn(2) {
      kernel.entry = KernelEvidence.Entry()
      kernel.entry?.state = random.pick(["established", "close", nil])
    }
    if random.oneIn(2) {
      kernel.settings = KernelEvidence.Settings()
      kernel.settings?.establishedTimeout = .seconds(random.below(700))
      kernel.settings?.count = Int64(random.below(100))
      kernel.settings?.maximum = 99
    }
    kernel.counters = counters(&random)
    if random.oneIn(3) {
      kernel.sentByPeer = KernelEvidence.Reset(
        reason: random.pick([nil, "TCP_STATE", "NO_SOCKET", "TCP_TIMEWAIT_SOCKET", "77"]))
    }
    if random.oneIn(4) { kernel.sent = KernelEvidence.Reset(reason: "NO_SOCKET") }
    kernel.isResetBelieved = random.oneIn(2)
    if random.oneIn(4) { kernel.machineDrops = ["TCP_LISTEN_OVERFLOW": 1] }
    kernel.invalidPackets = random.pick([nil, 0, 2])
    return kernel
  }
}

@Suite("Causes") struct CauseTests {
  @Test(
    "each has a meaning and a remedy, and no sensor makes it less sure", arguments: Cause.allCases)
  func complete(cause: Cause) {
    #expect(cause.meaning.hasSuffix(".") && cause.remedy.hasSuffix("."))
    let rising = Tier.allCases.map { cause.confidence(with: $0) }
    #expect(rising == rising.sorted())
  }
}

extension SeededGenerator {
  fileprivate mutating func below(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &self) }
  fileprivate mutating func oneIn(_ count: Int) -> Bool { below(count) == 0 }
  fileprivate mutating func pick<Element>(_ elements: [Element]) -> Element {
    elements[below(elements.count)]
  }
}
