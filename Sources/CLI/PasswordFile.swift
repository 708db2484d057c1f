// The file of users as it is edited: lines that are not about the user in question stay as they are.

import Configuration
import Foundation
import Platform

struct PasswordFile {
  let path: String
  private var lines: [String]
  private var status: File.Status?

  /// Reads the file; one that is missing is empty.
  init(path: String) throws {
    self.path = path
    lines = []
    do throws(Errno) {
      // A link is followed to what it names, as the program that reads the file does.
      let file = try File.open(path, [.read, .followLinks])
      status = try File.status(file.rawValue)
    } catch {
      guard error == .noSuchFile else { throw Failure("\(path) cannot be read: \(error.message)") }
      return
    }
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
      throw Failure("\(path) is not UTF-8 text")
    }
    lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
      .map(String.init)
    if lines.last == "" { lines.removeLast() }
  }

  /// - Returns: whether the user is new.
  mutating func set(_ name: String, _ hash: PasswordHash) -> Bool {
    let line = "\(name):\(hash.text)"
    guard let index = lines.firstIndex(where: { $0.hasPrefix(name + ":") }) else {
      lines.append(line)
      return true
    }
    lines[index] = line
    return false
  }

  /// - Returns: whether there was one.
  mutating func remove(_ name: String) -> Bool {
    let before = lines.count
    lines.removeAll { $0.hasPrefix(name + ":") }
    return lines.count < before
  }

  /// Writes it aside and renames it, so that a reader sees the old file or the new one. Keeps mode and owner.
  func write() throws {
    let target = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    let aside = "\(target).\(ProcessInfo.processInfo.processIdentifier).new"
    do throws(Errno) {
      let file = try File.open(aside, [.write, .create, .exclusive], mode: 0o600)
      let bytes = Array((lines.joined(separator: "\n") + "\n").utf8)
      let number = file.rawValue
      try bytes.withUnsafeBytes { buffer in
        Result { () throws(Errno) in try File.writeFully(number, buffer, at: 0) }
      }.get()
      if let status {
        // Only root may give files away; for everyone else the owner is right already. The group may be what
        // lets the program read it.
        let attributes = try? FileManager.default.attributesOfItem(atPath: target)
        let group = (attributes?[.groupOwnerAccountID] as? NSNumber)?.uint32Value ?? .max
        if fchown(number, status.owner, group) != 0 { _ = fchown(number, .max, group) }
        _ = fchmod(number, mode_t(status.mode))
      }
      try File.rename(aside, to: target)
    } catch {
      try? File.unlink(aside)
      throw Failure("\(path) cannot be written: \(error.message)")
    }
  }
}

/// Asks for a password.
enum PasswordPrompt {
  /// Long enough that guessing over the network is hopeless even without a good password.
  static let shortest = 8

  static func hash(for name: String?) throws -> PasswordHash {
    let password = try read(for: name)
    guard password.count >= shortest else {
      throw Failure("a password of fewer than \(shortest) characters is too easily guessed")
    }
    guard let hash = PasswordHash(of: password) else {
      throw Failure("there is not enough memory to hash a password: it takes 32 MiB")
    }
    return hash
  }

  private static func read(for name: String?) throws -> [UInt8] {
    guard isatty(STDIN_FILENO) == 1 else {
      guard let line = readLine(strippingNewline: true) else {
        throw Failure("there is no password on standard input")
      }
      return Array(line.utf8)
    }
    let first = try hidden("Password\(name.map { " for \($0)" } ?? ""): ")
    guard try hidden("Again: ") == first else { throw Failure("the two are not the same") }
    return first
  }

  /// Who presses Ctrl-C gets a terminal back that shows what is typed. The signals stay with the thread that waits for
  /// them: it ends the process as they would have.
  private static func restoreOnSignal(_ before: termios) {
    var signals = sigset_t()
    sigemptyset(&signals)
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] where !Signals.isIgnored(signal) {
      sigaddset(&signals, signal)
    }
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    let awaited = signals
    let thread = Thread {
      var awaited = awaited
      var before = before
      var number: Int32 = 0
      guard sigwait(&awaited, &number) == 0 else { return }
      tcsetattr(STDIN_FILENO, TCSAFLUSH, &before)
      FileHandle.standardError.write(Data("\n".utf8))
      signal(number, SIG_DFL)
      pthread_sigmask(SIG_UNBLOCK, &awaited, nil)
      raise(number)
    }
    thread.start()
  }

  /// Reads a line that the terminal does not show.
  private static func hidden(_ prompt: String) throws -> [UInt8] {
    var before = termios()
    guard tcgetattr(STDIN_FILENO, &before) == 0 else {
      throw Failure("the terminal cannot be told not to show a password; use standard input")
    }
    var silent = before
    silent.c_lflag &= ~tcflag_t(ECHO)
    FileHandle.standardError.write(Data(prompt.utf8))
    restoreOnSignal(before)
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent)
    defer {
      tcsetattr(STDIN_FILENO, TCSAFLUSH, &before)
      FileHandle.standardError.write(Data("\n".utf8))
    }
    guard let line = readLine(strippingNewline: true) else { throw Failure("there is no password") }
    return Array(line.utf8)
  }
}
