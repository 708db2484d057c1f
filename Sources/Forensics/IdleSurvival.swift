// What connections to one origin have told about how long they may be idle. Who closes an idle connection says FIN; a
// box on the path that forgets the flow says nothing, and the next segment dies. Three numbers tell the two apart.

import Platform

public struct IdleSurvival: Sendable, Equatable {
  /// The longest idling after which a connection still answered.
  public private(set) var longestSurvived: Duration?
  /// The shortest idling that ended with the origin's FIN.
  public private(set) var shortestFinished: Duration?
  /// The shortest idling after which the connection was dead although nobody had said FIN.
  public private(set) var shortestForgotten: Duration?
  /// How often that has happened.
  public private(set) var forgotten = 0

  public init() {}

  public mutating func survived(_ idle: Duration) {
    longestSurvived = max(longestSurvived ?? .zero, idle)
  }

  public mutating func finished(after idle: Duration) {
    shortestFinished = min(shortestFinished ?? idle, idle)
  }

  public mutating func wasForgotten(after idle: Duration) {
    shortestForgotten = min(shortestForgotten ?? idle, idle)
    forgotten = min(forgotten + 1, 1_000_000)
  }

  /// Whether a death after such idling fits a box that forgets: shorter idling is survived, and longer is not.
  func isForgetful(at idle: Duration) -> Bool {
    guard let shortestForgotten, forgotten >= 2 else { return false }
    return (longestSurvived ?? .zero) < shortestForgotten && idle >= shortestForgotten
  }

  /// Lifetimes of idle flows that common load balancers have as they come: near one of them it is no accident.
  static let wellKnown: [(seconds: Int64, whose: String)] = [
    (240, "Azure load balancers"), (350, "AWS network load balancers"), (600, "GCP's firewall"),
  ]

  static func wellKnown(near idle: Duration) -> String? {
    let seconds = idle.components.seconds
    return wellKnown.first { seconds >= $0.seconds && seconds < $0.seconds + $0.seconds / 10 }?
      .whose
  }
}
