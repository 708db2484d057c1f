// What an operator meets who starts the program otherwise than it was meant: without standard streams, twice, with a
// pipe for a configuration, with a disk that takes nothing more.

import Foundation
import Glibc
import Testing

extension WholeProgram {
  @Suite("Odd ways to run it")
  struct OperationTests {
    /// The program with these words, by way of a shell that changes its descriptors.
    private func run(_ redirections: String, _ words: [String]) throws -> ChildProcess {
      try ChildProcess(
        "/bin/sh",
        ["-c", "exec \"$0\" \"$@\" \(redirections)", try HoldfastProcess.executable()] + words)
    }

    private func listening(_ process: ChildProcess) throws -> [String] {
      try process.wait(for: "its addresses") { lines in
        lines.contains { $0.contains("metrics") } ? lines : nil
      }
    }

    @Test("started without standard streams it writes into none of its own files")
    func closedStreams() throws {
      let directory = try TemporaryDirectory()
      let store = directory.path + "/store"
      let configuration = HoldfastProcess.Configuration(logAccess: "stdout")
      try directory.write(configuration.text, to: "hf.yaml")
      let process = try run(
        "<&- >&- 2>&-", ["serve", "--config", directory.path + "/hf.yaml", "--store", store])
      defer { process.end() }
      // It can say nothing: its sockets tell that it runs, and its signals that they will be answered.
      try poll("a running instance") {
        let links = descriptors(of: process.id)
        return links.values.count { $0.hasPrefix("socket:") } >= 3
          && holdsBack(SIGTERM, process)
      }
      let links = descriptors(of: process.id)
      for number in 0...2 { #expect(links[number] == "/dev/null") }
      process.signal(SIGTERM)
      let ending = try process.waitForEnd()
      #expect(ending == .exited(0))
      let verified = try HoldfastProcess.verify(store: store)
      #expect(verified.code == 0, "\(verified.text)")
    }

    /// Whether a process takes a signal when it likes, and is not ended by it (proc_pid_status(5), `SigBlk`).
    private func holdsBack(_ signal: Int32, _ process: ChildProcess) -> Bool {
      let mask = process.status("SigBlk").flatMap { UInt64($0, radix: 16) }
      return (mask ?? 0) & (1 << UInt64(signal - 1)) != 0
    }

    private func descriptors(of id: pid_t) -> [Int: String] {
      let directory = "/proc/\(id)/fd"
      let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
      return Dictionary(
        uniqueKeysWithValues: names.compactMap { name in
          let target = try? FileManager.default.destinationOfSymbolicLink(
            atPath: "\(directory)/\(name)")
          return Int(name).flatMap { number in target.map { (number, $0) } }
        })
    }

    @Test("an access log that is read no more keeps nobody from being served, nor it from ending")
    func unreadLog() throws {
      let directory = try TemporaryDirectory()
      let log = directory.path + "/access.log"
      #expect(mkfifo(log, 0o600) == 0)
      let reader = open(log, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
      defer { close(reader) }
      let holdfast = try HoldfastProcess(
        store: directory.path + "/store",
        configuration: HoldfastProcess.Configuration(logAccess: log))
      defer { holdfast.process.end() }
      // Lines of more bytes than a pipe takes.
      let path = "/" + String(repeating: "x", count: 1000)
      for _ in 0..<200 {
        let client = try Client(port: holdfast.port)
        try client.send("GET \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(holdfast.port)\r\n\r\n")
        #expect(try client.readHead().status >= 400)
      }
      holdfast.process.signal(SIGTERM)
      try holdfast.process.wait(for: "word of the lost lines") { lines in
        lines.contains { $0.contains("nobody reads the access log") } ? () : nil
      }
      #expect(try holdfast.process.waitForEnd() == .exited(0))
    }

    @Test("a second instance on the same address does not start, and says why")
    func twice() throws {
      let directory = try TemporaryDirectory()
      let first = try HoldfastProcess(store: directory.path + "/a")
      defer { first.process.end() }
      var configuration = HoldfastProcess.Configuration()
      configuration.listen = "[127.0.0.1:\(first.port)]"
      let second = try HoldfastProcess.launch(
        store: directory.path + "/b", configuration: configuration)
      defer { second.end() }
      #expect(try second.waitForEnd() == .exited(1))
      #expect(
        second.lines.contains {
          $0.contains("cannot listen on 127.0.0.1:\(first.port)")
            && $0.contains("another instance") && $0.contains("--listen")
        }, "\(second.lines)")
      // On every address is on that one too.
      configuration.listen = "[0.0.0.0:\(first.port)]"
      configuration.clients = "[127.0.0.0/8]"
      let third = try HoldfastProcess.launch(
        store: directory.path + "/c", configuration: configuration)
      defer { third.end() }
      #expect(try third.waitForEnd() == .exited(1))
    }

    @Test("after its end the address is free at once, connections that linger or not")
    func again() throws {
      let directory = try TemporaryDirectory()
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let first = try HoldfastProcess(store: directory.path + "/a")
      defer { first.process.end() }
      let resource = Resource(.length, 3000, "kept")
      let client = try Client(port: first.port)
      #expect(try client.get(resource, of: origin).isRight(resource))
      first.process.end()
      var configuration = HoldfastProcess.Configuration()
      configuration.listen = "[127.0.0.1:\(first.port)]"
      let second = try HoldfastProcess(store: directory.path + "/a", configuration: configuration)
      defer { second.process.end() }
      #expect(second.port == first.port)
      #expect(try Client(port: second.port).get(resource, of: origin).isRight(resource))
    }

    @Test(
      "a pipe in the place of the configuration holds up neither the admin listener nor the end")
    func pipe() throws {
      let directory = try TemporaryDirectory()
      let store = directory.path + "/store"
      let holdfast = try HoldfastProcess(store: store)
      defer { holdfast.process.end() }
      try FileManager.default.removeItem(atPath: store + ".yaml")
      #expect(mkfifo(store + ".yaml", 0o600) == 0)
      holdfast.process.signal(SIGHUP)
      try holdfast.process.wait(for: "a refusal") { lines in
        lines.contains { $0.contains("is not a regular file") } ? () : nil
      }
      #expect(try holdfast.readiness() == 200)
      holdfast.process.signal(SIGTERM)
      #expect(try holdfast.process.waitForEnd() == .exited(0))
    }

    @Test("the access log's directory is made; what cannot be a log is named with its key")
    func accessLog() throws {
      let directory = try TemporaryDirectory()
      var configuration = HoldfastProcess.Configuration()
      configuration.logAccess = directory.path + "/deep/er/access.log"
      let holdfast = try HoldfastProcess(
        store: directory.path + "/a", configuration: configuration)
      holdfast.process.end()
      #expect(FileManager.default.fileExists(atPath: configuration.logAccess))
      configuration.logAccess = directory.path + "/deep"
      let refused = try HoldfastProcess.launch(
        store: directory.path + "/a", configuration: configuration)
      defer { refused.end() }
      #expect(try refused.waitForEnd() == .exited(1))
      #expect(
        refused.lines.contains {
          $0.contains("/deep: Is a directory") && $0.contains("log.access")
        }, "\(refused.lines)")
    }

    @Test(
      "output that cannot be written is no success",
      arguments: [["--help"], ["--version"], ["check"], ["explain"], ["reference", "yaml"]])
    func fullOutput(words: [String]) throws {
      let process = try run("> /dev/full", words)
      #expect(try process.waitForEnd() == .exited(1))
      #expect(
        process.lines == ["holdfast: the output could not be written: No space left on device"])
      #expect(try run("> /dev/null", words).waitForEnd() == .exited(0))
    }

    @Test("check reads a pipe and standard input, which serve would have to read again")
    func checkedPipe() throws {
      let program = try HoldfastProcess.executable()
      for source in ["-", "/dev/stdin"] {
        let check = try ChildProcess(
          "/bin/sh", ["-c", "echo 'threads: 0' | \"$0\" check -c \(source) >&2", program])
        #expect(try check.waitForEnd() == .exited(1))
        #expect(check.lines.contains { $0.contains(":1:10: error: threads") }, "\(check.lines)")
        let serve = try ChildProcess(
          "/bin/sh", ["-c", "echo 'threads: 0' | \"$0\" serve -c \(source)", program])
        #expect(try serve.waitForEnd() == .exited(1))
        #expect(serve.lines.contains { $0.contains("again on SIGHUP") }, "\(serve.lines)")
      }
    }
  }
}
