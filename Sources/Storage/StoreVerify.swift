// Checking a whole store: every record against its checksum, every blob against its name.
//
// Repairing means to let go of what is damaged and to keep everything else: a segment with damage in it is emptied
// into the active one and removed, a damaged blob goes with all records that name it.

import Platform

/// What a check has found.
public struct VerifyReport: Sendable, CustomStringConvertible {
  public var segments = 0
  public var records = 0
  public var blobs = 0
  public var blobBytes: Int64 = 0
  /// Where records are damaged, as "segment:offset".
  public var damagedRecords: [String] = []
  /// Segments that cannot be read to their end, by file name.
  public var damagedSegments: [String] = []
  public var damagedBlobs: [Digest] = []
  /// Blob files that no record names. Usual after an unclean stop; a start removes them.
  public var orphans: [Digest] = []
  /// Segments that a crash left open. Usual after an unclean stop; a start cuts and seals them.
  public var unsealed: [String] = []
  /// Responses whose fetch broke off, kept to be completed.
  public var incompletes = 0
  /// Those that are not what was written of them, by file name.
  public var damagedPartials: [String] = []
  public var unreadable: [String] = []
  public var repaired = false

  public var isClean: Bool {
    damagedRecords.isEmpty && damagedSegments.isEmpty && damagedBlobs.isEmpty
      && damagedPartials.isEmpty && unreadable.isEmpty
  }

  public var description: String {
    var lines = [
      "\(segments) segments, \(records) records, \(blobs) blobs with \(blobBytes) bytes"
    ]
    func add(_ what: String, _ items: [String]) {
      if !items.isEmpty { lines.append("\(what): " + items.joined(separator: " ")) }
    }
    add("damaged records", damagedRecords)
    add("damaged segments", damagedSegments)
    add("damaged blobs", damagedBlobs.map(\.hex))
    add("damaged partial bodies", damagedPartials)
    add("could not be read", unreadable)
    add("blobs no record names", orphans.map(\.hex))
    add("segments left open", unsealed)
    lines.append(isClean ? "no damage" : repaired ? "repaired" : "damaged")
    return lines.joined(separator: "\n")
  }
}

extension Store {
  /// Reads and checks everything. Blocks for as long as the disk takes; the store serves meanwhile.
  /// - Parameter repair: let go of what is damaged.
  public func verify(repair: Bool = false) throws(StoreError) -> VerifyReport {
    if repair && core.options.readOnly { throw .readOnly(path: core.options.path) }
    waitUntilRecovered()
    flush()
    var report = VerifyReport()
    var damaged: [Segment] = []
    for segment in core.segments.all {
      if !check(segment, &report) { damaged.append(segment) }
    }
    checkBlobs(&report)
    checkIncompletes(&report, repair: repair)
    findOrphans(&report)
    if repair && !report.isClean {
      self.repair(damaged, report)
      report.repaired = true
    }
    return report
  }

  private func check(_ segment: Segment, _ report: inout VerifyReport) -> Bool {
    let name = Segment.name(segment.id)
    report.segments += 1
    let contents = SegmentContents.read(segment, seed: core.seed)
    if let errno = contents.failure {
      report.unreadable.append("\(name) (\(errno))")
      return true
    }
    var isGood = true
    // The active segment has no footer, and a batch may be half written while we look.
    let isActive = !core.options.readOnly && segment.id == core.segments.newest?.id
    if !contents.isSealed, !isActive {
      report.unsealed.append(name)
      // For a store that is not running a torn tail is nothing unusual.
      if !contents.isWhole && !core.options.readOnly {
        report.damagedSegments.append(name)
        isGood = false
      }
    }
    for entry in contents.entries where entry.offset + entry.length <= segment.end {
      report.records += 1
      switch segment.record(at: entry.offset, length: entry.length, seed: core.seed) {
      case .record:
        break
      case .damaged:
        // Reclaimed and removed while we read: no damage.
        report.damagedRecords.append("\(name):\(entry.offset)")
        isGood = false
      case .failed(let errno):
        report.unreadable.append("\(name):\(entry.offset) (\(errno))")
      }
    }
    return isGood
  }

  private func checkBlobs(_ report: inout VerifyReport) {
    for reference in core.blobs.references() {
      switch core.blobs.check(reference) {
      case .good:
        report.blobs += 1
        report.blobBytes += Int64(clamping: reference.length)
      case .gone:
        break
      case .damaged:
        report.damagedBlobs.append(reference.digest)
      case .failed(let errno):
        report.unreadable.append("\(reference.digest.hex) (\(errno))")
      }
    }
  }

  private func checkIncompletes(_ report: inout VerifyReport, repair: Bool) {
    for incomplete in core.incompletes.all {
      let name = String(incomplete.path.dropFirst(core.options.path.count + "/partial/".count))
      do throws(Errno) {
        if try BlobTable.digest(of: incomplete.openFile.rawValue, count: incomplete.length)
          == incomplete.file.digest
        {
          report.incompletes += 1
          continue
        }
        report.damagedPartials.append(name)
      } catch {
        report.unreadable.append("\(name) (\(error))")
      }
      if repair { core.discardIncomplete(incomplete.keyHash) }
    }
  }

  private func findOrphans(_ report: inout VerifyReport) {
    let directory = core.options.path + "/blobs"
    for prefix in (try? File.list(directory)) ?? [] where prefix.kind == .directory {
      for entry in (try? File.list(directory + "/" + prefix.name)) ?? [] {
        if let digest = Digest(hex: entry.name), core.blobs.isOrphan(digest) {
          report.orphans.append(digest)
        }
      }
    }
  }

  private func repair(_ segments: [Segment], _ report: VerifyReport) {
    for digest in report.damagedBlobs { core.drop(digest) }
    core.queue.run { writer in
      for segment in segments { writer.evacuate(segment) }
    }
    flush()
  }
}
