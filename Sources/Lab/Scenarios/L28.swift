// A bad cable: packets are lost and overtake each other. That is what TCP is for, and conntrack knows it: no record.

import Forensics
import Telemetry

extension Scenario {
  static let l28 = Scenario(
    "L28", "a cable loses packets and reorders them",
    on: {
      var topology = Topology.behindService
      topology.lastCable = RoughCable.Habits(losesEvery: 60, holdsEvery: 7)
      return topology
    }(),
    needs: { RoughCable.obstacle }, expected: { _ in [] }
  ) { stage in
    let size = 2_000_000
    let listener = try stage.originListens()
    stage.step("a client asks for 2 MB")
    let client = try stage.get("/l28")
    let origin = try listener.accept()
    _ = try origin.readRequest()
    try origin.answerHead(size)
    // Both at once: the answer is larger than what lies in buffers.
    let sending = try stage.sends(0..<size, on: origin)
    try client.readHead()
    stage.check("the client has all bytes, and they are right", try client.readContent(0..<size))
    try sending()
    let cable = try stage.network.roughCable
    stage.step(
      "\(cable.lost) packets were lost, \(cable.overtaken) were overtaken, on one connection")
    stage.check("the cable was bad", cable.lost > 0 && cable.overtaken > 0)
  }
}
