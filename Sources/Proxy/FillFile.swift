// The file of a fill: how it is made, how content gets into it, and what becomes of those who read along when the disk
// does not want it. All work on the file is done by a pool thread, in the order in which the fill asks for it, and
// answered by letters (`News`).
//
//   gather ─▶ pieces ─ handOver ─▶ pool thread: append ─▶ watermark: readers go on ─▶ commit ─▶ the store
//                                       └─ it fails ─▶ spill: the rest from memory, for those who read along
//   no file at all ─▶ relayFromMemory: everything from memory, for those who read along

import HTTP
import IO
import Platform
import Storage
import Synchronization
import Telemetry

/// What a fill knows of its file.
struct FillFile {
  var blob: GrowingBlob?
  /// Where the pool thread puts it.
  let opened = OpenedBlob()
  var isOpening = false
  /// A piece did not reach the file: nothing that comes after it may.
  var hasGap = false
  /// The file could not take everything.
  var hasSpilled = false
  /// Of content that goes past the file, where it has to be something in particular.
  var proof: SpillProof?
  /// There is no file at all, and those who read along get what comes.
  var isRelayingFromMemory = false
  /// Content that is not yet with the pool thread: full pieces, and one that is being filled.
  var gathered: [Piece] = []
  /// Content has come in this turn.
  var hasGathered = false
  /// Content that was given to the pool thread.
  var handedOver: Int64 = 0
  /// Content that is with the pool thread, or in memory for those who read along.
  var inFlight = 0
}

/// A file that a pool thread has opened for a fill: for the fill, or for who tidies up after it.
final class OpenedBlob: Sendable {
  private let held = Mutex<GrowingBlob?>(nil)

  var blob: GrowingBlob? {
    get { held.withLock { $0 } }
    set { held.withLock { $0 = newValue } }
  }
}

extension FillDriver {
  /// Content on its way to the pool thread, above which the origin is asked to wait.
  static let inFlightLimit = 1 << 20

  func gather(_ bytes: UnsafeRawBufferPointer) {
    file.hasGathered = true
    var rest = bytes
    while !rest.isEmpty {
      if file.gathered.last?.isFull != false { file.gathered.append(worker.pieces.take()) }
      guard let taken = file.gathered.last?.append(rest) else { return }
      rest = UnsafeRawBufferPointer(rebasing: rest[taken...])
    }
  }

  /// What a pool thread has to say.
  enum News: UInt32 {
    case opened, written, spilled, failed, committed, relayed, mismatched, compared
  }

  func openFile(resuming kept: Incomplete? = nil) {
    guard let body else { return }
    file.isOpening = true
    let store = worker.store
    let key = fill.key
    let opened = file.opened
    let watch = self.watch
    let isTaken = onPool { post in
      do throws(Errno) {
        let blob =
          if let kept, let watch, let length = body.expectedLength {
            try store.resume(kept, response: body.response, expectedLength: length, watch: watch)
          } else {
            try store.grow(
              key, response: body.response, expectedLength: body.expectedLength, watch: watch)
          }
        opened.blob = blob
        post(.opened, 0, nil)
      } catch {
        post(.failed, 0, nil)
      }
    }
    if !isTaken, let kept { giveBack(kept) }
  }

  /// Runs a job after all earlier ones of this fill.
  /// - Returns: false when it will not run; then there is a letter that something failed.
  @discardableResult
  func onPool(
    _ job: @escaping @Sendable (_ post: (News, Int, (any AnyObject & Sendable)?) -> Void) -> Void
  ) -> Bool {
    let mailbox = loop.mailbox
    let id = id
    let isTaken = worker.disk.submit(lane: fill.key.hash) {
      job { news, value, payload in
        mailbox.post(Letter(to: id, subject: news.rawValue, value: value, payload: payload))
      }
    }
    if !isTaken {
      // The letter comes in a later turn, and content in this one.
      file.hasGap = true
      mailbox.post(Letter(to: id, subject: News.failed.rawValue))
    }
    return isTaken
  }

  /// Gives what has been gathered to the pool thread, which writes it and moves the watermark.
  /// - Parameter fullOnly: leave a piece that has room for more.
  func handOver(fullOnly: Bool = false) {
    guard let blob = file.blob, let body, !file.gathered.isEmpty, !file.hasGap else { return }
    var pieces = file.gathered
    file.gathered = []
    if fullOnly, let last = pieces.last, !last.isFull {
      file.gathered = [last]
      pieces.removeLast()
    }
    let producer = tailProducer
    let proof = file.proof
    for piece in pieces {
      file.inFlight += piece.count
      file.handedOver += Int64(piece.count)
      let isTooMuch = file.handedOver > largest
      onPool { post in
        if !isTooMuch, case .appended = blob.append(piece.bytes) {
          body.fileGrew()
          post(.written, piece.count, piece)
          return
        }
        // A blob that has failed stays failed, and an answer that is too long stays too long, so this and all
        // later pieces go the same way: to memory, for those who read along.
        proof?.update(piece.bytes, behind: blob)
        let isRead = body.spill(piece.bytes, behind: blob.watermark, producer: producer)
        post(isRead ? .spilled : .failed, piece.count, piece)
      }
    }
    if file.inFlight > Self.inFlightLimit { exchange?.pause() }
  }

  /// What readers take out of the tail may be asked of the origin anew.
  var tailProducer: GrowingBody.Producer {
    let mailbox = loop.mailbox
    let id = id
    return GrowingBody.Producer(
      taken: { count in
        mailbox.post(Letter(to: id, subject: News.written.rawValue, value: count))
      },
      deserted: { mailbox.post(Letter(to: id, subject: News.failed.rawValue)) })
  }

  /// No file could be made, and those who read along have begun: they get all of it from memory.
  func relayFromMemory() {
    file.isOpening = false
    guard let body else { return unkept() }
    let begun = body.memoryContent ?? []
    guard body.spillAll(producer: tailProducer) else { return unkept() }
    begun.withUnsafeBytes { file.proof?.update($0, behind: nil) }
    file.isRelayingFromMemory = true
    spilled()
    file.inFlight = Int(clamping: received)
    if isContentComplete {
      relayedFromMemory()
    } else if file.inFlight <= Self.inFlightLimit {
      exchange?.resume()
    }
  }

  /// All of it is there, for those who read along.
  func relayedFromMemory() {
    switch file.proof?.outcome ?? .right {
    case .right:
      body?.complete(length: received)
      end(.unshared, .abandoned)
    case .wrong: mismatched()
    case .unknown: unkept()
    }
  }

  /// The disk takes no more: the fill goes on as a relay for those who read along, and nobody may join.
  func spilled() {
    guard !file.hasSpilled else { return }
    file.hasSpilled = true
    worker.fills.leave(fill)
    worker.metrics.add(.relays, .space)
  }

  /// Those who read along are cut off, the others ask for themselves.
  func unkept(_ why: String = "the disk is full or fails") {
    let error = ProxyError.notKept(why)
    breakOff(error, .unkept(error))
  }

  /// Gives the file its name, once all that waits for it is in it.
  func makePermanent() {
    guard let blob = file.blob, let body, !file.hasGap else { return }
    let length = received
    let expected = body.expectedLength ?? length
    let digest = expectedDigest
    let proof = file.proof
    let error = ProxyError.wrongDigest(request.origin.authority)
    onPool { post in
      guard !body.isSpilling else {
        blob.abandon()
        switch proof?.outcome ?? .right {
        case .right:
          body.complete(length: length)
          post(.relayed, 0, nil)
        case .wrong:
          body.cut(error)
          post(.mismatched, 0, nil)
        case .unknown:
          post(.failed, 0, nil)
        }
        return
      }
      guard blob.watermark == length else {
        post(.committed, 0, nil)
        return
      }
      // All readers may see the end as soon as the last byte is there; what follows is for those to come. Only what has
      // to be something in particular is known to be that first.
      if digest == nil { body.complete(length: length) }
      switch blob.finish(length: expected, digest: digest) {
      case .finished(let finished):
        if digest != nil { body.complete(length: length) }
        post(.committed, 0, finished)
      case .wrongDigest:
        body.cut(error)
        post(.mismatched, 0, nil)
      case .wrongLength, .failed:
        post(.committed, 0, nil)
      }
    }
  }

  /// The content will never be complete: those who read along are cut off where it ends.
  /// - Parameters:
  ///   - phase: what those hear who do not read along, if it is not that the fill has failed.
  ///   - isKept: what has come is in order, and may be gone on with later.
  func breakOff(
    _ error: ProxyError, _ phase: Fill.Phase? = nil, as outcome: FillOutcome = .failed,
    keeps isKept: Bool = false
  ) {
    exchange?.cancel()
    exchange = nil
    let body = self.body
    if let blob = file.blob {
      // Behind whatever is still queued for it, so that readers get all there is.
      let isTaken = worker.disk.submit(lane: fill.key.hash) {
        body?.cut(error)
        if isKept { blob.leave() } else { blob.abandon() }
      }
      if !isTaken {
        // Not on the loop, where it would wait for whatever the disk is doing: when the last one lets go of it.
        body?.cut(error)
        if !isKept { blob.giveUp() }
        file.blob = nil
        file.opened.blob = nil
      }
    } else {
      let begun = body?.memoryContent ?? []
      let rest = file.gathered
      body?.cut(error)
      if file.isOpening {
        // The file is still being opened: what there is gets into it behind that.
        let opened = file.opened
        _ = worker.disk.submit(lane: fill.key.hash) {
          guard let blob = opened.blob else { return }
          guard isKept else { return blob.abandon() }
          if !begun.isEmpty { _ = begun.withUnsafeBytes { blob.append($0) } }
          for piece in rest { _ = blob.append(piece.bytes) }
          blob.leave()
        }
      }
    }
    end(phase ?? .failed(error), outcome)
  }
}
