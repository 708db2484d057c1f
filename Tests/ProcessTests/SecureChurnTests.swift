// TLS connections by the thousand, most of which end badly: on a listener, in decrypted tunnels and to an origin, with and
// without tickets, broken off at any place by FIN, RST or close_notify. Afterwards nothing may be left of them.
//
//   HOLDFAST_TLS_CHURN         connections of clients (2000)
//   HOLDFAST_EXECUTABLE        a program built with the address sanitizer: it says at its end what it found
//   HOLDFAST_SANITIZED=1       memory is not judged, because the sanitizer keeps what was freed

import COpenSSL
import Foundation
import Glibc
import SeededRandom
import TLSPeer
import Testing

extension WholeProgram {
  @Suite(
    "TLS connections by the thousand",
    .enabled(if: isInstalled("openssl"), "openssl is missing: `scripts/setup test` installs it"))
  struct SecureChurnTests {
    private static let count = setting("HOLDFAST_TLS_CHURN", default: 2000)
    private static let isSanitized = setting("HOLDFAST_SANITIZED", default: 0) == 1
    private static let lanes = 4
    /// After a fifth of all connections, what the rest may add.
    private static let growthLimit = 8 << 20

    @Test("they leave no connection, no descriptor and no memory behind")
    func churn() throws {
      let directory = try TemporaryDirectory()
      let certificates = try Certificates(in: directory.path + "/certificates")
      let origin = try SecureOrigin(certificates)
      defer { origin.stop() }
      try shell(
        "'\(HoldfastProcess.executable())' ca init --ca '\(directory.path)/ca' --host 127.0.0.1")
      var configuration = HoldfastProcess.Configuration()
      configuration.listen =
        "[127.0.0.1:0, { address: 127.0.0.1:0, tls: { certificate: \(certificates.chain), key: \(certificates.leafKey) } }]"
      configuration.connectPorts = "[1-65535]"
      configuration.more = """
        intercept: { hosts: [127.0.0.1], ca: \(directory.path)/ca }
        upstream: { ca: \(certificates.root), idle-timeout: 1s }
        """
      let holdfast = try HoldfastProcess(
        store: directory.path + "/store", configuration: configuration)
      defer { holdfast.process.end() }
      let process = holdfast.process
      let ports = holdfast.ports
      let descriptors = Self.descriptors(of: process.id)

      func run(_ part: Int, _ count: Int) throws -> [Int] {
        let crew = Crew(Self.lanes) { lane in
          var churner = Churner(
            ports: ports, origin: origin.port,
            seed: UInt64(runSeed) &* 31 &+ UInt64(part * 100 + lane))
          for _ in 0..<count / Self.lanes { try churner.next() }
          return churner.served
        }
        return try crew.results().map { try $0.get() }
      }
      let warm = try run(0, Self.count / 5)
      try Self.waitUntilEmpty(holdfast)
      let before = process.memory()
      let rest = try run(1, Self.count - Self.count / 5)
      try Self.waitUntilEmpty(holdfast)
      let after = process.memory()
      print(
        "TLS churn: \(Self.count) connections of clients, \((warm + rest).reduce(0, +)) answers, \(origin.connections) connections to the origin; \(mebibytes(before)) after a fifth, \(mebibytes(after)) at the end"
      )
      // About a third of them is well-behaved.
      #expect((warm + rest).reduce(0, +) > Self.count / 5)
      if !Self.isSanitized { #expect(after - before < Self.growthLimit) }
      // What the store keeps open is its own.
      try poll("descriptors to be closed") {
        Self.descriptors(of: process.id) <= descriptors + 4
      }
      process.signal(SIGTERM)
      let ending = try process.waitForEnd()
      let complaints = process.lines.filter { $0.contains("Sanitizer") }
      #expect(complaints.isEmpty)
      if !complaints.isEmpty {
        print(process.lines.suffix(60).joined(separator: "\n"))
      }
      #expect(ending == .exited(0))
    }

    private static func waitUntilEmpty(_ holdfast: HoldfastProcess) throws {
      try poll("end of all connections") {
        let status = try holdfast.status()
        return status["connections"] as? Int == 0 && status["fills"] as? Int == 0
      }
    }

    private static func descriptors(of id: pid_t) -> Int {
      (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(id)/fd").count) ?? 0
    }
  }
}

/// One client after the other, each in a way of its own.
private struct Churner {
  let ports: [UInt16]
  let origin: UInt16
  private var random: SeededGenerator
  private var session: OpaquePointer?
  private(set) var served = 0

  init(ports: [UInt16], origin: UInt16, seed: UInt64) {
    self.ports = ports
    self.origin = origin
    random = SeededGenerator(seed: seed)
  }

  mutating func next() throws {
    let isTunnel = Int.random(in: 0..<3, using: &random) == 0
    let socket = try connect(ports[isTunnel ? 0 : 1])
    Sockets.setTimeouts(socket)
    if isTunnel, try !openTunnel(socket) {
      Glibc.close(socket)
      return
    }
    var options = TLSPeer.Options()
    if Bool.random(using: &random) { options.maximum = TLS1_2_VERSION }
    let resumed = !isTunnel && Bool.random(using: &random) ? session : nil
    let peer = try TLSPeer.client(
      socket, host: isTunnel ? nil : "localhost", options, session: resumed, seconds: 60)
    if Int.random(in: 0..<3, using: &random) == 0 {
      peer.sendLimit = Int.random(in: 1..<900, using: &random)
    }
    if Int.random(in: 0..<10, using: &random) == 0 { peer.pieceSize = 50 }
    do {
      try peer.handshake()
      try ask(peer, isTunnel)
    } catch {}
    if !isTunnel, SSL_is_init_finished(peer.ssl) == 1 {
      if let session { SSL_SESSION_free(session) }
      session = SSL_get1_session(peer.ssl)
    }
    switch Int.random(in: 0..<4, using: &random) {
    case 0: peer.reset()
    case 1: peer.finishSocket()
    case 2: peer.finish()
    default: break
    }
  }

  private mutating func ask(_ peer: TLSPeer, _ isTunnel: Bool) throws {
    let paths = ["/hit", "/hit", "/hit", "/close", "/cut", "/reset", "/new"]
    var path = paths[Int.random(in: 0..<paths.count, using: &random)]
    if path != "/hit" { path += "\(UInt32.random(in: 0...(.max), using: &random))" }
    let authority = "127.0.0.1:\(origin)"
    let target = isTunnel ? path : "https://\(authority)\(path)"
    try peer.write("GET \(target) HTTP/1.1\r\nHost: \(authority)\r\n\r\n")
    // Some do not wait for what they have asked for.
    guard Int.random(in: 0..<5, using: &random) > 0 else { return }
    let message = try peer.readMessage()
    if message.head.hasPrefix("HTTP/1.1 200"), message.content.count == 2000 { served += 1 }
  }

  private func connect(_ port: UInt16) throws -> Int32 {
    let socket = try Sockets.stream()
    guard Sockets.withAddress(port: port, { Glibc.connect(socket, $0, $1) }) == 0 else {
      Glibc.close(socket)
      throw Failure("cannot connect: errno \(errno)")
    }
    return socket
  }

  private func openTunnel(_ socket: Int32) throws -> Bool {
    let request = Array(
      "CONNECT 127.0.0.1:\(origin) HTTP/1.1\r\nHost: 127.0.0.1:\(origin)\r\n\r\n".utf8)
    guard send(socket, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else {
      return false
    }
    var answer: [UInt8] = []
    var byte: UInt8 = 0
    while !answer.suffix(4).elementsEqual([13, 10, 13, 10]) {
      guard recv(socket, &byte, 1, 0) == 1 else { return false }
      answer.append(byte)
    }
    return answer.starts(with: Array("HTTP/1.1 200".utf8))
  }
}
