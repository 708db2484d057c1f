// The entry points of the fuzzer: everything that reads strangers' bytes, by name.
//
// `swift test` runs each over its corpus (FuzzTests), and `make fuzz TARGET=request` lets
// libFuzzer look for inputs that nobody thought of (Explorer). Both call `FuzzTarget.run`, so what
// one finds the other keeps. An entry does more than not crash: it says what must hold for every
// input, and stops the process where that fails. docs/testing.md tells how to add one.

/// What can be fuzzed. The raw value is the name of its corpus below Tests/Fuzz/corpus.
package enum FuzzTarget: String, CaseIterable, Sendable {
  case request, response, chunked

  /// Feeds one input, and stops the process if something that must hold does not.
  package func run(_ bytes: [UInt8]) {
    switch self {
    case .request: fuzzRequest(bytes)
    case .response: fuzzResponse(bytes)
    case .chunked: fuzzChunked(bytes)
    }
  }
}

/// Stops with a sentence when a promise is broken, in release builds too.
func mustHold(_ condition: Bool, _ sentence: @autoclosure () -> String) {
  if !condition { fatalError("broken promise: \(sentence())") }
}

/// Where to cut `count` bytes to see whether cutting matters: everywhere if there are few, else at
/// places that depend on the bytes alone, so that a finding can be repeated.
func cuts(of bytes: [UInt8]) -> [Int] {
  if bytes.count <= 256 { return Array(0..<bytes.count) + [bytes.count] }
  var hash: UInt64 = 14_695_981_039_346_656_037  // FNV-1a
  for byte in bytes { hash = (hash ^ UInt64(byte)) &* 1_099_511_628_211 }
  var places: [Int] = []
  var at = 0
  while at < bytes.count {
    places.append(at)
    hash = hash &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    at += 1 + Int(hash >> 57) * bytes.count / 2048
  }
  return places + [bytes.count]
}
