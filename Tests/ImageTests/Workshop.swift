// Builds the images by their own Dockerfiles, with buildah, where no registry can be reached: the images they begin with are
// made here, under the names they have there. Debian comes from the machine's own package sources; the Swift image is that and
// the machine's toolchain, mounted. Everything lies in .build/images, and what is made once stays.
//
// The compile in the build stage goes on from the release build that `make test` has made: copies of the tree, of its build
// directory and of the system's headers are mounted where they were when that was made. So every line of the Dockerfile is carried out, and the compiler has
// nothing to do. `make image` does it all from nothing.
//
// buildah mounts things and leaves them mounted; each call has a mount namespace of its own, with which they go.

import Foundation
import Glibc
import Lab
import Testing

enum Workshop {
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().path
  static let directory = "\(root)/.build/images"
  private static let debian = "docker.io/library/debian:bookworm-slim"
  private static let swift = "docker.io/library/swift:6.3-bookworm"
  private static let release = "\(root)/.build/release"

  /// Why no image can be built here; nil where one can.
  static let obstacle: String? = {
    if let obstacle = Requirements.obstacle { return obstacle }
    for (command, package) in [
      ("buildah", "buildah"), ("mmdebstrap", "mmdebstrap"), ("curl", "curl"),
    ] where !Requirements.has(command) {
      return "images are built with \(command): apt-get install \(package)"
    }
    let system = (try? String(contentsOfFile: "/etc/os-release", encoding: .utf8)) ?? ""
    guard system.contains("VERSION_CODENAME=bookworm") else {
      return "the images are Debian 12's, and are made from the package sources of such a machine"
    }
    guard FileManager.default.isExecutableFile(atPath: "\(release)/holdfast") else {
      return "the build stage goes on from a release build, and there is none: make release"
    }
    guard let toolchain, toolchain != "/usr", toolchain != "/" else {
      return "the toolchain lies among the system's files and cannot be mounted: make image"
    }
    return nil
  }()

  /// The directory that has `usr/bin/swift`.
  static let toolchain: String? = {
    let path = try? Shell.run("readlink -f \"$(command -v swift)\"")
    guard let path, path.contains("/usr/bin/") else { return nil }
    return path.components(separatedBy: "/usr/bin/").first
  }()

  // MARK: Images

  /// The proxy's and the lab's, built and laid out; the same for all tests of a run.
  private static let made = Result { () throws -> (proxy: Image, lab: Image) in
    try prepareBase()
    try prepareSwift()
    let scratch = "\(directory)/tree"
    try copyTree(to: scratch)
    defer { _ = try? Shell.run("rm -rf '\(scratch)' '\(scratch).include'") }
    let volumes = [
      "'\(scratch)':'\(root)'", "'\(scratch).include':/usr/include",
      "'\(toolchain ?? "")':'\(toolchain ?? "")':ro",
    ]
    try build(
      "Dockerfile", "holdfast:test",
      "--build-arg SOURCE='\(root)' --build-arg REVISION=test \(volumes.map { "--volume \($0)" }.joined(separator: " "))"
    )
    try build("Dockerfile.lab", "holdfast-lab:test", "--build-arg HOLDFAST=holdfast:test")
    return (try layOut("holdfast:test"), try layOut("holdfast-lab:test"))
  }

  /// Waits on a thread of its own until they are built.
  static func images() async throws -> (proxy: Image, lab: Image) {
    let result = try await away { made }
    if case .failure(let error as Unreachable) = result { try skip("\(error)") }
    return try result.get()
  }

  /// Blocking work, off the threads that tasks run on.
  static func away<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws
    -> Value
  {
    try await withCheckedThrowingContinuation { continuation in
      Thread { continuation.resume(with: Result { try body() }) }.start()
    }
  }

  static func skip(_ reason: String) throws {
    #if compiler(>=6.3)
      try Test.cancel(Comment(rawValue: reason))
    #else
      throw LabError(reason)
    #endif
  }

  /// What a command that failed said last.
  static func lastLine(_ words: String) -> String {
    words.split(separator: "\n").last { !$0.allSatisfy(\.isWhitespace) }.map(String.init) ?? ""
  }

  struct Unreachable: Error, CustomStringConvertible {
    var description: String
  }

  // MARK: Steps

  /// Runs buildah with a storage of its own.
  @discardableResult
  static func buildah(_ lines: String) throws -> String {
    try Shell.run(
      """
      exec 2>&1
      unshare --mount sh -euc '
        mount --make-rprivate /
        buildah() { command buildah --root "$STORE/storage" --runroot "$STORE/run" --storage-driver overlay "$@"; }
        cd "$STORE"
        eval "$LINES"
      '
      """.prefixed(with: ["STORE": directory, "LINES": lines]))
  }

  private static func build(_ file: String, _ tag: String, _ options: String) throws {
    let log = "\(directory)/\(file).log"
    do {
      // Docker's format, because the other has no HEALTHCHECK.
      try buildah(
        """
        buildah build --format docker --isolation chroot --pull-never --layers=false \(options) \
          --file '\(root)/docker/\(file)' --tag \(tag) '\(root)' >'\(log)' 2>&1
        """)
    } catch {
      let words = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
      // apt's words.
      if words.contains("Failed to fetch") || words.contains("Unable to fetch")
        || words.contains("Temporary failure resolving")
        || words.contains("Unable to locate package")
      {
        throw Unreachable(
          description: "the package sources cannot be reached while docker/\(file) is built")
      }
      throw LabError("docker/\(file) cannot be built (\(log)):\n\(words.suffix(3000))")
    }
  }

  /// Debian without documents and translations, as in the slim image.
  private static func prepareBase() throws {
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    if try has(debian) { return }
    let archive = "\(directory)/base.tar"
    do {
      try Shell.run(
        """
        sources=$(mktemp -d)
        trap 'rm -rf "$sources"' EXIT
        eval "$(apt-config shell LIST Dir::Etc::sourcelist/f PARTS Dir::Etc::sourceparts/d)"
        set --
        for file in "$LIST" "$PARTS"*.list "$PARTS"*.sources; do [ -s "$file" ] && set -- "$@" "$file"; done
        mmdebstrap --quiet --mode=root --variant=minbase --format=tar \
          --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
          --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
          --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin' \
          bookworm '\(archive).new' "$@" 2>&1
        mv '\(archive).new' '\(archive)'
        """)
    } catch {
      throw Unreachable(
        description:
          "no Debian could be made of the machine's package sources: \(lastLine("\(error)"))")
    }
    try buildah(
      """
      image=$(buildah from scratch)
      buildah add --quiet "$image" '\(archive)' /
      buildah config --cmd '["bash"]' "$image"
      buildah commit --quiet --rm "$image" \(debian)
      """)
    unlink(archive)
  }

  /// What the official image has beside the toolchain, as far as it is used.
  private static func prepareSwift() throws {
    guard let toolchain else { return }
    if try has(swift) { return }
    try buildah(
      """
      image=$(buildah from --pull-never \(debian))
      buildah run --isolation chroot "$image" -- sh -euc "apt-get update -qq; \
        apt-get install -y -qq --no-install-recommends binutils ca-certificates git libc6-dev libcap2-bin libcurl4 libedit2 \
        libncurses6 libsqlite3-0 libssl-dev libstdc++-12-dev libxml2 pkg-config zlib1g-dev >/dev/null; rm -rf /var/lib/apt/lists/*"
      buildah config --env "PATH=\(toolchain)/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "$image"
      buildah commit --quiet --rm "$image" \(swift)
      """)
  }

  /// The sources, the system's headers and the release build with their times, which is what the package manager goes by.
  private static func copyTree(to scratch: String) throws {
    try Shell.run(
      """
      rm -rf '\(scratch)' '\(scratch).include'
      mkdir -p '\(scratch)/.build'
      cp -a /usr/include '\(scratch).include'
      cd '\(root)'
      cp -a Package.swift Sources Tests '\(scratch)'
      [ ! -e Package.resolved ] || cp -a Package.resolved '\(scratch)'
      platform=$(readlink .build/release)
      mkdir -p '\(scratch)/.build/'"${platform%/*}"
      cp -a ".build/$platform" '\(scratch)/.build/'"$platform"
      for name in release release.yaml build.db checkouts repositories artifacts workspace-state.json; do
        [ ! -e ".build/$name" ] || cp -a ".build/$name" '\(scratch)/.build/'
      done
      """)
  }

  /// Lays out an image as directories.
  private static func layOut(_ tag: String) throws -> Image {
    let path = "\(directory)/\(tag.split(separator: ":")[0])"
    let text = try buildah(
      """
      image=$(buildah from --pull-never \(tag))
      mounted=$(buildah mount "$image")
      rm -rf '\(path)'
      cp -a "$mounted" '\(path)'
      buildah umount "$image" >/dev/null
      buildah rm "$image" >/dev/null
      buildah inspect --type image \(tag)
      """)
    guard let start = text.firstIndex(of: "{"),
      let object = try JSONSerialization.jsonObject(with: Data(text[start...].utf8))
        as? [String: Any],
      let docker = object["Docker"] as? [String: Any],
      let settings = docker["config"] as? [String: Any]
    else { throw LabError("buildah does not say what \(tag) is: \(text.prefix(500))") }
    return Image(root: path, settings: ImageSettings(settings))
  }

  private static func has(_ image: String) throws -> Bool {
    let words = "buildah images --quiet \(image) >/dev/null 2>&1 && echo present || echo missing"
    return try buildah(words) == "present\n"
  }
}

extension String {
  /// Lines of shell with variables set before them.
  fileprivate func prefixed(with variables: [String: String]) -> String {
    let settings = variables.map {
      "export \($0.key)='\($0.value.replacingOccurrences(of: "'", with: "'\\''"))'"
    }
    return (settings.sorted() + [self]).joined(separator: "\n")
  }
}
