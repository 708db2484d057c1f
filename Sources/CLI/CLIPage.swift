// docs/cli.md: the help of every command, as it is printed. A test compares the committed page.

import ArgumentParser

enum CLIPage {
  /// Every command that has a page, in the order of the page.
  static let commands: [(name: String, type: any ParsableCommand.Type)] = [
    ("holdfast", Holdfast.self),
    ("holdfast serve", ServeCommand.self),
    ("holdfast check", CheckCommand.self),
    ("holdfast auth", AuthCommand.self),
    ("holdfast auth add", AuthAddCommand.self),
    ("holdfast auth remove", AuthRemoveCommand.self),
    ("holdfast auth hash", AuthHashCommand.self),
    ("holdfast ca", CACommand.self),
    ("holdfast ca init", CAInitCommand.self),
    ("holdfast ca show", CAShowCommand.self),
    ("holdfast ca export", CAExportCommand.self),
    ("holdfast status", StatusCommand.self),
    ("holdfast store", StoreCommand.self),
    ("holdfast store list", StoreListCommand.self),
    ("holdfast store show", StoreShowCommand.self),
    ("holdfast store verify", StoreVerifyCommand.self),
    ("holdfast store purge", StorePurgeCommand.self),
    ("holdfast resets", ResetsCommand.self),
    ("holdfast resets list", ResetsListCommand.self),
    ("holdfast resets show", ResetsShowCommand.self),
    ("holdfast resets summary", ResetsSummaryCommand.self),
    ("holdfast explain", ExplainCommand.self),
    ("holdfast doctor", DoctorCommand.self),
    ("holdfast probe", ProbeCommand.self),
    ("holdfast probe server", ProbeServerCommand.self),
    ("holdfast probe client", ProbeClientCommand.self),
    ("holdfast lab", LabCommand.self),
    ("holdfast lab list", LabListCommand.self),
    ("holdfast lab run", LabRunCommand.self),
    ("holdfast lab reproduce", LabReproduceCommand.self),
    ("holdfast reference", ReferenceCommand.self),
  ]

  static func markdown() -> String {
    var page = """
      # The command

      What `--help` prints, for every command. Exit codes: 0 it went well, 1 it failed and said why,
      2 it was called wrongly (what is wrong stands on the command line, not in a file); 3, of `doctor` and `probe`: exposed. `--json` is there wherever a script
      might read. Colour is used on a terminal only, and never when `NO_COLOR` is set.

      `holdfast --generate-completion-script bash` (or `zsh`, `fish`) prints a script that completes
      commands and options.

      This page is printed by `holdfast reference cli`.

      """
    for command in commands {
      page += "\n## \(command.name)\n\n```\n\(HelpText.page(command.type))\n```\n"
    }
    return page
  }
}
