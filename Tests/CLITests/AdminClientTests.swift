// Asking a running instance: the request's form, the answer taken apart.

import Platform
import Testing

@testable import CLI

@Suite("The admin client")
struct AdminClientTests {
  @Test(
    "an answer is taken apart",
    arguments: [
      ("HTTP/1.1 200 OK\r\nA: b\r\n\r\nx\ny\n", 200, ["x", "y"]),
      ("HTTP/1.0 404 Not Found\r\n\r\n", 404, []), ("HTTP/1.1 200", 0, ["HTTP/1.1 200"]),
      ("SSH-2.0-x\r\n\r\n", 0, []), ("", 0, []),
    ])
  func answers(text: String, status: Int, lines: [String]) {
    let answer = AdminClient.parse(Array(text.utf8))
    #expect(answer.status == status)
    #expect(answer.lines.map { String(decoding: $0, as: UTF8.self) } == lines)
  }

  @Test("queries are percent-encoded")
  func escaping() {
    #expect(
      AdminClient.escaped("http://a-b.c/d?e=f&g h/ü~")
        == "http%3A%2F%2Fa-b.c%2Fd%3Fe%3Df%26g%20h%2F%C3%BC~")
  }

  @Test("nobody there is said with the address")
  func refused() throws {
    // A listener that is closed again gives a port where nobody answers.
    let address = try {
      let socket = try Socket.listen(on: SocketAddress(.loopbackV4, port: 0))
      return try Socket.localAddress(socket.rawValue)
    }()
    #expect {
      try AdminClient(address: address).send("GET", "/api/store")
    } throws: { error in
      (error as? Failure)?.text.contains("\(address) does not answer: Connection refused") == true
    }
  }
}
