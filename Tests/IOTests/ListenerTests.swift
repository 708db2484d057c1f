// Accepting: every client is served, also when descriptors run out.

import Platform
import Testing

@testable import IO

private final class Door: Listener {
  var peers: [SocketAddress] = []
  var sockets: [Int32] = []
  var refusedPeers: [SocketAddress] = []
  var onAccept: ((Door) -> Void)?

  override func accepted(_ fd: Int32, peer: SocketAddress) {
    sockets.append(fd)
    peers.append(peer)
    onAccept?(self)
  }

  override func refused(_ fd: Int32, peer: SocketAddress) {
    refusedPeers.append(peer)
    // With a word, so that the client knows it was not a fault of the network.
    _ = Array("busy".utf8).withUnsafeBytes { Socket.send(fd, $0) }
    FileDescriptor.close(raw: fd)
  }

  deinit {
    for socket in sockets { FileDescriptor.close(raw: socket) }
  }
}

@Suite("Listener")
struct ListenerTests {
  private func door(_ loop: EventLoop, _ ip: IPAddress = .loopbackV4, burstLimit: Int = 64) throws
    -> Door
  {
    try Door(
      loop: loop, socket: Socket.listen(on: SocketAddress(ip, port: 0)), burstLimit: burstLimit)
  }

  /// Clients whose descriptors close with this.
  private final class Clients {
    private var descriptors: [Int32] = []
    var addresses: Set<SocketAddress> = []

    init(_ count: Int, of address: SocketAddress) throws {
      for _ in 0..<count {
        let socket = try Socket.connect(to: address)
        addresses.insert(try Socket.localAddress(socket.rawValue))
        descriptors.append(socket.release())
      }
    }

    func receive(_ index: Int, into buffer: UnsafeMutableRawBufferPointer) -> Transfer {
      Socket.receive(descriptors[index], into: buffer)
    }

    deinit {
      for descriptor in descriptors { FileDescriptor.close(raw: descriptor) }
    }
  }

  @Test(
    "every client is accepted, and known by its address",
    arguments: [IPAddress.loopbackV4, .loopbackV6])
  func accepts(_ ip: IPAddress) throws {
    let loop = try EventLoop()
    let door = try door(loop, ip, burstLimit: 7)
    #expect(door.address.port != 0)
    let clients = try Clients(40, of: door.address)
    loop.run { door.peers.count == 40 }
    #expect(Set(door.peers) == clients.addresses)
    #expect(door.counters.accepted == 40 && door.counters.pauses == 0)
    door.stop()
  }

  @Test("a turn accepts no more than the bound")
  func bounded() throws {
    let loop = try EventLoop()
    let door = try door(loop, burstLimit: 4)
    let clients = try Clients(20, of: door.address)
    var before = 0
    while door.peers.count < 20 {
      loop.turn()
      #expect(door.peers.count - before <= 4)
      before = door.peers.count
    }
    #expect(clients.addresses.count == 20)
    door.stop()
  }

  @Test("a listener that is stopped by what it accepts accepts no more")
  func stopped() throws {
    let loop = try EventLoop()
    let door = try door(loop)
    door.onAccept = { $0.stop() }
    let clients = try Clients(5, of: door.address)
    loop.turn()
    loop.turn(waitingAtMost: .zero)
    #expect(door.peers.count == 1 && clients.addresses.count == 5)
    #expect(loop.objectCount == 0)
  }

  #if DEBUG
    private func plan(_ door: Door, _ errno: Errno, _ number: Int = 1) -> FaultPlan {
      FaultPlan(in: .descriptor(door.descriptor), failing: [.accept], number: number, with: errno)
    }

    @Test(
      "without descriptors one client is told, the others wait, and all are served when one is freed"
    )
    func outOfDescriptors() throws {
      let loop = try EventLoop()
      let door = try door(loop)
      let plan = plan(door, .tooManyOpenFiles)
      plan.install()
      defer { plan.remove() }
      let clients = try Clients(3, of: door.address)
      loop.run { door.isPaused }
      #expect(door.refusedPeers.count == 1 && door.peers.isEmpty)
      #expect(door.counters.refused == 1 && door.counters.pauses == 1)
      #expect(door.counters.lastError == .tooManyOpenFiles)
      guard case .bytes(4) = clients.receive(0, into: loop.receiveBuffer) else {
        Issue.record("the refused client was not told")
        return
      }
      // Paused, the waiting clients do not keep the loop busy.
      loop.turn(waitingAtMost: .zero)
      #expect(door.peers.isEmpty)
      door.descriptorFreed()
      #expect(!door.isPaused)
      loop.run { door.peers.count == 2 }
      #expect(Set(door.peers + door.refusedPeers) == clients.addresses)
      door.stop()
    }

    @Test(
      "a pause ends by itself",
      arguments: [Errno.tooManyOpenFilesInSystem, .noBufferSpace, .noMemory])
    func pauseEnds(_ errno: Errno) throws {
      let loop = try EventLoop()
      let door = try door(loop)
      let plan = plan(door, errno)
      plan.install()
      defer { plan.remove() }
      let clients = try Clients(2, of: door.address)
      loop.run { door.isPaused }
      loop.run { door.peers.count + door.refusedPeers.count == 2 }
      #expect(!door.isPaused && clients.addresses.count == 2)
      door.stop()
    }

    @Test("a client that left while it waited is counted and costs the next one nothing")
    func aborted() throws {
      let loop = try EventLoop()
      let door = try door(loop)
      let plan = plan(door, .connectionAborted)
      plan.install()
      defer { plan.remove() }
      let clients = try Clients(1, of: door.address)
      loop.run { door.peers.count == 1 }
      #expect(door.counters.aborted == 1 && door.counters.pauses == 0)
      #expect(clients.addresses.count == 1)
      door.stop()
    }
  #endif
}
