// What clients ask for never becomes the name of a file.

import Configuration
import Foundation
import Platform
import Support
import Testing

@Suite struct StoreFilesTests {
  @Test("files have names made of hashes and numbers, and are for their owner alone")
  func names() throws {
    try wire { origin, proxy in
      let paths = ["/../../etc/evil", "/%2e%2e/evil", "/evil%00", "/a/evil?x=/../..", "/evil"]
      for (number, path) in paths.enumerated() {
        let client = try proxy.connect().get(origin.url(path))
        let upstream = try origin.accept()
        try upstream.expectRequest()
        // Inline for some, a file of its own for others.
        let size = number % 2 == 0 ? 100_000 : 100
        try upstream.respond(
          200, ["Cache-Control: max-age=600", "Connection: close"],
          String(repeating: "\(number)", count: size))
        _ = try client.expectAnyResponse()
        client.close()
      }
      try proxy.expectStored()
      // And one that is still coming.
      let client = try proxy.connect().get(origin.url("/growing-evil"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, ["Cache-Control: max-age=600", "Content-Length: 100000"])
      try upstream.send([UInt8](repeating: 1, count: 50_000))
      try client.expectHead(200)
      try client.expectContent(50_000)
      let store = proxy.configuration.store.path
      var seen = 0
      for name in try FileManager.default.subpathsOfDirectory(atPath: store) {
        let status = try File.status(at: "\(store)/\(name)")
        #expect(status.mode == (status.kind == .directory ? 0o700 : 0o600), "\(name)")
        #expect(!name.contains("evil") && !name.contains("etc"), "\(name)")
        let last = name.split(separator: "/").last ?? ""
        let isExpected =
          ["format", "log", "blobs", "partial"].contains(name)
          || last.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") }
        #expect(isExpected, "\(name)")
        seen += 1
      }
      #expect(seen > 6)
      try upstream.send([UInt8](repeating: 1, count: 50_000))
      try client.expectContent(50_000)
    }
  }
}
