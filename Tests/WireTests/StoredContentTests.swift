// Disks that fail and files that are not what they were: a client gets the right bytes or is visibly cut, and
// whoever asks next gets them from the origin.

import Glibc
import Platform
import Storage
import Support
import Telemetry
import Testing

@Suite("Stored content that cannot be read")
struct StoredContentTests {
  private let fresh = ["Cache-Control: max-age=600", "Connection: close"]

  private func store(
    _ origin: WireOrigin, _ proxy: TestProxy, _ path: String, _ content: [UInt8]
  ) throws {
    let client = try proxy.connect().get(origin.url(path))
    try serve(origin, content)
    try client.expectHead(200)
    #expect(try client.expectRest() == content)
    try proxy.expectStored()
    proxy.server.store.flush()
  }

  private func serve(_ origin: WireOrigin, _ content: [UInt8]) throws {
    let upstream = try origin.accept()
    try upstream.expectRequest()
    try upstream.send(head: 200, fresh + ["Content-Length: \(content.count)"])
    upstream.trySending(content)
  }

  private func blobs(_ proxy: TestProxy) throws -> [String] {
    let directory = proxy.configuration.store.path + "/blobs"
    return try File.list(directory).flatMap { prefix in
      try File.list(directory + "/" + prefix.name).map { "\(directory)/\(prefix.name)/\($0.name)" }
    }
  }

  #if DEBUG
    @Test("a disk that fails before the head of a hit is out makes it a miss")
    func failsBeforeHead() throws {
      try wire { origin, proxy in
        let content = patterned(300_000)
        try store(origin, proxy, "/a", content)
        let path = try #require(try blobs(proxy).first)
        let file = try File.open(path)
        try File.fdatasync(file.rawValue)
        File.dropCached(file.rawValue, offset: 0, count: 0)
        // A file system in memory has nothing to drop.
        guard !File.isResident(file.rawValue, offset: 0, count: 300_000) else { return }
        let plan = FaultPlan(
          in: .directory(path), failing: [.read], number: 1, with: .inputOutput)
        plan.install()
        defer { plan.remove() }
        let client = try proxy.connect().get(origin.url("/a"))
        try serve(origin, content)
        let head = try client.expectHead(200)
        #expect(head["Cache-Status"]?.contains("fwd=uri-miss") == true)
        #expect(try client.expectRest() == content)
        #expect(plan.fired == 1)
        try client.get(origin.url("/a")).expectHead(200)
        #expect(try client.expectRest() == content)
        try origin.expectNothingElse()
      }
    }

    @Test("a disk that fails in the middle of a hit cuts it, and the next one is fetched")
    func failsInTheMiddle() throws {
      try wire { origin, proxy in
        let content = patterned(3 << 20)
        try store(origin, proxy, "/a", content)
        let path = try #require(try blobs(proxy).first)
        // The pages are in memory: what fails is the second piece that is sent, and the look the store takes then.
        let plan = FaultPlan(
          in: .directory(path), failing: [.read], number: 2, with: .inputOutput, repeats: true)
        plan.install()
        let client = try proxy.connect().get(origin.url("/a"))
        try client.expectHead(200)
        let begun = try client.expectIncomplete()
        #expect(begun.count < content.count && content.starts(with: begun))
        proxy.server.store.flush()
        plan.remove()
        let next = try proxy.connect().get(origin.url("/a"))
        try serve(origin, content)
        try next.expectHead(200)
        #expect(try next.expectRest() == content)
      }
    }
  #endif

  @Test("a file that shrinks under a client cuts it, and the next one is fetched")
  func shrinks() throws {
    try wire { origin, proxy in
      let content = patterned(8 << 20)
      try store(origin, proxy, "/a", content)
      let client = try proxy.connect()
      try client.shrinkReceiveBuffer(to: 64 << 10)
      try client.get(origin.url("/a")).expectHead(200)
      let first = try client.expectContent(1000)
      #expect(content.starts(with: first))
      let path = try #require(try blobs(proxy).first)
      let file = try File.open(path, .readWrite)
      try File.truncate(file.rawValue, to: 100_000)
      #expect(try client.expectIncomplete().count < content.count - 1000)
      proxy.server.store.flush()
      let next = try proxy.connect().get(origin.url("/a"))
      try serve(origin, content)
      try next.expectHead(200)
      #expect(try next.expectRest() == content)
      try proxy.expectStored()
      try next.get(origin.url("/a")).expectHead(200)
      #expect(try next.expectRest() == content)
      #expect(proxy.server.store.statistics.troubles[.damaged] == 1)
    }
  }

  enum Damage: CaseIterable {
    case flipped, truncated, emptied, grown, deleted, directory, link
  }

  private func cut(_ path: String, to length: Int64) throws {
    let file = try File.open(path, .readWrite)
    try File.truncate(file.rawValue, to: length)
  }

  private func damage(_ path: String, _ how: Damage, _ directory: String) throws {
    switch how {
    case .flipped:
      let file = try File.open(path, .readWrite)
      var byte = patterned(300_000)[150_000] ^ 1
      #expect(pwrite(file.rawValue, &byte, 1, 150_000) == 1)
    case .truncated: try cut(path, to: 150_000)
    case .emptied: try cut(path, to: 0)
    case .grown: try cut(path, to: 350_000)
    case .deleted: try File.unlink(path)
    case .directory:
      try File.unlink(path)
      try File.makeDirectory(path)
    case .link:
      try File.rename(path, to: directory + "/elsewhere")
      guard symlink(directory + "/elsewhere", path) == 0 else { throw Errno(rawValue: errno) }
    }
  }

  @Test(
    "a stored file that was changed while nothing ran is found out before a byte of it is sent",
    arguments: Damage.allCases)
  func changedWhileStopped(_ how: Damage) throws {
    try wire { origin, proxy in
      let content = patterned(300_000)
      try store(origin, proxy, "/a", content)
      let path = try #require(try blobs(proxy).first)
      try proxy.restart { try damage(path, how, proxy.scratchDirectory) }
      let client = try proxy.connect().get(origin.url("/a"))
      try serve(origin, content)
      try client.expectHead(200)
      #expect(try client.expectRest() == content)
      try proxy.expectStored()
      proxy.server.store.flush()
      // Fetched again, it is stored again.
      try client.get(origin.url("/a")).expectHead(200)
      #expect(try client.expectRest() == content)
      try origin.expectNothingElse()
      #expect(try proxy.server.store.verify().isClean)
    }
  }
}
