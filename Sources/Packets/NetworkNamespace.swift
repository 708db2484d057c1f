// Work inside another network namespace. A namespace belongs to a thread: sockets that are opened on it stay there,
// whoever uses them later.

import CPacketSocket
import Glibc
import Platform

package enum NetworkNamespace {
  /// Moves the calling thread, which should be one of its own, for good.
  /// - Parameter path: `/run/netns/NAME`, `/proc/PID/ns/net`, or anything else that leads to a namespace.
  package static func enter(_ path: String) throws(PacketSensorError) {
    let descriptor: FileDescriptor
    do {
      descriptor = try File.open(path)
    } catch {
      throw .namespace(path: path, error)
    }
    let result = packet_enter_namespace(descriptor.rawValue)
    guard result >= 0 else { throw .namespace(path: path, Errno(result: result)) }
  }
}

extension Errno {
  /// The error in what a call of `CPacketSocket` answered: a negative error number.
  init(result: Int) {
    self.init(rawValue: Int32(truncatingIfNeeded: 0 &- result))
  }
}
