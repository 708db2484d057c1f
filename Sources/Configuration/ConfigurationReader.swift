// From YAML nodes to values, collecting every mistake on the way.
//
// The tree is walked by hand rather than by Codable, because only the nodes know where they
// stand. A value that cannot be read is reported and leaves its default in place, so one run
// shows all mistakes of a file.

import Yams

/// A walk over one YAML tree.
package struct ConfigurationReader {
  var diagnostics: Diagnostics
  /// Where each key that was given stands, for checks that come after the reading.
  var places: [String: Place] = [:]
  /// What relative file names count from.
  var directory: String
  /// Set while a command line option is read instead of the file.
  var option: String?

  init(diagnostics: Diagnostics, directory: String) {
    self.diagnostics = diagnostics
    self.directory = directory
  }

  // MARK: Reporting

  mutating func report(
    _ message: String, key: String, at place: Place, severity: Diagnostic.Severity = .error
  ) {
    diagnostics.all.append(
      Diagnostic(severity: severity, place: place, key: key, message: message))
  }

  mutating func report(_ message: String, key: String, at node: Node) {
    report(message, key: key, at: place(of: node))
  }

  func place(of node: Node) -> Place {
    if let option { return .option(option) }
    return node.mark.map { .file(line: $0.line, column: $0.column) } ?? .whole
  }

  /// Where a key was given, else where the nearest key above it was.
  func place(of key: String) -> Place {
    var key = Substring(key)
    while true {
      if let place = places[String(key)] { return place }
      guard let dot = key.lastIndex(where: { $0 == "." || $0 == "[" }) else { return .whole }
      key = key[..<dot]
    }
  }

  /// Whether a key was given anywhere.
  func isGiven(_ key: String) -> Bool { places[key] != nil }

  /// Notes where a key was given. What comes later wins, as the values do.
  mutating func note(_ key: String, at node: Node) { places[key] = place(of: node) }

  // MARK: Walking

  /// Reads a mapping whose keys are the settings below `prefix`, which is empty or ends in a dot.
  ///
  /// `path` is what the errors call the place: it differs from `prefix` inside of lists.
  mutating func readMapping<Root>(
    _ node: Node, settings: [Setting<Root>], prefix: String = "", path: String,
    into root: inout Root
  ) {
    // A section whose lines are all commented out is empty, and means the defaults.
    if node.isNull { return }
    guard case .mapping(let mapping) = node else {
      report(
        "\(described(node)) is not a section; write its keys below it, each on a line of its own",
        key: String(path.dropLast()), at: node)
      return
    }
    var known: [String] = []
    for setting in settings where setting.key.hasPrefix(prefix) {
      let name = String(setting.key.dropFirst(prefix.count).prefix { $0 != "." })
      if !known.contains(name) { known.append(name) }
    }
    for (keyNode, value) in mapping {
      guard case .scalar(let scalar) = keyNode, known.contains(scalar.string) else {
        reportUnknown(keyNode, known: known, prefix: prefix, path: path, settings: settings)
        continue
      }
      let key = prefix + scalar.string
      let place = path + scalar.string
      note(place, at: value.isNull ? keyNode : value)
      if let setting = settings.first(where: { $0.key == key }) {
        setting.read(value, place, &self, &root)
      } else {
        readMapping(value, settings: settings, prefix: key + ".", path: place + ".", into: &root)
      }
    }
  }

  private mutating func reportUnknown<Root>(
    _ node: Node, known: [String], prefix: String, path: String, settings: [Setting<Root>]
  ) {
    guard case .scalar(let scalar) = node else {
      report("a list or a section cannot be a key", key: String(path.dropLast()), at: node)
      return
    }
    let word = scalar.string
    let section = path.isEmpty ? "at the top level" : "in \(path.dropLast())"
    var message = "is not known \(section)"
    if let near = Suggestion.nearest(to: word, among: known) {
      message += "; did you mean \(near)?"
    } else if let elsewhere = settings.first(where: { $0.key.hasSuffix("." + word) })?.key {
      message += "; did you mean \(elsewhere)?"
    } else {
      message += "; the keys here are \(known.sorted().joined(separator: ", "))"
    }
    report(message, key: path + word, at: node)
  }

  /// The text of a scalar; reports anything else.
  mutating func scalar(_ node: Node, form: String, example: String, key: String) -> String? {
    if case .scalar(let scalar) = node {
      if !node.isNull { return scalar.string }
      report(
        "has no value; write \(form), like \(example), or leave the line out", key: key, at: node)
    } else {
      report(
        "\(described(node)) stands where \(form) is needed, like \(example)", key: key, at: node)
    }
    return nil
  }

  /// A file name made absolute: what stands in the file counts from the file's directory, what
  /// stands on the command line from the current one.
  func absolute(_ path: String) -> String {
    absolutePath(path, from: option == nil ? directory : currentDirectory())
  }

  /// What a node is, in words.
  func described(_ node: Node) -> String {
    switch node {
    case .mapping: "a section"
    case .sequence: "a list"
    case .scalar(let scalar): quoted(scalar.string)
    case .alias: "an alias"
    }
  }
}

/// A value as it is shown in a message: in quotes, on one line, not too long.
func quoted(_ text: String) -> String {
  let line = text.map { $0.isNewline ? " " : String($0) }.joined()
  return line.count > 60 ? "\"\(line.prefix(57))…\"" : "\"\(line)\""
}

extension Node {
  /// Whether nothing was written, or one of YAML's words for nothing, without quotes.
  var isNull: Bool {
    guard case .scalar(let scalar) = self, scalar.style == .plain || scalar.style == .any else {
      return false
    }
    return ["", "~", "null", "Null", "NULL"].contains(scalar.string)
  }
}
