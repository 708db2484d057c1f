// The sockets of all listeners, one for each worker: the kernel spreads connections over those that share
// an address (SO_REUSEPORT, socket(7)), so that workers need not share anything. Two instances of the program must not
// come to share one so: the first socket of each address is bound alone.

import Configuration
import HTTP
import Platform
import Synchronization

final class ListenerSockets: Sendable {
  private struct Bound {
    var worker: Int
    var descriptor: Int32
    var use: ListenerUse
  }

  /// With the ports the kernel chose.
  let addresses: [SocketAddress]
  private let bound: Mutex<[Bound]>

  init(_ listeners: [ListenerSettings], workers: Int) throws(StartFailure) {
    var bound: [Bound] = []
    var addresses: [SocketAddress] = []
    do throws(StartFailure) {
      for (number, listener) in listeners.enumerated() {
        let use = ListenerUse(
          number: number, role: try Self.role(of: listener), trust: listener.trust)
        var address = listener.address
        for worker in 0..<workers {
          let socket = try Self.listen(address, isFirst: worker == 0, isShared: workers > 1)
          // With port 0 the first one gets a port, and the others share it.
          if worker == 0 { address = (try? Socket.localAddress(socket.rawValue)) ?? address }
          bound.append(
            Bound(worker: worker, descriptor: socket.release(), use: use))
        }
        addresses.append(address)
      }
    } catch {
      for socket in bound { FileDescriptor.close(raw: socket.descriptor) }
      throw error
    }
    self.addresses = addresses
    self.bound = Mutex(bound)
  }

  deinit {
    for socket in bound.withLock({ $0 }) { FileDescriptor.close(raw: socket.descriptor) }
  }

  /// The sockets of one worker, which owns them from now on.
  func take(_ worker: Int) -> [(Int32, ListenerUse)] {
    bound.withLock { bound in
      let taken = bound.filter { $0.worker == worker }
        .map { ($0.descriptor, $0.use) }
      bound.removeAll { $0.worker == worker }
      return taken
    }
  }

  private static func role(of listener: ListenerSettings) throws(StartFailure) -> ListenerRole {
    guard let origin = listener.origin else { return .proxy }
    guard let base = TargetURI(origin.text) else {
      throw StartFailure(description: "\(origin.text) cannot be the origin of a listener")
    }
    return .origin(base)
  }

  /// - Parameters:
  ///   - isFirst: nobody else may listen there, another instance of this program least of all: the kernel would give it
  ///     half of the connections.
  ///   - isShared: sockets of other workers follow.
  private static func listen(
    _ address: SocketAddress, isFirst: Bool, isShared: Bool
  ) throws(StartFailure) -> FileDescriptor {
    do throws(Errno) {
      let socket = try Socket.listen(on: address, reusePort: !isFirst)
      if isFirst, isShared { try Socket.sharePort(socket.rawValue) }
      return socket
    } catch {
      let advice =
        switch error {
        case .addressInUse:
          "another program listens there, perhaps another instance of \(Program.name); end it, or choose another address with `listen` or --listen"
        case .accessDenied: "ports below 1024 need a privilege; choose a higher one"
        case .addressNotAvailable: "this machine has no such address"
        default: error.message
        }
      throw StartFailure(description: "cannot listen on \(address): \(advice)")
    }
  }
}

extension ListenerSettings {
  fileprivate var trust: ProxyProtocolTrust {
    switch proxyProtocol {
    case .off: .nobody
    case .on: .everybody
    case .from(let networks): .networks(networks)
    }
  }
}
