// An origin's end of one connection: answers what it is asked, in the ways origins do, and when the scenario says so
// badly. What it answers is recorded in the world first.

import Glibc
import Platform

final class ModelOrigin: WireEnd {
  private let world: World
  private let host: String
  private var input: [UInt8] = []
  private var upload: (ask: Int, key: UInt64, done: Int, total: Int?, chunks: ChunkReader)?
  private var isAnswering = false
  private var isClosed = false

  init(_ world: World, host: String) {
    self.world = world
    self.host = host
  }

  private var machine: Machine { world.machine }

  static func serve(_ world: World) {
    for number in 0..<world.scenario.origins {
      let host = "o\(number).test"
      world.machine.serve(address(of: number)) { wire in
        let random = world.machine.random.below(1000)
        if random < world.scenario.originFaults / 4 {
          world.count("origin refused or deaf")
          // Deaf: no answer to SYN at all.
          if random % 2 == 0 { wire.accept(refusing: ECONNREFUSED) }
          return
        }
        wire.end = ModelOrigin(world, host: host)
        wire.accept()
      }
    }
  }

  static func address(of number: Int) -> SocketAddress {
    SocketAddress(IPAddress(v4: 0x0A01_0000 + UInt32(number)), port: 80)
  }

  func received(_ wire: Wire, _ bytes: [UInt8]) {
    input.append(contentsOf: bytes)
    go(wire)
  }

  func finished(_ wire: Wire) {
    if !isAnswering { close(wire) } else { isClosed = true }
  }

  func broken(_ wire: Wire) { isClosed = true }

  private func close(_ wire: Wire) {
    guard !isClosed || isAnswering else { return }
    isClosed = true
    wire.finish()
    wire.end = nil
  }

  private func go(_ wire: Wire) {
    guard !isClosed else { return }
    if upload != nil { takeUpload(wire) }
    guard !isAnswering, upload == nil, let (head, end) = MessageHead.read(input, from: 0) else {
      return
    }
    input.removeFirst(end)
    isAnswering = true
    let parts = head.startLine.split(separator: " ")
    let method = String(parts.first ?? "")
    let ask = Int(head.fields["x-ask"] ?? "") ?? -1
    if method == "POST" || method == "PUT" {
      let total = head.fields["content-length"].flatMap { Int($0) }
      upload = (ask, UInt64(bitPattern: Int64(ask)), 0, total, ChunkReader())
      pending = (parts, head, ask)
      isAnswering = false
      go(wire)
      return
    }
    think(wire) { [self] in answer(wire, method, parts, head, ask) }
  }

  private var pending: (parts: [Substring], head: MessageHead, ask: Int)?

  private func takeUpload(_ wire: Wire) {
    guard var state = upload else { return }
    var isRight = true
    var used = 0
    var done = state.done
    let check: (UnsafeRawBufferPointer) -> Void = { bytes in
      if !Content.matches(state.key, done, bytes) { isRight = false }
      done += bytes.count
    }
    var chunks = state.chunks
    input.withUnsafeBytes { bytes in
      if let total = state.total {
        used = min(bytes.count, total - done)
        check(UnsafeRawBufferPointer(rebasing: bytes[0..<used]))
      } else {
        used = chunks.read(bytes, check)
      }
    }
    state.chunks = chunks
    state.done = done
    input.removeFirst(used)
    if !isRight { world.violation("request \(state.ask): an origin got wrong content") }
    upload = state
    guard state.total.map({ $0 == state.done }) ?? state.chunks.isDone else { return }
    upload = nil
    world.uploads[state.ask] = true
    guard let (parts, head, ask) = pending else { return }
    pending = nil
    isAnswering = true
    think(wire) { [self] in answer(wire, String(parts[0]), parts, head, ask) }
  }

  private func think(_ wire: Wire, _ action: @escaping () -> Void) {
    let delay =
      machine.random.oneIn(10) ? machine.random.below(800_000_000) : machine.random.below(5_000_000)
    machine.plan(after: Int64(delay), action)
  }

  // MARK: Answering

  private func answer(
    _ wire: Wire, _ method: String, _ parts: [Substring], _ head: MessageHead, _ ask: Int
  ) {
    guard !isClosed else { return }
    guard parts.count == 3, let number = Int(parts[1].dropFirst(3)),
      world.resources.indices.contains(number)
    else {
      world.violation("an origin was asked for \(head.startLine)")
      return close(wire)
    }
    let resource = world.resources[number]
    if head.fields["host"] != resource.host || resource.host != host {
      world.violation(
        "\(host) was asked for \(resource.path) of \(head.fields["host"] ?? "nobody")")
    }
    let changed = change(resource, method)
    let language = head.fields["accept-language"] ?? ""
    let record = world.record(resource, language, ask: ask)
    record.changed = changed
    world.count("origin answers")
    var fields = ["Date: \(HTTPDateText.make(machine.seconds))", "X-Serial: \(record.serial)"]
    let tag = resource.tag(record.version, language)
    if resource.hasETag { fields.append("ETag: \(tag)") }
    if resource.hasModified {
      fields.append("Last-Modified: \(HTTPDateText.make(resource.modified(at: machine.seconds)))")
    }
    if let control = resource.cacheControl { fields.append("Cache-Control: \(control)") }
    if resource.varies { fields.append("Vary: Accept-Language") }
    if changed.count > 1 {
      // Named in both ways a reference can be written.
      let path = changed[1].path
      let named = machine.random.oneIn(2) ? "http://\(host)\(path)" : path
      fields.append("\(machine.random.pick(["Location", "Content-Location"])): \(named)")
    }
    var interim = ""
    if machine.random.oneIn(20) { interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" }
    if machine.random.chance(world.scenario.originFaults) {
      return misbehave(wire, method, record, interim, fields)
    }
    if resource.hasETag, let condition = head.fields["if-none-match"], condition.contains(tag) {
      world.count("origin says not modified")
      return finish(wire, record, Array(message(interim, 304, fields).utf8), stays: true)
    }
    if !changed.isEmpty, machine.random.oneIn(2) {
      let status = machine.random.pick([204, 303])
      if status == 303 { fields.append("Content-Length: 0") }
      return finish(wire, record, Array(message(interim, status, fields).utf8), stays: true)
    }
    if method == "GET", let part = part(head, record, tag), !machine.random.oneIn(8) {
      return send(part: part, wire, record, interim, fields)
    }
    let (bytes, stays) = whole(method, record, interim, fields)
    if bytes.count > 30_000, machine.random.oneIn(6) {
      sendSlowly(wire, bytes) { [self] in finish(wire, record, [], stays: stays) }
    } else {
      finish(wire, record, bytes, stays: stays)
    }
  }

  /// What an unsafe request changes: its target, and now and then another resource that the answer names.
  private func change(_ resource: Resource, _ method: String) -> [Resource] {
    guard method != "GET", method != "HEAD" else { return [] }
    var changed = [resource]
    if machine.random.oneIn(4),
      let other = world.resources.first(where: { $0.host == host && $0 !== resource })
    {
      changed.append(other)
    }
    for resource in changed { resource.change(at: machine.seconds) }
    return changed
  }

  private func message(_ interim: String, _ status: Int, _ fields: [String]) -> String {
    interim + "HTTP/1.1 \(status) X\r\n" + fields.joined(separator: "\r\n") + "\r\n\r\n"
  }

  /// The part that is asked for; nil for the whole.
  private func part(_ head: MessageHead, _ record: OriginAnswer, _ tag: String) -> Range<Int>? {
    guard let text = head.fields["range"], text.hasPrefix("bytes="), record.resource.hasETag else {
      return nil
    }
    if let condition = head.fields["if-range"], condition != tag { return nil }
    let length = record.resource.length(record.version)
    let ends = text.dropFirst(6).split(separator: "-", omittingEmptySubsequences: false)
    guard ends.count == 2, let first = Int(ends[0]), ends[1].isEmpty || Int(ends[1]) != nil else {
      return nil
    }
    return first..<max(first, min(length, (Int(ends[1]) ?? length - 1) + 1))
  }

  private func send(
    part: Range<Int>, _ wire: Wire, _ record: OriginAnswer, _ interim: String, _ fields: [String]
  ) {
    world.count("origin parts")
    let length = record.resource.length(record.version)
    var fields = fields
    guard part.lowerBound < length else {
      fields += ["Content-Range: bytes */\(length)", "Content-Length: 0"]
      return finish(wire, record, Array(message(interim, 416, fields).utf8), stays: true)
    }
    fields.append("Content-Range: bytes \(part.lowerBound)-\(part.upperBound - 1)/\(length)")
    let key = record.resource.key(record.version, record.language)
    var content = Content.bytes(key, part.lowerBound, part.count)
    let framing = machine.random.pick([Resource.Framing.length, .length, .chunked, .untilClose])
    // What its Content-Range says is not what comes, and no framing tells.
    if framing != .length, machine.random.chance(world.scenario.originFaults) {
      world.count("parts of a wrong length")
      if machine.random.oneIn(2) {
        content.removeLast(machine.random.within(1...content.count))
      } else {
        content += Content.bytes(key, part.upperBound, machine.random.within(1...5000))
      }
    }
    switch framing {
    case .length: fields.append("Content-Length: \(content.count)")
    case .chunked:
      fields.append("Transfer-Encoding: chunked")
      let chunk =
        content.isEmpty
        ? [] : Array((String(content.count, radix: 16) + "\r\n").utf8) + content + [13, 10]
      content = chunk + Array("0\r\n\r\n".utf8)
    case .untilClose: fields.append("Connection: close")
    }
    let bytes = Array(message(interim, 206, fields).utf8) + content
    finish(wire, record, bytes, stays: framing != .untilClose)
  }

  /// Sends in some pieces with pauses between them, and goes on with `then`.
  private func sendSlowly(_ wire: Wire, _ bytes: [UInt8], _ then: @escaping () -> Void) {
    world.count("slow answers")
    isAnswering = true
    var left = machine.random.within(2...5)
    var done = 0
    func next() {
      guard !isClosed else { return }
      left -= 1
      let end = left == 0 ? bytes.count : machine.random.within(done...bytes.count)
      wire.send(Array(bytes[done..<end]))
      done = end
      if left == 0 { return then() }
      machine.plan(after: Int64(machine.random.below(1_500_000_000))) { next() }
    }
    next()
  }

  /// The whole message, and whether the connection can stay.
  private func whole(
    _ method: String, _ record: OriginAnswer, _ interim: String, _ fields: [String]
  ) -> ([UInt8], Bool) {
    let resource = record.resource
    let length = resource.length(record.version)
    let key = resource.key(record.version, record.language)
    var fields = fields
    var stays = true
    switch resource.framing {
    case .length: fields.append("Content-Length: \(length)")
    case .chunked: fields.append("Transfer-Encoding: chunked")
    case .untilClose: stays = method == "HEAD"
    }
    if stays, machine.random.oneIn(10) {
      fields.append("Connection: close")
      stays = false
    }
    var bytes = Array(message(interim, 200, fields).utf8)
    if method == "HEAD" { return (bytes, stays) }
    guard resource.framing == .chunked else {
      return (bytes + Content.bytes(key, 0, length), stays)
    }
    var done = 0
    while done < length {
      let count = min(length - done, machine.random.within(1...20_000))
      bytes += Array((String(count, radix: 16) + "\r\n").utf8)
      bytes += Content.bytes(key, done, count) + [13, 10]
      done += count
    }
    return (bytes + Array("0\r\n\r\n".utf8), stays)
  }

  private func finish(_ wire: Wire, _ record: OriginAnswer, _ bytes: [UInt8], stays: Bool) {
    wire.send(bytes)
    // The last byte is with the program somewhat later; until then others may read along.
    machine.plan(after: 300_000_000) { [machine] in record.endTime = machine.now }
    isAnswering = false
    if stays, !isClosed {
      // Kept connections end when their origin likes, which may be as the next request comes.
      if machine.random.oneIn(12) {
        machine.plan(after: Int64(machine.random.below(2_000_000_000))) { [weak self] in
          guard let self, !isAnswering, upload == nil else { return }
          close(wire)
        }
      }
      go(wire)
    } else {
      isAnswering = true
      close(wire)
    }
  }

  // MARK: Answering badly

  private func misbehave(
    _ wire: Wire, _ method: String, _ record: OriginAnswer, _ interim: String, _ fields: [String]
  ) {
    world.count("origin faults")
    let (bytes, stays) = whole(method, record, interim, fields)
    let cut = machine.random.below(bytes.count)
    let isSlow = bytes.count > 30_000 && !machine.random.oneIn(4)
    // What comes before the end of a bad answer.
    let beginning = { [self] (then: @escaping () -> Void) in
      let bytes = Array(bytes[0..<cut])
      if isSlow { return sendSlowly(wire, bytes, then) }
      wire.send(bytes)
      then()
    }
    // Behind an answer that ends with its connection everything is content.
    switch machine.random.below(record.resource.framing == .untilClose ? 8 : 9) {
    case 0, 1:
      beginning { [self] in end(wire, record) { $0.reset() } }
    case 2:
      // A FIN at the place where a close-delimited answer may end is an end, not a cut.
      if record.resource.framing == .untilClose {
        wire.reset()
        return end(wire, record) { $0.reset() }
      }
      beginning { [self] in end(wire, record) { $0.finish() } }
    case 3:
      let status = machine.random.pick([500, 502, 503, 504])
      let text = Array("sorry".utf8)
      finish(
        wire, record,
        Array(
          message(interim, status, ["Content-Length: \(text.count)", "Cache-Control: no-store"])
            .utf8)
          + text, stays: true)
    case 4:
      // Says nothing more.
      wire.send(Array(bytes[0..<cut]))
      record.endTime = machine.now
    case 5:
      // Pauses, then goes on.
      wire.send(Array(bytes[0..<cut]))
      machine.plan(after: Int64(machine.random.below(9)) * 1_000_000_000) { [self] in
        guard !isClosed else { return }
        finish(wire, record, Array(bytes[cut...]), stays: stays)
      }
    case 6:
      finish(
        wire, record,
        Array("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!".utf8),
        stays: false)
    case 7:
      finish(
        wire, record,
        (0..<machine.random.within(1...200)).map { _ in UInt8(machine.random.below(256)) },
        stays: false)
    default:
      // Another answer that nobody asked for.
      finish(
        wire, record, bytes + Array("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad".utf8),
        stays: stays)
    }
  }

  private func end(_ wire: Wire, _ record: OriginAnswer, _ how: (Wire) -> Void) {
    record.endTime = machine.now
    isClosed = true
    how(wire)
    wire.end = nil
  }
}
