// A cable that loses packets and lets them overtake each other: a TUN device in the machine at either end, and a thread that
// carries packets from one to the other, not always well. Kernels without netem have no other way.

import CLab
import Glibc
import Platform
import Synchronization

package final class RoughCable: Sendable {
  /// What it does to packets that carry content. Counted, not by chance, so that each run meets the same.
  package struct Habits: Sendable {
    /// Of so many one is lost.
    package var losesEvery: Int
    /// Of so many one waits until the next three have passed.
    package var holdsEvery: Int

    package init(losesEvery: Int, holdsEvery: Int) {
      self.losesEvery = losesEvery
      self.holdsEvery = holdsEvery
    }
  }

  private struct Counts {
    var lost = 0
    var overtaken = 0
    var isOver = false
  }

  private let counts = Monitor(Counts())
  private let ends: [Int32]

  package var lost: Int { counts.withLock { $0.lost } }
  package var overtaken: Int { counts.withLock { $0.overtaken } }

  /// Why there can be none here, and what would help.
  package static var obstacle: String? {
    access("/dev/net/tun", R_OK | W_OK) == 0
      ? nil
      : "it needs /dev/net/tun: modprobe tun, run it as root; in a container --device /dev/net/tun"
  }

  /// Makes a device in each of two machines and joins them.
  /// - Parameter ends: the machines, and the names of the devices.
  init(_ ends: [(host: Host, device: String)], _ habits: Habits) throws {
    var open: [Int32] = []
    do {
      for (host, device) in ends {
        open.append(
          try host.run {
            let fd = lab_open_tun(device)
            guard fd >= 0 else {
              throw LabError("no TUN device in \(host.role): \(Errno(rawValue: 0 - fd))")
            }
            return fd
          })
      }
      self.ends = open
      let (counts, ends) = (counts, open)
      _ = try WorkerThread.start(name: "lab-cable") { Self.carry(ends, habits, counts) }
    } catch {
      for fd in open { close(fd) }
      throw error
    }
  }

  deinit { counts.withLock { $0.isOver = true } }

  private static func carry(_ ends: [Int32], _ habits: Habits, _ counts: Monitor<Counts>) {
    defer { for fd in ends { close(fd) } }
    var seen = [0, 0]
    /// What waits at each end to be sent on there, and how many may pass it still.
    var held: [(packet: [UInt8], toPass: Int)?] = [nil, nil]
    var buffer = [UInt8](repeating: 0, count: 65536)
    func release(_ side: Int) {
      guard let packet = held[side]?.packet else { return }
      held[side] = nil
      _ = write(ends[side], packet, packet.count)
    }
    while !counts.withLock({ $0.isOver }) {
      var entries = ends.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      // Not longer than a person would notice; and what has nobody behind it waits no longer than that.
      guard poll(&entries, 2, 20) > 0 else {
        release(0)
        release(1)
        continue
      }
      for from in 0..<2 where entries[from].revents != 0 {
        let to = 1 - from
        let count = read(ends[from], &buffer, buffer.count)
        guard count > 0 else { continue }
        let packet = Array(buffer[..<count])
        if packet.count > 500 {
          seen[to] += 1
          if seen[to] % habits.losesEvery == 0 {
            counts.withLock { $0.lost += 1 }
            continue
          }
          if seen[to] % habits.holdsEvery == 0, held[to] == nil {
            held[to] = (packet, 3)
            continue
          }
        }
        _ = write(ends[to], packet, packet.count)
        if let waiting = held[to] {
          held[to]?.toPass = waiting.toPass - 1
          if waiting.toPass == 1 {
            counts.withLock { $0.overtaken += 1 }
            release(to)
          }
        }
      }
    }
  }
}
