// Why a message was not accepted: one closed list for heads, framing, chunks and targets.
//
// The list is the single source for the status that answers the client, the sentence in that
// answer, and the code in logs. No sentence repeats bytes of the message: what a stranger sent
// never reaches a terminal or a page unescaped.

/// Which way a message goes, as seen from this proxy.
public enum MessageKind: UInt8, Sendable {
  /// From a client: a refusal is the client's fault.
  case request
  /// From an origin: a refusal is reported to the client as 502.
  case response
}

/// A refused message: the reason, and whose message it was.
public struct Refusal: Error, Hashable, Sendable {
  public var reason: Reason
  public var kind: MessageKind

  @inlinable
  public init(_ reason: Reason, _ kind: MessageKind) {
    self.reason = reason
    self.kind = kind
  }

  /// The status to answer the client with.
  public var status: Status { kind == .response ? .badGateway : reason.status }

  /// One sentence for a person, that begins with whose message it was.
  public var sentence: String {
    switch kind {
    case .request: "The request was refused: \(reason.sentence)."
    case .response: "The origin's response was refused: \(reason.sentence)."
    }
  }

  public enum Reason: String, CaseIterable, Sendable {
    // Start lines.
    case tlsInsteadOfHTTP = "tls-instead-of-http"
    case bareLineFeed = "bare-line-feed"
    case bareCarriageReturn = "bare-carriage-return"
    case tooManyEmptyLines = "too-many-empty-lines"
    case malformedMethod = "malformed-method"
    case methodTooLong = "method-too-long"
    case malformedRequestLine = "malformed-request-line"
    case nonASCIITarget = "non-ascii-target"
    case controlByteInTarget = "control-byte-in-target"
    case malformedStatusLine = "malformed-status-line"
    case malformedStatusCode = "malformed-status-code"
    case malformedVersion = "malformed-version"
    case unsupportedVersion = "unsupported-version"
    case startLineTooLong = "start-line-too-long"
    // Fields.
    case foldedLine = "folded-line"
    case missingFieldName = "missing-field-name"
    case invalidFieldName = "invalid-field-name"
    case spaceBeforeColon = "space-before-colon"
    case missingColon = "missing-colon"
    case fieldNameTooLong = "field-name-too-long"
    case controlByteInField = "control-byte-in-field"
    case headTooLarge = "head-too-large"
    case tooManyFields = "too-many-fields"
    case missingHost = "missing-host"
    case repeatedHost = "repeated-host"
    // Framing.
    case lengthAndTransferCoding = "length-and-transfer-coding"
    case transferCodingInHTTP10 = "transfer-coding-in-http-1.0"
    case unknownTransferCoding = "unknown-transfer-coding"
    case repeatedTransferEncoding = "repeated-transfer-encoding"
    case transferCodingForbidden = "transfer-coding-forbidden"
    case contentForbidden = "content-forbidden"
    case contentWithConnect = "content-with-connect"
    case contentWithTrace = "content-with-trace"
    case repeatedContentLength = "repeated-content-length"
    case malformedContentLength = "malformed-content-length"
    case contentLengthTooLarge = "content-length-too-large"
    // Chunks.
    case malformedChunkSize = "malformed-chunk-size"
    case chunkTooLarge = "chunk-too-large"
    case malformedChunkExtension = "malformed-chunk-extension"
    case chunkExtensionsTooLong = "chunk-extensions-too-long"
    case missingChunkEnd = "missing-chunk-end"
    case trailersTooLarge = "trailers-too-large"
    // Targets.
    case malformedTarget = "malformed-target"
    case targetFormNotAllowed = "target-form-not-allowed"
    case unsupportedScheme = "unsupported-scheme"
    case userInformation = "user-information"
    case fragment = "fragment"
    case malformedHost = "malformed-host"
    case malformedPort = "malformed-port"
    case missingAuthority = "missing-authority"
    case targetTooLong = "target-too-long"

    /// The status for a request refused so.
    public var status: Status {
      switch self {
      case .startLineTooLong, .targetTooLong: .uriTooLong
      case .headTooLarge, .tooManyFields, .fieldNameTooLong, .trailersTooLarge: .headTooLarge
      case .methodTooLong, .unknownTransferCoding: .notImplemented
      case .unsupportedVersion: .versionNotSupported
      default: .badRequest
      }
    }

    /// What was wrong, as a clause without a capital and without a full stop.
    public var sentence: String {
      switch self {
      case .tlsInsteadOfHTTP:
        "it began with a TLS handshake, but this port speaks plain HTTP"
      case .bareLineFeed:
        "a line ended with LF alone; HTTP lines end with CR LF"
      case .bareCarriageReturn:
        "it has a CR that is not followed by LF"
      case .tooManyEmptyLines:
        "more than two empty lines came before the request line"
      case .malformedMethod:
        "the method has a character that no method may have"
      case .methodTooLong:
        "the method is longer than 32 characters"
      case .malformedRequestLine:
        "the request line is not a method, a target and a version with one space between them"
      case .nonASCIITarget:
        "the target has a byte above 0x7F; write it percent-encoded, as in caf%C3%A9"
      case .controlByteInTarget:
        "the target has a control character (0x00 to 0x1F, or 0x7F); write it percent-encoded, as %7F"
      case .malformedStatusLine:
        "the status line is not a version, a status code and a reason"
      case .malformedStatusCode:
        "the status code is not a number from 100 to 999"
      case .malformedVersion:
        "the start line does not name its version as HTTP/1.1 or HTTP/1.0"
      case .unsupportedVersion:
        "its HTTP version is neither 1.0 nor 1.1"
      case .startLineTooLong:
        "the first line is longer than the limit"
      case .foldedLine:
        "a field line begins with white space; folded lines are not accepted"
      case .missingFieldName:
        "a field line has no name before its colon"
      case .invalidFieldName:
        "a field name has a character that no name may have"
      case .spaceBeforeColon:
        "a field name has a space before its colon"
      case .missingColon:
        "a field line has no colon"
      case .fieldNameTooLong:
        "a field name is longer than 255 bytes"
      case .controlByteInField:
        "a field value has a control character"
      case .headTooLarge:
        "its fields are together larger than the limit"
      case .tooManyFields:
        "it has more fields than the limit"
      case .missingHost:
        "it has no Host field, which HTTP/1.1 demands"
      case .repeatedHost:
        "it has more than one Host field"
      case .lengthAndTransferCoding:
        "it has both Content-Length and Transfer-Encoding, so its end is ambiguous"
      case .transferCodingInHTTP10:
        "it has Transfer-Encoding, which HTTP/1.0 does not know"
      case .unknownTransferCoding:
        "its Transfer-Encoding is not chunked, the only one understood here"
      case .repeatedTransferEncoding:
        "it has more than one Transfer-Encoding field"
      case .transferCodingForbidden:
        "it has Transfer-Encoding where a message of its kind may not have one"
      case .contentForbidden:
        "it announces content with a status that never has any"
      case .contentWithConnect:
        "it is a CONNECT that announces content; what follows CONNECT is the tunnel"
      case .contentWithTrace:
        "it is a TRACE that announces content, which a TRACE may not have"
      case .repeatedContentLength:
        "it has more than one Content-Length"
      case .malformedContentLength:
        "its Content-Length is not a plain decimal number"
      case .contentLengthTooLarge:
        "its Content-Length is larger than any file can be"
      case .malformedChunkSize:
        "a chunk does not begin with its size as a hexadecimal number"
      case .chunkTooLarge:
        "a chunk says it is larger than any file can be"
      case .malformedChunkExtension:
        "a chunk has something after its size that is not a chunk extension"
      case .chunkExtensionsTooLong:
        "the chunk extensions are together longer than the limit"
      case .missingChunkEnd:
        "a chunk is not followed by CR LF where its size says it ends"
      case .trailersTooLarge:
        "its trailer fields are together larger than the limit"
      case .malformedTarget:
        "the request target is neither a path nor a URI"
      case .targetFormNotAllowed:
        "the form of the request target does not fit the method"
      case .unsupportedScheme:
        "the request target has a scheme other than http and https"
      case .userInformation:
        "the request target has a user name or password before the host"
      case .fragment:
        "the request target has a fragment (#), which belongs to the client"
      case .malformedHost:
        "the host is neither a name nor an IP address"
      case .malformedPort:
        "the port is not a number from 1 to 65535"
      case .missingAuthority:
        "it does not say which host it is for"
      case .targetTooLong:
        "the request target is longer than the limit"
      }
    }
  }
}
