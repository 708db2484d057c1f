// One request of a model client, and the judgement of what came for it.

/// A request, and what is known of its answer so far.
package final class Ask {
  enum Kind { case get, head, range, conditional, post, put, delete, connect, nonsense }

  let number: Int
  let kind: Kind
  let resource: Resource
  let language: String
  let time: Int64
  var range: ClosedRange<Int>?
  var tag: String?
  var isOldVersion = false
  var uploadLength = 0

  // The answer.
  var status = 0
  var fields: [String: String] = [:]
  var contentCount = 0
  var isWrong = false
  private var key: UInt64?
  private var start = 0
  private var expected: Int?
  private(set) var source: OriginAnswer?

  init(_ number: Int, _ kind: Kind, _ resource: Resource, language: String, time: Int64) {
    self.number = number
    self.kind = kind
    self.resource = resource
    self.language = language
    self.time = time
  }

  /// A number for people to find it by.
  var name: String { "request \(number) (\(kind) \(resource.host)\(resource.path))" }

  var method: String {
    switch kind {
    case .head: "HEAD"
    case .post: "POST"
    case .put: "PUT"
    case .delete: "DELETE"
    case .connect: "CONNECT"
    default: "GET"
    }
  }

  var isUnsafe: Bool { kind == .post || kind == .put || kind == .delete }
  /// Whether the request has content.
  var isUpload: Bool { kind == .post || kind == .put }

  /// Whether a final answer with this status to this method has content (RFC 9110 §6.4.1).
  var hasContent: Bool { kind != .head && status != 304 && status != 204 && !isTunnel }
  /// Behind this answer there is a tunnel.
  var isTunnel: Bool { kind == .connect && status == 200 }

  // MARK: Judging

  func gotHead(_ status: Int, _ fields: [String: String], _ world: World) {
    self.status = status
    self.fields = fields
    guard let serial = fields["x-serial"].flatMap({ Int($0) }) else { return }
    guard let source = world.answer(serial), source.resource === resource else {
      return world.violation("\(name): the answer is about something else: serial \(serial)")
    }
    self.source = source
    if resource.varies, source.language != language {
      world.violation("\(name): asked for \(language), got \(source.language)")
    }
    if (resource.isPersonal || isUnsafe) && source.ask != number {
      world.violation("\(name): got what request \(source.ask) was given for itself")
    }
    if isUnsafe, (200..<400).contains(status) { world.wasChanged(by: source) }
    guard status == 200 || status == 206 else { return }
    let length = resource.length(source.version)
    key = resource.key(source.version, source.language)
    expected = length
    if status == 206 { gotPart(length, world) }
    if resource.hasETag, fields["etag"] != resource.tag(source.version, source.language) {
      world.violation("\(name): ETag \(fields["etag"] ?? "none") for version \(source.version)")
    }
    if let promised = fields["content-length"], Int(promised) != expected,
      kind != .head || Int(promised) != length
    {
      world.violation("\(name): Content-Length \(promised) instead of \(expected ?? -1)")
    }
  }

  private func gotPart(_ length: Int, _ world: World) {
    guard let range else { return world.violation("\(name): a part that was not asked for") }
    let last = min(range.upperBound, length - 1)
    let wanted = "bytes \(range.lowerBound)-\(last)/\(length)"
    // Where the length is not known yet the part may come without it.
    let open = "bytes \(range.lowerBound)-\(last)/*"
    guard let told = fields["content-range"], told == wanted || told == open else {
      return world.violation(
        "\(name): Content-Range \(fields["content-range"] ?? "none"), not \(wanted)")
    }
    start = range.lowerBound
    expected = last - range.lowerBound + 1
  }

  func gotContent(_ bytes: UnsafeRawBufferPointer, _ world: World) {
    if let key, !isWrong, !Content.matches(key, start + contentCount, bytes) {
      isWrong = true
      world.violation(
        "\(name): wrong bytes in the \(bytes.count) from \(contentCount), version \(source?.version ?? -1)"
      )
    }
    contentCount += bytes.count
  }

  /// All of the answer is there, as far as its framing tells.
  func finished(_ world: World) {
    world.count("answers")
    world.count("status \(status)")
    if let told = fields["cache-status"], told.contains("fwd=partial") { world.count("completed") }
    if hasContent, let expected, contentCount != expected {
      world.violation(
        "\(name): \(contentCount) bytes of \(expected) passed off as whole at \(world.machine.seconds): \(fields)"
      )
    }
    switch status {
    case 200:
      if kind == .nonsense { world.violation("\(name): nonsense was answered with 200") }
    case 206:
      break
    case 204, 303:
      if !isUnsafe { world.violation("\(name): \(status)") }
    case 304:
      if kind != .conditional || fields["etag"].map({ $0 != tag }) ?? false {
        world.violation(
          "\(name): 304 for \(tag ?? "no condition"), ETag \(fields["etag"] ?? "none")")
      }
    case 416:
      let length = fields["content-range"].flatMap {
        $0.split(separator: "/").last.flatMap { Int($0) }
      }
      if let length, let range, range.lowerBound < length {
        world.violation("\(name): 416 for \(range) of \(length)")
      } else if range == nil {
        world.violation("\(name): 416 without a range")
      }
    case 400, 408:
      if kind != .nonsense, world.scenario.clientFaults == 0 {
        world.violation("\(name): \(status)")
      }
    case 502 where isUnsafe:
      // An upload that met the end of a kept connection must not be sent twice.
      break
    case 500, 502, 503, 504:
      if !world.scenario.hasFailures, !world.wasInterrupted(since: time) {
        world.violation(
          "\(name): \(status), though nothing failed: \(fields["proxy-status"] ?? "")")
      }
    default:
      world.violation("\(name): \(status)")
    }
    if let source, status == 200 || status == 206 || status == 304, !world.mayUse(source, self) {
      let age = Double(time - source.time) / 1e9
      world.violation(
        "\(name): \(status), \(age) s old, of \(resource.cacheControl ?? "no Cache-Control"): \(fields["cache-status"] ?? "")"
      )
    }
    if isUpload, (200..<400).contains(status), world.uploads[number] != true {
      world.violation("\(name): answered before the origin had its content")
    }
  }

  /// The connection ended within the answer.
  func wasCut(_ world: World, isExcused: Bool) {
    world.count("cuts")
    if !isExcused, !world.scenario.mayCut {
      world.violation(
        "\(name): cut after \(contentCount) bytes of \(expected.map { "\($0)" } ?? "?"), though nothing failed;"
          + " origin: \(resource.framing), \(fields)")
    }
  }

  func wasNotAnswered(_ world: World, isExcused: Bool) {
    world.count("unanswered")
    if !isExcused {
      world.violation("\(name): no answer, and the connection ended")
    }
  }
}
