// The admin listener of a running proxy.

import Configuration
import IO
import Platform
import Proxy
import Support
import Synchronization
import Testing

@Suite struct AdminTests {
  /// Starts an admin listener for the proxy and hands a way to connect to it to `body`.
  private func withAdmin(
    token: Secret? = nil, hosts: [HostPattern] = [], ip: IPAddress = .loopbackV4,
    _ body: (WireOrigin, TestProxy, () throws -> WireClient) throws -> Void
  ) throws {
    try wire { origin, proxy in
      let server = proxy.server
      let address = Mutex(SocketAddress.loopback(port: 0))
      let thread = try LoopThread.start(name: "admin") { loop throws(Errno) in
        let socket = try Socket.listen(on: SocketAddress(ip, port: 0))
        let bound = try Socket.localAddress(socket.rawValue)
        address.withLock { $0 = bound }
        let listener = try AdminListener(loop: loop, socket: socket, server: server) { request in
          request.path == "/api/echo"
            ? AdminAnswer(text: request.value("text") ?? "nothing") : nil
        }
        var settings = AdminSettings(address: bound)
        settings.token = token
        settings.hosts = hosts
        listener.access = AdminAccess(settings)
      }
      defer {
        thread.stop()
        thread.join()
      }
      try body(origin, proxy) {
        try WireClient(
          proxy.script, to: .loopback(port: address.withLock { $0.port }), name: "admin client")
      }
    }
  }

  @Test("the admin listener says how the process is, and closes after each answer")
  func answers() throws {
    try withAdmin { origin, proxy, connect in
      for (path, type, part) in [
        ("/healthz", "text/plain; charset=utf-8", "ok\n"),
        ("/readyz", "text/plain; charset=utf-8", "ready\n"),
        ("/api/status", "application/json", "\"state\":\"serving\""),
        ("/metrics", "text/plain", "holdfast_requests_total"),
        ("/api/echo?x=1&text=a%20b+c", "text/plain; charset=utf-8", "a b c"),
      ] {
        let client = try connect()
        try client.send("GET \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n")
        let answer = try client.expectResponse(
          200, ["Connection": "close", "Cache-Control": "no-store"])
        #expect(answer["Content-Type"]?.hasPrefix(type) == true)
        #expect(answer.text.contains(part), "\(path): \(answer.text.prefix(300))")
        try client.expectEnd()
      }
    }
  }

  @Test("the status counts connections and fills")
  func status() throws {
    try withAdmin { origin, proxy, connect in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let admin = try connect()
      try admin.send("GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
      let answer = try admin.expectResponse(200)
      #expect(answer.text.contains("\"connections\":1,\"fills\":1,"), "\(answer.text)")
      try upstream.respond(200, ["Cache-Control: max-age=600"], "a")
      try client.expectResponse(200)
      client.close()
      try proxy.expectQuiet()
      let later = try connect()
      try later.send("GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
      let quiet = try later.expectResponse(200)
      #expect(quiet.text.contains("\"connections\":0,\"fills\":0,"), "\(quiet.text)")
      #expect(quiet.text.contains("\"entries\":1,"), "\(quiet.text)")
    }
  }

  @Test(
    "what the admin listener does not know is 404, what is no HTTP is 400, what a web page sends is refused"
  )
  func refusals() throws {
    try withAdmin { origin, proxy, connect in
      for (bytes, status) in [
        ("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 404),
        ("nonsense\r\n\r\n", 400), ("GET / HTTP/1.1\r\n\r\n", 400),
        // A page in somebody's browser, by its own name for this address, or by the address itself.
        ("GET /api/status HTTP/1.1\r\nHost: rebound.example.org:3129\r\n\r\n", 421),
        (
          "POST /api/store/purge HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://a.example.org\r\n\r\n",
          403
        ),
        ("GET /\(String(repeating: "a", count: 10_000)) HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
      ] {
        let client = try connect()
        try client.send(bytes)
        try client.expectResponse(status)
        try client.expectEnd()
      }
    }
  }

  @Test("a request to the admin listener may come byte by byte, and its client may have finished")
  func pieces() throws {
    try withAdmin { origin, proxy, connect in
      let client = try connect()
      for byte in "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8 {
        try client.send([byte])
      }
      client.finish()
      try client.expectResponse(200, content: "ok\n")
      try client.expectEnd()
    }
  }

  @Test("with a token, everything but health asks for it")
  func token() throws {
    let token = try Secret(reading: "0123456789abcdef")
    try withAdmin(token: token) { origin, proxy, connect in
      for (request, field, status) in [
        ("GET /healthz", "", 200), ("GET /readyz", "", 200), ("GET /metrics", "", 401),
        ("GET /api/status", "Authorization: Bearer 0123456789abcdeF\r\n", 401),
        ("GET /api/status", "Authorization: Bearer 0123456789abcdef0\r\n", 401),
        ("GET /api/status", "Authorization: Bearer \r\n", 401),
        ("GET /api/status", "Authorization: Basic 0123456789abcdef\r\n", 401),
        ("GET /api/status", "Authorization: Bearer 0123456789abcdef\r\n", 200),
        ("GET /api/status", "authorization: bearer  0123456789abcdef\r\n", 200),
        ("POST /healthz", "", 401), ("GET /healthz/../metrics", "", 401),
        (
          "GET /api/status",
          "Authorization: Bearer 0123456789abcdef\r\nAuthorization: Bearer 0123456789abcdef\r\n",
          401
        ),
      ] {
        let client = try connect()
        try client.send("\(request) HTTP/1.1\r\nHost: localhost\r\n\(field)\r\n")
        let answer = try client.expectResponse(status)
        #expect((answer["WWW-Authenticate"]?.hasPrefix("Bearer") == true) == (status == 401))
        try client.expectEnd()
      }
    }
  }

  @Test("what web pages can send is refused, by any name they may use")
  func pages() throws {
    let hosts = [try HostPattern(reading: "holdfast.example.org")]
    for (ip, reads) in [(IPAddress.loopbackV4, 421), (IPAddress.anyV4, 200)] {
      try withAdmin(hosts: hosts, ip: ip) { origin, proxy, connect in
        for (request, fields, status) in [
          ("GET /api/status", "Host: holdfast.example.org:3129\r\n", 200),
          ("GET /api/status", "Host: other.example.org\r\n", reads),
          ("POST /api/echo", "Host: other.example.org\r\n", 421),
          ("POST /api/echo", "Host: holdfast.example.org.\r\n", 200),
          ("POST /api/echo", "Host: 192.0.2.1:3129\r\n", 200),
          ("POST /api/echo", "Host: localhost\r\nOrigin: null\r\n", 403),
          ("GET /api/status", "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", 403),
          ("GET /api/status", "Host: localhost\r\nsec-fetch-site: same-site\r\n", 403),
          ("GET /api/status", "Host: localhost\r\nSec-Fetch-Site: none\r\n", 200),
        ] {
          let client = try connect()
          try client.send("\(request) HTTP/1.1\r\n\(fields)\r\n")
          try client.expectResponse(status)
          try client.expectEnd()
        }
      }
    }
  }
}
