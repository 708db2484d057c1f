// Field names: recognised in any case, never confused with a near one.

import HTTP
import Testing

@Suite struct FieldNameTests {
  @Test(
    "every known name is recognised in its own spelling, in capitals and in small letters",
    arguments: FieldName.allCases.filter { $0 != .other })
  func recognised(name: FieldName) {
    let spelling = name.spelling.description
    #expect(FieldName(spelling) == name)
    #expect(FieldName(spelling.uppercased()) == name)
    #expect(FieldName(spelling.lowercased()) == name)
  }

  @Test("no two names share a spelling")
  func distinct() {
    let spellings = Set(FieldName.allCases.map { $0.spelling.description.lowercased() })
    #expect(spellings.count == FieldName.allCases.count)
  }

  @Test(
    "a name that differs in one byte, or is longer or shorter, is another name",
    arguments: FieldName.allCases.filter { $0 != .other })
  func near(name: FieldName) {
    let spelling = Array(name.spelling.description.utf8)
    for index in spelling.indices {
      var changed = spelling
      changed[index] = changed[index] == 0x7A ? 0x79 : 0x7A
      if changed[index] | 0x20 != spelling[index] | 0x20 {
        #expect(FieldName(String(decoding: changed, as: UTF8.self)) != name)
      }
    }
    #expect(FieldName(name.spelling.description + "x") != name)
    #expect(FieldName(String(name.spelling.description.dropLast())) != name)
  }

  @Test("a set of names knows what was put in, in both of its halves")
  func sets() {
    for name in FieldName.allCases {
      let set = FieldNameSet(name)
      for other in FieldName.allCases { #expect(set.contains(other) == (other == name)) }
    }
    #expect(FieldNameSet(.host, .xForwardedProto).isDisjoint(with: FieldNameSet(.via, .date)))
    #expect(!FieldNameSet(.host, .xForwardedProto).isDisjoint(with: FieldNameSet(.xForwardedProto)))
  }
}
