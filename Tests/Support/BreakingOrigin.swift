// An origin whose connections break in the middle of large content: by RST, by FIN, or by silence, at places that a seed
// chooses. Each path is content of its own, out of one pattern. The first answer for a path always breaks, the second one
// in every other case, and later ones not at all, so that a bounded number of attempts arrives.

import Glibc
import Platform
import SeededRandom
import Synchronization

package final class BreakingOrigin: @unchecked Sendable {
  /// How its answers can be gone on with.
  package enum Manner: CaseIterable, Sendable {
    /// A strong validator, and ranges.
    case strong
    /// A weak entity tag with a date, and ranges.
    case weak
    /// A strong validator, and no ranges.
    case noRanges
    /// Another version with each answer.
    case changing
    /// Parts that are not those that were asked for.
    case wrongParts
  }

  package let port: UInt16
  package let length: Int
  private let manner: Manner
  private let isStorable: Bool
  private let pattern: [UInt8]
  private let listener: Int32
  private let isOver = Atomic<Bool>(false)
  private var thread: WorkerThread?
  private var random: SeededGenerator
  private var asked: [String: Int] = [:]
  private var connections: [Int32: Connection] = [:]

  /// How often an answer was broken off.
  package let broken = Atomic<Int>(0)
  private let stall: Bool

  private struct Connection {
    var input: [UInt8] = []
    var head: [UInt8] = []
    /// Of the pattern, behind the head.
    var content = 0..<0
    /// What is sent is over so many bytes before its end, and how.
    var breaks: (at: Int, how: Int)?
    var isAnswering = false
    var isMute = false
  }

  /// - Parameter stalls: silence is among the ways to break, which costs `upstream.read-timeout` each.
  package init(
    _ manner: Manner, isStorable: Bool, length: Int, seed: UInt64, stalls: Bool
  ) throws {
    self.manner = manner
    self.isStorable = isStorable
    self.length = length
    stall = stalls
    random = SeededGenerator(seed: seed)
    pattern = patterned(length + Self.shifts)
    let socket = try Socket.listen(on: .loopback(port: 0))
    port = try Socket.localAddress(socket.rawValue).port
    listener = socket.release()
    thread = try WorkerThread.start(name: "breaking-origin") { [unowned self] in run() }
  }

  package func url(_ path: String) -> String { "http://origin.test:\(port)\(path)" }

  package func stop() {
    guard !isOver.exchange(true, ordering: .acquiringAndReleasing) else { return }
    thread?.join()
    FileDescriptor.close(raw: listener)
  }

  /// Where in the pattern the content of a version begins.
  private static let shifts = 1 << 18

  private static func start(_ number: Int, _ version: Int) -> Int {
    (number &* 4099 &+ version &* 104_729) % shifts
  }

  /// Whether these bytes are at `offset` of that version of a path's content.
  package func matches(
    _ number: Int, version: Int, at offset: Int, _ bytes: UnsafeRawBufferPointer
  ) -> Bool {
    guard offset + bytes.count <= length else { return false }
    return pattern.withUnsafeBytes { pattern in
      let window = pattern.baseAddress.map { $0 + Self.start(number, version) + offset }
      guard let window, let base = bytes.baseAddress else { return bytes.isEmpty }
      return memcmp(window, base, bytes.count) == 0
    }
  }

  // MARK: The loop

  private func run() {
    while !isOver.load(ordering: .acquiring) {
      var entries = [pollfd(fd: listener, events: Int16(POLLIN), revents: 0)]
      for (fd, connection) in connections where !connection.isMute {
        let events = connection.isAnswering ? POLLOUT : POLLIN
        entries.append(pollfd(fd: fd, events: Int16(events), revents: 0))
      }
      // Those that say nothing any more are closed when the other side does.
      for (fd, connection) in connections where connection.isMute {
        entries.append(pollfd(fd: fd, events: Int16(POLLIN), revents: 0))
      }
      guard poll(&entries, nfds_t(entries.count), 20) > 0 else { continue }
      for entry in entries where entry.revents != 0 {
        if entry.fd == listener {
          while case .accepted(let fd, _) = Socket.accept(listener) {
            connections[fd] = Connection()
          }
        } else if connections[entry.fd] != nil {
          serve(entry.fd)
        }
      }
    }
    for fd in connections.keys { FileDescriptor.close(raw: fd) }
  }

  private func end(_ fd: Int32, abort: Bool = false) {
    connections[fd] = nil
    if abort { Socket.abort(raw: fd) } else { FileDescriptor.close(raw: fd) }
  }

  private func serve(_ fd: Int32) {
    guard var connection = connections[fd] else { return }
    if !connection.isAnswering {
      var buffer = [UInt8](repeating: 0, count: 16 << 10)
      switch buffer.withUnsafeMutableBytes({ Socket.receive(fd, into: $0) }) {
      case .bytes(let count): connection.input += buffer[..<count]
      case .wouldBlock: return
      case .endOfStream, .failed: return end(fd)
      }
      if !connection.isMute, let end = connection.input.firstRange(of: [13, 10, 13, 10]) {
        let head = String(decoding: connection.input[..<end.lowerBound], as: UTF8.self)
        connection.input.removeFirst(end.upperBound)
        answer(head, &connection)
      }
      connections[fd] = connection
      if !connection.isAnswering { return }
    }
    send(fd, &connection)
  }

  private func send(_ fd: Int32, _ connection: inout Connection) {
    while !connection.head.isEmpty || !connection.content.isEmpty {
      let transfer: Transfer
      if !connection.head.isEmpty {
        transfer = connection.head.withUnsafeBytes { Socket.send(fd, $0, more: true) }
        if case .bytes(let count) = transfer { connection.head.removeFirst(count) }
      } else {
        // A little at a time, so that what breaks off has been passed on.
        let piece = connection.content.prefix(256 << 10)
        transfer = pattern.withUnsafeBytes {
          Socket.send(fd, UnsafeRawBufferPointer(rebasing: $0[piece.startIndex..<piece.endIndex]))
        }
        if case .bytes(let count) = transfer { connection.content.removeFirst(count) }
      }
      switch transfer {
      case .bytes: break
      case .wouldBlock:
        connections[fd] = connection
        return
      case .endOfStream, .failed: return end(fd)
      }
    }
    connection.isAnswering = false
    guard let breaks = connection.breaks else {
      connections[fd] = connection
      return
    }
    broken.wrappingAdd(1, ordering: .relaxed)
    switch breaks.how {
    case 0: end(fd, abort: true)
    case 1: end(fd)
    default:
      connection.isMute = true
      connections[fd] = connection
    }
  }

  // MARK: Answers

  private func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &random) }

  private func answer(_ head: String, _ connection: inout Connection) {
    let lines = head.split(separator: "\r\n")
    let path = lines.first?.split(separator: " ").dropFirst().first.map(String.init) ?? "/0"
    let number = Int(path.drop { !$0.isNumber }) ?? 0
    func field(_ name: String) -> String? {
      lines.first { $0.lowercased().hasPrefix(name + ": ") }.map {
        String($0.dropFirst(name.count + 2))
      }
    }
    let count = asked[path, default: 0]
    asked[path] = count + 1
    let version = manner == .changing ? count : 0
    let tag = manner == .weak ? "W/\"v\(version)\"" : "\"v\(version)\""
    var first = 0
    var isPart = false
    if manner != .noRanges, let range = field("range"), range.hasPrefix("bytes=") {
      let condition = field("if-range")
      if condition == nil || condition == tag {
        first = Int(range.dropFirst(6).prefix { $0.isNumber }) ?? 0
        isPart = first < length
      }
    }
    var fields = ["Cache-Control: \(isStorable ? "max-age=600" : "no-store")"]
    if manner == .weak {
      fields += ["Last-Modified: Mon, 02 Mar 2026 10:00:00 GMT", "Accept-Ranges: bytes"]
    }
    if manner == .noRanges { fields.append("Accept-Ranges: none") }
    var last = length
    var shownTag = tag
    var shown = (first: isPart ? first : 0, last: length - 1, length: length)
    if isPart, manner == .wrongParts {
      switch below(5) {
      case 0:
        first -= 1
        shown.first = first
      case 1: shown.length += 1
      case 2: shownTag = "\"other\""
      case 3:
        // Not to the end.
        last -= 1
        shown.last -= 1
      default:
        fields.append("Content-Type: multipart/byteranges; boundary=x")
        shown.first = -1
      }
    }
    if isPart, shown.first >= 0 {
      fields.append("Content-Range: bytes \(shown.first)-\(shown.last)/\(shown.length)")
    }
    if !isPart { first = 0 }
    fields += ["ETag: \(shownTag)", "Content-Length: \(last - first)"]
    let text =
      "HTTP/1.1 \(isPart ? 206 : 200) Fine\r\n" + fields.joined(separator: "\r\n") + "\r\n\r\n"
    connection.head = Array(text.utf8)
    let start = Self.start(number, version)
    connection.content = start + first..<start + last
    connection.isAnswering = true
    connection.breaks = nil
    if count == 0 || count == 1 && below(2) == 0 || manner == .changing && count < 8 {
      // Of the second one, behind what has come already where the whole comes again.
      let least = isPart || count == 0 ? 0 : (last - first) * 9 / 10
      let at = least + below(max(1, last - first - least))
      connection.breaks = (at, below(stall ? 3 : 2))
      connection.content = connection.content.prefix(at)
    }
  }
}

/// Downloads one after the other, and looks at every byte.
package final class Downloader: @unchecked Sendable {
  package enum Result: Equatable, Sendable {
    case whole(version: Int)
    /// Cut, and right as far as it went.
    case cut(version: Int)
    case refused(Int)
    case wrong(at: Int)
  }

  private let proxy: SocketAddress
  private let origin: BreakingOrigin

  package init(_ proxy: SocketAddress, _ origin: BreakingOrigin) {
    self.proxy = proxy
    self.origin = origin
  }

  package func get(_ number: Int) throws -> Result {
    let socket = try Socket.connect(to: proxy)
    let fd = socket.rawValue
    let url = origin.url("/\(number)")
    let request = Array(
      "GET \(url) HTTP/1.1\r\nHost: origin.test:\(origin.port)\r\nConnection: close\r\n\r\n".utf8)
    wait(fd, POLLOUT)
    guard case .bytes(request.count) = request.withUnsafeBytes({ Socket.send(fd, $0) }) else {
      return .refused(0)
    }
    var buffer = [UInt8](repeating: 0, count: 256 << 10)
    var head: [UInt8] = []
    var offset = -1
    var version = 0
    var length = origin.length
    while true {
      wait(fd, POLLIN)
      let transfer = buffer.withUnsafeMutableBytes { Socket.receive(fd, into: $0) }
      switch transfer {
      case .wouldBlock: continue
      case .endOfStream, .failed:
        guard offset >= 0 else { return .refused(0) }
        return offset == length ? .whole(version: version) : .cut(version: version)
      case .bytes(var count):
        var from = 0
        if offset < 0 {
          head += buffer[..<count]
          guard let end = head.firstRange(of: [13, 10, 13, 10]) else { continue }
          let text = String(decoding: head[..<end.lowerBound], as: UTF8.self)
          let status = Int(text.dropFirst(9).prefix(3)) ?? 0
          guard status == 200 else { return .refused(status) }
          let lines = text.split(separator: "\r\n")
          version =
            lines.first { $0.hasPrefix("ETag: ") }
            .flatMap { Int($0.filter(\.isNumber)) } ?? 0
          length =
            lines.first { $0.hasPrefix("Content-Length: ") }
            .flatMap { Int($0.dropFirst(16)) } ?? -1
          offset = 0
          from = count - (head.count - end.upperBound)
          count -= from
        }
        let isRight = buffer.withUnsafeBytes {
          origin.matches(
            number, version: version, at: offset,
            UnsafeRawBufferPointer(rebasing: $0[from..<from + count]))
        }
        guard isRight else { return .wrong(at: offset) }
        offset += count
      }
    }
  }

  private func wait(_ fd: Int32, _ events: Int32) {
    var entry = pollfd(fd: fd, events: Int16(events), revents: 0)
    _ = poll(&entry, 1, 20_000)
  }
}
