// Certificates for these tests, made by the `openssl` command: a root, an authority below it, and a server's.

import Foundation
import Glibc

/// Whether a command is there to be used.
func isInstalled(_ command: String) -> Bool {
  (try? shell("command -v \(command)").code) == 0
}

/// Runs a command line, and takes down what it prints; both of its outputs, unless it says otherwise.
@discardableResult
func shell(_ command: String) throws -> (code: Int32, text: String) {
  let process = try ChildProcess("/bin/sh", ["-c", command], listensToOutput: true)
  let ending = try process.waitForEnd(seconds: 120)
  guard case .exited(let code) = ending else { throw Failure("\(command): \(ending)") }
  return (code, process.lines.joined(separator: "\n"))
}

struct Certificates {
  let directory: String

  /// Good for localhost and 127.0.0.1, signed by `intermediate`, which `root` has signed.
  var leaf: String { directory + "/leaf.pem" }
  var leafKey: String { directory + "/leaf.key" }
  /// The leaf with what leads to the root.
  var chain: String { directory + "/chain.pem" }
  var intermediate: String { directory + "/intermediate.pem" }
  var root: String { directory + "/root.pem" }

  /// - Parameter name: of the server's certificate, by which two can be told apart.
  init(in directory: String, name: String = "server") throws {
    self.directory = directory
    let made = try shell(
      """
      set -e; mkdir -p '\(directory)'; cd '\(directory)'
      new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
      openssl req -x509 $new -keyout root.key -out root.pem -days 7 -subj '/CN=\(name) root'
      openssl req $new -keyout intermediate.key -out intermediate.csr -subj '/CN=\(name) authority'
      printf 'basicConstraints=critical,CA:TRUE\\n' > authority.ext
      openssl x509 -req -in intermediate.csr -CA root.pem -CAkey root.key -CAcreateserial -days 7 \
        -extfile authority.ext -out intermediate.pem
      openssl req $new -keyout leaf.key -out leaf.csr -subj '/CN=\(name)'
      printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\nextendedKeyUsage=serverAuth\\n' > leaf.ext
      openssl x509 -req -in leaf.csr -CA intermediate.pem -CAkey intermediate.key -CAcreateserial \
        -days 7 -extfile leaf.ext -out leaf.pem
      cat leaf.pem intermediate.pem > chain.pem
      """)
    guard made.code == 0 else { throw Failure("no certificates: \(made.text)") }
  }

  /// The lines of all keys, which nobody but their owner may ever see.
  func secrets() throws -> [String] {
    let files = try FileManager.default.contentsOfDirectory(atPath: directory)
    return try files.filter { $0.hasSuffix(".key") }.flatMap {
      try Self.body(ofKey: "\(directory)/\($0)")
    }
  }

  /// The encoded lines of a key.
  static func body(ofKey file: String) throws -> [String] {
    try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n")
      .filter { !$0.hasPrefix("-----") }.map(String.init)
  }
}

/// `openssl s_server`, which serves the files of a directory.
final class FileServer {
  let process: ChildProcess
  let port: UInt16

  init(_ certificates: Certificates, sendsChain: Bool, directory: String) throws {
    // Its directory is where it serves from.
    process = try ChildProcess(
      "/bin/sh",
      [
        "-c",
        "cd '\(directory)' && exec openssl s_server -accept 127.0.0.1:0 -WWW -cert '\(certificates.leaf)' -key '\(certificates.leafKey)'"
          + (sendsChain ? " -cert_chain '\(certificates.intermediate)'" : ""),
      ], listensToOutput: true)
    port = try process.wait(for: "its port") { lines in
      lines.first { $0.hasPrefix("ACCEPT ") }.flatMap {
        UInt16($0.split(separator: ":").last ?? "")
      }
    }
  }

  deinit { process.end() }
}
