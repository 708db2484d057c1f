// What looks dangerous and breaks nothing: not a single record may come of it.

import Forensics
import Telemetry

extension Scenario {
  static let l21 = Scenario(
    "L21", "cures, old segments, half-closed and closed connections, resets that miss",
    on: .behindService, expected: { _ in [] }
  ) { stage in
    let listener = try stage.originListens()
    let client = try stage.get("/l21")
    let origin = try listener.accept()
    _ = try origin.readRequest()
    try origin.answerHead(200_000)
    try origin.sendContent(0..<50_000)
    try client.readHead()
    _ = try client.readContent(0..<50_000)
    var place = 50_000
    func lives() throws {
      try origin.sendContent(place..<(place + 10_000))
      stage.check("the connection lives", try client.readContent(place..<(place + 10_000)))
      place += 10_000
    }
    stage.step("the node is liberal, and a segment far beyond the window comes")
    try stage.node.set("net.netfilter.nf_conntrack_tcp_be_liberal", to: "1")
    try stage.injectBeyondWindow(origin)
    try lives()
    try stage.node.set("net.netfilter.nf_conntrack_tcp_be_liberal", to: "0")
    stage.step("the node drops what is INVALID, and it comes again")
    let cure = Fault.rule(.node, "-m conntrack --ctstate INVALID -j DROP")
    try stage.make(cure)
    try stage.injectBeyondWindow(origin)
    try lives()
    try stage.undo(cure)
    stage.step("a segment far behind the window, as old tests of this bug send it")
    try stage.injectBeyondWindow(origin, distance: -100_000)
    try lives()
    stage.step("a forged reset that misses by 100")
    let state = try ConnectionState(origin)
    let service = try Stage.address(Topology.serviceAddress, Topology.servicePort)
    let miss = Segment(
      from: service, to: origin.peer, sequence: state.sends &+ 100, acknowledgement: 0,
      flags: Segment.reset)
    try miss.send(from: try stage.node)
    try lives()
    try origin.sendContent(place..<200_000)
    stage.check("the download is whole", try client.readContent(place..<200_000))

    stage.step(
      "a client that finishes behind its request, and an origin that closes behind its answer")
    let half = try stage.get("/half")
    half.finish()
    _ = try origin.readRequest()
    try origin.answerHead(1000, fields: "Connection: close\r\n")
    try origin.sendContent(0..<1000)
    origin.close()
    try half.readHead()
    stage.check("it has its answer", try half.readContent(0..<1000))
    stage.check("and a proper end", try half.ending().reset == nil)
    stage.step("a kept connection of the client is closed by it")
    client.close()
  }
}
