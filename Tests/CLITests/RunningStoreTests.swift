// The store commands against a scripted admin listener.

import Platform
import Synchronization
import Testing

@testable import CLI

/// Answers one request after another with what it was given, and keeps what was asked.
private final class ScriptedAdmin: Sendable {
  let address: SocketAddress
  private let thread: WorkerThread

  init(_ answers: [String]) throws {
    let socket = try Socket.listen(on: SocketAddress(.loopbackV4, port: 0))
    address = try Socket.localAddress(socket.rawValue)
    let descriptor = socket.release()
    let (asked, listener) = (Recorder(), descriptor)
    thread = try WorkerThread.start(name: "admin") {
      let socket = FileDescriptor(owning: listener)
      for answer in answers { asked.add(Self.serve(socket.rawValue, answer)) }
    }
    recorder = asked
  }

  private final class Recorder: Sendable {
    private let requests = Mutex<[String]>([])
    func add(_ request: String) { requests.withLock { $0.append(request) } }
    var all: [String] { requests.withLock { $0 } }
  }
  private let recorder: Recorder

  /// The request lines, once every answer was given.
  func requests() -> [String] {
    thread.join()
    return recorder.all
  }

  private static func serve(_ listener: Int32, _ answer: String) -> String {
    guard let epoll = try? Epoll(capacity: 1) else { return "" }
    try? epoll.add(listener, .read, token: 0)
    _ = try? epoll.wait(milliseconds: 10_000)
    guard case .accepted(let raw, _) = Socket.accept(listener) else { return "" }
    let client = FileDescriptor(owning: raw)
    try? epoll.remove(listener)
    try? epoll.add(client.rawValue, .read, token: 1)
    var request: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while request.firstRange(of: [13, 10, 13, 10]) == nil {
      _ = try? epoll.wait(milliseconds: 10_000)
      guard
        case .bytes(let count) = buffer.withUnsafeMutableBytes({
          Socket.receive(client.rawValue, into: $0)
        })
      else { break }
      request += buffer[..<count]
    }
    _ = Array(answer.utf8).withUnsafeBytes { Socket.send(client.rawValue, $0) }
    return String(decoding: request.prefix { $0 != 13 }, as: UTF8.self)
  }
}

@Suite("The store of a running instance")
struct RunningStoreTests {
  private let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"

  @Test("a host is asked for under both schemes and every port, and the lines become rows")
  func list() throws {
    let row =
      #"{"url":"http://a/x","status":200,"bytes":5,"stored":1,"varies":false,"later":"ignored"}"#
    let admin = try ScriptedAdmin([head + row + "\n", head, head, head])
    let store = RunningStore(client: AdminClient(address: admin.address))
    var rows: [StoreRow] = []
    try store.list(StoreSelector("a", isPrefix: true)) { rows.append($0) }
    #expect(rows.map(\.url) == ["http://a/x"])
    #expect(
      admin.requests() == [
        "GET /api/store?prefix=http%3A%2F%2Fa%2F HTTP/1.0",
        "GET /api/store?prefix=http%3A%2F%2Fa%3A HTTP/1.0",
        "GET /api/store?prefix=https%3A%2F%2Fa%2F HTTP/1.0",
        "GET /api/store?prefix=https%3A%2F%2Fa%3A HTTP/1.0",
      ])
  }

  @Test("a purge is a POST, and what went is added up")
  func purge() throws {
    let admin = try ScriptedAdmin([head + #"{"responses":2,"bytes":7}"#])
    let store = RunningStore(client: AdminClient(address: admin.address))
    #expect(try store.purge(.all) == StorePurge(responses: 2, bytes: 7))
    #expect(admin.requests() == ["POST /api/store/purge?all=true HTTP/1.0"])
  }

  @Test("nothing stored is no failure, a refusal is one and is shown without control characters")
  func statuses() throws {
    let admin = try ScriptedAdmin([
      "HTTP/1.1 404 Not Found\r\n\r\nno", "HTTP/1.1 403 Forbidden\r\n\r\nnot you\u{1B}[31m\n",
    ])
    let store = RunningStore(client: AdminClient(address: admin.address))
    #expect(try store.show("http://a/x").isEmpty)
    #expect {
      try store.verify(repair: true)
    } throws: { error in
      (error as? Failure)?.text.hasSuffix("refuses: 403 not you\u{FFFD}[31m") == true
    }
    #expect(admin.requests().last == "POST /api/store/verify?repair=true HTTP/1.0")
  }

  @Test("an answer that is no JSON is a failure")
  func nonsense() throws {
    let admin = try ScriptedAdmin([head + "<html>"])
    let store = RunningStore(client: AdminClient(address: admin.address))
    #expect(throws: Failure.self) { try store.purge(.all) }
  }
}
