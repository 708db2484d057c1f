// The reference as pages: docs/configuration.md and config/holdfast.yaml.

/// Prints the reference for people.
package enum ReferencePages {
  // MARK: docs/configuration.md

  /// The page that describes every key, as Markdown.
  package static func markdown() -> String {
    var page = """
      # Configuration

      Holdfast runs without a configuration. To change something, write a YAML file with only the keys
      that differ and give it with `--config FILE`; `holdfast check --config FILE` says what is wrong with
      it, line by line, and what it lets whom reach. Every key is optional. Options of `holdfast serve` win
      over the file.

      This page and `config/holdfast.yaml` are printed by `holdfast reference`; the source is
      `Sources/Configuration/Reference.swift`.

      ```yaml
      \(shortExample)```

      ## How values are written

      - **Times** are a whole number and a unit: `ms`, `s`, `m`, `h` or `d`, as in `30s`.
      - **Sizes** are a whole number and a unit: `KiB`, `MiB`, `GiB`, `TiB` (powers of 1024), `kB`, `MB`,
        `GB`, `TB` (powers of 1000) or `B`, as in `50GiB`.
      - **Addresses** always have a port; IPv6 needs brackets: `127.0.0.1:3128`, `[::1]:3128`.
      - **Networks** are in CIDR notation, or one address: `10.0.0.0/8`, `fd00::/8`, `192.0.2.7`.
      - **Hosts** are a name (`deb.example.org`), all names below one (`*.example.org`), an address, or `*`.
      - **Paths** that are relative count from the directory of the file; `~/` is the home directory.
      - YAML wants quotes around words that begin with `*`, `[` or `:`, such as `"*.example.org"` and `"::1"`.

      Unknown keys, keys written twice and values without a unit are errors: a configuration is taken as a
      whole or not at all. On SIGHUP the file is read again; if it has an error, the running configuration
      stays. Keys marked *restart* keep their old value until the program is started anew.

      """
    page += section("General", Reference.settings.filter { !$0.key.contains(".") })
    page += items("Items of `listen`", ListenerSettings.settings, prefix: "listen[].")
    page += items("Items of `mirrors`", Mirrors.settings, prefix: "mirrors.NAME.")
    page += items("Items of `rules`", CacheRule.settings, prefix: "rules[].")
    page += items(
      "Items of `upstream.credentials`", UpstreamCredential.settings,
      prefix: "upstream.credentials[].")
    for (name, meaning) in Reference.sections {
      page += section(
        "`\(name)`", Reference.settings.filter { $0.key.hasPrefix(name + ".") }, meaning)
    }
    return page
  }

  private static let shortExample = """
    listen:
      - address: 0.0.0.0:3128
    clients: [127.0.0.0/8, 10.0.0.0/8]
    store: { path: /srv/holdfast, size: 50GiB }
    mirrors:
      debian: { url: "http://deb.example.org/debian/" }

    """

  private static func section(
    _ title: String, _ settings: [Setting<Configuration>], _ meaning: String = ""
  ) -> String {
    var page = "\n## \(title)\n\n" + (meaning.isEmpty ? "" : meaning + "\n\n")
    page += "| Key | Value | Default | Meaning |\n|---|---|---|---|\n"
    for setting in settings { page += row(setting, prefix: "") }
    page += "\n```yaml\n"
    if let name = settings.first?.key.split(separator: ".").dropLast().first {
      page += "\(name):\n"
    }
    for setting in settings {
      let parts = setting.key.split(separator: ".")
      page += "\(parts.count > 1 ? "  " : "")\(parts.last ?? ""): \(setting.example)\n"
    }
    return page + "```\n"
  }

  private static func items<Root>(
    _ title: String, _ settings: [Setting<Root>], prefix: String
  ) -> String {
    var page = "\n### \(title)\n\n| Key | Value | Default | Meaning |\n|---|---|---|---|\n"
    for setting in settings { page += row(setting, prefix: prefix) }
    return page
  }

  private static func row<Root>(_ setting: Setting<Root>, prefix: String) -> String {
    let value = setting.form + (setting.bounds.map { ", \($0)" } ?? "")
    let standard = setting.hasLiteralDefault ? "`\(setting.defaultText)`" : setting.defaultText
    let restart = setting.application == .restart ? " *restart*" : ""
    return "| `\(prefix)\(setting.key)` | \(value) | \(standard) | \(setting.meaning)\(restart) |\n"
  }

  // MARK: config/holdfast.yaml

  /// The commented configuration file. Every key is commented out and shows its default, unless
  /// `active` is set, which uncomments all that have a default of their own.
  package static func yaml(active: Bool = false) -> String {
    var page = """
      # The configuration of Holdfast. Every key is optional; the values shown are the defaults.
      # To change one, remove the "# " before it (and keep the indentation). docs/configuration.md
      # has the same keys with their types and bounds; `holdfast check --config FILE` checks a file.
      # Printed by `holdfast reference yaml`.

      """
    var section = ""
    for setting in Reference.settings {
      let parts = setting.key.split(separator: ".").map(String.init)
      let isNested = parts.count > 1
      if isNested, parts[0] != section {
        let meaning = Reference.sections.first { $0.name == parts[0] }?.meaning ?? ""
        page += "\n# \(meaning)\n\(parts[0]):\n"
      } else {
        page += "\n"
      }
      section = isNested ? parts[0] : ""
      let indent = isNested ? "  " : ""
      for line in wrapped(note(setting), width: 96 - indent.count) {
        page += "\(indent)# \(line)\n"
      }
      if setting.hasLiteralDefault {
        page += "\(indent)\(active ? "" : "# ")\(parts[parts.count - 1]): \(setting.defaultText)\n"
      } else {
        page += "\(indent)# \(parts[parts.count - 1]): \(setting.example)\n"
      }
    }
    return page
  }

  private static func note<Root>(_ setting: Setting<Root>) -> String {
    var note = setting.meaning.replacing("`", with: "")
    if !setting.hasLiteralDefault { note += " Default: \(setting.defaultText)." }
    if let bounds = setting.bounds { note += " (\(bounds))" }
    if setting.hasLiteralDefault,
      setting.form.hasPrefix("a list") || setting.form.hasPrefix("mirrors")
    {
      note += " Example: \(setting.example)"
    }
    return note
  }

  private static func wrapped(_ text: String, width: Int) -> [String] {
    var lines: [String] = []
    var line = ""
    for word in text.split(separator: " ") {
      if !line.isEmpty, line.count + 1 + word.count > width {
        lines.append(line)
        line = ""
      }
      line += line.isEmpty ? String(word) : " \(word)"
    }
    if !line.isEmpty { lines.append(line) }
    return lines
  }
}
