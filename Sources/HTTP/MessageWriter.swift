// Messages back to bytes. The counterpart of `MessageParser`: what it writes, that reads.
//
// Every message leaves as HTTP/1.1, whatever version came in: the version says what its sender
// understands, and the sender is this proxy (RFC 9110 §2.5).

public enum MessageWriter {
  /// `METHOD target HTTP/1.1`. Method and target are written as they are: give what was parsed or
  /// what `TargetURI` made.
  public static func appendRequestLine(
    method: borrowing Span<UInt8>, target: borrowing Span<UInt8>, to output: inout [UInt8]
  ) {
    output.append(span: method)
    output.append(SP)
    output.append(span: target)
    append(" HTTP/1.1\r\n", to: &output)
  }

  public static func appendRequestLine(
    _ method: Method, target: borrowing Span<UInt8>, to output: inout [UInt8]
  ) {
    append(method.spelling, to: &output)
    output.append(SP)
    output.append(span: target)
    append(" HTTP/1.1\r\n", to: &output)
  }

  /// `HTTP/1.1 200 OK`, with the registered reason phrase.
  public static func appendStatusLine(_ status: Status, to output: inout [UInt8]) {
    append("HTTP/1.1 ", to: &output)
    appendDecimal(UInt64(status.rawValue), to: &output)
    output.append(SP)
    append(status.reasonPhrase, to: &output)
    appendEndOfLine(to: &output)
  }

  /// The same with the phrase that an origin sent.
  public static func appendStatusLine(
    _ status: Status, reason: borrowing Span<UInt8>, to output: inout [UInt8]
  ) {
    append("HTTP/1.1 ", to: &output)
    appendDecimal(UInt64(status.rawValue), to: &output)
    output.append(SP)
    output.append(span: reason)
    appendEndOfLine(to: &output)
  }

  /// One field. The value must have no control bytes; values from strangers go through
  /// `FieldSection`, which checks.
  public static func appendField(
    _ name: FieldName, _ value: borrowing Span<UInt8>, to output: inout [UInt8]
  ) {
    append(name.spelling, to: &output)
    append(": ", to: &output)
    output.append(span: value)
    appendEndOfLine(to: &output)
  }

  public static func appendField(
    _ name: FieldName, _ value: StaticString, to output: inout [UInt8]
  ) {
    append(name.spelling, to: &output)
    append(": ", to: &output)
    append(value, to: &output)
    appendEndOfLine(to: &output)
  }

  public static func appendField(_ name: FieldName, _ value: UInt64, to output: inout [UInt8]) {
    append(name.spelling, to: &output)
    append(": ", to: &output)
    appendDecimal(value, to: &output)
    appendEndOfLine(to: &output)
  }

  public static func appendEndOfLine(to output: inout [UInt8]) {
    output.append(CR)
    output.append(LF)
  }

  /// A whole request head.
  public static func appendRequest(
    method: borrowing Span<UInt8>, target: borrowing Span<UInt8>, fields: FieldSection,
    to output: inout [UInt8]
  ) {
    appendRequestLine(method: method, target: target, to: &output)
    fields.serialise(into: &output)
    appendEndOfLine(to: &output)
  }

  /// A whole response head.
  public static func appendResponse(
    _ status: Status, fields: FieldSection, to output: inout [UInt8]
  ) {
    appendStatusLine(status, to: &output)
    fields.serialise(into: &output)
    appendEndOfLine(to: &output)
  }

  /// A number in decimal digits.
  public static func appendDecimal(_ value: UInt64, to output: inout [UInt8]) {
    let start = output.count
    var rest = value
    repeat {
      output.append(0x30 + UInt8(truncatingIfNeeded: rest % 10))
      rest /= 10
    } while rest > 0
    output[start...].reverse()
  }

  static func append(_ literal: StaticString, to output: inout [UInt8]) {
    literal.withUTF8Buffer { unsafe output.append(contentsOf: $0) }
  }
}
