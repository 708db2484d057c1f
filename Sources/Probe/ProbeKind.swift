// The segments that a probe server writes into its own connection. Each is what connection tracking may find invalid, for a
// reason of its own; whether it does depends on kernel, settings and rules, so it is tried and not guessed.

package enum ProbeKind: String, Sendable, CaseIterable {
  /// Nothing at all: what befalls the others must not befall this one.
  case control
  /// Far beyond what the receiver has room for, with the right acknowledgement: a reset drawn by it is exact.
  case aboveWindow = "above-window"
  /// Far behind what has been confirmed, like a packet that was very late. Left alone by kernels since 6.1.
  case belowWindow = "below-window"
  /// In its place, but confirming what nobody has sent. A reset drawn by it misses.
  case acknowledgementBeyond = "ack-beyond"
  /// In its place, but confirming far less than was confirmed before.
  case acknowledgementBehind = "ack-behind"
  /// Without any flag. A reset drawn by it misses too.
  case noFlags = "no-flags"

  package var words: String {
    switch self {
    case .control: "nothing"
    case .aboveWindow: "sequence number 10 MB above the window"
    case .belowWindow: "sequence number 100 kB below the window"
    case .acknowledgementBeyond: "confirms 10 MB that were never sent"
    case .acknowledgementBehind: "confirms 1 GB less than before"
    case .noFlags: "no flag is set"
    }
  }
}
