// What the operator says about resources: the items of `rules`, and the settings below `cache`.

import HTTP
import Platform
import Yams

/// How stored responses are read.
package struct CacheSettings: Sendable, Equatable {
  /// Response fields whose directives count before Cache-Control, the most important first.
  package var targetedFields = [FieldNameSetting(unchecked: "CDN-Cache-Control")]

  package init() {}
}

/// One item of `rules`.
package struct CacheRule: Sendable, Equatable {
  package enum Class: String, Sendable, CaseIterable {
    case immutable, mutable, pass
  }

  package var match: URIPattern
  package var kind: Class?
  package var fresh: Duration?
  package var override = false
  package var negative: Duration?
  package var staleIfError: Duration?
  package var staleWhileRevalidate: Duration?

  package init(match: URIPattern) { self.match = match }

  /// The longest `negative`: what is published a moment after somebody asked for it should not stay
  /// unknown for longer than people wait.
  package static let longestNegative = Duration.seconds(600)
}

/// The name of a field.
package struct FieldNameSetting: Sendable, Equatable {
  package let name: String

  init(unchecked name: String) { self.name = name }
}

extension FieldNameSetting: ConfigurationScalar {
  package static var form: String { "a field name" }

  package init(reading text: String) throws(Misreading) {
    guard !text.isEmpty, text.utf8.count <= 256, text.utf8.allSatisfy(\.isTokenCharacter) else {
      throw Misreading("is not the name of a field; write one like CDN-Cache-Control")
    }
    guard text.lowercased() != "cache-control" else {
      throw Misreading("always counts, after all others; leave it out")
    }
    name = text
  }

  package var text: String { name }
}

extension URIPattern: ConfigurationScalar {
  package static var form: String { "a pattern" }

  package init(reading text: String) throws(Misreading) {
    do throws(Problem) {
      try self.init(text)
    } catch {
      throw Misreading(error.message)
    }
  }
}

extension CacheRule.Class: ConfigurationWord {}

extension Bool: ConfigurationScalar {
  package static var form: String { "true or false" }

  package init(reading text: String) throws(Misreading) {
    switch text {
    case "true": self = true
    case "false": self = false
    default: throw Misreading("is neither true nor false; write one of the two")
    }
  }

  package var text: String { self ? "true" : "false" }
}

extension CacheRule: ConfigurationValue {
  package static var form: String { "a rule" }

  package static let settings: [Setting<CacheRule>] = {
    guard let pattern = try? URIPattern("registry.example.org/simple/**") else { return [] }
    let empty = CacheRule(match: pattern)
    return [
      Setting(
        "match", \.match, in: empty, .reload, default: "none: it has to be given",
        example: "registry.example.org/simple/**",
        "Which target URIs: `host/path`, with or without a scheme before it; a pattern that begins with a slash is for every host. `*` stands for anything within a segment (it stops at `/` and `?`), `**` for anything at all, and `/**/` for any number of segments, be it none."
      ),
      Setting(
        "class", \.kind, in: empty, .reload, example: "immutable",
        "`immutable`: the content never changes, is kept without a lifetime and never asked for again. `mutable`: it may change, even where its path looks like that of a package file. `pass`: never stored, never answered from the store."
      ),
      Setting(
        "fresh", \.fresh, in: empty, .reload, example: "10m",
        "Freshness lifetime of successful answers whose origin gives none."),
      Setting(
        "override", \.override, in: empty, .reload, example: "true",
        "`fresh` holds whatever lifetime the origin gives, and against its `no-cache`; never against `no-store` and `private`."
      ),
      Setting(
        "negative", \.negative, in: empty, .reload, example: "30s",
        "For how long a 404 or 410 is believed whose origin gives it no lifetime; 10m at most."),
      Setting(
        "stale-if-error", \.staleIfError, in: empty, .reload, example: "1d",
        "For how long past its lifetime an answer stands in for an origin that fails or answers 500, 502, 503 or 504. What the origin grants beyond it holds too; `must-revalidate` forbids both."
      ),
      Setting(
        "stale-while-revalidate", \.staleWhileRevalidate, in: empty, .reload, example: "1m",
        "For how long past its lifetime an answer is sent while it is renewed in the background."),
    ]
  }()

  package static func read(
    _ node: Node, example: String, key: String, _ reader: inout ConfigurationReader
  ) -> Self? {
    guard let placeholder = try? URIPattern("/**") else { return nil }
    let before = reader.diagnostics.errors.count
    var rule = CacheRule(match: placeholder)
    reader.readMapping(node, settings: settings, path: key + ".", into: &rule)
    guard reader.diagnostics.errors.count == before else { return nil }
    guard reader.isGiven(key + ".match") else {
      reader.report(
        "has no pattern; write match: registry.example.org/simple/**", key: key, at: node)
      return nil
    }
    rule.check(key, &reader)
    return rule
  }

  /// What the keys of a rule must be together.
  private func check(_ key: String, _ reader: inout ConfigurationReader) {
    if let negative, negative > Self.longestNegative {
      reader.report(
        "\(negative.text) is too large; write \(Self.longestNegative.text) or less",
        key: key + ".negative", at: reader.place(of: key + ".negative"))
    }
    if override, fresh == nil {
      reader.report(
        "has nothing to override with; write fresh: 10m beside it", key: key + ".override",
        at: reader.place(of: key + ".override"))
    }
    let says = [fresh, negative, staleIfError, staleWhileRevalidate].contains { $0 != nil }
    if kind == .pass, says {
      reader.report(
        "pass means that nothing is stored; the rule's other keys have no effect",
        key: key + ".class", at: reader.place(of: key + ".class"), severity: .warning)
    } else if kind == .immutable, fresh != nil {
      reader.report(
        "has no effect beside class: immutable, which is fresh for ever; leave one of the two out",
        key: key + ".fresh", at: reader.place(of: key + ".fresh"), severity: .warning)
    } else if kind == nil, !says {
      reader.report(
        "says nothing; write class: or fresh: below it", key: key, at: reader.place(of: key))
    }
  }

  package var yaml: String { "{ \((["match: \(match.yaml)"] + terms).joined(separator: ", ")) }" }

  /// The rule in a line, for people.
  package var summary: String { "\(match.text)  \(terms.joined(separator: ", "))" }

  private var terms: [String] {
    var parts: [String] = []
    if let kind { parts.append("class: \(kind.yaml)") }
    if let fresh { parts.append("fresh: \(fresh.yaml)") }
    if override { parts.append("override: true") }
    if let negative { parts.append("negative: \(negative.yaml)") }
    if let staleIfError { parts.append("stale-if-error: \(staleIfError.yaml)") }
    if let staleWhileRevalidate {
      parts.append("stale-while-revalidate: \(staleWhileRevalidate.yaml)")
    }
    return parts
  }
}
