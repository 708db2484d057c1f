// Sizes and times: what is accepted, and what people are told otherwise.

import Testing

@testable import Configuration

@Suite("Units")
struct UnitsTests {
  @Test(
    "sizes are read with their unit",
    arguments: [
      ("0B", 0), ("1B", 1), ("16KiB", 16384), ("10MB", 10_000_000), ("50GiB", 50 << 30),
      ("2TiB", 2 << 40), ("3kB", 3000), ("3KB", 3000),
    ])
  func sizes(text: String, bytes: Int64) throws {
    #expect(try ByteCount(reading: text).bytes == bytes)
  }

  @Test(
    "a wrong size is told what would be right",
    arguments: [
      ("50", "write 50MiB, 50GiB or, if bytes are meant, 50B"), ("50G", "50GiB"), ("50g", "50GB"),
      ("50gib", "write 50GiB"), ("1.5GiB", "smaller unit"), ("50 GiB", "write 50GiB"),
      ("-1GiB", "is negative"), ("much", "is not a size"), ("", "is not a size"),
      ("50GiBs", "not known"), ("9999999999999GiB", "more than can be counted"),
      ("99999999999999999999B", "more than can be counted"), ("5GiB5", "one number and one unit"),
      ("٥GiB", "is not a size"),
    ])
  func wrongSizes(text: String, advice: String) {
    #expect { try ByteCount(reading: text) } throws: { error in
      (error as? Misreading)?.message.contains(advice) == true
    }
  }

  @Test(
    "times are read with their unit",
    arguments: [
      ("0s", Duration.zero), ("500ms", .milliseconds(500)), ("30s", .seconds(30)),
      ("5m", .seconds(300)), ("2h", .seconds(7200)), ("1d", .seconds(86400)),
    ])
  func times(text: String, time: Duration) throws {
    #expect(try Duration(reading: text) == time)
  }

  @Test(
    "a wrong time is told what would be right",
    arguments: [
      ("30", "write 30s for seconds or 30ms"), ("30sec", "not known"), ("1.5s", "smaller unit"),
      ("1h30m", "one number and one unit"), ("-5s", "is negative"), ("soon", "is not a time"),
      ("9223372036854775807h", "longer than can be counted"),
    ])
  func wrongTimes(text: String, advice: String) {
    #expect { try Duration(reading: text) } throws: { error in
      (error as? Misreading)?.message.contains(advice) == true
    }
  }

  @Test(
    "a size or time is written as it is read",
    arguments: ["0B", "7B", "16KiB", "1MiB", "50GiB", "3TiB", "10MB", "5GB", "12345B"])
  func sizeRoundTrip(text: String) throws {
    #expect(try ByteCount(reading: text).text == text)
  }

  @Test(arguments: ["0s", "1ms", "1500ms", "90s", "2m", "1h", "7d"])
  func timeRoundTrip(text: String) throws {
    #expect(try Duration(reading: text).text == text)
  }

  @Test(
    "sizes are rounded for people",
    arguments: [
      (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (10 << 20, "10.0 MiB"),
      (123 << 20, "123 MiB"), (1_047_552_000, "999 MiB"), (Int64.max, "8388608 TiB"),
      (1_325_400_064, "1.23 GiB"),
    ])
  func rounded(bytes: Int64, text: String) {
    #expect(ByteCount(bytes).rounded == text)
  }
}

@Suite("Rates")
struct RateTests {
  @Test(
    "a rate is a size per second",
    arguments: [("10MiB/s", 10 << 20), ("1kB/s", nil), ("1KiB/s", 1024), ("5GB/s", 5_000_000_000)]
      as [(String, Int64?)])
  func read(text: String, expected: Int64?) throws {
    let rate = try? Rate(reading: text)
    #expect(rate?.bytesPerSecond == expected)
    if let rate { #expect(try Rate(reading: rate.text) == rate) }
  }

  @Test(
    "what is no rate says what would be",
    arguments: [
      ("10MiB", "a rate is written 10MiB/s"), ("10", "like 10MiB/s, or none"),
      ("100Mbit/s", "unit"), ("100Mbps", "counts bits"), ("10 MiB/s", "10MiB"),
      ("0B/s", "too small"), ("9000TiB/s", "too large"), ("/s", "is not a size"),
      ("fast", "like 10MiB/s"),
    ])
  func refused(text: String, sentence: String) {
    do {
      _ = try Rate(reading: text)
      Issue.record("was accepted")
    } catch {
      #expect(error.message.contains(sentence), "\(error.message)")
    }
  }

  @Test("rates stand in the configuration, and none lifts them")
  func keys() throws {
    let text =
      "rate: { connection: 1MiB/s, client: none, total: 3MB/s }\nupstream: { rate: 4KiB/s }"
    let configuration = try ConfigurationLoader.read(text: text, file: nil).configuration
    #expect(configuration.rate.connection == Rate(bytesPerSecond: 1 << 20))
    #expect(configuration.rate.client == nil)
    #expect(configuration.rate.total == Rate(bytesPerSecond: 3_000_000))
    #expect(configuration.upstream.rate == Rate(bytesPerSecond: 4096))
    #expect(configuration.rate.isLimited && !Configuration().rate.isLimited)
  }
}
