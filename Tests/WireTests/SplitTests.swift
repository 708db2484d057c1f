// A client or an origin that splits its bytes at every possible place. The second piece is sent only when
// the proxy has read the first, so that each split really happens.

import Support
import Telemetry
import Testing

@Suite struct SplitTests {
  enum RequestShape: CaseIterable {
    case get, postWithLength, postChunked, pipelined

    func bytes(_ origin: WireOrigin) -> String {
      let host = "Host: \(origin.authority)\r\n"
      return switch self {
      case .get: "GET \(origin.url("/hit")) HTTP/1.1\r\n\(host)Accept: */*\r\n\r\n"
      case .postWithLength:
        "POST \(origin.url("/p")) HTTP/1.1\r\n\(host)Content-Length: 7\r\n\r\ncontent"
      case .postChunked:
        "POST \(origin.url("/p")) HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\n\r\n"
          + "3;a=b\r\ncon\r\n4\r\ntent\r\n0\r\nX-Sum: 1\r\n\r\n"
      case .pipelined:
        "GET \(origin.url("/hit")) HTTP/1.1\r\n\(host)\r\n\r\n"
          + "HEAD \(origin.url("/hit")) HTTP/1.1\r\n\(host)\r\n"
      }
    }
  }

  @Test("a request means the same wherever its bytes are split", arguments: RequestShape.allCases)
  func request(shape: RequestShape) throws {
    try wire { origin, proxy in
      let first = try proxy.connect().get(origin.url("/hit"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.respond(200, ["Cache-Control: max-age=600"], "stored")
      try first.expectResponse(200, content: "stored")

      let client = try proxy.connect()
      let bytes = Array(shape.bytes(origin).utf8)
      for position in 1..<bytes.count {
        try proxy.send([Array(bytes[..<position]), Array(bytes[position...])], from: client)
        switch shape {
        case .get:
          try client.expectResponse(200, content: "stored")
        case .pipelined:
          try client.expectResponse(200, content: "stored")
          try client.expectResponse(200, ["Content-Length": "6"], isHead: true)
        case .postWithLength, .postChunked:
          let request = try upstream.expectRequest("POST /p HTTP/1.1")
          #expect(request.text == "content", "split at \(position)")
          #expect(request.trailers == (shape == .postChunked ? ["X-Sum: 1"] : []))
          try upstream.respond(200, [], "done")
          try client.expectResponse(200, content: "done")
        }
      }
      try origin.expectNothingElse()
    }
  }

  @Test("a request may come byte by byte", arguments: RequestShape.allCases)
  func requestByteByByte(shape: RequestShape) throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      if shape == .get || shape == .pipelined {
        try client.get(origin.url("/hit"))
        try origin.serve(200, ["Cache-Control: max-age=600"], "stored")
        try client.expectResponse(200, content: "stored")
      }
      try proxy.send(shape.bytes(origin).utf8.map { [$0] }, from: client)
      switch shape {
      case .get: try client.expectResponse(200, content: "stored")
      case .pipelined:
        try client.expectResponse(200, content: "stored")
        try client.expectResponse(200, isHead: true)
      case .postWithLength, .postChunked:
        #expect(try origin.serve(200, [], "done").text == "content")
        try client.expectResponse(200, content: "done")
      }
    }
  }

  enum ResponseShape: CaseIterable {
    case length, chunked, untilClose, interim, notStored, notStoredChunked

    var bytes: String {
      switch self {
      case .length:
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 7\r\n\r\ncontent"
      case .chunked:
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n"
          + "3;a=b\r\ncon\r\n4\r\ntent\r\n0\r\nX-Sum: 1\r\n\r\n"
      case .untilClose:
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nConnection: close\r\n\r\ncontent"
      case .interim:
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
          + "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 7\r\n\r\ncontent"
      case .notStored:
        "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 7\r\n\r\ncontent"
      case .notStoredChunked:
        "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n"
          + "3\r\ncon\r\n4\r\ntent\r\n0\r\nX-Sum: 1\r\n\r\n"
      }
    }

    var isStored: Bool { self != .notStored && self != .notStoredChunked }
  }

  @Test("a response means the same wherever its bytes are split", arguments: ResponseShape.allCases)
  func response(shape: ResponseShape) throws {
    try wire { origin, proxy in
      let bytes = Array(shape.bytes.utf8)
      let client = try proxy.connect()
      var upstream: WireOriginConnection?
      for position in 1..<bytes.count {
        let target = origin.url("/\(position)")
        try client.get(target, "TE: trailers")
        let connection = try upstream ?? origin.accept()
        try connection.expectRequest("GET /\(position) HTTP/1.1")
        try proxy.send([Array(bytes[..<position]), Array(bytes[position...])], from: connection)
        if shape == .untilClose { connection.close() } else { upstream = connection }
        if shape == .interim { try client.expectHead(103, ["Link": "</a>"]) }
        let answer = try client.expectResponse(200, content: "content")
        if shape == .notStoredChunked { #expect(answer.trailers == ["X-Sum: 1"]) }
        if shape.isStored {
          try client.get(target)
          let hit = try client.expectResponse(200, ["Content-Length": "7"], content: "content")
          #expect(hit["Cache-Status"]?.hasPrefix("Holdfast; hit") == true, "\(position)")
        }
      }
      try origin.expectNothingElse()
    }
  }

  @Test("a response may come byte by byte", arguments: ResponseShape.allCases)
  func responseByteByByte(shape: ResponseShape) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try proxy.send(shape.bytes.utf8.map { [$0] }, from: upstream)
      if shape == .untilClose { upstream.close() }
      if shape == .interim { try client.expectHead(103) }
      try client.expectResponse(200, content: "content")
    }
  }

  @Test("a 304 confirms what is stored wherever its bytes are split")
  func notModified() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.respond(200, ["Cache-Control: max-age=0", "ETag: \"v\""], "stored")
      try client.expectResponse(200, content: "stored")
      let bytes = Array(
        "HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\nCache-Control: max-age=0\r\n\r\n".utf8)
      for position in 1..<bytes.count {
        try client.get(origin.url("/"))
        #expect(try upstream.expectRequest()["If-None-Match"] == "\"v\"")
        try proxy.send([Array(bytes[..<position]), Array(bytes[position...])], from: upstream)
        let answer = try client.expectResponse(200, content: "stored")
        #expect(answer["Cache-Status"]?.contains("fwd=stale; fwd-status=304") == true)
      }
      try origin.expectNothingElse()
    }
  }
}
