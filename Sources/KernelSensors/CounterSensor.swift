// The counters of a network namespace, looked at once a second by a thread of its own, and when somebody asks. What is
// told counts for the whole namespace, so it is a hint about one connection and never proof.
//
//   every second ─▶ history ─┐
//   an ending ─▶ now ────────┴─▶ what has grown since just before it
//
// Cost: three small files a second, and as often again for endings, at most fifty times a second however many there are.

import Platform
import Synchronization

package final class CounterSensor: Sendable {
  /// What has grown, and during which time.
  package struct Growth: Sendable {
    package let counters: [String: Int64]
    package let window: Duration
  }

  private struct Question: Sendable {
    var since: Instant
    var answer: @Sendable (Growth?) -> Void
  }

  private struct State {
    var questions: [Question] = []
    var isStopping = false
    var isRunning = false
  }

  /// Questions that wait; beyond them the answer is "unknown", at once.
  private static let mostQuestions = 4096
  /// Between two looks.
  private static let pause: Duration = .milliseconds(20)

  private let state = Mutex(State())
  private let wake: EventFD
  private let thread = Mutex<WorkerThread?>(nil)

  /// - Parameter namespacePath: of the network namespace to look at; nil for the program's own.
  package static func start(
    namespacePath: String? = nil
  ) throws(KernelSensorError) -> CounterSensor {
    let started = Monitor<Result<Void, KernelSensorError>?>(nil)
    let sensor: CounterSensor
    let thread: WorkerThread
    do {
      sensor = CounterSensor(wake: try EventFD())
      thread = try WorkerThread.start(name: "counters") {
        sensor.run(namespacePath) { result in
          started.withLock { $0 = result }
          started.wakeAll()
        }
      }
    } catch {
      throw .failed(step: "starting the counters' thread", error)
    }
    sensor.thread.withLock { $0 = thread }
    switch started.wait(for: { $0 }) {
    case .success: return sensor
    case .failure(let error):
      sensor.stop()
      throw error
    }
  }

  private init(wake: consuming EventFD) { self.wake = wake }

  /// Tells what has grown from just before `since` until now. Counters are looked at after this call, so that what
  /// has happened before it is in.
  /// - Parameter answer: called once on the sensor's thread, or at once where nothing can be told. It should hand on
  ///   and return.
  package func growth(since: Instant, _ answer: @escaping @Sendable (Growth?) -> Void) {
    let isTaken = state.withLock { state in
      guard state.isRunning, state.questions.count < Self.mostQuestions else { return false }
      state.questions.append(Question(since: since, answer: answer))
      return true
    }
    if isTaken { wake.signal() } else { answer(nil) }
  }

  /// Whether it looks.
  package var isActive: Bool { state.withLock { $0.isRunning } }

  /// Answers what was asked, and ends.
  package func stop() {
    state.withLock { $0.isStopping = true }
    wake.signal()
    let thread = self.thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    thread?.join()
  }

  // MARK: The thread

  private func run(
    _ path: String?, _ started: (Result<Void, KernelSensorError>) -> Void
  ) {
    var history = CounterHistory()
    do throws(KernelSensorError) {
      try NetworkHome.enter(path)
      history.add(try CounterSnapshot.take())
      let epoll = try watch()
      state.withLock { $0.isRunning = true }
      started(.success(()))
      look(epoll, &history)
    } catch {
      started(.failure(error))
    }
  }

  private func watch() throws(KernelSensorError) -> Epoll {
    do {
      let epoll = try Epoll(capacity: 1)
      try epoll.add(wake.rawValue, .read, token: 0)
      return epoll
    } catch {
      throw .failed(step: "waiting for questions", error)
    }
  }

  private func look(_ epoll: borrowing Epoll, _ history: inout CounterHistory) {
    var nextLook = Instant.precise() + .seconds(1)
    while true {
      let rest = (nextLook - Instant.precise()).wholeNanoseconds
      let milliseconds = Int32(clamping: max(0, rest) / 1_000_000 + 1)
      let isWoken = (try? epoll.wait(milliseconds: milliseconds)) ?? 0 > 0
      if isWoken { wake.clear() }
      let (questions, isStopping) = state.withLock { state in
        defer { state.questions = [] }
        if state.isStopping { state.isRunning = false }
        return (state.questions, state.isStopping)
      }
      let isDue = Instant.precise() >= nextLook
      // One that cannot be taken (no descriptor is left) is missing, and the next is tried.
      if isDue || !questions.isEmpty, let now = try? CounterSnapshot.take() {
        for question in questions { question.answer(Self.growth(question, now, history)) }
        if isDue { history.add(now) }
      } else {
        for question in questions { question.answer(nil) }
      }
      if isDue { nextLook = Instant.precise() + .seconds(1) }
      if isStopping { return }
      if !questions.isEmpty || isWoken { sleepThread(Self.pause) }
    }
  }

  private static func growth(
    _ question: Question, _ now: CounterSnapshot, _ history: CounterHistory
  ) -> Growth? {
    guard let baseline = history.baseline(question.since) else { return nil }
    return Growth(counters: now.growth(since: baseline), window: now.time - baseline.time)
  }
}
