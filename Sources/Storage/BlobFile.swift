// Open files that many hold: the body of a stored response as a descriptor to send from.

import Platform
import Synchronization

/// A descriptor with shared owners; closes with the last of them.
package final class OpenFile: Sendable {
  private let descriptor: FileDescriptor

  package init(_ descriptor: consuming FileDescriptor) {
    self.descriptor = descriptor
  }

  package var rawValue: Int32 { descriptor.rawValue }
}

/// A body in a file of its own, open for reading.
///
/// Stays readable while someone holds it, even when the blob is removed from the store meanwhile.
public final class BlobFile: Sendable {
  public let digest: Digest
  /// Length in bytes.
  public let length: Int64
  /// For `sendfile` and `pread`; closed when this object goes.
  public let descriptor: Int32
  private let file: OpenFile
  private let residentSecond = Atomic<Int64>(.min)

  /// The second (of any clock, but always the same one) in which all of the file was last found in the page
  /// cache. For readers that ask the kernel about it: a file read a hundred times a second need not be asked
  /// about each time.
  public var lastFoundResident: Int64 {
    get { residentSecond.load(ordering: .relaxed) }
    set { residentSecond.store(newValue, ordering: .relaxed) }
  }

  package init(digest: Digest, length: Int64, file: OpenFile) {
    self.digest = digest
    self.length = length
    self.file = file
    descriptor = file.rawValue
  }
}
