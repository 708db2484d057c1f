// What of an answer has been passed on to its client, as far as it tells how to go on should the connection to the origin
// end. Of what has been sent nothing is left to look at: where a strong entity tag and ranges do not vouch for it, a running
// SHA-256 does.

import Caching
import HTTP
import Platform
import Storage

final class RelayedContent {
  private let head: ResponseHead
  private let asked: FieldSection
  private let targets: TargetedFields
  /// Unix seconds.
  private let since: Int64
  /// Read where they are needed, which most answers never come to.
  private lazy var validators = Validators(head.fields, receivedAt: since)
  private lazy var response = makeResponse()
  /// Where redirects had led, up to the path.
  private let place: ArraySlice<UInt8>?
  /// Where it begins in the representation, and one past where it ends; 0 and nil for all of it.
  private let start: Int64
  private let end: Int64?
  /// The length of the whole representation, if it is known, or was learned from a part.
  private var whole: Int64?
  /// The length of the content, if it is known.
  private let length: Int64?
  private(set) var received: Int64 = 0
  /// Nil where only the rest will be asked for.
  private var hasher: Hasher256?

  /// - Parameters:
  ///   - head: as the origin sent it.
  ///   - now: Unix seconds.
  ///   - hasDigest: what the content has to be is known.
  /// - Returns: nil where nothing would tell another version from this one.
  init?(
    _ head: ResponseHead, along chain: RedirectChain?, for request: ClientRequest,
    targets: TargetedFields, hasDigest: Bool, now: Int64
  ) {
    guard request.method == .get, !request.hasContent, !head.isEventStream else { return nil }
    switch head.framing {
    case .none, .refused, .length(0): return nil
    case .length(let length): self.length = Int64(clamping: length)
    case .chunked, .untilClose: length = nil
    }
    switch head.status.rawValue {
    case 200:
      (start, end, whole) = (0, nil, length)
      guard
        length != nil || hasDigest || !Validators(head.fields, receivedAt: now).isEmpty
      else { return nil }
    case 206:
      guard Validators(head.fields, receivedAt: now).hasStrongTag,
        let part = head.fields.only(.contentRange).flatMap({ ContentRange($0.span) }),
        let range = part.range, let whole = part.completeLength, !Completion.isCoded(head.fields),
        length == nil || length == range.upperBound - range.lowerBound
      else { return nil }
      (start, end, self.whole) = (range.lowerBound, range.upperBound, whole)
    default:
      return nil
    }
    place = chain.map { $0.target.keyPrefix[...] }
    self.head = head
    asked = request.fields
    self.targets = targets
    since = now
  }

  private func makeResponse() -> StoredResponse {
    var fields = head.fields
    HopByHop.removeAll(from: &fields)
    return StoredResponse(
      status: .ok, fields: fields, requestTime: since, responseTime: since,
      variance: Variance(response: fields, request: asked), targets: targets)
  }

  /// Takes note of what is passed on.
  func take(_ bytes: UnsafeRawBufferPointer) {
    defer { received += Int64(bytes.count) }
    // All of it in one piece: nothing is left that could break off.
    if received == 0 {
      if length == Int64(bytes.count) { return }
      // Where a part is not offered the whole may come, and be compared.
      let isCertain =
        isPart || validators.hasStrongTag && Completion.isOffered(for: response)
      if !isCertain { hasher = Hasher256() }
    }
    hasher?.update(bytes)
  }

  private var isPart: Bool { end != nil }

  /// The rest can be asked for, and a strong entity tag says what it is the rest of.
  private lazy var hasRest =
    isPart || validators.hasStrongTag && Completion.isPossible(for: response)

  /// Nothing is missing, as far as it can be told.
  var isWhole: Bool {
    let expected = end.map { $0 - start } ?? length ?? whole
    return expected == nil || expected == received
  }

  /// How the rest can be had; nil if it cannot.
  func way(distrustingParts: Bool) -> Healing.Way? {
    // All that is missing is the word that nothing is.
    if let end, start + received >= end { return nil }
    if hasRest, !distrustingParts, isPart || received > 0 { return .rest }
    return isPart || received > 0 && hasher == nil ? nil : .whole
  }

  /// Makes a request one for what is left.
  func ask(_ way: Healing.Way, in fields: inout FieldSection) {
    guard case .rest = way else { return Forwarding.askForWhole(&fields) }
    Completion.ask(for: response, from: start + received, to: end, in: &fields)
  }

  /// What an answer to that is.
  enum Judgement: Equatable {
    case rest
    /// The whole of the same version, as far as its head tells; `isSame` has the last word.
    case whole
    case anotherVersion
    /// A part that nobody asked for.
    case wrongPart
  }

  func judge(
    _ status: Status, _ fields: FieldSection, _ framing: MessageFraming,
    along chain: RedirectChain?, after way: Healing.Way, now: Int64
  ) -> Judgement {
    let announced = framing.announcedLength
    guard chain.map({ $0.target.keyPrefix[...] }) == place else { return .anotherVersion }
    if status == .partialContent {
      guard case .rest = way,
        Completion.isPart(
          of: response, from: start + received, to: end, whole: whole, with: fields,
          announced: announced, isStrong: true, now: now)
      else { return .wrongPart }
      if !isPart {
        whole = fields.only(.contentRange).flatMap { ContentRange($0.span) }?.completeLength
      }
      return .rest
    }
    guard !isPart, received == 0 || hasher != nil,
      Completion.isSameVersion(
        response, length: length ?? whole, with: fields, announced: announced, now: now)
    else { return .anotherVersion }
    let isSame =
      validators.hasStrongTag
      ? Completion.shareStrongValidator(response, fields, now: now)
      // A head is out, and perhaps nothing of the content that could be compared: then what came first has to be said to
      // be the same.
      : received > 0 || length != nil || validators.isLastModifiedStrong
    return isSame ? .whole : .anotherVersion
  }

  /// Whether what came a second time is what was sent.
  func isSame(_ check: ContentCheck) -> Bool {
    guard check.isComplete, let digest = hasher?.soFar() else { return false }
    return digest == check.digest
  }
}
