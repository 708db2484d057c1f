// The fault as load, for a few seconds.

import Foundation
import Testing

@testable import Lab

@Suite(
  "Lab: reproduction", .serialized, .timeLimit(.minutes(5)),
  .enabled(if: Requirements.obstacle == nil, Labels.obstacle))
struct ReproductionTests {
  private func play(_ way: Way, _ fix: Fix) async throws -> ReproductionResult {
    var options = ReproductionOptions()
    (options.seconds, options.clients, options.rate) = (3, 4, 3)
    let reproduction = Reproduction(program: try Labels.program(), options: options)
    return try await withCheckedThrowingContinuation { continuation in
      let thread = Thread {
        continuation.resume(with: Result { try reproduction.play(way, fix) })
      }
      thread.start()
    }
  }

  @Test("without a cure injected segments kill downloads")
  func exposed() async throws {
    let result = try await play(.direct, .none)
    #expect(result.injected > 0 && result.failed > 0 && result.invalid > 0, "\(result)")
    #expect(result.originResets > 0 && result.wrong == 0, "\(result)")
  }

  @Test("through Holdfast, and with any cure, none is lost", arguments: Fix.allCases)
  func healed(fix: Fix) async throws {
    let result = try await play(fix == .none ? .holdfast : .direct, fix)
    #expect(result.injected > 0 && result.complete > 0, "\(result)")
    #expect(result.failed == 0 && result.wrong == 0, "\(result)")
  }

  @Test("the picture has a row for each setting, and shows a single failure")
  func picture() {
    var result = ReproductionResult(way: .direct, fix: .none)
    (result.complete, result.failed) = (9999, 1)
    let picture = ReproductionChart.svg([result, ReproductionResult(way: .nginx, fix: .shield)])
    #expect(picture.contains("1 of 10000 failed") && picture.contains("nginx, shield"))
    #expect(picture.contains("width=\"3\""))
  }
}
