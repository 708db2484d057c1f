// `holdfast lab` as a person meets it: wrong words, missing tools, no privileges.

import Foundation
import Glibc
import Testing

@testable import Lab

extension LabProcessTests {
  @Suite("Lab: the command") struct LabCommandTests {
    @Test(
      "what cannot be meant is refused with code 2, and says what would be right",
      arguments: [
        ("lab run", "name scenarios, or say --all"),
        ("lab run L10 --all", "name scenarios, or say --all"),
        ("lab run L99", "`holdfast lab list` has them"),
        ("lab run L10 --tier X", "--tier is S, C, P or K"),
        ("lab run L10 --fix prayer", "--fix is none, drop-invalid, be-liberal, shield"),
        ("lab run L10 --jobs 0", "--jobs is 1 to 64"),
        ("lab reproduce --seconds 0", "--seconds is 1 to 3600"),
        ("lab reproduce --rate 1000", "--rate is 0.1 to 100"),
        ("lab reproduce --way bicycle", "--way is direct, holdfast, nginx"),
        ("lab reproduce --svg /nowhere/at/all.svg", "--svg"),
        ("lab reproduce --svg /tmp", "/tmp is a directory: name a file"),
      ])
    func usage(words: String, answer: String) throws {
      let (code, output) = try LabProcess.run(words)
      #expect(code == 2, "\(output)")
      #expect(output.contains(answer), "\(output)")
    }

    @Test("a fix that none of the named scenarios knows is told with those that do")
    func nothingToPlay() throws {
      let (code, output) = try LabProcess.run("lab run L03 --fix shield")
      #expect(code == 1)
      #expect(output.contains("with shield only L10, "), "\(output)")
    }

    @Test(
      "a missing tool is named, with the package that has it",
      arguments: [("conntrack", "conntrack"), ("ip", "iproute2"), ("nft", "nftables")])
    func missing(tool: String, package: String) throws {
      // A file that cannot be run lies over it, for this process alone.
      let hide =
        "unshare -m sh -c 'for place in \(Shell.path.joined(separator: " ")); do [ ! -e $place/\(tool) ] || mount --bind /dev/null $(readlink -f $place/\(tool)); done; exec \"$@\"' sh"
      for command in ["lab run L03", "lab reproduce"] {
        let (code, output) = try LabProcess.run(command, as: hide)
        #expect(code == 1, "\(output)")
        #expect(output.contains("the lab needs \(tool): apt-get install \(package)"), "\(output)")
      }
    }

    @Test(
      "without nginx the comparison is left out, and whoever asks for it is told where to get it",
      .enabled(if: Requirements.has("nginx"), "nginx is not installed: apt-get install nginx"))
    func withoutNginx() throws {
      let hide =
        "unshare -m sh -c 'mount --bind /dev/null $(readlink -f $(PATH=$PATH:/usr/sbin command -v nginx)); exec \"$@\"' sh"
      let asked = try LabProcess.run("lab reproduce --seconds 1 --way nginx", as: hide)
      #expect(asked.code == 1)
      #expect(asked.output.contains("apt-get install nginx"), "\(asked.output)")
      let all = try LabProcess.run("lab reproduce --seconds 1 --fix shield --clients 2", as: hide)
      #expect(all.code == 0, "\(all.output)")
      #expect(all.output.contains("holdfast, shield") && !all.output.contains("nginx"))
    }

    @Test(
      "where its files cannot lie is said, with the path, what the system says, and what to do",
      arguments: [
        ("env TMPDIR=/nowhere/at/all", "ENOENT (No such file or directory)"),
        ("env TMPDIR=/proc", "ENOENT (No such file or directory)"),
        (
          // A directory can be made there, and a file of one page, and no more.
          "unshare -m sh -c 'mount -t tmpfs -o size=4k,mode=1777 full /mnt && echo x > /mnt/x && exec env TMPDIR=/mnt \"$@\"' sh",
          "ENOSPC (No space left on device)"
        ),
      ])
    func noRoom(prefix: String, words: String) throws {
      let (code, output) = try LabProcess.run("lab run L03 --tier S", as: prefix)
      #expect(code == 1, "\(output)")
      #expect(output.contains(words), "\(output)")
      #expect(output.contains("/hflab-") && output.contains("$TMPDIR"), "\(output)")
      #expect(!output.contains("Domain=") && !output.contains("CAP_SYS_ADMIN"), "\(output)")
    }

    private static let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups"

    @Test(
      "an ordinary user has a lab as well, where the machine gives user namespaces; else it is said what is missing",
      arguments: [
        nobody, "\(nobody) unshare -Urnm", "\(nobody) unshare -Urn",
        // As a login on Debian has it: without root's tools.
        "\(nobody) env PATH=/usr/bin:/bin",
      ])
    func unprivileged(prefix: String) throws {
      let isGiven = (try? Shell.run("\(Self.nobody) unshare -Urnm true")) != nil
      let (code, output) = try LabProcess.run("lab run L10 --tier P --json", as: prefix)
      if isGiven {
        #expect(code == 0, "\(output)")
        #expect(output.contains("\"code\":\"undnat-here\""), "\(output)")
      } else {
        #expect(code == 1)
        #expect(output.contains("kernel.unprivileged_userns_clone"), "\(output)")
      }
    }

    @Test("where no user namespaces are given, what would help is said")
    func forbidden() throws {
      // The limit holds in the user namespace in which it is set, and below.
      let prefix =
        "unshare -Urm sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"' sh"
      let (code, output) = try LabProcess.run("lab run L10", as: prefix)
      #expect(code == 1, "\(output)")
      #expect(output.contains("user.max_user_namespaces above 0"), "\(output)")
    }
  }
}
