// Clients over TLS that keep their connection and say nothing: what each costs.

import COpenSSL
import Foundation
import Glibc
import TLSPeer
import Testing

extension WholeProgram {
  @Suite(
    "Idle connections over TLS",
    .enabled(if: isInstalled("openssl"), "openssl is missing: `scripts/setup test` installs it"))
  struct IdleSecureConnectionTests {
    private static let count = min(setting("HOLDFAST_IDLE_CONNECTIONS", default: 2000), 10_000)
    private static let descriptors = Sockets.raiseDescriptorLimit()

    @Test(
      "an idle connection over TLS has given its buffers back, and is answered when it speaks again",
      .enabled(if: descriptors >= count + 1000, "needs \(count + 1000) descriptors per process"),
      arguments: [("TLS 1.2", TLS1_2_VERSION, 20 << 10), ("TLS 1.3", TLS1_3_VERSION, 20 << 10)])
    func idle(name: String, version: Int32, limit: Int) throws {
      let directory = try TemporaryDirectory()
      let certificates = try Certificates(in: directory.path + "/certificates")
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      var configuration = HoldfastProcess.Configuration()
      configuration.listen =
        "[{ address: 127.0.0.1:0, tls: { certificate: \(certificates.chain), key: \(certificates.leafKey) } }]"
      let holdfast = try HoldfastProcess(
        store: directory.path + "/store", configuration: configuration)
      defer { holdfast.process.end() }
      let resource = Resource(.length, 1000, "small")
      let authority = "127.0.0.1:\(origin.port)"
      let request = "GET http://\(authority)\(resource.path) HTTP/1.1\r\nHost: \(authority)\r\n\r\n"

      func connect() throws -> TLSPeer {
        let socket = try Sockets.stream()
        guard Sockets.withAddress(port: holdfast.port, { Glibc.connect(socket, $0, $1) }) == 0
        else { throw Failure("cannot connect: errno \(errno)") }
        let peer = try TLSPeer.client(socket, host: "localhost", .version(version), seconds: 60)
        try ask(peer)
        return peer
      }
      func ask(_ peer: TLSPeer) throws {
        try peer.write(request)
        let answer = try peer.readMessage()
        guard answer.head.hasPrefix("HTTP/1.1 200"), answer.content.count == resource.size else {
          throw Failure("not served: \(answer.head)")
        }
      }
      var peers = try (0..<50).map { _ in try connect() }
      let before = holdfast.process.memory()
      for _ in 0..<Self.count { peers.append(try connect()) }
      let after = holdfast.process.memory()
      let each = Double(after - before) / Double(Self.count)
      print(
        "idle connections over \(name): \(Int(each)) bytes each; \(mebibytes(before)) before, \(mebibytes(after)) with \(Self.count)"
      )
      #expect(each < Double(limit))
      for peer in peers { try ask(peer) }
      peers = []
      try poll("end of all connections") { try holdfast.status()["connections"] as? Int == 0 }
    }
  }
}
