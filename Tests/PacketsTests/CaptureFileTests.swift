// Capture files as other programs read them.

import Glibc
import Platform
import TestNetwork
import Testing

@testable import Packets

/// A tool that is installed; nil where it is not.
private func has(_ tool: String) -> Bool { (try? shell("command -v \(tool)")) != nil }

@Suite("Capture files")
struct CaptureFileTests {
  private static func capture(bound: Int = 1 << 20) throws -> CaptureFile {
    var talk = Conversation(FlowIndex(mode: .full))
    talk.handshake()
    talk.ask(100)
    talk.answer(1400)
    talk.ask(7)
    var reset = talk.fromServer
    ResetShapeTests.passive(&reset)
    talk.see(reset)
    let flow = try #require(talk.flow)
    let sighting = try #require(flow.resets.first)
    let facts = try #require(ResetFacts(sighting, mode: .full))
    var file = CaptureFile(
      .init(
        comment: "{\"verdict\":\"a test\"}", operatingSystem: "Linux", application: "Holdfast"),
      bound: bound, filter: PacketFilter(mode: .full).description
    ) { index in index == 1 ? "eth7" : nil }
    file.add(name: "origin.example.org", of: flow.peer.ip)
    for packet in flow.packets {
      let comment: String? =
        if packet == sighting.packet {
          "the reset: \(facts.shape.rawValue)"
        } else if packet == facts.trigger { "what drew it" } else { nil }
      file.add(packet, comment: comment)
    }
    var statistics = PacketRecorder.Statistics()
    statistics.received = 7
    statistics.dropped = 3
    file.add(statistics: statistics, at: WallTime(seconds: 2))
    return file
  }

  /// Runs a tool on the file.
  private static func read(_ file: CaptureFile, _ command: (String) -> String) throws -> String {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-capture-")
    defer { try? File.removeTree(directory) }
    let path = directory + "/one.pcapng"
    let output = try File.open(path, [.write, .create])
    _ = try file.bytes.withUnsafeBytes { try File.write(output.rawValue, $0) }
    return try shell(command(path))
  }

  @Test("blocks are whole, aligned, and of the length they say, twice")
  func blocks() throws {
    let bytes = try Self.capture().bytes
    var types: [UInt32] = []
    var offset = 0
    func number(_ at: Int) -> UInt32 {
      bytes[at..<(at + 4)].reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
    while offset < bytes.count {
      let length = Int(number(offset + 4))
      try #require(length % 4 == 0 && length >= 12 && offset + length <= bytes.count)
      #expect(number(offset + length - 4) == UInt32(length))
      types.append(number(offset))
      offset += length
    }
    #expect(types == [0x0A0D_0D0A, 4, 1, 6, 6, 6, 6, 6, 6, 6, 5])
  }

  @Test("a bound is kept, and what was left out is counted", arguments: [0, 300, 500, 700, 1000])
  func bound(bytes: Int) throws {
    let file = try Self.capture(bound: bytes)
    #expect(file.packetCount + file.omitted == 7)
    #expect(file.omitted > 0)
    if bytes >= 300 { #expect(file.bytes.count <= bytes) }
  }

  @Test("a comment that is too long is cut between characters")
  func longComment() throws {
    let text = "a" + String(repeating: "é", count: 40_000)
    let file = CaptureFile(.init(comment: text), bound: 1 << 20)
    #expect(file.bytes.count < 33 * 1024)
    #expect(
      String(
        validating: file.bytes.dropFirst(28).prefix(CaptureFile.maximumComment - 1), as: UTF8.self)
        != nil)
  }

  @Test(
    "tshark opens one and shows the comments on the reset and on what drew it",
    .enabled(if: has("tshark"), "tshark is not installed"))
  func tshark() throws {
    let output = try Self.read(try Self.capture()) { path in
      "tshark -r \(path) -n -T fields -E separator='|' -e frame.number -e frame.comment"
        + " -e frame.interface_name -e frame.len -e tcp.flags.str -e frame.time_epoch 2>/dev/null"
    }
    let lines = output.split(separator: "\n")
    #expect(lines.count == 7)
    let comments = lines.map { $0.split(separator: "|", omittingEmptySubsequences: false)[1] }
    #expect(comments[5] == "what drew it")
    #expect(comments[6] == "the reset: passive")
    #expect(comments[..<5].allSatisfy { $0.isEmpty })
    #expect(lines.allSatisfy { $0.contains("|eth7|") })
    #expect(lines[4].contains("|1466|"))
    #expect(lines[6].contains("R"))
    #expect(lines[0].hasSuffix("|1.001000000"))
  }

  @Test(
    "capinfos counts its packets and shows the verdict",
    .enabled(if: has("capinfos"), "capinfos is not installed"))
  func capinfos() throws {
    let output = try Self.read(try Self.capture()) { "capinfos \($0) 2>&1" }
    #expect(output.contains("Number of packets:   7"))
    #expect(output.contains("{\"verdict\":\"a test\"}"))
    #expect(output.contains("Holdfast"))
    #expect(output.contains("eth7"))
    #expect(output.contains("Strict time order:   True"))
  }

  @Test(
    "names are in it, for who looks",
    .enabled(if: has("tshark"), "tshark is not installed"))
  func names() throws {
    let output = try Self.read(try Self.capture()) {
      "tshark -r \($0) -N n 2>/dev/null"
    }
    #expect(output.contains("origin.example.org"))
  }
}
