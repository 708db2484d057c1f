// One side of a TLS connection that is passed on unread, as far as it can be understood without keys: the headers of its
// records (RFC 8446 §5.1), and alerts. An alert before encryption begins says what is wrong; one behind that can only be
// told by its size, and only while nothing else of that size can come.

/// Follows the records of one side of a connection, whatever pieces they come in.
package struct TLSRecordWatch: Sendable {
  /// An alert that ends a handshake.
  package enum Sighting: Hashable, Sendable {
    case alert(TLSAlert)
    /// An encrypted one: it came where only longer messages are in order.
    case unreadable
  }

  /// What record types are called in RFC 8446 §5.1.
  private enum ContentType {
    static let changeCipherSpec: UInt8 = 20
    static let alert: UInt8 = 21
    static let handshake: UInt8 = 22
    static let applicationData: UInt8 = 23
  }

  private static let headerSize = 5
  private static let fatal: UInt8 = 2
  /// The longest there may be, with what encryption adds (RFC 5246 §6.2.3).
  private static let largest = (1 << 14) + 2048
  /// An alert of TLS 1.3: two bytes, the type within, and the tag of the cipher (all of them have one of 16 bytes). The first
  /// message of either side behind its keys is longer: EncryptedExtensions and Finished.
  private static let encryptedAlertSize = 2 + 1 + 16

  /// A header that has not come whole, or the two bytes of an alert behind it.
  private var held: [UInt8] = []
  private var left = 0
  private var isAlert = false
  private var isEncrypted = false
  /// It is no TLS, or nothing that can be said of it is left.
  package private(set) var isOver = false
  /// What ended the handshake.
  package private(set) var sighting: Sighting?

  package init() {}

  /// Takes note of what is passed on.
  package mutating func take(_ bytes: UnsafeRawBufferPointer) {
    var position = 0
    while !isOver, position < bytes.count {
      if left > 0, !isAlert {
        let count = min(left, bytes.count - position)
        left -= count
        position += count
        continue
      }
      held.append(bytes[position])
      position += 1
      if isAlert {
        left -= 1
        if left == 0 { alertCame() }
      } else if held.count == Self.headerSize {
        headerCame()
      }
    }
  }

  private mutating func headerCame() {
    let type = held[0]
    let length = Int(held[3]) << 8 | Int(held[4])
    let isRecord = held[1] == 3 && held[2] <= 4 && length > 0 && length <= Self.largest
    held.removeAll(keepingCapacity: true)
    guard isRecord else { return end() }
    left = length
    switch type {
    case ContentType.changeCipherSpec:
      isEncrypted = true
    case ContentType.alert:
      // Behind keys it may as well be the end in order of a connection that was only tried (TLS 1.2).
      guard !isEncrypted, length == 2 else { return end() }
      isAlert = true
    case ContentType.handshake:
      break
    case ContentType.applicationData:
      // The first of this side: what follows is content, or its end in order.
      end(length == Self.encryptedAlertSize ? .unreadable : nil)
    default:
      end()
    }
  }

  private mutating func alertCame() {
    isAlert = false
    let (level, code) = (held[0], held[1])
    held.removeAll(keepingCapacity: true)
    // A warning ends nothing, and close_notify is no complaint (RFC 5246 §7.2).
    guard level == Self.fatal, code != 0 else { return }
    end(.alert(TLSAlert(code: code)))
  }

  private mutating func end(_ sighting: Sighting? = nil) {
    self.sighting = sighting
    isOver = true
    held = []
  }
}
