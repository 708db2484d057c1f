// Fields that are for the client whose request was answered: it gets them, nobody else does, and they are not kept.

import Support
import Testing

@Suite struct UnsharedFieldTests {
  @Test(
    "who asked gets the fields, later clients do not, from files large and small",
    arguments: [
      ("public, max-age=600", "Set-Cookie: id=1"),
      ("max-age=600, private=\"X-User\"", "X-User: ann"),
      ("max-age=600, no-cache=\"X-User, X-Other\"", "X-User: ann"),
    ], [10, 100_000])
  func unshared(control: (String, String), size: Int) throws {
    let (control, field) = control
    let name = String(field.prefix { $0 != ":" })
    try wire { origin, proxy in
      let content = String(repeating: "c", count: size)
      let first = try proxy.connect().get(origin.url("/"))
      try origin.serve(
        200, ["Cache-Control: \(control)", field, "X-All: yes", "Connection: close"], content)
      let own = try first.expectResponse(200, ["X-All": "yes"], content: content)
      #expect(own.head.all(name).map { "\(name): \($0)" } == [field])
      try proxy.expectStored()
      let other = try proxy.connect().get(origin.url("/"))
        .expectResponse(200, ["X-All": "yes"], content: content)
      #expect(other[name] == nil)
      try origin.expectNothingElse()
    }
  }

  @Test("who reads along does not get them either")
  func collapsed() throws {
    try wire { origin, proxy in
      let first = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(
        head: 200, ["Cache-Control: public, max-age=600", "Set-Cookie: id=1", "Content-Length: 4"])
      try upstream.send("ab")
      try first.expectHead(200, ["Set-Cookie": "id=1"])
      let second = try proxy.connect().get(origin.url("/"))
      #expect(try second.expectHead(200)["Set-Cookie"] == nil)
      try upstream.send("cd")
      try first.expectContent("abcd")
      try second.expectContent("abcd")
    }
  }

  @Test("a cookie on a 304 reaches who asked, beside the stored content")
  func confirmed() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(
        200, ["Cache-Control: public, max-age=0", "ETag: \"v\"", "Connection: close"], "content")
      try client.expectResponse(200)
      try proxy.expectStored()
      try client.get(origin.url("/"))
      try origin.serve(304, ["Cache-Control: public, max-age=600", "Set-Cookie: id=2"])
      try client.expectResponse(200, ["Set-Cookie": "id=2"], content: "content")
      #expect(try client.get(origin.url("/")).expectResponse(200)["Set-Cookie"] == nil)
    }
  }
}
