// Who may not record is told what to do, and nothing else happens.

import Platform
import Synchronization
import TestNetwork
import Testing

@testable import Packets

// Of the C library, which declares it nowhere; both act on the calling thread only (capset(2)).
@_silgen_name("capget")
private func capget(_ header: UnsafeMutableRawPointer, _ sets: UnsafeMutableRawPointer) -> Int32
@_silgen_name("capset")
private func capset(_ header: UnsafeMutableRawPointer, _ sets: UnsafeMutableRawPointer) -> Int32

@Suite("Errors of the packet sensor")
struct PacketSensorErrorTests {
  @Test("without CAP_NET_RAW it does not start, and says how to give it")
  func capability() throws {
    let outcome = Outcome<PacketSensorError?>()
    // A thread of its own, which lays its capabilities down; those it starts have no more than it.
    let thread = try WorkerThread.start(name: "humble") {
      // Version 3, this thread; then twice: effective, permitted, inheritable.
      var header: [UInt32] = [0x2008_0522, 0]
      var sets = [UInt32](repeating: 0, count: 6)
      #expect(capget(&header, &sets) == 0)
      sets[0] &= ~(1 << 13)
      #expect(capset(&header, &sets) == 0)
      do throws(PacketSensorError) {
        let recorder = try PacketRecorder.start(
          PacketRecorder.Options(filter: PacketFilter(mode: .lite)), index: FlowIndex(mode: .lite))
        recorder.stop()
        outcome.result.withLock { $0 = .success(nil) }
      } catch {
        outcome.result.withLock { $0 = .success(error) }
      }
    }
    thread.join()
    let error = try #require(try outcome.result.withLock { try $0?.get() } ?? nil)
    #expect(error == .lacksCapability)
    #expect(error.description.contains("setcap cap_net_raw+ep") == true)
  }

  @Test("each error names what to do")
  func sentences() {
    let errors: [(PacketSensorError, String)] = [
      (.noPacketSockets(.addressFamilyNotSupported), "af_packet"),
      (.noMemory(bytes: 4 << 20, .noMemory), "4096 KiB"),
      (.namespace(path: "/x", .notPermitted), "CAP_SYS_ADMIN"),
      (.namespace(path: "/x", .noSuchFile), "/run/netns/NAME"),
      (.failed(step: "making the ring", .invalidArgument), "making the ring"),
    ]
    for (error, words) in errors { #expect(error.description.contains(words)) }
  }
}
