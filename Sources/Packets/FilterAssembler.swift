// Classic BPF (the kernel's Documentation/networking/filter.rst): an accumulator A, an index X, conditional jumps
// forwards of at most 255 instructions, and an answer: how many bytes of the packet are wanted, 0 for none.
// A load beyond the packet ends the program with 0, so that no length has to be asked first.

/// One instruction, laid out as struct sock_filter.
package struct FilterInstruction: Hashable, Sendable {
  package var code: UInt16
  package var ifTrue: UInt8 = 0
  package var ifFalse: UInt8 = 0
  package var operand: UInt32 = 0
}

/// Puts a program together, with names for the places that jumps lead to.
struct FilterAssembler {
  struct Label: Hashable {
    fileprivate let number: Int
  }

  enum Test: UInt16 {
    case equal = 0x15  // jeq
    case above = 0x25  // jgt
    case atLeast = 0x35  // jge
    case anyBit = 0x45  // jset
  }

  enum Width: UInt16 {
    case word = 0x00
    case half = 0x08
    case byte = 0x10
  }

  /// What the kernel knows about a packet beside its bytes (SKF_AD_*).
  enum Ancillary: UInt32 {
    case packetType = 0xFFFF_F004
    case hardwareType = 0xFFFF_F01C
  }

  private struct Jump {
    var at: Int
    var ifTrue: Label?
    var ifFalse: Label?
  }

  private var instructions: [FilterInstruction] = []
  private var jumps: [Jump] = []
  private var places: [Label: Int] = [:]
  private var labels = 0

  mutating func makeLabel() -> Label {
    labels += 1
    return Label(number: labels)
  }

  mutating func place(_ label: Label) { places[label] = instructions.count }

  private mutating func emit(_ code: UInt16, _ operand: UInt32 = 0) {
    instructions.append(FilterInstruction(code: code, operand: operand))
  }

  /// A := bytes at a fixed place, or beside X.
  mutating func load(_ width: Width, at offset: UInt32) { emit(0x20 | width.rawValue, offset) }
  mutating func load(_ width: Width, besideX offset: UInt32) { emit(0x40 | width.rawValue, offset) }
  mutating func load(_ ancillary: Ancillary) { emit(0x20, ancillary.rawValue) }
  mutating func loadX(_ number: UInt32) { emit(0x01, number) }
  mutating func add(_ number: UInt32) { emit(0x04, number) }
  mutating func and(_ number: UInt32) { emit(0x54, number) }
  mutating func shiftLeft(_ bits: UInt32) { emit(0x64, bits) }
  mutating func shiftRight(_ bits: UInt32) { emit(0x74, bits) }
  mutating func addX() { emit(0x0C) }
  mutating func moveToX() { emit(0x07) }
  mutating func moveFromX() { emit(0x87) }
  mutating func answer(_ bytes: UInt32) { emit(0x06, bytes) }

  /// Goes to a label, nil for the next instruction.
  mutating func jump(
    if test: Test, _ number: UInt32, to yes: Label?, otherwise no: Label? = nil
  ) {
    jumps.append(Jump(at: instructions.count, ifTrue: yes, ifFalse: no))
    emit(test.rawValue, number)
  }

  /// The program, or nil if a jump is too long or leads nowhere: a mistake of whoever wrote it.
  consuming func assemble() -> [FilterInstruction]? {
    for jump in jumps {
      guard let yes = distance(from: jump.at, to: jump.ifTrue),
        let no = distance(from: jump.at, to: jump.ifFalse)
      else { return nil }
      instructions[jump.at].ifTrue = yes
      instructions[jump.at].ifFalse = no
    }
    // BPF_MAXINSNS
    return instructions.count <= 4096 ? instructions : nil
  }

  private func distance(from: Int, to label: Label?) -> UInt8? {
    guard let label else { return 0 }
    guard let place = places[label] else { return nil }
    return UInt8(exactly: place - from - 1)
  }
}
