// Where the commands find records: the file and those that were moved aside, or a running instance's memory.

import Configuration
import Forensics
import Foundation
import Platform

struct ResetSource {
  private let configuration: Configuration
  private let file: String?
  /// Somebody named the file.
  private let isGiven: Bool
  private let asksInstance: Bool

  /// - Parameters:
  ///   - file: in place of the configured one.
  ///   - asksInstance: whatever is in files.
  init(_ configuration: Configuration, file: String?, asksInstance: Bool) {
    self.configuration = configuration
    isGiven = file != nil
    if let file {
      self.file = file
    } else if case .file(let path) = configuration.resets.path {
      self.file = path
    } else {
      self.file = nil
    }
    self.asksInstance = asksInstance
  }

  /// The youngest line of each record, in the order in which they began.
  func read() throws -> [(entry: ResetEntry, line: [UInt8])] {
    var order: [String] = []
    var latest: [String: (ResetEntry, [UInt8])] = [:]
    var strange = 0
    try lines { line in
      guard let entry = ResetEntry(line: line) else {
        strange += 1
        return
      }
      if latest.updateValue((entry, line), forKey: entry.id) == nil { order.append(entry.id) }
    }
    if order.isEmpty, strange > 0, let file {
      throw Failure(
        "\(file) is no file of endings: \(strange == 1 ? "its one line is no record" : "none of its \(strange) lines is a record")"
      )
    }
    // A full disk or a sudden stop leaves one behind.
    if strange > 0 {
      Console.complain(
        "\(Program.name): \(counted(strange, "line")) \(strange == 1 ? "is no record" : "are no records"), and left out"
      )
    }
    return order.compactMap { latest[$0] }
  }

  /// Whether there is a file to read.
  var hasFile: Bool {
    file.map { !asksInstance && FileManager.default.fileExists(atPath: $0) } ?? false
  }

  private func lines(_ body: ([UInt8]) -> Void) throws {
    guard let file, hasFile else {
      if let file, isGiven, !asksInstance { throw Failure("there is no file \(file)") }
      for line in try instance().lines { body(Array(line)) }
      return
    }
    for number in (1..<1000).reversed()
    where FileManager.default.fileExists(atPath: "\(file).\(number)") {
      try Self.read("\(file).\(number)", body)
    }
    try Self.read(file, body)
  }

  private func instance() throws -> AdminClient.Answer {
    guard let admin = configuration.admin else {
      throw Failure(
        file.map { "there is no file \($0) yet, and no admin listener to ask (`admin: none`)" }
          ?? "no file is written (`resets.path`), and there is no admin listener to ask (`admin: none`)"
      )
    }
    do {
      let answer = try AdminClient(address: admin.address, token: admin.token)
        .send("GET", "/api/resets", query: [("count", "2000")])
      guard answer.status == 200 else {
        throw Failure(
          "the instance at \(admin.address) answers \(answer.status): \(String(decoding: answer.content.prefix(200), as: UTF8.self))"
        )
      }
      return answer
    } catch let failure as Failure {
      guard let file, !asksInstance else { throw failure }
      throw Failure("there is no file \(file), and no instance to ask: \(failure.message)")
    }
  }

  /// Line by line; a file of many megabytes need not fit into memory twice.
  static func read(_ path: String, _ body: ([UInt8]) -> Void) throws {
    do throws(Errno) {
      let file = try File.open(path, [.followLinks])
      var rest: [UInt8] = []
      var offset: Int64 = 0
      var buffer = [UInt8](repeating: 0, count: 1 << 20)
      while true {
        let count = try Self.pread(file.rawValue, &buffer, offset)
        guard count > 0 else { break }
        offset += Int64(count)
        rest += buffer[..<count]
        var start = 0
        while let end = rest[start...].firstIndex(of: 10) {
          if end > start { body(Array(rest[start..<end])) }
          start = end + 1
        }
        rest.removeFirst(start)
      }
      if !rest.isEmpty { body(rest) }
    } catch {
      throw Failure("cannot read \(path): \(error.message)")
    }
  }

  static func pread(_ fd: Int32, _ buffer: inout [UInt8], _ offset: Int64) throws(Errno)
    -> Int
  {
    try buffer.withUnsafeMutableBytes { bytes in
      Result { () throws(Errno) in try File.pread(fd, into: bytes, at: offset) }
    }.get()
  }

  /// What will be written to the file from now on. Nil where there is no file that could be.
  func follower() -> ResetFollower? { file.map { ResetFollower($0) } }
}
