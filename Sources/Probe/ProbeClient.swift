// The client of a probe: asks the server, through a Service, for each kind of segment in turn, each on a connection of its
// own, and compares what became of it here and there. Needs no capability; with CAP_NET_RAW it counts strays too.

import Glibc
import Platform
import Synchronization

/// All that was found out about one address of a Service.
package struct ProbeReport: Sendable {
  package var target: SocketAddress
  /// Where the Service leads, and as whom the server knows us; nil if nobody answered.
  package var server: SocketAddress?
  package var seenAs: SocketAddress?
  /// Our own end of that connection: each has another port.
  package var local: SocketAddress?
  package var results: [ProbeResult] = []

  package var hidesServer: Bool { server.map { $0 != target } ?? false }
  package var hidesClient: Bool { seenAs != local }
  package var isTranslated: Bool { hidesServer || hidesClient }

  package var verdict: ProbeVerdict {
    let verdicts = results.map(\.verdict)
    if verdicts.contains(.exposed) { return .exposed }
    if verdicts.isEmpty || verdicts.contains(.unknown) { return .unknown }
    return verdicts.contains(.strayed) ? .strayed : .safe
  }
}

extension ProbeReport {
  /// Where the connection died that nothing was done to, the death of the others proves nothing.
  mutating func distrust() {
    guard let control = results.first(where: { $0.kind == .control }), control.client != .lived
    else { return }
    for index in results.indices where results[index].verdict == .exposed {
      results[index].failure =
        "it died, and so did the one that was left alone: \(control.words); try again"
    }
  }
}

package struct ProbeClient: Sendable {
  package let target: SocketAddress
  package var kinds = ProbeKind.allCases
  package var patience: Duration = .seconds(5)
  /// How long an answer is waited for until the connection counts as stalled. The server needs less than a second.
  package var stall: Duration = .seconds(3)

  package init(_ target: SocketAddress) { self.target = target }

  /// Whether it could be a Service: `HOST:PORT`.
  package static func isMeant(_ text: String) -> Bool {
    if let address = SocketAddress(text) { return address.port > 0 }
    return split(text) != nil
  }

  /// A name and a port. Addresses are read by `SocketAddress`; what is left with a colon in it is a misspelt one.
  private static func split(_ text: String) -> (host: String, port: UInt16)? {
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]),
      port > 0
    else { return nil }
    let host = text[..<colon]
    guard !host.isEmpty, !host.contains(where: { ":[] ".contains($0) }) else { return nil }
    return (String(host), port)
  }

  /// The addresses of `HOST:PORT`, one of each family.
  package static func resolve(_ text: String) throws(ProbeError) -> [SocketAddress] {
    if let address = SocketAddress(text) { return [address] }
    guard let (host, port) = split(text) else { throw .cannotResolve(text) }
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, nil, &hints, &list) == 0 else {
      throw .cannotResolve(text)
    }
    defer { freeaddrinfo(list) }
    var found: [SocketAddress] = []
    var next = list
    while let entry = next {
      next = entry.pointee.ai_next
      guard let raw = entry.pointee.ai_addr,
        let address = SocketAddress(UnsafeRawPointer(raw), length: entry.pointee.ai_addrlen),
        !found.contains(where: { $0.ip.family == address.ip.family })
      else { continue }
      found.append(SocketAddress(address.ip, port: port))
    }
    if found.isEmpty { throw .cannotResolve(text) }
    return found
  }

  /// Tries all kinds side by side.
  package func run() -> ProbeReport {
    let report = Mutex(ProbeReport(target: target))
    var threads: [WorkerThread] = []
    for kind in kinds {
      let thread = try? WorkerThread.start(name: "probe") {
        let result = self.test(kind) { server, seenAs, local in
          report.withLock {
            $0.server = server
            $0.seenAs = seenAs
            $0.local = local
          }
        }
        report.withLock { $0.results.append(result) }
      }
      if let thread { threads.append(thread) }
    }
    for thread in threads { thread.join() }
    var found = report.withLock { $0 }
    found.results.sort { order($0.kind) < order($1.kind) }
    found.distrust()
    return found
  }

  private func order(_ kind: ProbeKind) -> Int { kinds.firstIndex(of: kind) ?? 0 }

  private func test(_ kind: ProbeKind, met: (SocketAddress, SocketAddress, SocketAddress) -> Void)
    -> ProbeResult
  {
    var result = ProbeResult(kind)
    let connection: ProbeConnection
    do {
      connection = try .connect(to: target, within: patience)
    } catch {
      result.failure = "no connection (\(error)): is `holdfast probe server` running behind it?"
      return result
    }
    let token = String(Randomness.word(), radix: 36)
    connection.send("holdfast-probe 2 test \(kind.rawValue) \(token)")
    let answer = connection.read(within: patience)
    guard case .line(let line) = answer else {
      result.failure = "no answer from a probe server (\(answer))"
      return result
    }
    let words = line.split(separator: " ")
    guard words.count == 4, words[0] == "ready", let real = SocketAddress(String(words[2])),
      let seenAs = SocketAddress(String(words[3]))
    else {
      result.failure =
        words.first == "error" ? line.printable : "\(ProbeError.notAnAnswer(line))"
      return result
    }
    let local = connection.local
    met(real, seenAs, local)
    let watches = Self.watches(real, seenAs, connection)
    connection.send("go \(connection.clock.map { "\($0)" } ?? "-")")
    if case .line(let line) = connection.read(within: patience), line != "injecting" {
      result.failure = line.printable
      return result
    }
    do throws(ProbeError) {
      try observe(connection, &result)
      if !watches.isEmpty {
        result.strays = watches.reduce(0) { $0 + $1.watch.take(from: real.port, to: $1.port).count }
      }
      if result.server == nil { result.server = try report(String(words[1]), token) }
    } catch {
      result.failure = "\(error)"
    }
    // A connection that died has died, wherever.
    if result.client == .lived, result.failure == nil {
      result.failure = result.relayed(server: real, seenAs: seenAs, from: local)
    }
    return result
  }

  /// Strays come from the address that a Service hides; and to the one that hides us, if that is this machine's.
  private static func watches(
    _ real: SocketAddress, _ seenAs: SocketAddress, _ connection: ProbeConnection
  ) -> [(watch: SegmentWatch, port: UInt16)] {
    var ends: [SocketAddress] = []
    if real != connection.peer { ends.append(connection.local) }
    if seenAs != connection.local { ends.append(seenAs) }
    return ends.compactMap { end in
      (try? SegmentWatch(from: real.ip, to: end.ip)).map { ($0, end.port) }
    }
  }

  /// What becomes of the connection.
  private func observe(
    _ connection: ProbeConnection, _ result: inout ProbeResult
  ) throws(ProbeError) {
    switch connection.read(within: stall) {
    case .line(let line):
      let words = line.split(separator: " ")
      guard words.first == "done" else {
        result.failure = line.printable
        return
      }
      result.server = try ServerSighting(reading: words.dropFirst())
      result.client = .lived
      connection.send("bye")
    case .ended: result.client = .ended
    case .reset: result.client = .reset
    case .silence:
      // Whoever does not speak never learns of it.
      connection.send("still there")
      switch connection.read(within: .seconds(2)) {
      case .reset, .ended: result.client = .stalled
      case .line, .silence: result.client = .silent
      }
    }
  }

  /// What the server saw of a connection that is gone. Behind a Service there may be several servers.
  private func report(_ server: String, _ token: String) throws(ProbeError) -> ServerSighting? {
    for _ in 0..<20 {
      guard let connection = try? ProbeConnection.connect(to: target, within: patience) else {
        return nil
      }
      connection.send("holdfast-probe 2 report \(server) \(token)")
      guard case .line(let line) = connection.read(within: patience) else { return nil }
      let words = line.split(separator: " ")
      if words.first == "report" { return try ServerSighting(reading: words.dropFirst()) }
    }
    return nil
  }
}
