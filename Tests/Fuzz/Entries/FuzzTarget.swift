// The entry points of the fuzzer: everything that reads strangers' bytes, by name.
//
// `swift test` runs each over its corpus (FuzzTests), and `make fuzz TARGET=request` lets
// libFuzzer look for inputs that nobody thought of (Explorer). Both call `FuzzTarget.run`, so what
// one finds the other keeps. An entry does more than not crash: it says what must hold for every
// input, and stops the process where that fails. docs/testing.md tells how to add one.

/// What can be fuzzed. The raw value is the name of its corpus below Tests/Fuzz/corpus.
package enum FuzzTarget: String, CaseIterable, Sendable {
  case request, response, chunked, value, caching, record, store, preface

  /// Feeds one input, and stops the process if something that must hold does not.
  package func run(_ bytes: [UInt8]) {
    switch self {
    case .request: fuzzRequestHead(bytes)
    case .response: fuzzResponseHead(bytes)
    case .chunked: fuzzChunked(bytes)
    case .value: fuzzValue(bytes)
    case .caching: fuzzCaching(bytes)
    case .record: fuzzRecord(bytes)
    case .store: fuzzStore(bytes)
    case .preface: fuzzPreface(bytes)
    }
  }
}
