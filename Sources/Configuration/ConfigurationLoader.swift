// From a file and options to a configuration that can be used, or to all that is wrong with it.

import Foundation
import Platform
import Yams

/// One value from the command line; wins over the file.
package struct Override: Sendable {
  /// The option as the user wrote it, such as `--threads`.
  package var option: String
  /// The key it stands for.
  package var key: String
  /// For most keys one word; for lists all the words, and for `mirrors` words like `NAME=URL`.
  package var values: [String]

  package init(option: String, key: String, values: [String]) {
    self.option = option
    self.key = key
    self.values = values
  }
}

/// Reads configurations.
package enum ConfigurationLoader {
  /// A configuration that passed all checks.
  package struct Loaded: Sendable {
    package var configuration: Configuration
    /// What is doubtful about it.
    package var warnings: Diagnostics
  }

  /// Larger files are refused: nobody writes them by hand, and YAML takes far more memory than text.
  static let largestFile = 1 << 20

  /// The defaults, changed by the file if there is one, then by the overrides.
  /// - Parameter readsSecrets: the files with tokens and passwords are read as well.
  /// - Parameter readsPipes: the file may be one that can be read only once; not for who reads it again.
  package static func load(
    file: String?, overrides: [Override] = [], readsSecrets: Bool = true, readsPipes: Bool = true
  ) throws(Diagnostics) -> Loaded {
    guard let file else {
      return try read(text: "", file: nil, overrides: overrides, readsSecrets: readsSecrets)
    }
    let name = file == "-" ? "standard input" : file
    let bytes: [UInt8]
    do throws(ConfigurationFile.Refusal) {
      bytes = try ConfigurationFile.read(file, limit: largestFile, readsPipes: readsPipes)
    } catch {
      throw failure(error.sentence, file: name)
    }
    guard bytes.count <= largestFile else {
      throw failure("is larger than 1 MiB and cannot be a configuration", file: name)
    }
    guard let text = String(bytes: bytes, encoding: .utf8) else {
      throw failure("is not UTF-8 text", file: name)
    }
    let directory =
      file == "-"
      ? FileManager.default.currentDirectoryPath
      : URL(fileURLWithPath: file).standardizedFileURL.deletingLastPathComponent().path
    return try read(
      text: text, file: name, directory: directory, overrides: overrides, readsSecrets: readsSecrets
    )
  }

  /// The same for a text at hand. Relative paths in it count from `directory`.
  /// - Parameter readsSecrets: the files with tokens and passwords are read as well.
  package static func read(
    text: String, file: String?, directory: String = ".", overrides: [Override] = [],
    readsSecrets: Bool = false
  ) throws(Diagnostics) -> Loaded {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    var reader = ConfigurationReader(
      diagnostics: Diagnostics(file: file, lines: lines), directory: directory)
    var configuration = Configuration()
    do {
      if let root = try Yams.compose(yaml: text) {
        reader.readMapping(root, settings: Reference.settings, path: "", into: &configuration)
      }
    } catch {
      reader.report(yamlError: error, lines: lines)
    }
    for override in overrides { reader.apply(override, to: &configuration) }
    if readsSecrets, reader.diagnostics.errors.isEmpty {
      reader.readFiles(into: &configuration)
    }
    // Checks across keys would only repeat what is already said about a broken one.
    if reader.diagnostics.errors.isEmpty { reader.check(configuration) }
    reader.diagnostics.sort()
    guard reader.diagnostics.errors.isEmpty else { throw reader.diagnostics }
    return Loaded(configuration: configuration, warnings: reader.diagnostics)
  }

  private static func failure(_ message: String, file: String) -> Diagnostics {
    var diagnostics = Diagnostics(file: file)
    diagnostics.all = [Diagnostic(severity: .error, place: .whole, key: "", message: message)]
    return diagnostics
  }
}

extension ConfigurationReader {
  /// Reads one override as if it stood in the file.
  mutating func apply(_ override: Override, to configuration: inout Configuration) {
    if override.key == "admin.token-file", let file = override.values.last {
      places[override.key] = .option(override.option)
      configuration.admin?.tokenFile = absolutePath(file, from: currentDirectory())
      return
    }
    guard let setting = Reference.settings.first(where: { $0.key == override.key }) else { return }
    option = override.option
    defer { option = nil }
    let words = override.values.map { Node.scalar(.init($0)) }
    let node: Node
    switch override.key {
    case "mirrors":
      applyMirrors(override.values, to: &configuration)
      return
    case "listen", "clients", "destinations.private":
      node = .sequence(.init(words))
    default:
      guard let word = words.last else { return }
      node = word
    }
    note(override.key, at: node)
    let admin = configuration.admin
    setting.read(node, override.key, &self, &configuration)
    if override.key == "admin", let admin {
      // Another address on the command line does not take the token off that the file asks for.
      configuration.admin?.tokenFile = admin.tokenFile
      configuration.admin?.hosts = admin.hosts
    }
  }

  /// Adds `NAME=URL` to the mirrors of the file; replaces one of the same name there, but not one of another option.
  private mutating func applyMirrors(_ words: [String], to configuration: inout Configuration) {
    var given: Set<String> = []
    for word in words {
      let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
      guard parts.count == 2, let option else {
        report(
          "\(quoted(word)) is not a mirror; write NAME=URL, like debian=http://deb.example.org/debian/",
          key: "", at: self.option.map(Place.option) ?? .whole)
        continue
      }
      let node = Node.mapping(.init([(Node.scalar(.init(parts[0])), Node.scalar(.init(parts[1])))]))
      for mirror in Mirrors.read(node, example: "", key: "mirrors", &self)?.all ?? [] {
        if !given.insert(mirror.name).inserted {
          report(
            "\(mirror.name) is given twice; leave one out, or give it another name", key: "mirrors",
            at: .option(option))
        }
        configuration.mirrors.set(mirror)
        places["mirrors.\(mirror.name)"] = .option(option)
      }
    }
  }

  /// Puts an error of the YAML parser into our words.
  mutating func report(yamlError error: any Error, lines: [Substring]) {
    switch error as? YamlError {
    case .scanner(let context, let problem, let mark, _),
      .parser(let context, let problem, let mark, _),
      .composer(let context, let problem, let mark, _):
      let line = lines.indices.contains(mark.line - 1) ? lines[mark.line - 1] : ""
      var message = "is not YAML: \(problem)"
      if let context { message += " \(context.text)" }
      if line.prefix(while: { $0.isWhitespace }).contains("\t") {
        message = "indented with a tab; YAML wants spaces"
      }
      report(message, key: "", at: .file(line: mark.line, column: mark.column))
    case .duplicatedKeysInMapping(let keys, let context):
      // The mark is that of one of the two; people look for the second, which is to go.
      let first = context.mark
      for key in keys.sorted() {
        let indent = String(repeating: " ", count: max(0, first.column - 1))
        let later = lines.indices.last { lines[$0].hasPrefix("\(indent)\(key):") }
        report(
          "is written twice in the same section; keep one of them", key: key,
          at: .file(line: later.map { $0 + 1 } ?? first.line, column: first.column))
      }
    case .reader(let problem, _, _, _):
      report("is not text that YAML allows: \(problem)", key: "", at: .whole)
    default:
      report("is not YAML: \(error)", key: "", at: .whole)
    }
  }
}
