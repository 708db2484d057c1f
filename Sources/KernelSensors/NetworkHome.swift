// Where a sensor looks: the program's own network namespace, or another. A namespace belongs to a thread; sockets and
// files of /proc that are opened on it are of that namespace, whoever uses them later.

import CKernelSensors
import Platform

enum NetworkHome {
  /// Moves the calling thread, which must be one of its own, for good.
  /// - Parameter path: `/run/netns/NAME`, `/proc/PID/ns/net`, or anything else that leads to a namespace; nil to stay.
  static func enter(_ path: String?) throws(KernelSensorError) {
    guard let path else { return }
    do throws(Errno) {
      let descriptor = try File.open(path, .followLinks)
      let result = kernel_enter_namespace(descriptor.rawValue)
      guard result >= 0 else { throw Errno(result: result) }
    } catch {
      throw .namespace(path: path, error)
    }
  }
}
