import HTTP
import Testing

@testable import Mirrors

/// Pages at `https://index.test/simple/x/`, below a mirror called `py` of `https://index.test/simple/`.
enum Pages {
  static func uri(_ text: String) throws -> TargetURI { try #require(TargetURI(text)) }

  static func links(publicURL: String? = nil) throws -> MirrorLinks {
    MirrorLinks(
      publicURL: publicURL.map { Array($0.utf8) }, name: Array("py".utf8),
      base: try uri("https://index.test/simple/"))
  }

  static func rewrite(
    _ text: some Collection<UInt8>, _ document: LinkedDocument = .html, links: MirrorLinks? = nil
  ) throws -> RewrittenDocument {
    document.rewrite(
      Array(text), of: try uri("https://index.test/simple/x/"), links: try links ?? self.links(),
      believes: { _ in true })
  }

  static func rewritten(_ text: String, _ document: LinkedDocument = .html) throws -> String {
    String(decoding: try rewrite(text.utf8, document).content, as: UTF8.self)
  }
}

/// A page is a stranger's: what comes of it is bounded, however it is made.
@Suite struct LinkBoundsTests {
  @Test(
    "a page that would become larger than it may is given up, and no link after that is written")
  func growth() throws {
    let base = "<base href=\"https://f.test/\(String(repeating: "a", count: 2000))/\">"
    let text = base + String(repeating: "<a href=x>", count: 10_000)
    let result = LinkedDocument.html.rewrite(
      Array(text.utf8), of: try Pages.uri("https://index.test/simple/x/"),
      links: try Pages.links(), limit: 1 << 20)
    #expect(result.isTooLarge)
    #expect(result.content.count < 2 << 20)
    let files = (0..<10_000).map { _ in "{\"url\":\"x\"}" }.joined(separator: ",")
    let json = LinkedDocument.json.rewrite(
      Array("{\"files\":[\(files)]}".utf8),
      of: try Pages.uri("https://index.test/\(String(repeating: "a", count: 2000))/"),
      links: try Pages.links(), limit: 1 << 20)
    #expect(json.isTooLarge)
    #expect(json.content.count < 2 << 20)
  }

  @Test("a link tells one digest of its metadata, and none where nobody wants to know")
  func digests() throws {
    let attribute = " data-core-metadata=sha256=\(String(repeating: "a", count: 64))"
    let text = "<a href=https://f.test/x\(String(repeating: attribute, count: 100))>"
    #expect(try Pages.rewrite(text.utf8).digests.count == 1)
    let ignored = LinkedDocument.html.rewrite(
      Array(text.utf8), of: try Pages.uri("https://index.test/simple/x/"),
      links: try Pages.links())
    #expect(ignored.digests.isEmpty)
  }

  @Test("a base longer than any is left alone, and so are links")
  func lengths() throws {
    let long = String(repeating: "a", count: 5000)
    let text = "<base href=\"https://f.test/\(long)/\"><a href=\"https://f.test/\(long)\">"
    #expect(try Pages.rewritten(text) == text)
  }
}

@Suite struct MirrorLinksTests {
  @Test(
    "a link leads through the mirror, wherever it led",
    arguments: [
      ("https://index.test/simple/y/", "/py/y/"), ("https://index.test/simple/", "/py/"),
      ("https://index.test/other", "/py/+files/https/index.test/other"),
      ("https://index.test/simple/+files/x", "/py/+files/https/index.test/simple/+files/x"),
      ("http://index.test/simple/y", "/py/+files/http/index.test/simple/y"),
      ("https://f.test:8443/a?b=c", "/py/+files/https/f.test:8443/a?b=c"),
    ])
  func named(target: String, link: String) throws {
    let made = try Pages.links().link(to: Pages.uri(target))
    #expect(made.map { String(decoding: $0, as: UTF8.self) } == link)
    let whole = try Pages.links(publicURL: "https://c.test/p/").link(to: Pages.uri(target))
    #expect(whole.map { String(decoding: $0, as: UTF8.self) } == "https://c.test/p" + link)
  }

  @Test(
    "the prefix mirror has its own forms",
    arguments: [
      ("https://f.test/a", "/f.test:443/a"), ("https://f.test:8443/a", "/HTTPS///f.test:8443/a"),
      ("http://f.test/a", "/f.test/a"), ("http://f.test:81/a", "/f.test:81/a"),
      ("http://bare/a", "/bare:80/a"), ("http://f.test:443/a", nil),
    ] as [(String, String?)])
  func prefix(target: String, link: String?) throws {
    let made = MirrorLinks(publicURL: nil).link(to: try Pages.uri(target))
    #expect(made.map { String(decoding: $0, as: UTF8.self) } == link)
  }

  @Test(
    "references are resolved as RFC 3986 §5 has it",
    arguments: [
      ("a", "https://index.test/simple/x/a"), ("/a", "https://index.test/a"),
      ("../../a/b", "https://index.test/a/b"), ("../../../../a", "https://index.test/a"),
      (".", "https://index.test/simple/x/"), ("..", "https://index.test/simple/"),
      ("a/./b/../c", "https://index.test/simple/x/a/c"),
      ("%2e%2e/a", "https://index.test/simple/a"),
      ("//f.test/a", "https://f.test/a"), ("http://f.test", "http://f.test/"),
      ("HTTPS://F.test/A", "https://f.test/A"), ("?q", "https://index.test/simple/x/?q"),
      (" a\n", "https://index.test/simple/x/a"), ("a b\"", "https://index.test/simple/x/a%20b%22"),
      ("ü", "https://index.test/simple/x/%C3%BC"),
      ("#f", nil), ("", nil), ("mailto:a@b.test", nil), ("javascript:x", nil), ("https:a", nil),
      ("https://", nil), ("https://u@f.test/", nil), ("https://f.test:99999/", nil), ("\\a", nil),
    ] as [(String, String?)])
  func resolved(reference: String, target: String?) throws {
    let made = LinkReference(
      Array(reference.utf8), relativeTo: try Pages.uri("https://index.test/simple/x/"))
    #expect(made.map { String(decoding: $0.target.key, as: UTF8.self) } == target)
  }
}

@Suite struct HTMLLinksTests {
  @Test(
    "the links of a page are written anew, and nothing else",
    arguments: [
      (
        #"<a href="https://f.test/p/a.whl#sha256=00">a</a>"#,
        #"<a href="/py/+files/https/f.test/p/a.whl#sha256=00">a</a>"#
      ),
      (#"<A class=b HREF='../y/' data-yanked="">"#, #"<A class=b HREF="/py/y/" data-yanked="">"#),
      ("<a href=../y/>", #"<a href="/py/y/">"#), ("<a\nhref = ../y/ >", "<a\nhref = \"/py/y/\" >"),
      (#"<a/href="../y/"/>"#, #"<a/href="/py/y/"/>"#),
      (#"<a href="/a?b=1&amp;c=2">"#, #"<a href="/py/+files/https/index.test/a?b=1&amp;c=2">"#),
      (#"<a href="&#x2e;&#46;/y/">"#, #"<a href="/py/y/">"#),
      (#"<a href="a'b&quot;">"#, #"<a href="/py/x/a'b%22">"#),
      (#"<a href="../y/" href="../z/">"#, #"<a href="/py/y/" href="../z/">"#),
      (
        #"<base href="https://f.test/d/"><a href="a">"#,
        #"<base href="/py/+files/https/f.test/d/"><a href="/py/+files/https/f.test/d/a">"#
      ),
    ])
  func rewritten(page: String, expected: String) throws {
    #expect(try Pages.rewritten(page) == expected)
  }

  @Test(
    "what is no link, or no tag, stays as it is",
    arguments: [
      "", "<", "<a", "<a ", "<a href", "<a href=", "<a href=\"", "<a href=\"../y/", "<a href=../y/",
      "<a href='../y/\">", "<!-- <a href=\"../y/\"> -->", "<!-- <a href=\"../y/\">",
      "<!DOCTYPE a href=../y/>", "<?a href=../y/?>", "</a href=../y/>", "< a href=../y/>",
      "<link href=../y/>", "<abc href=../y/>", "<a data-href=../y/>",
      "<a title=\"<a href='../y/'>\">",
      "<script><a href=../y/></script>", "<SCRIPT><a href=../y/>", "<title><a href=../y/></title>",
      "<a href=\"mailto:a@b.test\">", "<a href=\"#top\">", "<a href=''>", "a < b > c",
      "\0<\0a href=../y/>",
      "<!-->", "<!--->", "<!--", "<!-", "<a =href=../y/>", "<base>", "<base href=#x>",
    ])
  func untouched(page: String) throws {
    #expect(try Pages.rewritten(page) == page)
  }

  @Test("a comment ends where a parser says, and links behind it count")
  func comments() throws {
    for comment in ["<!-->", "<!--->", "<!-- -- > -->", "<!-- x --!>", "<!---->", "<!-- > -->"] {
      #expect(try Pages.rewritten(comment + "<a href=../y/>") == comment + #"<a href="/py/y/">"#)
    }
  }

  @Test("bytes that are no UTF-8, controls and huge attributes pass through")
  func bytes() throws {
    let junk: [UInt8] = [0xFF, 0, 0xC3, 0x28, 0x80]
    let page = junk + Array("<a title=\"".utf8) + junk + Array("\" href=../y/>".utf8) + junk
    let expected =
      junk + Array("<a title=\"".utf8) + junk + Array("\" href=\"/py/y/\">".utf8) + junk
    #expect(try Pages.rewrite(page).content == expected)
    let huge = "<a href=\"/\(String(repeating: "a", count: 100_000))\">"
    #expect(try Pages.rewritten(huge) == huge)
    let many = String(repeating: "<a ", count: 50_000)
    #expect(try Pages.rewritten(many) == many)
  }

  @Test("digests of files and of their metadata are noted under the files' own URLs")
  func digests() throws {
    let (a, b) = (String(repeating: "a", count: 64), String(repeating: "B", count: 64))
    let page =
      "<a href=\"https://f.test/x.whl#sha256=\(a)\" data-core-metadata=\"sha256=\(b)\">x</a>"
      + "<a href=\"https://f.test/y.whl#md5=\(a)\" data-core-metadata=true>y</a>"
      + "<a href=\"https://f.test/z.whl#sha256=\(a)x\">z</a>"
    let digests = try Pages.rewrite(page.utf8).digests
    #expect(
      digests == [
        .init(key: Array("https://f.test/x.whl".utf8), hex: Array(a.utf8)),
        .init(key: Array("https://f.test/x.whl.metadata".utf8), hex: Array(b.lowercased().utf8)),
      ])
  }

  @Test("any piece of a page, cut anywhere, is a page whose start is what the whole's start was")
  func cut() throws {
    let page =
      "<p><!-- c --><a href=\"../y/\" x='<'>y</a><base href=/d/><a href=z>&amp;<script>a</script>"
    for count in 0...page.utf8.count {
      let part = Array(page.utf8.prefix(count))
      let result = try Pages.rewrite(part)
      // Without its links it is what it was.
      if result.linkCount == 0, !part.contains(UInt8(ascii: "d")) {
        #expect(result.content == part)
      }
    }
  }
}

@Suite struct JSONLinksTests {
  @Test(
    "the URLs of files are written anew, and nothing else",
    arguments: [
      (
        #"{"files":[{"url":"https://f.test/a","x":{"url":"https://f.test/b"}}],"url":"https://f.test/c"}"#,
        #"{"files":[{"url":"/py/+files/https/f.test/a","x":{"url":"https://f.test/b"}}],"url":"https://f.test/c"}"#
      ),
      (
        #"{"urls":[{"url":"https:\/\/f.test\/a"}],"releases":{"1":[{"url":"../y/"}]}}"#,
        #"{"urls":[{"url":"/py/+files/https/f.test/a"}],"releases":{"1":[{"url":"/py/y/"}]}}"#
      ),
      (
        #"{ "\u0066iles" : [ { "\u0075rl" : "../y/", "url": "../z/" } ] }"#,
        #"{ "\u0066iles" : [ { "\u0075rl" : "/py/y/", "url": "/py/z/" } ] }"#
      ),
      (
        #"{"files":[{"filename":"url","url":"../\u0079/"},{"url":"../z/"}]}"#,
        #"{"files":[{"filename":"url","url":"/py/y/"},{"url":"/py/z/"}]}"#
      ),
      (
        #"{"meta":{"a":[[{"b":"}]\""}]]},"files":[{"url":"../y/"}]}"#,
        #"{"meta":{"a":[[{"b":"}]\""}]]},"files":[{"url":"/py/y/"}]}"#
      ),
    ])
  func rewritten(page: String, expected: String) throws {
    #expect(try Pages.rewritten(page, .json) == expected)
  }

  @Test(
    "what is no file's URL, or no JSON, stays as it is",
    arguments: [
      "", "{", "}", "]", "\"", "{\"files\"", "{\"files\":[{\"url\":\"../y/",
      "[{\"url\":\"../y/\"}]",
      #"{"files":{"url":"../y/"}}"#, #"{"files":[["url","../y/"]]}"#,
      #"{"files":[{"url":["../y/"]}]}"#,
      #"{"files":["url","../y/"]}"#, #"{"files":[{"url":null,"b":"../y/"}]}"#,
      #"{"files":[{"url":"\x"}]}"#,
      #"{"files":[{"url":"\ud800"}]}"#, #"{"file":[{"url":"../y/"}]}"#,
      #"{"info":{"urls":[{"url":"../y/"}]}}"#,
      #"{"files":[{"url":"mailto:x"}]}"#, "]]]]{\"a\":1}}}}", "\0{\0}", #"{"files":[{"url":"a\"#,
    ])
  func untouched(page: String) throws {
    // A lone surrogate becomes what stands for one: that is no link anybody could follow.
    let result = try Pages.rewritten(page, .json)
    #expect(result == page || page.contains("ud800"))
  }

  @Test("depth and size cost nothing but time")
  func deep() throws {
    let deep = String(repeating: "[{\"a\":", count: 100_000)
    #expect(try Pages.rewritten(deep, .json) == deep)
    let closed = String(repeating: "}]", count: 100_000)
    #expect(
      try Pages.rewritten(closed + #"{"files":[{"url":"../y/"}]}"#, .json).hasSuffix(
        #"{"url":"/py/y/"}]}"#))
  }

  @Test("bytes that are no UTF-8 pass through, also beside a link")
  func bytes() throws {
    let page = Array(#"{"x":""#.utf8) + [0xFF, 0xC3] + Array(#"","files":[{"url":"../y/"}]}"#.utf8)
    let expected =
      Array(#"{"x":""#.utf8) + [0xFF, 0xC3] + Array(#"","files":[{"url":"/py/y/"}]}"#.utf8)
    #expect(try Pages.rewrite(page, .json).content == expected)
  }

  @Test("digests come from wherever they stand")
  func digests() throws {
    let (a, b) = (String(repeating: "a", count: 64), String(repeating: "b", count: 64))
    let simple =
      #"{"files":[{"hashes":{"md5":"x","sha256":"\#(a)"},"core-metadata":{"sha256":"\#(b)"},"url":"https://f.test/x"},"#
      + #"{"url":"https://f.test/y","hashes":{},"core-metadata":true},{"hashes":{"sha256":"\#(a)"}}]}"#
    let noted = [
      RewrittenDocument.FileDigest(key: Array("https://f.test/x".utf8), hex: Array(a.utf8)),
      .init(key: Array("https://f.test/x.metadata".utf8), hex: Array(b.utf8)),
    ]
    #expect(try Pages.rewrite(simple.utf8, .json).digests == noted)
    let project = #"{"releases":{"1":[{"digests":{"sha256":"\#(a)"},"url":"https://f.test/x"}]}}"#
    #expect(try Pages.rewrite(project.utf8, .json).digests == [noted[0]])
  }
}

@Suite struct ProjectNameTests {
  @Test(
    "other spellings lead to the normal name",
    arguments: [
      ("Foo.Bar__x/", "foo-bar-x/"), ("foo", "foo/"), ("foo/", nil), ("foo-bar/", nil),
      ("Foo", "foo/"),
      ("", nil), ("/", nil), ("-x/", nil), ("x-/", nil), ("a/b/", nil), ("a%20b/", nil),
      ("+files", nil), ("zope.interface", "zope-interface/"), ("jaraco.text", "jaraco-text/"),
      ("x.z", "x-z/"), ("foo-1.0.tar.Z", nil), ("foo-1.0.ZIP", nil), ("index.html", nil),
      ("foo.zip/", "foo-zip/"),
    ] as [(String, String?)])
  func redirect(path: String, expected: String?) {
    let made = ProjectName.redirect(Array(path.utf8)[...])
    #expect(made.map { String(decoding: $0, as: UTF8.self) } == expected)
  }
}

@Suite struct LinkedDocumentTests {
  @Test("only documents of the right type are written anew")
  func types() {
    func document(_ type: String, _ kind: ResourceKind) -> LinkedDocument? {
      LinkedDocument(contentType: type.utf8, kind: kind)
    }
    #expect(document("text/html", .pypiIndex) == .html)
    #expect(document("Text/HTML; charset=utf-8", .pypiIndex) == .html)
    #expect(document("application/vnd.pypi.simple.v1+html", .pypiIndex) == .html)
    #expect(document("application/vnd.pypi.simple.v1+json", .pypiIndex) == .json)
    #expect(document("application/json", .pypiProject) == .json)
    #expect(document("application/json", .pypiIndex) == nil)
    #expect(document("text/html", .pypiProject) == nil)
    #expect(document("text/html", .debianRelease) == nil)
    #expect(document("application/octet-stream", .pypiIndex) == nil)
  }
}
