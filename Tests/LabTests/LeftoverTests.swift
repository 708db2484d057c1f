// What a lab leaves behind when it is killed or interrupted, and what another one does about it.

import Foundation
import Glibc
import Testing

@testable import Lab

extension LabProcessTests {
  @Suite("Lab: leftovers") struct LeftoverTests {
    /// Where in its life a lab is met.
    enum Moment: String, CaseIterable {
      case beginning, building, proxying, playing

      func hasCome(_ lab: LabProcess) -> Bool {
        let traces = lab.traces
        switch self {
        case .beginning: return !traces.isEmpty
        case .building: return traces.contains { $0.hasSuffix("-node") }
        case .proxying:
          return traces.contains { $0.hasSuffix("-proxy") } && !lab.processes.isEmpty
        case .playing:
          // The proxy has written something of a client.
          return traces.contains {
            let log = NSTemporaryDirectory() + "/\($0)/store"
            return FileManager.default.fileExists(atPath: log)
          } && !lab.processes.isEmpty
        }
      }
    }

    private static let commands = [
      "lab run L17 --tier P", "lab run --all --tier S",
      "lab reproduce --seconds 60 --way holdfast --fix drop-invalid",
    ]

    @Test(
      "a lab that is killed at any moment has left nothing once another one has begun",
      arguments: commands, Moment.allCases)
    func killed(command: String, moment: Moment) throws {
      let before = try LabProcess.machine()
      let lab = try LabProcess(command)
      try patiently("waited for it to be \(moment)") { moment.hasCome(lab) }
      let processes = lab.processes
      lab.child.signal(SIGKILL)
      _ = lab.finish()
      // What it was just starting may still have to come into being before it can be found.
      try patiently("waited for its last command") {
        LabRun.sweep()
        return lab.traces.isEmpty
      }
      try patiently("waited for its processes to be gone") {
        lab.processes.isEmpty && processes.allSatisfy { kill($0, 0) != 0 }
      }
      let after = try LabProcess.machine()
      #expect(after == before)
    }

    @Test(
      "a lab that is interrupted takes all down at once, and says so",
      arguments: [SIGINT, SIGTERM], Moment.allCases)
    func interrupted(signal: Int32, moment: Moment) throws {
      let before = try LabProcess.machine()
      for command in Self.commands {
        let lab = try LabProcess(command)
        try patiently("waited for it to be \(moment)") { moment.hasCome(lab) }
        let processes = lab.processes
        lab.child.signal(signal)
        let (code, output) = lab.finish()
        #expect(code == 128 + signal, "\(command): \(output)")
        #expect(output.contains("interrupted"), "\(command): \(output)")
        #expect(!output.contains("not as expected"), "\(command): \(output)")
        #expect(lab.traces.isEmpty, "\(command)")
        try patiently("waited for its processes to be gone") {
          processes.allSatisfy { kill($0, 0) != 0 }
        }
      }
      let after = try LabProcess.machine()
      #expect(after == before)
    }

    @Test("a lab whose reader has gone plays no more, and leaves nothing")
    func unheard() throws {
      let program = try Labels.program()
      let child = try Child([
        "/bin/bash", "-c",
        "'\(program)' lab run L03 L05 L08 L09 L16 --tier S --jobs 1 | head -n 1 >/dev/null; exit ${PIPESTATUS[0]}",
      ])
      #expect(child.wait() == 1)
      let mine = "\(LabRun.prefix)\(getpid())-"
      let orphans = (LabRun.names(in: "/run/netns") + LabRun.names(in: NSTemporaryDirectory()))
        .filter { !$0.hasPrefix(mine) && LabRun.isOrphaned($0) }
      #expect(orphans.isEmpty, "\(orphans)")
    }

    @Test("two labs side by side do not meet, and neither takes away what a third one has")
    func sideBySide() throws {
      let mine = try LabRun()
      defer { mine.remove() }
      let host = try Host("still-here", of: mine)
      let labs = try (0..<2).map { _ in
        try LabProcess("lab run L03 L10 L12 L16 --tier P --json")
      }
      // At every moment of theirs: of what it has made, each finds all that it needs.
      var seen = [false, false]
      try patiently("waited for both to end") {
        LabRun.sweep()
        for (index, lab) in labs.enumerated() where !lab.traces.isEmpty { seen[index] = true }
        return labs.allSatisfy(\.child.hasEnded)
      }
      #expect(seen == [true, true])
      for lab in labs {
        let (code, output) = lab.finish()
        #expect(code == 0, "\(output)")
        #expect(output.split(separator: "\n").count == 4)
        #expect(lab.traces.isEmpty)
      }
      #expect(try host.run { true })
    }

    @Test("labs that do not see each other's processes do not take away each other's machines")
    func strangeNumbers() throws {
      let mine = try LabRun()
      defer { mine.remove() }
      let host = try Host("still-here", of: mine)
      let apart = "unshare --pid --fork --mount-proc"
      for _ in 0..<2 {
        let lab = try LabProcess("lab run L03 L05 --tier S --json", as: apart)
        // Nor do we take away its own, whose number is another one here, or nobody's.
        try patiently("waited for it to end") {
          LabRun.sweep()
          return lab.child.hasEnded
        }
        let (code, output) = lab.finish()
        #expect(code == 0, "\(output)")
        #expect(output.split(separator: "\n").count == 2, "\(output)")
      }
      #expect(try host.run { true })
      #expect(FileManager.default.fileExists(atPath: mine.directory))
      // What is let go of is swept, by the number of a process that is gone.
      let left = NSTemporaryDirectory() + "/hflab-999999999-1-1"
      try FileManager.default.createDirectory(atPath: left, withIntermediateDirectories: true)
      LabRun.sweep()
      #expect(!FileManager.default.fileExists(atPath: left))
    }

    @Test(
      "a signal that was ignored when it began does not end it",
      arguments: [("HUP", SIGHUP), ("INT", SIGINT)])
    func deaf(name: String, signal: Int32) throws {
      let lab = try LabProcess(
        "lab run L17 --tier S --json", as: "sh -c 'trap \"\" \(name); exec \"$@\"' sh")
      try patiently("waited for it to play") { Moment.playing.hasCome(lab) }
      lab.child.signal(signal)
      let (code, output) = lab.finish()
      #expect(code == 0, "\(output)")
      #expect(!output.contains("interrupted"), "\(output)")
    }

    @Test("what was kept on purpose stays, packets too, and is nobody's to sweep")
    func kept() throws {
      let (code, output) = try LabProcess.run("lab run L03 --tier P --keep --json")
      #expect(code == 0, "\(output)")
      let object = try #require(
        JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any])
      let directory = try #require(object["directory"] as? String)
      defer { try? FileManager.default.removeItem(atPath: directory) }
      LabRun.sweep()
      let captures = try FileManager.default.contentsOfDirectory(atPath: directory + "/captures")
      #expect(!captures.isEmpty)
    }

    @Test("only names that a lab gives are its own")
    func names() {
      #expect(LabRun.isOrphaned("hflab-999999999-1-1-proxy"))
      for name in [
        "hflab-\(getpid())", "hflab-x-1-1", "production", "hflab-999999999-1",
        "hflab-9-1-1 ; reboot",
      ] {
        #expect(!LabRun.isOrphaned(name), "\(name)")
      }
    }
  }
}
