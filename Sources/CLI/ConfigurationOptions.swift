// Options that choose a configuration: a file, and what wins over it.

import ArgumentParser
import Configuration

/// The file and the store: what every command that touches a store needs.
struct ConfigurationOptions: ParsableArguments {
  @Option(
    name: [.customShort("c"), .long],
    help: ArgumentHelp("Read this configuration.", valueName: "file"))
  var config: String?

  @Option(help: ArgumentHelp("Directory of the store.", valueName: "dir"))
  var store: String?

  var overrides: [Override] {
    store.map { [Override(option: "--store", key: "store.path", values: [$0])] } ?? []
  }
}

/// Everything that `serve` and `check` take.
struct ServeOptions: ParsableArguments {
  @OptionGroup var common: ConfigurationOptions

  @Option(
    help: ArgumentHelp(
      "Listen here, and not where the file says; may be given again.", valueName: "address:port"))
  var listen: [String] = []

  @Option(
    help: ArgumentHelp(
      "Serve metrics and the admin API here, or 'none'.", valueName: "address:port"))
  var admin: String?

  @Option(
    help: ArgumentHelp(
      "Let clients of this network use the proxy, besides this machine; may be given again.",
      valueName: "network"))
  var client: [String] = []

  @Option(
    help: ArgumentHelp(
      "Let the proxy reach this private network; may be given again.", valueName: "network"))
  var allowPrivate: [String] = []

  @Option(
    help: ArgumentHelp(
      "Serve /name/ from this URL; may be given again, and adds to the file's mirrors.",
      valueName: "name=url"))
  var mirror: [String] = []

  @Option(
    help: ArgumentHelp("Cap on the disk space of the store, such as 50GiB.", valueName: "size"))
  var storeSize: String?

  @Option(help: ArgumentHelp("Number of worker threads, or 'auto'.", valueName: "count"))
  var threads: String?

  @Option(help: ArgumentHelp("How log lines look: 'text' or 'json'.", valueName: "format"))
  var logFormat: String?

  @Option(
    help: ArgumentHelp(
      "Where the access log goes: 'stdout', 'stderr', 'none' or a file.", valueName: "where"))
  var accessLog: String?

  @Option(
    help: ArgumentHelp(
      "Least severe messages that are written, such as 'debug'.", valueName: "level"))
  var logLevel: String?

  var overrides: [Override] {
    var overrides = common.overrides
    func add(_ option: String, _ key: String, _ values: [String]) {
      if !values.isEmpty { overrides.append(Override(option: option, key: key, values: values)) }
    }
    add("--listen", "listen", listen)
    add("--admin", "admin", admin.map { [$0] } ?? [])
    // Who names one network does not want to lock out the machine itself.
    add("--client", "clients", client.isEmpty ? [] : ["127.0.0.0/8", "::1"] + client)
    add("--allow-private", "destinations.private", allowPrivate)
    add("--mirror", "mirrors", mirror)
    add("--store-size", "store.size", storeSize.map { [$0] } ?? [])
    add("--threads", "threads", threads.map { [$0] } ?? [])
    add("--log-format", "log.format", logFormat.map { [$0] } ?? [])
    add("--access-log", "log.access", accessLog.map { [$0] } ?? [])
    add("--log-level", "log.level", logLevel.map { [$0] } ?? [])
    return overrides
  }

  /// - Parameter readsPipes: for a command that reads the configuration once.
  func load(readsPipes: Bool = false) throws(Diagnostics) -> ConfigurationLoader.Loaded {
    try ConfigurationLoader.load(
      file: common.config, overrides: overrides, readsPipes: readsPipes)
  }
}
