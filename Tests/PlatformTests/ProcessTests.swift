// Errors, time, threads, signals and the process itself.

import Glibc
import Platform
import Synchronization
import Testing

@Suite("Error numbers")
struct ErrnoTests {
  @Test("an error says its name and what it means")
  func description() {
    #expect(Errno.connectionReset.description == "ECONNRESET (Connection reset by peer)")
    #expect(Errno(rawValue: 4711).name == "errno 4711")
    #expect(Errno.tooManyOpenFiles.isOutOfDescriptors && Errno.quotaExceeded.isOutOfSpace)
  }

  @Test("every number of the kernel below 35 but the one it skips has a name", arguments: 1...34)
  func names(_ number: Int32) {
    // The classic numbers, without the two for block devices and links we never meet.
    let unnamed: Set<Int32> = [ENOTBLK, EMLINK, ERANGE]
    if !unnamed.contains(number) { #expect(Errno(rawValue: number).name.hasPrefix("E")) }
  }
}

@Suite("File descriptors")
struct FileDescriptorTests {
  private func isOpen(_ fd: Int32) -> Bool { fcntl(fd, F_GETFD) >= 0 }

  @Test("a descriptor is open as long as its holder lives, unless it is released")
  func lifetime() throws {
    let number: Int32
    do {
      let file = try File.open("/dev/null")
      number = file.release()
    }
    #expect(isOpen(number))
    try FileDescriptor(owning: number).close()
  }

  @Test("closing reaches the other end at once")
  func closes() throws {
    let pair = try ConnectedPair()
    let server = pair.server.rawValue
    try FileDescriptor(owning: dup(pair.client.rawValue)).close()
    withUnsafeTemporaryAllocation(byteCount: 1, alignment: 1) { buffer in
      #expect(Socket.receive(server, into: buffer) == .wouldBlock)
    }
  }
}

@Suite("Time")
struct ClockTests {
  @Test("instants only grow, and the coarse clock is never ahead of the precise one")
  func monotonic() {
    let coarse = Instant.now()
    let precise = Instant.precise()
    #expect(coarse <= precise)
    #expect(precise <= Instant.precise())
  }

  @Test("adding a time span and taking the difference are inverse")
  func arithmetic() {
    let start = Instant(nanoseconds: 1_000)
    #expect((start + .milliseconds(250)) - start == .milliseconds(250))
    #expect(start + .seconds(Int64.max) == .distantFuture)
    #expect(WallTime(seconds: 1, nanoseconds: 5) < WallTime(seconds: 2))
    #expect(WallTime.now().seconds > 1_700_000_000)
  }

  @Test(
    "a span longer than 64 bits of nanoseconds is as long as they can say",
    arguments: [
      (Duration.seconds(1), Int64(1_000_000_000)), (.nanoseconds(7), 7), (.zero, 0),
      (.seconds(Int64.max), .max),
      (.milliseconds(-1), -1_000_000),
    ])
  func whole(_ duration: Duration, _ nanoseconds: Int64) {
    #expect(duration.wholeNanoseconds == nanoseconds)
  }
}

@Suite("Threads")
struct WorkerThreadTests {
  private static func threadName() -> String {
    guard let file = try? File.open("/proc/thread-self/comm") else { return "" }
    return withUnsafeTemporaryAllocation(byteCount: 64, alignment: 1) { buffer in
      let count = (try? File.readFully(file.rawValue, into: buffer, at: 0)) ?? 0
      return String(decoding: buffer[..<count].dropLast(), as: UTF8.self)
    }
  }

  @Test("a thread runs its body once, under its name, with signals blocked")
  func runs() throws {
    let seen = Monitor<(name: String, blocked: Bool)?>(nil)
    let thread = try WorkerThread.start(name: "a-name-that-is-too-long") {
      let name = Self.threadName()
      var mask = sigset_t()
      pthread_sigmask(SIG_BLOCK, nil, &mask)
      let blocked = sigismember(&mask, SIGTERM) == 1
      seen.withLock { $0 = (name, blocked) }
      seen.wakeAll()
    }
    let result = seen.wait { $0 }
    thread.join()
    thread.join()
    #expect(result.name == "a-name-that-is-")
    #expect(result.blocked)
  }

  @Test("threads that wait for each other meet")
  func meet() throws {
    let turns = Monitor(0)
    let other = try WorkerThread.start(name: "other") {
      for turn in stride(from: 1, to: 1000, by: 2) {
        turns.wait { $0 == turn ? () : nil }
        turns.withLock { $0 += 1 }
        turns.wakeAll()
      }
    }
    for turn in stride(from: 0, to: 1000, by: 2) {
      turns.wait { $0 == turn ? () : nil }
      turns.withLock { $0 += 1 }
      turns.wakeAll()
    }
    other.join()
    #expect(turns.withLock { $0 } == 1000)
  }
}

@Suite("The process")
struct ProcessTests {
  @Test("a signal sent to a thread that blocks it is read from the descriptor")
  func signals() throws {
    // On a thread of its own: the mask of the test's thread stays as it is, and the signal goes to that thread alone.
    let result = Monitor<Signals.Signal??>(nil)
    let thread = try WorkerThread.start(name: "signals") {
      var answer: Signals.Signal? = nil
      if let signals = try? Signals([.hangUp]) {
        pthread_kill(pthread_self(), SIGHUP)
        answer = signals.next()
        if signals.next() != nil { answer = nil }
      }
      result.withLock { $0 = .some(answer) }
      result.wakeAll()
    }
    #expect(result.wait { $0 } == .hangUp)
    thread.join()
  }

  @Test("the descriptor limit rises to what is allowed, and no further")
  func limits() throws {
    let raised = try ProcessLimits.raiseDescriptors()
    #expect(raised.limit >= raised.previous)
    let again = try ProcessLimits.raiseDescriptors()
    #expect(again.previous == raised.limit && again.limit == raised.limit)
  }

  @Test("the process knows what it uses")
  func usage() {
    #expect(ProcessLimits.residentMemory() > 1 << 20)
    #expect(ProcessLimits.processorTime() > .zero)
    #expect(ProcessLimits.processorCount() >= 1)
  }
}
