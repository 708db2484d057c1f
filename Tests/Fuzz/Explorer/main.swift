// The program that libFuzzer drives. It is part of the package only when HOLDFAST_FUZZ is set, for
// it links nowhere else; `make fuzz` (Tests/Fuzz/explore) builds and runs it.
//
//   HOLDFAST_FUZZ_TARGET=request Fuzz [libFuzzer options] CORPUS…

import CLibFuzzer
import FuzzEntries
import Glibc

func chosen() -> FuzzTarget {
  if let name = getenv("HOLDFAST_FUZZ_TARGET"),
    let target = FuzzTarget(rawValue: String(cString: name))
  {
    return target
  }
  let known = FuzzTarget.allCases.map(\.rawValue).joined(separator: " ")
  print("set HOLDFAST_FUZZ_TARGET to one of: \(known)")
  exit(2)
}

let target = chosen()

/// One input. libFuzzer looks for this very name.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  target.run(Array(UnsafeBufferPointer(start: start, count: count)))
  return 0
}

var count = CommandLine.argc
var words: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
exit(LLVMFuzzerRunDriver(&count, &words, testOneInput))
