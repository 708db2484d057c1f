// The result as a picture: for each way and cure, which part of the downloads arrived. SVG, by hand; every bar has its
// number, so that the picture says no more than the table does.

package enum ReproductionChart {
  package static func svg(_ results: [ReproductionResult]) -> String {
    let (left, barHeight, gap, width) = (190, 18, 8, 420)
    let height = 56 + results.count * (barHeight + gap)
    var lines = [
      """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 \(height)" font-family="sans-serif" font-size="12">
      <rect width="760" height="\(height)" fill="white"/>
      <text x="10" y="22" font-size="15">Downloads through a Service, while segments are injected that conntrack cannot place</text>
      <rect x="\(left)" y="32" width="10" height="10" fill="#2a7f62"/><text x="\(left + 15)" y="41">complete</text>
      <rect x="\(left + 90)" y="32" width="10" height="10" fill="#c0392b"/><text x="\(left + 105)" y="41">failed</text>
      """
    ]
    for (index, result) in results.enumerated() {
      let y = 52 + index * (barHeight + gap)
      let all = max(1, result.complete + result.failed)
      let good = width * result.complete / all
      // What failed is to be seen, however little it is.
      let bad = result.failed > 0 ? max(3, width - good) : 0
      lines.append(
        """
        <text x="10" y="\(y + 13)">\(result.way.rawValue), \(result.fix == .none ? "no cure" : result.fix.rawValue)</text>
        <rect x="\(left)" y="\(y)" width="\(width - bad)" height="\(barHeight)" fill="#2a7f62"/>
        <rect x="\(left + width - bad)" y="\(y)" width="\(bad)" height="\(barHeight)" fill="#c0392b"/>
        <text x="\(left + width + 8)" y="\(y + 13)">\(result.failed) of \(all) failed</text>
        """)
    }
    return (lines + ["</svg>", ""]).joined(separator: "\n")
  }
}
