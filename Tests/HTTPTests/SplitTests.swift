// Properties that hold for any message and any cut of its bytes: over the fuzz corpora, and over
// random damage to them. A failure prints the seed to give back as `HOLDFAST_SEED`.

import Foundation
import FuzzEntries
import HTTP
import SeededRandom
import Testing

/// The seeds of a corpus, which are also the messages that get cut.
private func corpus(_ name: String) throws -> [(name: String, bytes: [UInt8])] {
  let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Fuzz/corpus/\(name)")
  return try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
    .sorted { $0.path < $1.path }
    .map { ($0.lastPathComponent, Array(try Data(contentsOf: $0))) }
}

private func randomCuts(_ count: Int, _ random: inout SeededGenerator) -> [Int] {
  (0..<Int.random(in: 2...6, using: &random))
    .map { _ in Int.random(in: 0...count, using: &random) }.sorted()
}

/// Small changes of the kind that finds holes: a byte replaced, left out, doubled, moved.
private func mutated(_ bytes: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
  let interesting: [UInt8] = [0, 9, 10, 13, 32, 34, 37, 43, 44, 47, 48, 58, 59, 92, 127, 128, 255]
  var result = bytes
  for _ in 0..<Int.random(in: 1...3, using: &random) where !result.isEmpty {
    let at = Int.random(in: 0..<result.count, using: &random)
    switch Int.random(in: 0..<4, using: &random) {
    case 0: result[at] = interesting.randomElement(using: &random) ?? 0
    case 1: result.remove(at: at)
    case 2: result.insert(interesting.randomElement(using: &random) ?? 0, at: at)
    default: result.swapAt(at, Int.random(in: 0..<result.count, using: &random))
    }
  }
  return result
}

@Suite struct SplitTests {
  @Test(
    "a head cut in two anywhere gets the answer of the whole head",
    arguments: [("request", MessageKind.request), ("response", .response)])
  func headsInTwo(folder: String, kind: MessageKind) throws {
    let seeds = try corpus(folder)
    #expect(seeds.count >= 30)
    for seed in seeds {
      for cut in 0...seed.bytes.count {
        let fault = HeadChecks.splitting(seed.bytes, cuts: [cut], kind)
        #expect(fault == nil, "\(seed.name)")
      }
      let everywhere = HeadChecks.splitting(seed.bytes, cuts: Array(0..<seed.bytes.count), kind)
      #expect(everywhere == nil, "\(seed.name)")
    }
  }

  @Test(
    "limits strike at the same place however the head is cut",
    arguments: [("request", MessageKind.request), ("response", .response)])
  func limitsInTwo(folder: String, kind: MessageKind) throws {
    for seed in try corpus(folder) where seed.bytes.count < 200 {
      for limit in stride(from: 1, to: seed.bytes.count + 2, by: 3) {
        let limits = [
          HeadLimits(startLine: limit), HeadLimits(head: limit), HeadLimits(fieldCount: limit % 5),
        ]
        for limits in limits {
          let byByte = Array(0..<seed.bytes.count)
          let fault = HeadChecks.splitting(seed.bytes, cuts: byByte, kind, limits: limits)
          #expect(fault == nil, "\(seed.name) \(limits)")
        }
      }
    }
  }

  @Test("chunked content cut in two anywhere, or into single bytes, decodes to the same")
  func chunksInTwo() throws {
    let seeds = try corpus("chunked")
    #expect(seeds.count >= 30)
    for seed in seeds {
      let places = seed.bytes.count < 600 ? Array(0...seed.bytes.count) : [0, 1, 5, 4099, 4100]
      for cut in places {
        #expect(ChunkedChecks.splitting(seed.bytes, cuts: [cut]) == nil, "\(seed.name)")
      }
      let byByte = Array(0..<seed.bytes.count)
      #expect(ChunkedChecks.splitting(seed.bytes, cuts: byByte) == nil, "\(seed.name)")
    }
  }

  @Test("what was accepted is accepted again when written, and its key is one")
  func roundTrips() throws {
    for seed in try corpus("request") {
      #expect(HeadChecks.roundTrip(seed.bytes, .request) == nil, "\(seed.name)")
      #expect(HeadChecks.keys(seed.bytes) == nil, "\(seed.name)")
    }
    for seed in try corpus("response") {
      #expect(HeadChecks.roundTrip(seed.bytes, .response) == nil, "\(seed.name)")
    }
    for seed in try corpus("chunked") {
      #expect(ChunkedChecks.roundTrip(seed.bytes) == nil, "\(seed.name)")
    }
  }

  @Test("messages with random damage, cut at random, keep all promises")
  func damaged() throws {
    let seed = newSeed()
    var random = SeededGenerator(seed: seed)
    let requests = try corpus("request").map(\.bytes)
    let responses = try corpus("response").map(\.bytes)
    let chunked = try corpus("chunked").map(\.bytes).filter { $0.count < 600 }
    for _ in 0..<2000 {
      let request = mutated(requests.randomElement(using: &random) ?? [], &random)
      let response = mutated(responses.randomElement(using: &random) ?? [], &random)
      let content = mutated(chunked.randomElement(using: &random) ?? [], &random)
      let faults = [
        HeadChecks.splitting(request, cuts: randomCuts(request.count, &random), .request),
        HeadChecks.roundTrip(request, .request),
        HeadChecks.keys(request),
        HeadChecks.splitting(response, cuts: randomCuts(response.count, &random), .response),
        HeadChecks.roundTrip(response, .response),
        ChunkedChecks.splitting(content, cuts: randomCuts(content.count, &random)),
        ChunkedChecks.roundTrip(content),
      ].compactMap { $0 }
      #expect(faults.isEmpty, "seed \(seed)")
      if !faults.isEmpty { break }
    }
  }

  @Test("the answer does not depend on bytes behind the end of what was given")
  func tails() throws {
    for seed in try corpus("request") {
      for cut in 0..<seed.bytes.count {
        let expected = HeadChecks.whole(Array(seed.bytes[..<cut]), .request).outcome
        for tail: UInt8 in [0x0A, 0x0D, 0x20, 0x3A, 0x61] {
          let longer = Array(seed.bytes[..<cut]) + Array(repeating: tail, count: 16)
          var head = ParsedHead()
          let outcome = MessageParser.parseRequest(
            longer.span.extracting(0..<cut), into: &head)
          #expect(outcome == expected, "\(seed.name) \(cut)")
        }
      }
    }
  }

  @Test("the fuzz entries survive their corpora")
  func replay() throws {
    for seed in try corpus("request") { fuzzRequestHead(seed.bytes) }
    for seed in try corpus("response") { fuzzResponseHead(seed.bytes) }
    for seed in try corpus("chunked") { fuzzChunked(seed.bytes) }
  }
}
