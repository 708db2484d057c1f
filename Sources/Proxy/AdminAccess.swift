// Who may ask the admin listener for what: a decision about one request's head. Three kinds of strangers are
// kept out: web pages in somebody's browser, names that were made to lead here (DNS rebinding), and whoever
// has no token where one is asked for. Health checks need none: they tell nothing, and supervisors have none.

import Configuration
import HTTP
import Platform

package struct AdminAccess: Sendable {
  private let token: Secret?
  private let hosts: [HostPattern]

  package init(_ settings: AdminSettings? = nil) {
    token = settings?.token
    hosts = settings?.hosts ?? []
  }

  /// Why a request is not answered; nil if it is.
  /// - Parameter isLocal: the listener is on a loopback address.
  func refusal(_ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>, isLocal: Bool)
    -> AdminAnswer?
  {
    // Browsers say where a request comes from, and pages cannot keep them from it.
    if head.contains(.origin) || comesFromPage(head, bytes) {
      return AdminAnswer(status: 403, text: "the admin interface is not for web pages\n")
    }
    let changes = head.method != .get && head.method != .head
    if isLocal || changes, !namesThisListener(head, bytes) {
      return AdminAnswer(
        status: 421,
        text: "ask for this address as localhost or by its number, or add the name to admin.hosts\n"
      )
    }
    guard let token, !isAboutHealth(head, bytes) else { return nil }
    guard let field = head.first(.authorization), head.occurrences(of: .authorization) == 1,
      let shown = Self.bearer(bytes, field.value), token.matches(bytes.extracting(shown))
    else {
      var answer = AdminAnswer(
        status: 401,
        text: "show the token of admin.token-file: Authorization: Bearer TOKEN\n")
      answer.challenge = "Bearer realm=\"Holdfast admin\""
      return answer
    }
    return nil
  }

  /// Fetch metadata: `none` is somebody's own doing, `same-origin` our own page.
  private func comesFromPage(_ head: borrowing ParsedHead, _ bytes: borrowing Span<UInt8>) -> Bool {
    for index in 0..<head.count {
      let slot = head.slot(at: index)
      guard slot.known == .other,
        bytes.extracting(slot.name).equalsToken("sec-fetch-site")
      else { continue }
      let value = bytes.extracting(slot.value)
      if !value.equals("none"), !value.equals("same-origin") { return true }
    }
    return false
  }

  private func isAboutHealth(_ head: borrowing ParsedHead, _ bytes: borrowing Span<UInt8>) -> Bool {
    let target = bytes.extracting(head.targetRange)
    return head.method == .get && (target.equals("/healthz") || target.equals("/readyz"))
  }

  /// Whether Host is `localhost`, an address, one of `hosts`, or missing.
  private func namesThisListener(_ head: borrowing ParsedHead, _ bytes: borrowing Span<UInt8>)
    -> Bool
  {
    guard let slot = head.first(.host), !slot.value.isEmpty else { return true }
    guard let host = try? Authority.parse(bytes, slot.value, defaultPort: 80).bareHost else {
      return false
    }
    return host == "localhost" || IPAddress(host) != nil
      || hosts.contains { $0.matches(name: host) }
  }

  /// Where the token is in `Bearer TOKEN`.
  static func bearer(_ bytes: borrowing Span<UInt8>, _ value: Range<Int>) -> Range<Int>? {
    let scheme = "Bearer "
    guard value.count > scheme.utf8.count else { return nil }
    var start = value.lowerBound + scheme.utf8.count
    guard bytes.extracting(value.lowerBound..<start - 1).equalsToken("bearer"),
      bytes[start - 1] == 0x20
    else {
      return nil
    }
    while start < value.upperBound, bytes[start] == 0x20 { start += 1 }
    return start..<value.upperBound
  }
}
