// `holdfast lab …` as a process, and what it has made on this machine.

import Foundation
import Glibc
import Testing

@testable import Lab

/// Suites that start labs of their own, one after the other: each would sweep what another one has killed.
@Suite(
  "Lab: as a process", .serialized, .timeLimit(.minutes(10)),
  .enabled(if: Requirements.obstacle == nil, Labels.obstacle))
enum LabProcessTests {}

struct LabProcess {
  let child: Child
  private let output: String

  /// - Parameter prefix: words of shell before the command: another user, another namespace.
  init(_ words: String, as prefix: String = "") throws {
    output = NSTemporaryDirectory() + "/lab-output-\(UUID().uuidString)"
    let descriptor = open(output, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    defer { close(descriptor) }
    // Also where these tests are a background job.
    let command = "exec env --default-signal=INT,HUP \(prefix) '\(try Labels.program())' \(words)"
    child = try Child(["/bin/sh", "-c", command], output: descriptor)
  }

  /// Waits for its end.
  func finish() -> (code: Int32, output: String) {
    let code = child.wait()
    let text = (try? String(contentsOfFile: output, encoding: .utf8)) ?? ""
    unlink(output)
    return (code, text)
  }

  static func run(_ words: String, as prefix: String = "") throws -> (code: Int32, output: String) {
    try LabProcess(words, as: prefix).finish()
  }

  /// Network namespaces and directories that carry its number.
  var traces: [String] {
    (LabRun.names(in: "/run/netns") + LabRun.names(in: NSTemporaryDirectory()))
      .filter { $0.hasPrefix("\(LabRun.prefix)\(child.id)-") }
  }

  /// Processes in its namespaces, and those that were started with a file of its own.
  var processes: Set<pid_t> {
    var found: Set<pid_t> = []
    for name in traces {
      let text = (try? Shell.run("ip netns pids \(name) 2>/dev/null || true")) ?? ""
      found.formUnion(text.split(separator: "\n").compactMap { pid_t($0) })
    }
    let mark = "\(LabRun.prefix)\(child.id)-"
    for process in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
      guard let id = pid_t(process), id != child.id,
        let words = FileManager.default.contents(atPath: "/proc/\(process)/cmdline")
      else { continue }
      if String(decoding: words, as: UTF8.self).contains(mark) { found.insert(id) }
    }
    return found
  }

  /// What this machine's own network and mounts look like: nothing of it is the lab's to change. Other tests of
  /// this process, and other labs that are alive, have machines as well.
  static func machine() throws -> String {
    let own = try Shell.run(
      """
      ip -o link | cut -d: -f2 | sort
      nft list ruleset
      iptables-legacy-save 2>/dev/null | grep -v '^#' || true
      cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding /proc/sys/net/ipv4/tcp_retries2
      cat /proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal 2>/dev/null || true
      """)
    let mounts = try Shell.run("cut -d' ' -f2 /proc/self/mounts").split(separator: "\n")
    let left = mounts.filter { $0.split(separator: "/").contains { LabRun.isOrphaned(String($0)) } }
    return own + left.joined(separator: "\n")
  }
}
