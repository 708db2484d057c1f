// The catalogue keeps the rules of the exposition format and of our own names, and the
// handles mean what the catalogue says.

import Testing

@testable import Telemetry

@Suite("The metric catalogue")
struct MetricCatalogueTests {
  @Test("names are unique and made of the letters Prometheus allows")
  func names() {
    let names = Metric.allCases.map(\.definition.name)
    #expect(Set(names).count == names.count)
    for name in names {
      #expect(name.allSatisfy { $0.isASCII && ($0.isLowercase || $0.isNumber || $0 == "_") })
      #expect(name.hasPrefix("holdfast_") || name.hasPrefix("process_"))
    }
  }

  @Test("counters end in _total, and nothing else does", arguments: Metric.allCases)
  func totals(metric: Metric) {
    let definition = metric.definition
    #expect(definition.name.hasSuffix("_total") == (definition.type == .counter))
  }

  @Test("times are told in seconds", arguments: Metric.allCases)
  func seconds(metric: Metric) {
    let definition = metric.definition
    #expect((definition.scale == -9) == definition.name.contains("_seconds"))
  }

  @Test("help is one sentence", arguments: Metric.allCases)
  func help(metric: Metric) {
    let help = metric.definition.help
    #expect(help.hasSuffix("."))
    #expect(help.first?.isUppercase == true)
    #expect(!help.contains("|") && !help.contains("\n"))
  }

  @Test("label values run from 0 without gaps and are distinct")
  func labels() {
    func check<L: MetricLabel>(_ label: L.Type) {
      #expect(L.allCases.count == L.valueCount)
      #expect(L.allCases.map { Int($0.rawValue) } == Array(0..<L.valueCount))
      #expect(Set(L.allCases.map(\.labelValue)).count == L.valueCount)
      for value in L.allCases.map(\.labelValue) {
        #expect(value.allSatisfy { $0.isLowercase || $0.isNumber || $0 == "_" }, "\(value)")
      }
    }
    check(MethodClass.self)
    check(CacheVerdict.self)
    check(StatusClass.self)
    check(Side.self)
    check(ConnectionRefusal.self)
    check(ConnectFailure.self)
    check(HandshakeOutcome.self)
    check(FillOutcome.self)
    check(RelayReason.self)
    check(TimeoutKind.self)
    check(TunnelDirection.self)
    check(HealthyEnding.self)
    check(StoreTroubleKind.self)
    check(Outcome.self)
  }

  @Test("every metric has one handle, with the labels the catalogue gives it")
  func handles() {
    var seen: [Metric] = []
    func plain(_ handles: Scalar...) {
      for handle in handles {
        #expect(handle.metric.definition.labels.isEmpty)
        #expect(handle.metric.definition.type != .histogram)
        seen.append(handle.metric)
      }
    }
    func one<A>(_ handle: Scalar1<A>) {
      #expect(handle.metric.definition.labels.map(\.name) == [A.labelName])
      #expect(handle.metric.definition.seriesCount == A.valueCount)
      #expect(handle.metric.definition.type != .histogram)
      seen.append(handle.metric)
    }
    func two<A, B>(_ handle: Scalar2<A, B>) {
      #expect(handle.metric.definition.labels.map(\.name) == [A.labelName, B.labelName])
      #expect(handle.metric.definition.seriesCount == A.valueCount * B.valueCount)
      seen.append(handle.metric)
    }
    func times<A>(_ handle: Histogram1<A>) {
      #expect(handle.metric.definition.labels.map(\.name) == [A.labelName])
      #expect(handle.metric.definition.type == .histogram)
      seen.append(handle.metric)
    }
    two(.requests)
    two(.healthyEndings)
    one(.responses)
    times(.requestDuration)
    plain(.downstreamReceived, .downstreamSent, .storeServed, .upstreamReceived, .upstreamSent)
    one(.connectionsOpen)
    one(.connectionsRefused)
    one(.authentications)
    one(.rateWaits)
    plain(
      .connectionsAccepted, .acceptPauses, .digestMismatches, .pagesRewritten, .upstreamRequests,
      .upstreamWaiting,
      .upstreamConnects,
      .upstreamReuses)
    one(.upstreamConnectFailures)
    one(.downstreamHandshakes)
    one(.upstreamRedirects)
    plain(.upstreamRetries, .fillsRunning, .tunnelsOpen, .tunnels)
    #expect(Histogram.upstreamFirstByte.metric.definition.type == .histogram)
    seen.append(Histogram.upstreamFirstByte.metric)
    one(.fills)
    one(.relays)
    one(.timeouts)
    one(.tunnelBytes)
    plain(.storeBytes, .storeCapacity, .storeEntries, .storeMemory)
    plain(.storeIncomplete)
    plain(.completedBytes)
    plain(.storeEvictions, .accessLogLost)
    one(.storeTroubles)
    one(.configurationReloads)
    plain(.residentMemory, .openDescriptors, .maximumDescriptors, .processorTime, .startTime)
    #expect(seen.count == Metric.allCases.count)
    #expect(Set(seen) == Set(Metric.allCases))
  }
}
