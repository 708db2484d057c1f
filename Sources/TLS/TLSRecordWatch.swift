// One side of a TLS connection that is passed on unread, as far as it can be understood without keys: the headers of its
// records (RFC 8446 §5.1), and alerts. An alert before encryption begins says what is wrong; one behind that can only be
// told by its size, by being the last thing said, and only while nothing else of that size can be that.
//
//   in clear ─▶ (ChangeCipherSpec) ─▶ first encrypted record: of an alert's size, and nothing behind it ─▶ unreadable
//      │                └─ a handshake record that is no hello: TLS 1.2, where content may be of any size ─▶ over
//      └─ an alert that is fatal ─▶ it

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
  /// An alert of TLS 1.3: two bytes, the type within, and the tag of the cipher (16 bytes with all but one). The first
  /// message of either side behind its keys is longer, EncryptedExtensions or Finished. With the shorter tag of CCM_8 it
  /// may be of this size, but then the handshake goes on behind it.
  private static let encryptedAlertSize = 2 + 1 + 16
  /// Of a hello: its type, its length, and the version that both kinds of TLS 1.3 say (RFC 8446 §4.1.2).
  private static let helloBeginning = 6
  /// The extension `early_data` (42) in a ClientHello, which is empty (RFC 8446 §4.2.10).
  private static let earlyData: UInt32 = 42 << 16

  /// What is looked for in the record that is coming.
  private enum Look { case nothing, alert, hello, encryptedAlert }

  /// A header that has not come whole, or the first bytes of the record behind it.
  private var held: [UInt8] = []
  private var left = 0
  private var look = Look.nothing
  private var isEncrypted = false
  /// The last four bytes of handshake messages in clear.
  private var lastBytes: UInt32 = 0
  /// The client sends content before its handshake is at an end, which may be of any size.
  private var hasEarlyData = false
  /// It is no TLS, or nothing that can be said of it is left.
  package private(set) var isOver = false
  /// What ended the handshake.
  package private(set) var sighting: Sighting?

  package init() {}

  /// Takes note of what is passed on.
  package mutating func take(_ bytes: UnsafeRawBufferPointer) {
    var position = 0
    while !isOver, position < bytes.count {
      // Who ends a connection by an alert says nothing behind it.
      if sighting != nil { return end() }
      if left > 0, look == .nothing {
        let count = min(left, bytes.count - position)
        if !isEncrypted { handshakeCame(bytes[position..<(position + count)]) }
        left -= count
        position += count
        continue
      }
      held.append(bytes[position])
      position += 1
      guard look != .nothing else {
        if held.count == Self.headerSize { headerCame() }
        continue
      }
      left -= 1
      contentCame()
    }
  }

  /// Of a record that is looked at, another byte.
  private mutating func contentCame() {
    switch look {
    case .alert where left == 0: alertCame()
    case .encryptedAlert where left == 0:
      sighting = .unreadable
      stopLooking()
    // An encrypted Finished of TLS 1.2 is longer than that, and looks so by a chance of one in millions of millions.
    case .hello where held.count == Self.helloBeginning:
      let isHello = (1...2).contains(held[0]) && held[1] == 0 && held[4] == 3 && held[5] == 3
      if isHello { stopLooking() } else { end() }
    case .hello where left == 0: end()
    default: break
    }
  }

  private mutating func stopLooking() {
    look = .nothing
    held.removeAll(keepingCapacity: true)
  }

  private mutating func handshakeCame(_ bytes: Slice<UnsafeRawBufferPointer>) {
    for byte in bytes {
      lastBytes = lastBytes << 8 | UInt32(byte)
      if lastBytes == Self.earlyData { hasEarlyData = true }
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
      look = .alert
    case ContentType.handshake:
      // Where ChangeCipherSpec changes nothing, a second hello may follow it (RFC 8446 §4.1.4 and appendix D.4). In TLS 1.2
      // Finished does, and what comes then may be as short as an alert.
      if isEncrypted { look = .hello }
    case ContentType.applicationData:
      // The first of this side: what follows is content, or its end in order.
      guard length == Self.encryptedAlertSize, !hasEarlyData else { return end() }
      look = .encryptedAlert
    default:
      end()
    }
  }

  private mutating func alertCame() {
    let (level, code) = (held[0], held[1])
    stopLooking()
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
