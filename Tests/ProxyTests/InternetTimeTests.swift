import Testing

@testable import Proxy

@Suite struct InternetTimeTests {
  @Test(
    "seconds since 1970 are written as RFC 3339 writes them",
    arguments: [
      (0, "1970-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59Z"),
      (951_782_400, "2000-02-29T00:00:00Z"), (951_868_800, "2000-03-01T00:00:00Z"),
      (1_772_446_272, "2026-03-02T10:11:12Z"), (4_107_542_400, "2100-03-01T00:00:00Z"),
      (253_402_300_799, "9999-12-31T23:59:59Z"),
    ] as [(Int64, String)])
  func written(seconds: Int64, text: String) { #expect(Self.write(seconds) == text) }

  @Test("a time beyond what four digits of a year can say is written as the nearest that can")
  func clamped() {
    #expect(Self.write(.max) == "9999-12-31T23:59:59Z")
    #expect(Self.write(.min).hasSuffix("Z"))
  }

  @Test("a buffer that is too small stays as it is")
  func small() {
    withUnsafeTemporaryAllocation(byteCount: 19, alignment: 1) { buffer in
      buffer.initializeMemory(as: UInt8.self, repeating: 7)
      InternetTime.write(0, into: buffer)
      #expect(buffer.allSatisfy { $0 == 7 })
    }
  }

  private static func write(_ seconds: Int64) -> String {
    withUnsafeTemporaryAllocation(byteCount: 20, alignment: 8) { buffer in
      InternetTime.write(seconds, into: buffer)
      return String(decoding: buffer, as: UTF8.self)
    }
  }
}
