// What keys must be together.

import Testing

@testable import Configuration

@Suite("Checks across keys")
struct ChecksTests {
  @Test(
    "keys that do not fit together are refused at the later one",
    arguments: [
      ("listen: []", "1:9 listen: has no address"),
      (
        "listen: [127.0.0.1:80, 127.0.0.1:80]",
        "1:24 listen[1]: 127.0.0.1:80 is taken by 127.0.0.1:80"
      ),
      (
        "clients: [10.0.0.0/8]\nlisten: [127.0.0.1:80, 0.0.0.0:80]",
        "2:24 listen[1]: 0.0.0.0:80 is taken by 127.0.0.1:80"
      ),
      (
        "clients: [10.0.0.0/8]\nlisten: [\"[::]:80\", \"[::1]:80\"]",
        "2:21 listen[1]: [::1]:80 is taken by [::]:80"
      ),
      ("admin: 127.0.0.1:3128", "1:8 admin: 127.0.0.1:3128 is the address of a proxy listener"),
      ("listen: [127.0.0.1:3129]", "1:10 admin: 127.0.0.1:3129 is the address of a proxy listener"),
      (
        "mirrors: { me: \"http://127.0.0.1:3128/\" }",
        "1:16 mirrors.me: http://127.0.0.1:3128/ is this proxy itself"
      ),
      (
        "mirrors: { a: http://x.example.org/, A: http://y.example.org/ }",
        "1:41 mirrors.A: differs from the mirror a"
      ),
      (
        "listen: [{ address: \"127.0.0.1:80\", proxy-protocol: [] }]",
        "1:53 listen[0].proxy-protocol: is empty"
      ),
      (
        "listen: [{ address: \"127.0.0.1:80\", proxy-protocol: yes }]",
        "1:53 listen[0].proxy-protocol: \"yes\" is not known; write true, false"
      ),
      (
        "admin: { address: \"127.0.0.1:3128\", token-file: /run/token }",
        "1:8 admin: 127.0.0.1:3128 is the address of a proxy listener"
      ),
      (
        "limits: { request-line: 64KiB }",
        "1:25 limits.request-line: 64KiB leaves no room for fields"
      ),
    ])
  func refused(text: String, beginning: String) {
    let found = findings(text)
    #expect(found.count == 1)
    #expect(found.first?.hasPrefix(beginning) == true, "\(found)")
    #expect(throws: Diagnostics.self) { try ConfigurationLoader.read(text: text, file: nil) }
  }

  @Test(
    "what is probably not meant is said, and used",
    arguments: [
      ("listen: [0.0.0.0:3128]", "1:9 clients: only this machine may use the proxy"),
      ("clients: []", "1:10 clients: is empty"),
      (
        "listen: [0.0.0.0:3128]\nclients: [0.0.0.0/0]",
        "2:10 clients: 0.0.0.0/0 lets every address in"
      ),
      (
        "clients: [10.0.0.0/8]\nlisten: [{ address: \"0.0.0.0:3128\", proxy-protocol: true }]",
        "2:53 listen[0].proxy-protocol: true lets whoever can connect"
      ),
      ("admin: 0.0.0.0:3129", "1:8 admin: 0.0.0.0:3129 can be reached from other machines"),
      (
        "store: { size: 100MiB, memory: 256MiB }",
        "1:32 store.memory: 256MiB is more than store.size"
      ),
    ])
  func warned(text: String, beginning: String) throws {
    let found = findings(text)
    #expect(found.count == 1)
    #expect(found.first?.hasPrefix(beginning) == true, "\(found)")
    #expect(throws: Never.self) { try ConfigurationLoader.read(text: text, file: nil) }
  }

  @Test(
    "the same port on different addresses, and port 0, are fine",
    arguments: [
      "listen: [127.0.0.1:80, 127.0.0.2:80]", "listen: [127.0.0.1:0, 127.0.0.1:0]",
      "listen: [127.0.0.1:80, \"[::1]:80\"]",
      "clients: [10.0.0.0/8]\nlisten: [0.0.0.0:80, \"[::]:80\"]",
      "clients: [10.0.0.0/8]\nlisten: [{ address: \"0.0.0.0:80\", proxy-protocol: [10.0.0.5] }]",
      "admin: { address: \"0.0.0.0:3129\", token-file: /run/token }",
      "clients: [0.0.0.0/0]\nlisten: [0.0.0.0:80]\nauth: { file: /run/users }",
    ])
  func distinct(text: String) {
    #expect(findings(text).isEmpty)
  }
}
