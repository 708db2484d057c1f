// Sockets on the loopback interface: what moves, what would wait, and how an end looks from the other side.

import Glibc
import Platform
import Testing

/// Two ends of a connection, and the listener they met at.
struct ConnectedPair: ~Copyable {
  let listener: FileDescriptor
  let client: FileDescriptor
  let server: FileDescriptor

  init(_ ip: IPAddress = .loopbackV4) throws {
    let listener = try Socket.listen(on: SocketAddress(ip, port: 0))
    let client = try Socket.connect(to: Socket.localAddress(listener.rawValue))
    let server = try acceptOne(listener.rawValue)
    try waitUntilReady(client.rawValue, .write)
    self.listener = listener
    self.client = client
    self.server = server
  }
}

/// Waits, as long as it takes, until a descriptor is ready.
func waitUntilReady(_ fd: Int32, _ interest: Interest) throws {
  let epoll = try Epoll(capacity: 1)
  try epoll.add(fd, interest, token: 0)
  while try epoll.wait(milliseconds: -1) == 0 {}
}

func acceptOne(_ listener: Int32) throws -> FileDescriptor {
  while true {
    switch Socket.accept(listener) {
    case .accepted(let fd, _): return FileDescriptor(owning: fd)
    case .wouldBlock: try waitUntilReady(listener, .read)
    case .failed(let errno): throw errno
    }
  }
}

func send(_ fd: Int32, _ text: String) -> Transfer {
  Array(text.utf8).withUnsafeBytes { Socket.send(fd, $0) }
}

/// Receives once it is possible; what came, as text, or how it ended.
func receive(_ fd: Int32, _ count: Int = 1024) throws -> (text: String, end: Transfer?) {
  try waitUntilReady(fd, .read)
  return withUnsafeTemporaryAllocation(byteCount: count, alignment: 1) { buffer in
    switch Socket.receive(fd, into: buffer) {
    case .bytes(let count): (String(decoding: buffer[..<count], as: UTF8.self), nil)
    case let end: ("", end)
    }
  }
}

@Suite("Sockets")
struct SocketTests {
  static let families: [IPAddress] = [.loopbackV4, .loopbackV6]

  @Test("bytes go both ways, and both ends know each other's address", arguments: families)
  func bothWays(_ ip: IPAddress) throws {
    let pair = try ConnectedPair(ip)
    #expect(send(pair.client.rawValue, "ping") == .bytes(4))
    #expect(try receive(pair.server.rawValue).text == "ping")
    #expect(send(pair.server.rawValue, "pong") == .bytes(4))
    #expect(try receive(pair.client.rawValue).text == "pong")
    #expect(
      try Socket.peerAddress(pair.server.rawValue) == Socket.localAddress(pair.client.rawValue))
    #expect(
      try Socket.peerAddress(pair.client.rawValue) == Socket.localAddress(pair.listener.rawValue))
  }

  @Test("nothing to read is no end and no error")
  func nothingToRead() throws {
    let pair = try ConnectedPair()
    withUnsafeTemporaryAllocation(byteCount: 8, alignment: 1) { buffer in
      #expect(Socket.receive(pair.server.rawValue, into: buffer) == .wouldBlock)
    }
  }

  @Test("several stretches arrive as one, in order")
  func stretches() throws {
    let pair = try ConnectedPair()
    let (a, b, c) = (Array("head ".utf8), Array("fields ".utf8), Array("content".utf8))
    a.withUnsafeBytes { a in
      b.withUnsafeBytes { b in
        c.withUnsafeBytes { c in
          #expect(Socket.send(pair.client.rawValue, a, b, c) == .bytes(19))
          #expect(Socket.send(pair.client.rawValue, a, b, more: true) == .bytes(12))
        }
      }
    }
    #expect(send(pair.client.rawValue, ".") == .bytes(1))
    var text = ""
    while text.utf8.count < 32 { text += try receive(pair.server.rawValue).text }
    #expect(text == "head fields contenthead fields .")
  }

  @Test("peeked bytes come again")
  func peek() throws {
    let pair = try ConnectedPair()
    #expect(send(pair.client.rawValue, "once") == .bytes(4))
    try waitUntilReady(pair.server.rawValue, .read)
    withUnsafeTemporaryAllocation(byteCount: 16, alignment: 1) { buffer in
      #expect(Socket.peek(pair.server.rawValue, into: buffer) == .bytes(4))
      #expect(Socket.receive(pair.server.rawValue, into: buffer) == .bytes(4))
    }
  }

  @Test("a finish ends one direction only")
  func finish() throws {
    let pair = try ConnectedPair()
    Socket.shutdownWrite(pair.client.rawValue)
    #expect(try receive(pair.server.rawValue).end == .endOfStream)
    #expect(send(pair.server.rawValue, "still here") == .bytes(10))
    #expect(try receive(pair.client.rawValue).text == "still here")
  }

  @Test("an abort reaches the peer as a reset, and never as a clean end")
  func abort() throws {
    let listener = try Socket.listen(on: SocketAddress(.loopbackV4, port: 0))
    let client = try Socket.connect(to: Socket.localAddress(listener.rawValue))
    let server = try acceptOne(listener.rawValue)
    Socket.abort(client)
    #expect(try receive(server.rawValue).end == .failed(.connectionReset))
    // Writing to what is gone fails with an error, not with a signal.
    #expect(send(server.rawValue, "x") == .failed(.brokenPipe))
  }

  @Test("a port where nobody listens refuses")
  func refused() throws {
    // A bound port that does not listen stays ours, so that nobody else can come to listen there meanwhile.
    let taken = FileDescriptor(owning: socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
    let bound = SocketAddress(.loopbackV4, port: 0).withSockaddr { bind(taken.rawValue, $0, $1) }
    try #require(bound == 0)
    let address = try Socket.localAddress(taken.rawValue)
    let client: FileDescriptor
    do {
      client = try Socket.connect(to: address)
    } catch {
      #expect(error == .connectionRefused)
      return
    }
    try waitUntilReady(client.rawValue, .write)
    #expect(Socket.pendingError(client.rawValue) == .connectionRefused)
    #expect(Socket.pendingError(client.rawValue) == nil)
  }

  @Test("accepted connections inherit TCP_NODELAY from their listener")
  func inheritsNoDelay() throws {
    let pair = try ConnectedPair()
    var value: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    getsockopt(pair.server.rawValue, Int32(IPPROTO_TCP), TCP_NODELAY, &value, &length)
    #expect(value == 1)
  }

  @Test("an IPv6 listener leaves its port free for IPv4")
  func v6Only() throws {
    // Somebody else may have the IPv4 port of the one that the kernel chose; not of a hundred in a row.
    for _ in 0..<100 {
      let six = try Socket.listen(on: SocketAddress(.anyV6, port: 0))
      let port = try Socket.localAddress(six.rawValue).port
      if let four = try? Socket.listen(on: SocketAddress(.anyV4, port: port)) {
        #expect(try Socket.localAddress(four.rawValue).port == port)
        return
      }
    }
    Issue.record("no port could be bound for both")
  }

  @Test("several listeners share a port when asked to, and do not when not")
  func reusePort() throws {
    let first = try Socket.listen(on: SocketAddress(.loopbackV4, port: 0), reusePort: true)
    let address = try Socket.localAddress(first.rawValue)
    let second = try Socket.listen(on: address, reusePort: true)
    #expect(try Socket.localAddress(second.rawValue) == address)
    #expect(throws: Errno.addressInUse) { _ = try Socket.listen(on: address).rawValue }
  }

  @Test(
    "a port is shared with those that were meant to, and only with them, behind a first one that was alone"
  )
  func sharedPort() throws {
    let first = try Socket.listen(on: SocketAddress(.loopbackV4, port: 0))
    let address = try Socket.localAddress(first.rawValue)
    try Socket.sharePort(first.rawValue)
    let second = try Socket.listen(on: address, reusePort: true)
    // Who comes alone, as the first one of another program does, is refused.
    #expect(throws: Errno.addressInUse) { _ = try Socket.listen(on: address).rawValue }
    #expect(throws: Errno.addressInUse) {
      let everywhere = SocketAddress(try #require(IPAddress("0.0.0.0")), port: address.port)
      _ = try Socket.listen(on: everywhere).rawValue
    }
    // Which of the two gets a connection depends on its port: of so many both get some.
    var clients: [Int32] = []
    defer { for client in clients { FileDescriptor.close(raw: client) } }
    var counts = [0, 0]
    for _ in 0..<64 {
      clients.append(try Socket.connect(to: address).release())
      for (index, listener) in [first.rawValue, second.rawValue].enumerated() {
        while case .accepted(let accepted, _) = Socket.accept(listener) {
          clients.append(accepted)
          counts[index] += 1
        }
      }
    }
    #expect(counts.allSatisfy { $0 > 0 }, "\(counts)")
  }

  @Test("a file goes out by sendfile, and a file shorter than believed is noticed")
  func sendFile() throws {
    let pair = try ConnectedPair()
    let directory = try TemporaryDirectory()
    let file = try File.open(directory.path + "/f", [.readWrite, .create])
    try Array("0123456789".utf8).withUnsafeBytes { try File.writeFully(file.rawValue, $0, at: 0) }
    #expect(
      Socket.sendFile(to: pair.client.rawValue, from: file.rawValue, offset: 4, count: 100)
        == .bytes(6))
    #expect(try receive(pair.server.rawValue).text == "456789")
    #expect(
      Socket.sendFile(to: pair.client.rawValue, from: file.rawValue, offset: 10, count: 1)
        == .endOfStream)
  }

  @Test("a socket that takes no more says so")
  func fullSocket() throws {
    let pair = try ConnectedPair()
    try Socket.setSendBuffer(pair.client.rawValue, bytes: 4096)
    let bytes = [UInt8](repeating: 7, count: 1 << 20)
    var sent = 0
    var last = Transfer.bytes(0)
    while case .bytes(let count) = last {
      sent += count
      last = bytes.withUnsafeBytes { Socket.send(pair.client.rawValue, $0) }
    }
    #expect(last == .wouldBlock)
    #expect(sent > 0)
  }

  @Test("options are taken by the kernel")
  func options() throws {
    let pair = try ConnectedPair()
    try Socket.setKeepAlive(pair.client.rawValue, idle: 60, interval: 10, probes: 3)
    try Socket.setUserTimeout(pair.client.rawValue, milliseconds: 30_000)
    try Socket.setNotSentLowWater(pair.client.rawValue, bytes: 131_072)
  }
}

@Suite("Epoll")
struct EpollTests {
  @Test("an event carries its token and what it is about")
  func tokens() throws {
    let pair = try ConnectedPair()
    let epoll = try Epoll()
    try epoll.add(pair.server.rawValue, [.read, .peerFinish], token: 0xDEAD_BEEF_0000_0001)
    #expect(try epoll.wait(milliseconds: 0) == 0)
    #expect(send(pair.client.rawValue, "x") == .bytes(1))
    #expect(try epoll.wait(milliseconds: -1) == 1)
    #expect(epoll.event(0).token == 0xDEAD_BEEF_0000_0001)
    #expect(epoll.event(0).readiness == .read)
    Socket.shutdownWrite(pair.client.rawValue)
    #expect(try epoll.wait(milliseconds: -1) == 1)
    #expect(epoll.event(0).readiness == [.read, .peerFinish])
    try epoll.modify(pair.server.rawValue, .write, token: 2)
    #expect(try epoll.wait(milliseconds: -1) == 1)
    #expect(epoll.event(0).token == 2)
    #expect(epoll.event(0).readiness == .write)
    try epoll.remove(pair.server.rawValue)
    #expect(try epoll.wait(milliseconds: 0) == 0)
  }

  @Test("a wake-up from another thread is seen once, however often it was sent")
  func wakeUp() throws {
    let epoll = try Epoll()
    let wake = try EventFD()
    try epoll.add(wake.rawValue, .read, token: 1)
    wake.signal()
    wake.signal()
    #expect(try epoll.wait(milliseconds: -1) == 1)
    wake.clear()
    #expect(try epoll.wait(milliseconds: 0) == 0)
  }
}
