// What this machine does itself: somebody destroys a socket, and Holdfast ends a connection.

import Forensics
import Telemetry

extension Scenario {
  static let l19 = Scenario(
    "L19", "a socket is destroyed here; then a client takes nothing", on: .behindService,
    options: {
      var options = ProxyOptions()
      options.more = "limits: { write-timeout: 1s }"
      return options
    }(),
    expecting: Expectation(.killedHere, .content, .killed)
      .judged(.sockets, atLeast: 98)
      .having("errno", "ECONNABORTED")
      .having("content.received", "50000"),
    Expectation(.proxyAborted, .content, .timeout, side: .downstream)
      .judged(.sockets, atLeast: 95)
  ) { stage in
    let listener = try stage.originListens()
    let (client, first) = try stage.downloadBegins(
      "/l19", at: listener, "a client asks for 200 kB, and has 50 kB")
    try stage.fault("somebody runs `ss -K` in the proxy's machine") {
      try stage.holdfast.shell("ss -K dst \(Topology.serviceAddress) >/dev/null")
    }
    stage.check("the client is cut, visibly", try client.ending().reset != nil)

    stage.step("a client asks for 4 MB and reads nothing")
    try stage.client.set("net.ipv4.tcp_rmem", to: "4096 16384 16384")
    try stage.holdfast.set("net.ipv4.tcp_wmem", to: "4096 16384 16384")
    let slow = try stage.get("/slow")
    let second = try listener.accept()
    _ = try second.readRequest()
    try second.answerHead(4_000_000)
    try second.sendContent(0..<4_000_000)
    stage.step("Holdfast's patience is at its end after a second")
    try stage.waitForFinal(2)
    stage.check("the client is cut, visibly", try slow.ending().reset != nil)
  }
}
