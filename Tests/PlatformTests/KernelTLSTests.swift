import Glibc
import Testing

@testable import Platform

struct KernelTLSTests {
  @Test("what the kernel is found to offer is what it lists")
  func agrees() throws {
    guard let file = fopen("/proc/sys/net/ipv4/tcp_available_ulp", "r") else { return }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    let isListed = fgets(&line, 256, file).map { String(cString: $0).contains("tls") } ?? false
    let found = KernelTLS.probe()
    #expect(found != .unknown)
    // Asking may load a module that was not there before.
    if isListed { #expect(found == .offered) }
    #expect(KernelTLS.notOffered.description == "not offered by this kernel")
    #expect(KernelTLS.offered.description == "offered, not used")
  }
}
