// Why a lab cannot be had, or a scenario could not be played to its end.

package struct LabError: Error, CustomStringConvertible, Sendable {
  package let description: String

  package init(_ description: String) { self.description = description }
}
