// One key of the configuration: where it goes, what it may hold, what it means.

import Yams

/// A value that can stand in the configuration.
package protocol ConfigurationValue: Equatable, Sendable {
  /// What it is called in messages and in the docs, with its article: `a size`.
  static var form: String { get }
  /// The value of a node; reports what is wrong and gives nil otherwise.
  static func read(
    _ node: Node, example: String, key: String, _ reader: inout ConfigurationReader
  ) -> Self?
  /// The value as YAML, on one line.
  var yaml: String { get }
}

/// A value that is one word of YAML.
package protocol ConfigurationScalar: ConfigurationValue {
  init(reading text: String) throws(Misreading)
  /// The value as `init(reading:)` takes it.
  var text: String { get }
  /// The value with its path, if it has one, counted from where it was written.
  func resolved(by reader: ConfigurationReader) -> Self
}

extension ConfigurationScalar {
  package func resolved(by reader: ConfigurationReader) -> Self { self }

  package static func read(
    _ node: Node, example: String, key: String, _ reader: inout ConfigurationReader
  ) -> Self? {
    guard let text = reader.scalar(node, form: form, example: example, key: key) else { return nil }
    do throws(Misreading) {
      return try Self(reading: text).resolved(by: reader)
    } catch {
      reader.report("\(quoted(text)) \(error.message)", key: key, at: node)
      return nil
    }
  }

  package var yaml: String { yamlScalar(text) }
}

/// When a change of a setting takes effect.
package enum Application: String, Sendable {
  /// With SIGHUP, without dropping a connection.
  case reload
  /// When the program is started anew.
  case restart
}

/// One key, for values of `Root`.
package struct Setting<Root: Sendable>: Sendable {
  /// The full key, such as `store.size`.
  package let key: String
  /// What its values are called.
  package let form: String
  /// The default as YAML, or in words where it depends on the machine.
  package let defaultText: String
  /// Whether `defaultText` is YAML.
  package let hasLiteralDefault: Bool
  /// A value one might write, as YAML.
  package let example: String
  /// What it does, in one or two sentences.
  package let meaning: String
  /// Smallest and largest value, in words; nil when anything of the right form is accepted.
  package let bounds: String?
  package let application: Application
  let read: @Sendable (Node, String, inout ConfigurationReader, inout Root) -> Void
  /// The value in a root, as YAML.
  package let yaml: @Sendable (Root) -> String
  /// What of the value takes a new start to change, as YAML: all of it, as a rule.
  let boundToStart: @Sendable (Root) -> String
  /// Copies the value from one root to another.
  let copy: @Sendable (Root, inout Root) -> Void

  /// A key that holds what is at `path`.
  /// - Parameter boundToStart: what of a value takes a new start to change, if that is not all of it.
  init<Value: ConfigurationValue>(
    _ key: String, _ path: WritableKeyPath<Root, Value> & Sendable, in defaults: Root,
    _ application: Application, default defaultText: String? = nil, example: String,
    _ meaning: String, boundToStart: (@Sendable (Value) -> String)? = nil
  ) {
    self.init(
      key, path, in: defaults, application, default: defaultText, example: example, bounds: nil,
      meaning, boundToStart: boundToStart
    ) { _ in nil }
  }

  /// A key whose value must lie in `range`.
  init<Value: ConfigurationScalar & Comparable>(
    _ key: String, _ path: WritableKeyPath<Root, Value> & Sendable, in defaults: Root,
    _ application: Application, _ range: ClosedRange<Value>, example: String, _ meaning: String
  ) {
    let bounds = "\(range.lowerBound.text) to \(range.upperBound.text)"
    self.init(
      key, path, in: defaults, application, default: nil, example: example, bounds: bounds, meaning
    ) { value in
      if range.contains(value) { return nil }
      return value < range.lowerBound
        ? "is too small; write \(range.lowerBound.text) or more"
        : "is too large; write \(range.upperBound.text) or less"
    }
  }

  private init<Value: ConfigurationValue>(
    _ key: String, _ path: WritableKeyPath<Root, Value> & Sendable, in defaults: Root,
    _ application: Application, default defaultText: String?, example: String, bounds: String?,
    _ meaning: String, boundToStart: (@Sendable (Value) -> String)? = nil,
    check: @escaping @Sendable (Value) -> String?
  ) {
    self.key = key
    self.form = Value.form
    self.defaultText = defaultText ?? defaults[keyPath: path].yaml
    self.hasLiteralDefault = defaultText == nil
    self.example = example
    self.meaning = meaning
    self.bounds = bounds
    self.application = application
    self.yaml = { $0[keyPath: path].yaml }
    self.boundToStart = { root in
      let value = root[keyPath: path]
      return boundToStart?(value) ?? value.yaml
    }
    self.copy = { $1[keyPath: path] = $0[keyPath: path] }
    self.read = { node, key, reader, root in
      guard let value = Value.read(node, example: example, key: key, &reader) else { return }
      if let complaint = check(value) {
        reader.report("\(value.yaml) \(complaint)", key: key, at: node)
      } else {
        root[keyPath: path] = value
      }
    }
  }
}

/// Quotes a scalar where YAML would read it as something else.
func yamlScalar(_ text: String) -> String {
  let special = Set("*&!|>'\"%@`#{}[],?:-")
  let isPlain =
    !text.isEmpty && text.first.map { !special.contains($0) } == true && !text.contains(": ")
    && !text.contains(" #") && !text.hasSuffix(":") && !text.contains { "{}[],\"\\\n".contains($0) }
  if isPlain { return text }
  let escaped = text.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : String($0) }.joined()
  return "\"\(escaped)\""
}
