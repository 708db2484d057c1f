// A configuration that is no ordinary file, and defaults for who has no home.

import Foundation
import Glibc
import Testing

@testable import Configuration

@Suite("Odd configuration files") struct ConfigurationFileTests {
  private func refusal(_ path: String, readsPipes: Bool) -> String? {
    do throws(Diagnostics) {
      _ = try ConfigurationLoader.load(file: path, readsPipes: readsPipes)
      return nil
    } catch {
      return error.description
    }
  }

  @Test("a pipe is no configuration of a server, and holds nobody up")
  func pipe() throws {
    let path = NSTemporaryDirectory() + "/holdfast-\(UUID().uuidString)"
    #expect(mkfifo(path, 0o600) == 0)
    defer { unlink(path) }
    #expect(refusal(path, readsPipes: false)?.contains("is not a regular file") == true)
    // Where the configuration names a pipe as a file, too.
    let text = "auth: { file: \(path) }"
    do throws(Diagnostics) {
      _ = try ConfigurationLoader.read(text: text, file: "a.yaml", readsSecrets: true)
      Issue.record("a pipe was read")
    } catch {
      #expect(error.description.contains("is no file"))
    }
  }

  @Test("a command that reads once reads what a process writes into a pipe")
  func readOnce() throws {
    var ends: [Int32] = [0, 0]
    #expect(Glibc.pipe(&ends) == 0)
    let text = "threads: 0\n"
    #expect(write(ends[1], text, text.utf8.count) == text.utf8.count)
    close(ends[1])
    defer { close(ends[0]) }
    let said = refusal("/dev/fd/\(ends[0])", readsPipes: true)
    #expect(said?.contains(":1:10: error: threads") == true, "\(said ?? "nothing")")
  }

  @Test(
    "nothing at all is the defaults; a directory is said to be one; a server wants no standard input"
  )
  func others() {
    #expect(refusal("/dev/null", readsPipes: false) == nil)
    #expect(refusal("/tmp", readsPipes: true) == "/tmp: error: cannot be read: it is a directory")
    #expect(refusal("-", readsPipes: false)?.contains("standard input") == true)
  }

  @Test("who has no home gets no directory that everybody can write to")
  func homeless() {
    for environment in [[:], ["HOME": ""], ["HOME": "/"], ["HOME": "relative"]] {
      let path = StoreSettings.defaultPath(environment: environment, isRoot: false)
      #expect(path == "/var/cache/holdfast")
      #expect(
        ResetSettings.defaultDirectory(environment: environment, isRoot: false)
          == "/var/log/holdfast")
    }
    #expect(
      StoreSettings.defaultPath(environment: ["HOME": "/home/a"], isRoot: false)
        == "/home/a/.cache/holdfast")
  }

  @Test("a very long line is shown around what is wrong with it")
  func longLine() throws {
    let text = "clients: [\(String(repeating: "10.0.0.0/8, ", count: 500))banana]\n"
    do throws(Diagnostics) {
      _ = try ConfigurationLoader.read(text: text, file: "a.yaml")
      Issue.record("was accepted")
    } catch {
      let lines = error.description.split(separator: "\n")
      #expect(lines.count == 3)
      #expect(lines.allSatisfy { $0.count < 160 })
      let mark = try #require(lines[2].firstIndex(of: "^"))
      let column = lines[2].distance(from: lines[2].startIndex, to: mark)
      #expect(lines[1].dropFirst(column).hasPrefix("banana"))
    }
  }

  @Test("a number beyond all bounds is called too large")
  func largeNumber() {
    do throws(Diagnostics) {
      _ = try ConfigurationLoader.read(
        text: "limits: { connections: 99999999999999999999 }", file: nil)
      Issue.record("was accepted")
    } catch {
      #expect(error.description.contains("is larger than"))
    }
  }
}
