// The short way of a request that the store answers from memory: parse, find the key, compare, send, with
// no object made for it. Everything that is not plainly such a request goes the long way
// (TransactionDriver.swift), which must give the same answer.

import Caching
import HTTP
import Mirrors
import Platform
import Storage
import Telemetry

extension ClientConnection {
  /// Requests with any of these need a closer look.
  private static var slowFields: FieldNameSet {
    FieldNameSet(
      .authorization, .cacheControl, .pragma, .contentLength, .transferEncoding, .expect, .ifMatch,
      .ifModifiedSince, .ifNoneMatch, .ifRange, .ifUnmodifiedSince, .range, .via, .maxForwards,
      .upgrade)
  }

  /// The same where clients say who they are: their Authorization may be for this proxy.
  private static var guardedSlowFields: FieldNameSet {
    FieldNameSet(
      .cacheControl, .pragma, .contentLength, .transferEncoding, .expect, .ifMatch,
      .ifModifiedSince, .ifNoneMatch, .ifRange, .ifUnmodifiedSince, .range, .via, .maxForwards,
      .upgrade)
  }

  /// Answers the request whose head was just parsed, if that needs no more than memory.
  /// - Returns: whether it did.
  func answerHit(_ bytes: UnsafeRawBufferPointer) -> Bool {
    let worker = self.worker
    let head = worker.parsedHead
    let method = head.pointee.method
    guard method == .get || method == .head, worker.settings.allowsEveryHost, !takesNoMore,
      head.pointee.names.isDisjoint(
        with: worker.settings.requiresAuthentication ? Self.guardedSlowFields : Self.slowFields)
    else { return false }
    if worker.settings.requiresAuthentication, !isKnownToBeAllowed(bytes) { return false }
    let span = Span<UInt8>(_unsafeBytes: bytes)
    let keyCount = worker.router.writeKey(
      head.pointee, in: span, role: role, into: worker.keyBuffer)
    guard keyCount > 0 else { return false }
    let key = UnsafeRawBufferPointer(start: worker.keyBuffer.baseAddress, count: keyCount)
    let hash = worker.hasher.hash(key)
    guard worker.addressHosts.permits(key, by: worker.settings.destinations) || isConfigured(bytes)
    else { return false }
    guard case .hot(let set) = worker.store.lookup(keyBytes: key, hash: hash),
      // Among several the choice takes a closer look.
      set.entries.count == 1, let entry = set.entries.first,
      entry.response.status == .ok
    else { return false }
    let response = entry.response
    guard response.variance.selectors.isEmpty else { return false }
    let target = worker.settings.credentials.target(of: key)
    let keySpan = Span<UInt8>(_unsafeBytes: target)
    // Pages for clients of mirrors are written anew, and some indexes are only good together with another.
    if case .proxy = role, bytes[head.pointee.targetRange.lowerBound] == 0x2F,
      PathRules.mayHaveLinks(keySpan)
    {
      return false
    }
    if PathRules.belongsToGroup(keySpan) { return false }
    let now = loop.wallSeconds
    let age = response.freshness.currentAge(at: now)
    var lifetime = response.freshness.lifetime
    if lifetime <= age || response.freshness.flags.contains(.alwaysValidate)
      || worker.settings.hasRules
      || age >= ResourceTerms.longestMetadata && PathRules.mayBeLimited(keySpan)
    {
      // Not by what its origin says alone: a package file is fresh for ever, a rule may say anything.
      let terms = worker.settings.rules.terms(of: keySpan)
      let policy = terms.policy
      let adjusted = policy.adjust(terms.limit(response.freshness))
      guard policy.kind != .passed, adjusted.lifetime > age,
        !adjusted.flags.contains(.alwaysValidate)
      else { return false }
      lifetime = adjusted.lifetime
    }

    // The first piece of a file has to be in memory: if the disk fails, that is found out before the head is
    // sent, on the long way.
    var residentEnd: Int64 = 0
    if method == .get, case .blob(let file) = entry.body {
      guard
        let end = file.residentEnd(
          from: 0, count: min(file.length, ContentSource.turnLimit), now: now)
      else { return false }
      residentEnd = end
      if end == file.length, file.lastFoundResident != now { file.lastFoundResident = now }
    }

    let scratch = worker.scratch
    guard scratch.room >= entry.head.count + entry.inlineBody.count + 256 else {
      if scratch.count == 0 { return false }
      flushScratch()
      // Sending may have ended the connection, and then `bytes` are gone with it.
      return phase == .waiting && waitingOutput == 0 ? answerHit(bytes) : false
    }
    let version = head.pointee.version
    let keepsAlive = ConnectionOptions.persists(head.pointee, in: span) && !worker.isDraining
    beginAnswer(keepsAlive: keepsAlive)
    let before = scratch.count
    scratch.append(entry.head)
    scratch.append("Age: ")
    scratch.append(decimal: age)
    scratch.append("\r\nCache-Status: Holdfast; hit; ttl=")
    scratch.append(decimal: lifetime &- age)
    if !keepsAlive {
      scratch.append("\r\nConnection: close\r\n\r\n")
    } else if version == .http10 {
      scratch.append("\r\nConnection: keep-alive\r\n\r\n")
    } else {
      scratch.append("\r\n\r\n")
    }
    let headCount = scratch.count - before
    guard method == .get, case .blob(let file) = entry.body, file.length > 0 else {
      let contentCount = method == .get ? entry.inlineBody.count : 0
      if contentCount > 0 { scratch.append(entry.inlineBody) }
      worker.logHit(
        hitRecord(method, key, way(bytes), sent: headCount + contentCount), method: method,
        contentCount: contentCount)
      hitFinished()
      return true
    }
    record = hitRecord(method, key, way(bytes), sent: 0)
    content = ContentSource(blob: file, range: 0..<file.length, residentEnd: residentEnd)
    return true
  }

  /// Which way in the request took whose head was parsed last.
  private func way(_ bytes: UnsafeRawBufferPointer) -> Route.Way {
    switch role {
    case .origin: return .origin
    case .intercepted: return .intercept
    case .proxy: break
    }
    return worker.router.way(worker.parsedHead.pointee, in: Span<UInt8>(_unsafeBytes: bytes))
  }

  /// Whether the operator named the origin, so that `destinations` has no say.
  private func isConfigured(_ bytes: UnsafeRawBufferPointer) -> Bool {
    if case .origin = role { return true }
    return worker.router.isConfigured(
      worker.parsedHead.pointee, in: Span<UInt8>(_unsafeBytes: bytes))
  }

  private func hitRecord(
    _ method: Method, _ key: UnsafeRawBufferPointer, _ way: Route.Way, sent: Int
  ) -> AccessRecord {
    var record = AccessRecord(
      client: peer, method: method == .get ? [0x47, 0x45, 0x54] : [0x48, 0x45, 0x41, 0x44],
      target: [UInt8](worker.settings.credentials.target(of: key)), way: way, startedAt: loop.now)
    record.status = .ok
    record.handling = .hit
    record.user = authentication.user
    record.sentBytes = UInt64(sent)
    return record
  }
}
