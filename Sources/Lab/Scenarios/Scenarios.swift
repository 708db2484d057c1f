// The list of all scenarios, in the order of their names.

extension Scenario {
  package static let all: [Scenario] = [
    l01, l02, l03, l04, l05, l06, l07, l08, l09, l10, l10v6, l10nft, l11, l12, l13, l14, l15, l16,
    l17, l17b, l18, l19, l20, l21, l22, l23, l24, l25, l26, l27, l28,
  ]

  package static func named(_ name: String) -> Scenario? {
    all.first { $0.name.uppercased() == name.uppercased() }
  }
}
