// Whether the path to an origin that says nothing is dead. The kernel can find that out in seconds (keepalive probes while
// all is confirmed, TCP_USER_TIMEOUT while something is not), where the origin's program may be silent for long in good
// health. Asked for only once an origin has been silent for a while: most never are, and cost no call. A probe also draws
// the answer of whoever is there now, such as the reset that tells of a translation that is lost.
//
//   the request is out ─ 2 s of silence ─▶ probe ─ 1 s ─▶ probe … ─ nothing at all for `upstream.dead-after` ─▶ ETIMEDOUT
//                                             └─ confirmed: the program thinks; `upstream.read-timeout` holds

import Configuration
import IO
import Platform

struct PathProbing: Sendable {
  private static let longestSilence: Duration = .seconds(2)
  /// Of keepalive the kernel counts whole seconds.
  private static let interval: Int32 = 1

  /// For so long an origin is silent before it is looked after.
  let silence: TimeoutClass
  /// What is left of `upstream.read-timeout` then.
  let rest: TimeoutClass
  private let deadMilliseconds: Int32
  private let probes: Int32

  /// Nil where it would be of no use.
  init?(_ settings: UpstreamSettings) {
    let dead = settings.deadAfter
    let silence = min(Self.longestSilence, dead / 2)
    guard dead > .zero, silence < settings.readTimeout else { return nil }
    self.silence = TimeoutClass(silence)
    rest = TimeoutClass(settings.readTimeout - silence)
    deadMilliseconds = Int32(clamping: dead.wholeNanoseconds / 1_000_000)
    probes = Int32(clamping: max(1, (dead - silence).wholeNanoseconds / 1_000_000_000))
  }

  /// Begins to ask.
  /// - Parameter sendsContent: the kernel takes a peer that is slow to read for a dead one (TCP_USER_TIMEOUT counts while
  ///   the window is closed), so that content that is being sent is left to `upstream.read-timeout`.
  func begin(_ descriptor: Int32, sendsContent: Bool) {
    // Without it the path is found dead later.
    try? Socket.setKeepAlive(
      descriptor, idle: Self.interval, interval: Self.interval, probes: probes)
    if !sendsContent { try? Socket.setUserTimeout(descriptor, milliseconds: deadMilliseconds) }
  }

  /// Nobody waits for it any more.
  static func end(_ descriptor: Int32) {
    try? Socket.endKeepAlive(descriptor)
    try? Socket.setUserTimeout(descriptor, milliseconds: 0)
  }
}

extension Exchange {
  /// Sets the deadline for whatever the origin has to say or take next, and for looking after it before that.
  func awaitProgress() {
    let settings = worker.settings
    guard let probing = settings.probing, connection?.isProbed == false else {
      awaitsProbing = false
      loop.arm(self, after: settings.readTimeout)
      return
    }
    awaitsProbing = true
    loop.arm(self, after: probing.silence)
  }

  /// The origin has been silent for a while.
  /// - Returns: false when its time is up.
  func beginProbing() -> Bool {
    guard awaitsProbing else { return false }
    awaitsProbing = false
    guard let connection, let probing = worker.settings.probing else { return false }
    connection.beginProbing(probing, sendsContent: request.framing != .none)
    loop.arm(self, after: probing.rest)
    return true
  }
}
