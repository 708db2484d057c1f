// A client's connection: asks a few times, one after the other or several at once, reads the answers, and judges
// them. When the scenario says so it leaves, stalls or talks nonsense on the way.

import Glibc
import Platform

/// All clients of a run: as one leaves, another comes, until enough has been asked.
package final class ModelClients {
  let world: World
  private let subject: Subject
  private var asked = 0
  private(set) var open = 0
  private var connections = 0
  private static let balancer = SocketAddress(IPAddress(v4: 0x0AC8_0001), port: 7777)
  /// What each connection's address can tell, for the access log.
  package private(set) var accounts: [ClientAccount] = []
  /// Tags that clients have seen, by resource.
  var tags: [Int: String] = [:]

  init(_ world: World, _ subject: Subject) {
    self.world = world
    self.subject = subject
  }

  package var isDone: Bool { asked >= world.scenario.transactions && open == 0 }

  package func begin() {
    for _ in 0..<world.scenario.clients {
      open += 1
      next(after: Int64(world.machine.random.below(1_000_000_000)))
    }
  }

  private func next(after delay: Int64) {
    world.machine.plan(after: delay) { [self] in
      guard asked < world.scenario.transactions else {
        open -= 1
        return
      }
      connections += 1
      let isBalanced = subject.addresses.count > 1 && world.machine.random.oneIn(3)
      guard let address = isBalanced ? subject.addresses.last : subject.addresses.first else {
        return
      }
      let local = SocketAddress(
        IPAddress(v4: 0x0A80_0000 + UInt32(connections)), port: UInt16(1024 + connections % 60_000))
      guard
        let wire = world.machine.connectClient(
          from: isBalanced ? Self.balancer : local, to: address)
      else {
        guard world.wasInterrupted(since: world.machine.now) else {
          world.violation("nobody listens at \(address)")
          open -= 1
          return
        }
        return next(after: 100_000_000)
      }
      let account = ClientAccount(local.ip)
      accounts.append(account)
      let client = ModelClient(self, account)
      if isBalanced { client.introduce(local, at: address) }
      wire.end = client
      client.begin(wire)
    }
  }

  /// Lines of the access log that were not written when the proxy was killed.
  func mayHaveLostLines() {
    let limit = world.machine.now - 10_000_000_000
    // A tunnel has its line when its far side has ended too.
    let tunnelLimit = world.machine.now - 300_000_000_000
    for account in accounts
    where account.endedAt.map({ $0 >= (account.hadTunnel ? tunnelLimit : limit) }) ?? true {
      account.isExact = false
      account.mayLoseLines = true
    }
  }

  func ended() {
    let pause = world.machine.random.oneIn(8) ? 20_000_000_000 : 300_000_000
    next(after: Int64(world.machine.random.below(pause)))
  }

  func makeAsk(_ kind: Ask.Kind? = nil) -> Ask {
    asked += 1
    let machine = world.machine
    let index = machine.random.below(world.resources.count)
    // The first ones are asked for most.
    let resource = world.resources[machine.random.oneIn(2) ? index / 8 : index]
    let kinds: [Ask.Kind] = [
      .get, .get, .get, .get, .get, .get, .get, .get, .head, .range, .range, .conditional,
      .post, .put, .delete, .connect,
    ]
    let ask = Ask(
      world.takeAskNumber(), kind ?? machine.random.pick(kinds), resource,
      language: machine.random.pick(["de", "en", "fr"]), time: machine.now)
    switch ask.kind {
    case .range:
      let first = machine.random.below(resource.size + 10)
      ask.range = first...(first + machine.random.below(30_000))
    case .conditional:
      ask.tag = tags[resource.number] ?? "\"unknown\""
    case .post, .put:
      ask.uploadLength = machine.random.below(machine.random.oneIn(4) ? 300_000 : 3000)
    default:
      break
    }
    return ask
  }
}

/// What should be in the access log about a connection.
package final class ClientAccount {
  package let address: IPAddress
  /// Requests that were sent to their end.
  package var asked = 0
  /// Answers that came to their end.
  package var answered = 0
  /// Neither left nor was cut: then the two are the same, and the log has as many lines.
  package var isExact = true
  package var mayLoseLines = false
  package var hadTunnel = false
  var endedAt: Int64?

  init(_ address: IPAddress) { self.address = address }
}

final class ModelClient: WireEnd {
  private enum Trouble { case none, leave, breakOff, stall, trickle, nonsense }

  private unowned let clients: ModelClients
  private let account: ClientAccount
  private var waiting: [Ask] = []
  private var left: Int
  private var trouble = Trouble.none
  private var hasEnded = false
  private var isLast = false
  private var isOld = false
  private var tunnel: TunnelSide?
  /// What goes before the first request.
  private var preface: [UInt8] = []
  private let born: Int64

  // Reading.
  private var input: [UInt8] = []
  private var current: Ask?
  private var rest: Int?
  private var chunks: ChunkReader?

  private var world: World { clients.world }
  private var machine: Machine { clients.world.machine }

  init(_ clients: ModelClients, _ account: ClientAccount) {
    self.clients = clients
    self.account = account
    let machine = clients.world.machine
    born = machine.now
    left = machine.random.oneIn(6) ? machine.random.within(10...30) : machine.random.within(1...5)
    if machine.random.chance(clients.world.scenario.clientFaults) {
      trouble = machine.random.pick([.leave, .breakOff, .stall, .trickle, .nonsense])
      account.isExact = false
    }
  }

  /// It comes through a balancer, which says so in either version of its protocol.
  func introduce(_ address: SocketAddress, at listener: SocketAddress) {
    world.count("balanced clients")
    guard machine.random.oneIn(2) else {
      preface = Array(
        "PROXY TCP4 \(address.ip) \(listener.ip) \(address.port) \(listener.port)\r\n".utf8)
      return
    }
    func bytes(_ ip: IPAddress) -> [UInt8] {
      "\(ip)".split(separator: ".").compactMap { UInt8($0) }
    }
    func bytes(_ port: UInt16) -> [UInt8] { [UInt8(port >> 8), UInt8(port & 0xFF)] }
    preface =
      [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x21, 0x11, 0, 12]
      + bytes(address.ip) + bytes(listener.ip) + bytes(address.port) + bytes(listener.port)
  }

  func begin(_ wire: Wire) {
    if trouble == .leave || trouble == .breakOff || trouble == .stall {
      machine.plan(after: Int64(machine.random.below(1_000_000_000))) { [self] in misbehave(wire) }
    }
    ask(wire)
  }

  private func misbehave(_ wire: Wire) {
    guard !hasEnded else { return }
    world.count("client faults")
    switch trouble {
    case .leave:
      tunnel?.abandon(byReset: false)
      end()
      wire.finish()
      wire.end = nil
    case .breakOff:
      tunnel?.abandon(byReset: true)
      end()
      wire.reset()
    default:
      wire.pauseReading()
      machine.plan(after: Int64(machine.random.below(120)) * 1_000_000_000) { wire.resumeReading() }
    }
  }

  // MARK: Asking

  private func ask(_ wire: Wire) {
    guard !hasEnded else { return }
    let burst = machine.random.oneIn(4) ? machine.random.within(2...6) : 1
    var bytes = preface
    preface = []
    for _ in 0..<min(burst, left) {
      left -= 1
      var kind: Ask.Kind?
      if trouble == .nonsense, left == 0 { kind = .nonsense }
      let ask = clients.makeAsk(kind)
      waiting.append(ask)
      account.asked += 1
      isOld = ask.kind != .connect && machine.random.oneIn(20)
      isLast = isOld || ask.kind == .connect || (left == 0 && machine.random.oneIn(3))
      bytes += message(ask)
      if ask.kind == .connect {
        tunnel = TunnelSide(world, isNear: true)
        account.hadTunnel = true
        // Who is in a hurry begins before there is a tunnel.
        if machine.random.oneIn(4), let portion = tunnel?.takePortion() { bytes += portion }
      }
      if isLast {
        left = 0
        break
      }
    }
    if trouble == .trickle, machine.random.oneIn(2) {
      // A head that comes too slowly, or never.
      world.count("client faults")
      wire.send(Array(bytes.prefix(machine.random.within(1...20))))
      left = 0
      machine.plan(after: 100_000_000_000) { [self] in
        guard !hasEnded else { return }
        end()
        wire.reset()
      }
      return
    }
    wire.send(bytes)
    // Whoever has said all may say so, and still wants its answers.
    if left == 0, tunnel == nil, machine.random.oneIn(10) { wire.finish(closing: false) }
  }

  private func message(_ ask: Ask) -> [UInt8] {
    if ask.kind == .nonsense {
      return Array(
        machine.random.pick([
          "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GARBAGE\r\n\r\n",
          "GET http://o0.test/r/0 HTTP/1.1\r\nHost: o0.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
          "GET http://o0.test/r/0 HTTP/1.1\r\nHost : o0.test\r\n\r\n",
        ]).utf8)
    }
    if ask.kind == .connect {
      let target = "\(ask.resource.host):443"
      return Array("CONNECT \(target) HTTP/1.1\r\nHost: \(target)\r\n\r\n".utf8)
    }
    let target =
      machine.random.oneIn(5)
      ? "/\(ask.resource.host)\(ask.resource.path)"
      : "http://\(ask.resource.host)\(ask.resource.path)"
    var lines = [
      "\(ask.method) \(target) HTTP/1.\(isOld ? 0 : 1)",
      "Host: \(target.hasPrefix("/") ? "proxy.test" : ask.resource.host)",
      "X-Ask: \(ask.number)", "Accept-Language: \(ask.language)",
    ]
    if isLast, !isOld { lines.append("Connection: close") }
    if let range = ask.range {
      lines.append("Range: bytes=\(range.lowerBound)-\(range.upperBound)")
    }
    if ask.kind == .conditional, let tag = ask.tag { lines.append("If-None-Match: \(tag)") }
    var content: [UInt8] = []
    if ask.isUpload {
      let key = UInt64(bitPattern: Int64(ask.number))
      if isOld || machine.random.oneIn(2) {
        lines.append("Content-Length: \(ask.uploadLength)")
        content = Content.bytes(key, 0, ask.uploadLength)
      } else {
        lines.append("Transfer-Encoding: chunked")
        var done = 0
        while done < ask.uploadLength {
          let count = min(ask.uploadLength - done, machine.random.within(1...9000))
          content += Array("\(String(count, radix: 16))\r\n".utf8)
          content += Content.bytes(key, done, count) + [13, 10]
          done += count
        }
        content += Array("0\r\n\r\n".utf8)
      }
    }
    return Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8) + content
  }

  // MARK: Reading

  func received(_ wire: Wire, _ bytes: [UInt8]) {
    guard !hasEnded else { return }
    input.append(contentsOf: bytes)
    while !hasEnded, step(wire) {}
  }

  /// - Returns: whether there may be more to do.
  private func step(_ wire: Wire) -> Bool {
    guard let ask = current else { return readHead(wire) }
    guard !input.isEmpty else { return false }
    var used = 0
    input.withUnsafeBytes { bytes in
      if chunks != nil {
        used = chunks?.read(bytes) { ask.gotContent($0, world) } ?? 0
      } else {
        used = min(bytes.count, rest ?? .max)
        ask.gotContent(UnsafeRawBufferPointer(rebasing: bytes[0..<used]), world)
      }
    }
    input.removeFirst(used)
    if let left = rest { rest = left - used }
    if chunks?.isBroken == true {
      world.violation("\(ask.name): a chunk that is none")
      return false
    }
    if rest == 0 || chunks?.isDone == true { answered(wire, ask) }
    return true
  }

  private func readHead(_ wire: Wire) -> Bool {
    guard let (head, end) = MessageHead.read(input, from: 0) else { return false }
    input.removeFirst(end)
    let parts = head.startLine.split(separator: " ", maxSplits: 2)
    guard parts.count >= 2, parts[0].hasPrefix("HTTP/1."), let status = Int(parts[1]) else {
      world.violation("\(account.address): \(head.startLine) is no answer")
      return false
    }
    if status < 200 { return true }
    guard let ask = waiting.first else {
      world.violation("\(account.address): an answer that nobody asked for: \(head.startLine)")
      return false
    }
    waiting.removeFirst()
    ask.gotHead(status, head.fields, world)
    current = ask
    rest = nil
    chunks = nil
    if head.fields["connection"]?.lowercased().contains("close") == true { isLast = true }
    if ask.isTunnel {
      beginTunnel(wire, ask)
    } else if !ask.hasContent {
      answered(wire, ask)
    } else if head.fields["transfer-encoding"] != nil {
      chunks = ChunkReader()
    } else if let length = head.fields["content-length"].flatMap({ Int($0) }) {
      rest = length
      if length == 0 { answered(wire, ask) }
    } else {
      isLast = true
    }
    return true
  }

  private func beginTunnel(_ wire: Wire, _ ask: Ask) {
    guard let tunnel else { return }
    current = nil
    account.answered += 1
    ask.finished(world)
    world.count("tunnels")
    tunnel.ended = { [self] in
      self.tunnel = nil
      end()
    }
    tunnel.begin(on: wire)
    if !input.isEmpty { tunnel.received(wire, input) }
    input = []
    tunnel.goOn()
  }

  private func answered(_ wire: Wire, _ ask: Ask) {
    current = nil
    account.answered += 1
    ask.finished(world)
    if let tag = ask.fields["etag"], !ask.resource.varies {
      clients.tags[ask.resource.number] = tag
    }
    guard waiting.isEmpty else { return }
    if left > 0, !isLast {
      let pause = machine.random.oneIn(5) ? machine.random.below(4_000_000_000) : 0
      machine.plan(after: Int64(pause)) { [self] in self.ask(wire) }
    } else if !isLast {
      end()
      wire.finish()
      wire.end = nil
    }
  }

  // MARK: Ending

  func finished(_ wire: Wire) {
    guard !hasEnded else { return }
    if let ask = current, rest == nil, chunks == nil {
      // The end of the connection is the end of the content, and says so only by FIN.
      answered(wire, ask)
    }
    ended(wire)
    wire.finish()
    wire.end = nil
  }

  func broken(_ wire: Wire) { ended(wire) }

  private func ended(_ wire: Wire) {
    guard !hasEnded else { return }
    let isExcused = trouble != .none || world.wasInterrupted(since: born)
    if let ask = current {
      current = nil
      account.isExact = false
      ask.wasCut(world, isExcused: isExcused)
    }
    for ask in waiting {
      account.isExact = false
      // Behind an answer after which the connection closes nothing is answered.
      ask.wasNotAnswered(world, isExcused: isExcused || isLast || world.scenario.mayCut)
    }
    end()
  }

  private func end() {
    guard !hasEnded else { return }
    hasEnded = true
    account.endedAt = machine.now
    if current != nil || !waiting.isEmpty { account.isExact = false }
    clients.ended()
  }
}
