// `holdfast reference`: prints the pages that are made from tables in the code. Hidden from the
// help, because it is for those who work on the program (`make docs`).

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
    shouldDisplay: false)

  @Argument(help: "Which page.")
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
