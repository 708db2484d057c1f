// The same with live data: every twentieth segment of a download crosses the node as it is.

import Forensics
import Telemetry

extension Scenario {
  static let l11 = Scenario(
    "L11", "every 20th segment of a download is not translated back", on: .behindService,
    fixes: [.none, .shield], options: impatient,
    expected: { fix in fix == .none ? [strayed] : [] }
  ) { stage in
    let size = 3_000_000
    let listener = try stage.originListens()
    stage.step("a client asks for 3 MB")
    let client = try stage.get("/l11")
    let first = try listener.accept()
    _ = try first.readRequest()
    try first.answerHead(size)
    try first.sendContent(0..<50_000)
    try client.readHead()
    stage.check("50 kB arrive", try client.readContent(0..<50_000))
    let origin = stage.network.topology.originAddress
    let fault = Fault.untracked("-s \(origin) --sport \(Topology.originPort)", every: 20)
    let resets = try stage.holdfast.counters()["OutRsts"] ?? 0
    let rest = Content.bytes(50_000..<size)
    try stage.fault("from now on the node does not translate every 20th segment") {
      try stage.make(fault)
    }
    let isWhole = first.sendUntilCut(rest)
    if stage.fix == .none {
      // Small machines have it all in their buffers before it breaks.
      if isWhole {
        stage.check("the origin is reset", try first.ending().reset == .connectionReset)
      }
      try stage.undo(fault)
      let second = try listener.accept()
      let offset = try second.readRequest()
      stage.step("the origin's connection is dead; Holdfast asks for the rest, from byte \(offset)")
      try second.answerHead(size, from: offset)
      try second.sendContent(offset..<size)
    } else {
      stage.step("our kernel's resets are kept back: the origin sends those segments again")
      stage.check("all is sent on one connection", isWhole)
      try first.waitUntilConfirmed()
      let kept = (try stage.holdfast.counters()["OutRsts"] ?? 0) - resets
      stage.step("\(kept) resets were kept back")
      stage.check("some were", kept > 0)
    }
    stage.check(
      "the client has all bytes, and they are right", try client.readContent(50_000..<size))
  }
}
