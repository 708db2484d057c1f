// `holdfast reference`: prints the pages that are made from tables in the code (`make docs`).

import ArgumentParser
import Configuration
import Telemetry

struct ReferenceCommand: ParsableCommand {
  enum Page: String, CaseIterable, ExpressibleByArgument {
    /// docs/configuration.md
    case configuration
    /// config/holdfast.yaml
    case yaml
    /// docs/metrics.md
    case metrics
    /// docs/cli.md
    case cli
  }

  static let configuration = CommandConfiguration(
    commandName: "reference",
    abstract: "Print a page of the documentation that is made from the code.",
    discussion: """
      For a configuration to begin with: every key with its default and what it does, commented out.

      EXAMPLES:
        holdfast reference yaml > holdfast.yaml
        holdfast reference metrics
      """)

  @Argument(
    help: ArgumentHelp("Which one: 'configuration', 'yaml', 'metrics' or 'cli'.", valueName: "page")
  )
  var page: Page

  func run() { Console.print(Self.text(page)) }

  static func text(_ page: Page) -> String {
    switch page {
    case .configuration: ReferencePages.markdown()
    case .yaml: ReferencePages.yaml()
    case .metrics: MetricsPage.markdown()
    case .cli: CLIPage.markdown()
    }
  }
}
