// What this program calls itself: in `--version`, in the metrics, to its peers.

/// The program's own name and version.
package enum Program {
  package static let name = "holdfast"
  package static let version = "0.1.0"
}
