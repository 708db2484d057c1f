// Every call to the kernel fails once, in turn: nothing wrong is ever served, and the store is whole again afterwards.

#if DEBUG
  import Caching
  import Platform
  import Testing

  @testable import Storage

  @Suite struct FaultSweepTests {
    private static let errors: [Errno] = [.noSpace, .inputOutput, .quotaExceeded]

    // Made once: there are hundreds of rounds.
    private static let oldBlob = bytes(20_000, seed: 99)
    private static let newBlob = bytes(30_000)
    private static let data = (0..<24).map { number in
      bytes(number % 3 == 0 ? 25_000 : 6_000, seed: UInt64(number))
    }

    @Test(
      "call 1, 2, 3, … fails, once or from then on, until none is left to fail",
      arguments: errors, [false, true])
    func sweep(errno: Errno, repeats: Bool) throws {
      // Failing from then on is the same for each error: fewer rounds.
      let stride = repeats ? 5 : 1
      var number = 1
      while true {
        let fixture = try StoreFixture(size: 400_000, memory: 100_000, segment: 32 << 10)
        try prepare(fixture)
        let plan = FaultPlan(
          in: .directory(fixture.options.path), number: number, with: errno, repeats: repeats)
        plan.install()
        let model = Model()
        exercise(fixture, model)
        plan.remove()
        try check(
          fixture, model, "call \(number) with \(errno)\(repeats ? " and all after it" : "")")
        if plan.fired == 0 { break }
        number += stride
      }
      #expect(number > 50)
    }

    /// What was written for each key, newest last.
    private final class Model {
      var versions: [String: [[UInt8]]] = [:]
      var removed: Set<String> = []
    }

    private func prepare(_ fixture: StoreFixture) throws {
      let store = try fixture.open()
      for number in 0..<20 { store.put("http://old/\(number)", "old \(number)") }
      try store.putBlob("http://old/blob", Self.oldBlob)
      store.put("http://new/0", "before")
      store.close()
    }

    /// Opens, saves, seals, reclaims, removes, closes; as far as the plan lets it.
    private func exercise(_ fixture: StoreFixture, _ model: Model) {
      guard let store = try? fixture.open() else { return }
      model.versions["http://new/0"] = [Array("before".utf8)]
      for number in 0..<24 {
        let key = "http://new/\(number % 8)"
        let isBlob = number % 3 == 0
        let data = Self.data[number]
        model.versions[key, default: []].append(data)
        if isBlob {
          if let growing = try? store.grow(
            store.key(key), response: response(), expectedLength: nil),
            case .appended = data.withUnsafeBytes({ growing.append($0) }),
            case .finished(let blob) = growing.finish(length: 25_000)
          {
            store.save(store.key(key), response: response(), body: .blob(blob))
          }
        } else {
          store.save(store.key(key), response: response(), body: .inline(data))
        }
        if number % 2 == 0 { store.flush() }
        // Empty: it was our own reading of the blob that failed.
        if let found = store.get(key)?.entries.first?.bytes, !found.isEmpty {
          let isRight = model.versions[key]?.contains { areSame($0, found) } == true
          #expect(isRight, "\(key)")
        }
        _ = store.get("http://old/\(number % 20)")
      }
      store.remove(store.key("http://new/7"))
      model.removed.insert("http://new/7")
      #expect(store.get("http://new/7") == nil)
      store.flush()
      store.close()
    }

    private func check(_ fixture: StoreFixture, _ model: Model, _ what: Comment) throws {
      let store = try fixture.open()
      defer { store.close() }
      for number in 0..<20 {
        let text = store.text("http://old/\(number)")
        #expect(text == nil || text == "old \(number)", what)
      }
      for (key, versions) in model.versions {
        if let found = store.get(key)?.entries.first?.bytes {
          let isRight = versions.contains { areSame($0, found) }
          #expect(isRight, what)
        }
      }
      if let blob = store.get("http://old/blob") {
        let isRight = blob.entries.first.map { areSame($0.bytes, Self.oldBlob) } == true
        #expect(isRight, what)
      }
      store.flush()
      let report = try store.verify()
      #expect(report.isClean && report.orphans.isEmpty && report.unsealed.isEmpty, what)
      #expect(try fixture.files("partial").isEmpty, what)
      // It works again.
      store.put("http://after/", "after")
      try store.putBlob("http://after/blob", Self.newBlob)
      store.flush()
      #expect(store.text("http://after/") == "after", what)
      let isWhole =
        store.get("http://after/blob")?.entries.first.map { areSame($0.bytes, Self.newBlob) }
        == true
      #expect(isWhole, what)
      #expect(try fixture.onDisk() <= 400_000, what)
      store.close()
      #expect(store.statistics.usedBytes == (try fixture.onDisk()), what)
    }
  }
#endif
