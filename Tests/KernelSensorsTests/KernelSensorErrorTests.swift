// Who may not ask is told what to do, and nothing else happens.

import Platform
import Testing

@testable import KernelSensors

// Of the C library, which declares it nowhere; both act on the calling thread only (capset(2)).
@_silgen_name("capget")
private func capget(_ header: UnsafeMutableRawPointer, _ sets: UnsafeMutableRawPointer) -> Int32
@_silgen_name("capset")
private func capset(_ header: UnsafeMutableRawPointer, _ sets: UnsafeMutableRawPointer) -> Int32

/// Runs `body` on a thread that has laid capabilities down; those it starts have no more than it.
private func humbly(_ body: @escaping @Sendable () -> KernelSensorError?) throws
  -> KernelSensorError?
{
  let outcome = Answer<KernelSensorError?>()
  let thread = try WorkerThread.start(name: "humble") {
    // Version 3, this thread; then twice: effective, permitted, inheritable.
    var header: [UInt32] = [0x2008_0522, 0]
    var sets = [UInt32](repeating: 0, count: 6)
    #expect(capset(&header, &sets) == 0)
    outcome.set(body())
  }
  thread.join()
  return outcome.wait()
}

@Suite("Errors of the kernel sensors")
struct KernelSensorErrorTests {
  @Test("without CAP_NET_ADMIN the connection table is not asked")
  func table() throws {
    let error = try humbly {
      do throws(KernelSensorError) {
        try ConnectionTableSensor.start().stop()
        return nil
      } catch {
        return error
      }
    }
    #expect(error == .lacksAdmin(.notPermitted))
  }

  @Test("without CAP_PERFMON tracepoints are not watched")
  func tracepoints() throws {
    let error = try humbly {
      do throws(KernelSensorError) {
        try ResetTracer.start().stop()
        return nil
      } catch {
        return error
      }
    }
    switch error {
    case .lacksPerfmon, .noTraceFiles, .noPerfEvents: break
    default: Issue.record("\(String(describing: error))")
    }
  }

  @Test("counters are everybody's")
  func counters() throws {
    let error = try humbly {
      do throws(KernelSensorError) {
        try CounterSensor.start().stop()
        return nil
      } catch {
        return error
      }
    }
    #expect(error == nil)
  }

  @Test("each error names what to do")
  func sentences() {
    let errors: [(KernelSensorError, String)] = [
      (.noCounters(.noSuchFile), "/proc"), (.namespace(path: "/x", .notPermitted), "CAP_SYS_ADMIN"),
      (.namespace(path: "/x", .noSuchFile), "/run/netns/NAME"),
      (.lacksAdmin(.notPermitted), "NET_ADMIN"),
      (.noConnectionTable(.invalidArgument), "modprobe nf_conntrack_netlink"),
      (.logGroup(5, .notPermitted), "another number"),
      (.logGroup(5, .invalidArgument), "nfnetlink_log"),
      (.noTraceFiles(.noSuchFile), "mount -t tracefs"), (.noTracepoints, "4.16"),
      (.lacksPerfmon(.accessDenied), "CAP_PERFMON"),
      (.noPerfEvents(.notImplemented), "CONFIG_PERF_EVENTS"),
      (.failed(step: "waiting", .invalidArgument), "waiting"),
    ]
    for (error, words) in errors { #expect(error.description.contains(words)) }
  }
}
