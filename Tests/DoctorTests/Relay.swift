// What a sidecar does with connections: takes them, and makes others of its own.

import Glibc
import Lab
import Platform
import Synchronization

final class Relay: Sendable {
  private let listener: Int32
  private let server: SocketAddress
  private let source: SocketAddress?
  private let isOver = Atomic<Bool>(false)

  /// - Parameter source: the address that its own connections have; the kernel's choice if nil.
  init(
    on host: Machine, at address: SocketAddress, to server: SocketAddress,
    from source: SocketAddress? = nil
  ) throws {
    listener = try host.run { try Socket.listen(on: address).release() }
    self.server = server
    self.source = source
    // Threads are in the namespace of the one that starts them.
    _ = try host.run { try WorkerThread.start(name: "relay") { self.accept() } }
  }

  deinit { FileDescriptor.close(raw: listener) }

  func end() { isOver.store(true, ordering: .relaxed) }

  private func accept() {
    while !isOver.load(ordering: .relaxed) {
      var entry = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
      guard poll(&entry, 1, 50) > 0, case .accepted(let fd, _) = Socket.accept(listener) else {
        continue
      }
      let onward = try? Socket.connect(to: server) { [source] fd throws(Errno) in
        guard let source, source.withSockaddr({ bind(fd, $0, $1) }) != 0 else { return }
        throw Errno(rawValue: errno)
      }.release()
      guard let onward else {
        FileDescriptor.close(raw: fd)
        continue
      }
      _ = try? WorkerThread.start(name: "relayed") { self.carry(fd, onward) }
    }
  }

  /// Until one of them ends.
  private func carry(_ one: Int32, _ other: Int32) {
    defer { for fd in [one, other] { FileDescriptor.close(raw: fd) } }
    var entries = [one, other].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    var buffer = [UInt8](repeating: 0, count: 4096)
    while !isOver.load(ordering: .relaxed) {
      guard poll(&entries, 2, 50) > 0 else { continue }
      for index in 0...1 where entries[index].revents != 0 {
        let count = recv(entries[index].fd, &buffer, buffer.count, 0)
        guard count > 0, send(entries[1 - index].fd, buffer, count, 0x4000) == count else {
          return
        }
      }
    }
  }
}
