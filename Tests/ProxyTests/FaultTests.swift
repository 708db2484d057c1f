// Of several attempts to connect, which one tells; and what a failure of TLS was.

import Forensics
import IO
import Platform
import Telemetry
import Testing

@testable import Proxy
@testable import TLS

@Suite("What an error was on the wire") struct FaultTests {
  private static let v6 = SocketAddress("[2001:db8::7]:80")
  private static let v4 = SocketAddress("192.0.2.1:80")
  private static let machine = ["127.0.0.1", "192.0.2.9"].compactMap { IPAddress($0) }

  /// What becomes of an attempt.
  enum Fate {
    case refusedHere(Errno)
    /// After so many milliseconds.
    case failed(Errno, Int)
    case silent
  }

  /// A race between an IPv6 address and an IPv4 one.
  private func race(_ fates: [Fate], _ addresses: [SocketAddress?] = [v6, v4])
    -> [ConnectionRace.Attempt]
  {
    let start = Instant(nanoseconds: 1_000_000_000)
    var race = ConnectionRace(
      addresses.compactMap(\.self), now: start, timeout: .milliseconds(5000))
    for milliseconds in 0...5000 {
      let now = start + .milliseconds(milliseconds)
      for (index, fate) in fates.enumerated() {
        if case .failed(let errno, milliseconds) = fate { race.failed(index, errno, now) }
      }
      while case .begin(let index) = race.step(now) {
        if case .refusedHere(let errno) = fates[index] {
          race.failed(index, errno, now, isRefusedHere: true)
        }
      }
    }
    return race.attempts
  }

  private func verdict(_ fault: Fault) -> Verdict {
    var evidence = Evidence(Ending(.upstream, .connect, fault.means))
    evidence.own = fault.own
    evidence.complaint = fault.complaint
    evidence.socket.errno = fault.errno
    evidence.socket.hasNoWay = fault.hasNoWay
    evidence.socket.peer = fault.attempt?.address
    return Judge.judge(evidence)
  }

  @Test(
    "where one family has no way, what the other one came to tells",
    arguments: [.addressNotAvailable, .networkUnreachable, .accessDenied] as [Errno])
  func dualStack(errno: Errno) throws {
    let silent = try #require(Fault(race([.refusedHere(errno), .silent])) { Self.machine })
    #expect(silent.means == .timeout && silent.errno == .timedOut && !silent.hasNoWay)
    #expect(silent.attempt?.address == Self.v4)
    #expect(verdict(silent).cause == .connectTimeout)
    #expect(ConnectFailure(race([.refusedHere(errno), .silent])) == .timeout)
    let refused = try #require(
      Fault(race([.refusedHere(errno), .failed(.connectionRefused, 3)])) { Self.machine })
    #expect(refused.errno == .connectionRefused && refused.attempt?.address == Self.v4)
    // Whichever is tried first.
    let swapped = try #require(
      Fault(race([.failed(.connectionRefused, 3), .refusedHere(errno)], [Self.v4, Self.v6])) {
        Self.machine
      })
    #expect(swapped.errno == .connectionRefused && swapped.attempt?.address == Self.v4)
  }

  @Test("who was silent to the end tells before who refused, and a long wait before a short one")
  func longest() throws {
    let silent = try #require(Fault(race([.silent, .failed(.connectionRefused, 260)])))
    #expect(silent.errno == .timedOut && silent.attempt?.address == Self.v6)
    let slow = try #require(
      Fault(race([.failed(.hostUnreachable, 3000), .failed(.connectionRefused, 260)])))
    #expect(slow.means == .icmp && slow.attempt?.address == Self.v6)
    #expect(Fault([]) == nil)
  }

  @Test("no address of a family, or no route, is no shortage and no router's word")
  func noWay() throws {
    for errno in [Errno.addressNotAvailable, .networkUnreachable, .hostUnreachable, .notPermitted] {
      let fault = try #require(Fault(race([.refusedHere(errno)], [Self.v6])) { Self.machine })
      #expect(fault.means == .exhausted && fault.hasNoWay)
      #expect(verdict(fault).cause == .noRouteHere, "\(errno)")
    }
    // The loopback address leads to nobody else.
    let loopback = ["::1", "127.0.0.1"].compactMap { IPAddress($0) }
    let v6 = try #require(Fault(race([.refusedHere(.addressNotAvailable)], [Self.v6])) { loopback })
    #expect(v6.hasNoWay)
    // Here is an address, so it is ports that are missing.
    let ports = try #require(
      Fault(race([.refusedHere(.addressNotAvailable)], [Self.v4])) { Self.machine })
    #expect(!ports.hasNoWay && verdict(ports).cause == .localResources)
    // A router's message has come by the network.
    let told = try #require(Fault(race([.failed(.networkUnreachable, 5)], [Self.v4])))
    #expect(told.means == .icmp && verdict(told).cause == .unreachable)
    // A shortage is news where the other family has no way at all.
    let both = try #require(
      Fault(race([.refusedHere(.noMemory), .refusedHere(.networkUnreachable)])))
    #expect(verdict(both).cause == .localResources)
  }

  @Test("what TLS comes to grief over is told apart by who ended it, and why")
  func tls() {
    let problem = CertificateProblem(reason: "certificate has expired", certificate: nil, depth: 0)
    let untrusted = Fault(.certificate(problem), isShakingHands: true)
    #expect(untrusted.means == .abort)
    #expect(verdict(untrusted).cause == .tlsRefused)
    #expect(verdict(untrusted).reasons.first?.contains("certificate has expired") == true)
    let nothing = Fault(
      .protocolError(reason: "unsupported protocol", alertSent: nil), isShakingHands: true)
    #expect(verdict(nothing).cause == .tlsRefused)
    let damaged = Fault(
      .protocolError(reason: "bad record mac", alertSent: nil), isShakingHands: false)
    #expect(verdict(damaged).cause == .originMalformed)
    #expect(verdict(Fault(.notTLS, isShakingHands: true)).cause == .originMalformed)
    let memory = Fault(.unavailable(reason: "malloc failure"), isShakingHands: false)
    #expect(verdict(memory).cause == .localResources)
    #expect(verdict(memory).reasons.first?.contains("malloc failure") == true)
  }
}
