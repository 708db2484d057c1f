// Field sections, and the small questions about bytes that everything rests on.

import HTTP
import Testing

@Suite struct FieldSectionTests {
  @Test("fields keep their order, and a name is found in any case")
  func order() {
    var fields = FieldSection()
    fields.append(.via, "1.1 a")
    fields.append(named: "X-Thing", "one")
    fields.append(named: "x-thing", "two")
    fields.append(named: "VIA", "1.1 b")
    #expect(fields.count == 4)
    #expect(fields.all(named: "X-THING").map(text) == ["one", "two"])
    #expect(fields.combinedValue(.via).map(text) == "1.1 a, 1.1 b")
    #expect(fields.combinedValue(named: "x-thing").map(text) == "one, two")
    #expect(fields.combinedValue(named: bytes("X-thing")[...]).map(text) == "one, two")
    #expect(fields.text(.via) == "1.1 a")
    #expect(fields.only(.via) == nil)
    #expect(fields.first(.age) == nil)
    #expect(fields.combinedValue(.age) == nil)
    #expect(fields.contains(named: "X-THING") && !fields.contains(named: "X-Thin"))
  }

  @Test("setting replaces all fields of the name, removing takes them all")
  func setAndRemove() {
    var fields: FieldSection = ["A": "1", "Age": "5", "a": "2", "Age": "6", "B": "3"]
    fields.set(.age, "7")
    #expect(fields == ["A": "1", "a": "2", "B": "3", "Age": "7"])
    fields.set(named: "A", "4")
    #expect(fields == ["B": "3", "Age": "7", "A": "4"])
    fields.remove(.age)
    #expect(!fields.contains(.age))
    fields.remove(named: "b")
    #expect(fields == ["A": "4"])
    fields.removeAll { _, name, value in text(name) == "A" && text(value) == "4" }
    #expect(fields.isEmpty)
  }

  @Test("white space around a value is not part of it")
  func whitespace() {
    var fields = FieldSection()
    fields.append(named: "X", " \t a b \t")
    #expect(fields.text(named: "X") == "a b")
    #expect(fields.description == "X: a b\r\n")
    fields.append(named: "Y", "   ")
    #expect(fields.text(named: "Y") == "")
  }

  @Test(
    "nothing that would break a message gets in",
    arguments: [
      ("X", "a\r\nY: b"), ("X", "a\0"), ("X", "a\n"), ("X: a\r\nY", "b"), ("", "a"), ("X Y", "a"),
      (String(repeating: "n", count: 256), "a"),
    ])
  func invalid(name: String, value: String) {
    var fields = FieldSection()
    let wasAppended = fields.append(named: name, value)
    let wasSet = fields.set(named: name, value)
    #expect(!wasAppended && !wasSet)
    #expect(fields.isEmpty)
  }

  @Test("compacting changes nothing that can be seen but the size")
  func compact() {
    var fields: FieldSection = ["A": "1", "Age": "5", "B": "2"]
    fields.remove(.age)
    let before = fields
    fields.compact()
    #expect(fields == before)
    #expect(fields.description == before.description)
    #expect(fields.bytes.count < before.bytes.count)
  }

  @Test("sections are equal when names are in any case and values exactly the same")
  func equality() {
    let fields: FieldSection = ["A": "x", "B": "y"]
    #expect(fields == ["a": "x", "b": "y"])
    #expect(fields != ["a": "X", "b": "y"])
    #expect(fields != ["b": "y", "a": "x"])
    #expect(fields != ["a": "x"])
  }

  @Test("a section appended to another keeps both")
  func appendSection() {
    var fields: FieldSection = ["A": "1"]
    fields.append(contentsOf: ["Age": "2", "C": "3"])
    #expect(fields == ["A": "1", "Age": "2", "C": "3"])
    #expect(fields.contains(.age))
  }
}

@Suite struct ByteTests {
  @Test("token characters are those of the standard")
  func tokens() {
    let allowed = Set("!#$%&'*+-.^_`|~0123456789".utf8)
    for byte in UInt8.min...UInt8.max {
      let isLetter = (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
      #expect(byte.isTokenCharacter == (isLetter || allowed.contains(byte)))
      #expect(byte.isLetter == isLetter)
      #expect(byte.isSubDelimiter == "!$&'()*+,;=".utf8.contains(byte))
    }
  }

  @Test("lists are split at commas outside quotes, empty elements skipped")
  func lists() {
    func elements(_ value: String, withComments: Bool = false) -> [String] {
      let bytes = bytes(value)
      var at = 0
      var found: [String] = []
      while let element = bytes.span.nextListElement(
        from: &at, to: bytes.count, withComments: withComments)
      {
        found.append(text(bytes[element]))
      }
      return found
    }
    #expect(elements("a, b ,c") == ["a", "b", "c"])
    #expect(elements(" , ,a,, ,") == ["a"])
    #expect(elements("") == [])
    #expect(elements(#"a="x,y", b="\",", c"#) == [#"a="x,y""#, #"b="\",""#, "c"])
    #expect(elements(#"a="never, closed"#) == [#"a="never, closed"#])
    #expect(elements("a (b, (c, d)), e", withComments: true) == ["a (b, (c, d))", "e"])
    #expect(elements("a (b, c") == ["a (b", "c"])
    #expect(elements(#"a "x\"#) == [#"a "x\"#])
  }
}
