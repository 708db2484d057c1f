// Max-Forwards: how many more hops a TRACE or OPTIONS request may take (RFC 9110 §7.6.2).

/// What a request's Max-Forwards says. It means something for TRACE and OPTIONS; on other methods it is
/// passed on unread.
public enum MaxForwards: Hashable, Sendable {
  case absent
  /// The recipient answers by itself at 0, and otherwise forwards at most `hops - 1`.
  case hops(Int64)
  /// Not one plain decimal number.
  case malformed

  public init(_ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>) {
    guard let slot = head.first(.maxForwards) else {
      self = .absent
      return
    }
    // Beyond what an Int64 holds the largest one is taken: nobody counts that far.
    guard head.occurrences(of: .maxForwards) == 1, let hops = bytes.decimal(in: slot.value) else {
      self = .malformed
      return
    }
    self = .hops(hops)
  }
}
