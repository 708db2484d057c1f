// The images of docker/, built and run: what a container's user meets.

import Foundation
import Glibc
import Lab
import Testing

@Suite(
  "Images", .serialized, .timeLimit(.minutes(30)),
  .enabled(if: Workshop.obstacle == nil, Comment(rawValue: Workshop.obstacle ?? "")))
struct ImageTests {
  @Test("the image is small, whole, and says what it is")
  func image() async throws {
    let image = try await Workshop.images().proxy
    let settings = image.settings
    #expect(settings.user == "65532:65532")
    #expect(settings.entrypoint == ["holdfast"])
    #expect(settings.command == ["serve", "--config", "/etc/holdfast/holdfast.yaml"])
    #expect(settings.volumes == ["/var/cache/holdfast"])
    #expect(settings.ports == ["3128/tcp", "3129/tcp"])
    #expect(settings.stopSignal == "SIGTERM")
    #expect(
      settings.healthCheck == [
        "CMD", "holdfast", "status", "--config", "/etc/holdfast/holdfast.yaml",
      ])
    #expect(settings.labels["org.opencontainers.image.title"] == "Holdfast")
    #expect(settings.labels["org.opencontainers.image.revision"] == "test")
    // The program's version is the label's.
    let run = try LabRun()
    defer { run.remove() }
    let host = try Machine("image", of: run)
    #expect(
      try say(image, ["holdfast", "--version"], host, run)
        == "holdfast \(settings.labels["org.opencontainers.image.version"] ?? "")\n")
    // Every library is there, none of Swift's is wanted.
    let libraries = try say(image, ["ldd", "/usr/local/bin/holdfast"], host, run)
    #expect(libraries.contains("libssl.so.3"))
    #expect(!libraries.contains("not found") && !libraries.contains("libswift"), "\(libraries)")
    // No program in it makes an ordinary user another one.
    #expect(try Shell.run("find '\(image.root)' -xdev -type f -perm /6000") == "")
    // 127 MB of Debian as it is made here (the slim image has 75) and 80 of ours, 68 of them the program.
    #expect(try image.size() < 225_000_000)
  }

  @Test("the lab's image has the tools, and knows what it needs")
  func lab() async throws {
    let image = try await Workshop.images().lab
    let run = try LabRun()
    defer { run.remove() }
    let host = try Machine("image", of: run)
    #expect(try say(image, ["holdfast", "lab", "list"], host, run).contains("L10"))
    let terms = Container.Terms(user: "0:0", capabilities: ["net_admin", "net_raw"])
    try host.shell(Self.forwarding)
    try host.shell("iptables -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to 10.8.3.9:8080")
    #expect(
      try say(image, ["holdfast", "doctor"], host, run, terms, code: 3).contains("EXPOSED"))
    #expect(try image.size() < 265_000_000)
  }

  /// Runs a command in the image and waits for its end.
  private func say(
    _ image: Image, _ words: [String], _ host: Machine, _ run: LabRun,
    _ terms: Container.Terms = Container.Terms(), code: Int32 = 0
  ) throws -> String {
    let container = try Container(
      image, words, terms: terms, on: host, log: "\(run.directory)/output")
    #expect(container.end() == code, "\(words): \(container.output)")
    return container.output
  }

  // MARK: As a service

  /// A proxy in its container, and a server beside it with a file.
  private struct Site {
    let run: LabRun
    let host: Machine
    let origin: Container
    let images: (proxy: Image, lab: Image)
    static let length = 16 << 20

    init(_ images: (proxy: Image, lab: Image)) throws {
      self.images = images
      run = try LabRun()
      host = try Machine("image", of: run)
      // Old enough to be kept without a word of the origin's.
      try Shell.run(
        """
        cd '\(run.directory)'
        mkdir content
        head -c \(Self.length) /dev/urandom > content/file
        touch -d 2020-01-01 content/file
        chmod -R a+rX .
        """)
      origin = try Container(
        images.lab, ["busybox", "httpd", "-f", "-v", "-p", "127.0.0.1:8000", "-h", "/srv"],
        terms: .init(
          mounts: [.init(source: "\(run.directory)/content", target: "/srv", isReadOnly: true)]),
        on: host, log: "\(run.directory)/origin.log")
      try retry("the origin") { try host.shell("curl -sS -I http://127.0.0.1:8000/file") }
    }

    /// As Docker makes a new volume: with the owner of the directory in the image.
    func volume(_ name: String, owner: String = "65532:65532") throws -> String {
      let path = "\(run.directory)/\(name)"
      try Shell.run("mkdir '\(path)'; chmod 770 '\(path)'; chown \(owner) '\(path)'")
      return path
    }

    func start(_ volume: String, _ terms: Container.Terms = .init(), log: String = "proxy.log")
      throws -> Container
    {
      var terms = terms
      terms.mounts.append(.init(source: volume, target: "/var/cache/holdfast"))
      let settings = images.proxy.settings
      return try Container(
        images.proxy,
        settings.entrypoint + settings.command + ["--allow-private", "127.0.0.0/8"],
        terms: terms, on: host, log: "\(run.directory)/\(log)")
    }

    func serve(_ volume: String, _ terms: Container.Terms = .init()) throws -> Container {
      let container = try start(volume, terms)
      try container.wait(for: "endings")
      return container
    }

    /// The head of the answer; the content is compared.
    func fetch(_ options: String = "") throws -> String {
      try host.shell(
        """
        curl -sS -f \(options) -x http://127.0.0.1:3128 -D '\(run.directory)/head' -o '\(run.directory)/got' http://127.0.0.1:8000/file
        cmp '\(run.directory)/got' '\(run.directory)/content/file'
        cat '\(run.directory)/head'
        """)
    }

    func retry(_ what: String, _ body: () throws -> Void) throws {
      for _ in 0..<500 {
        if (try? body()) != nil { return }
        usleep(20_000)
      }
      try body()
    }
  }

  @Test(
    "with a read-only root, as an ordinary user without a capability: a miss, a hit, healthy; SIGTERM lets a download finish; the store is there again"
  )
  func service() async throws {
    let images = try await Workshop.images()
    do {
      let site = try Site(images)
      defer { site.run.remove() }
      let volume = try site.volume("volume")
      let proxy = try site.serve(volume)
      #expect(try site.fetch().contains("fwd=uri-miss"))
      #expect(try site.fetch().contains("Holdfast; hit"))

      let health = Array(images.proxy.settings.healthCheck.dropFirst())
      let healthy = try proxy.execute(health)
      #expect(healthy.code == 0, "\(healthy.output)")
      #expect(healthy.output.contains("serving"))
      let status = try proxy.execute(["cat", "/proc/1/status"]).output
      #expect(status.contains("Uid:\t65532\t65532\t65532\t65532"))
      #expect(status.contains("CapPrm:\t0000000000000000"))
      #expect(status.contains("CapBnd:\t0000000000000000"))
      let root = try proxy.execute(["cat", "/proc/mounts"]).output.split(separator: "\n").first {
        $0.contains(" / ")
      }
      #expect(root?.split(separator: " ")[3].hasPrefix("ro") == true, "\(root ?? "")")
      // All that was written lies in the volume.
      #expect(try Shell.run("ls '\(volume)'").contains("store"))

      // A second one on the same store is told so, and does not disturb the first.
      let second = try site.start(volume, log: "second.log")
      #expect(second.end() == 1)
      #expect(second.output.contains("in use by another process"), "\(second.output)")

      // A client that takes two seconds; the proxy is told to end while it does.
      let slow = try site.host.spawn(
        [
          "curl", "-sS", "-f", "--limit-rate", "8M", "-x", "http://127.0.0.1:3128", "-o",
          "\(site.run.directory)/slow", "http://127.0.0.1:8000/file",
        ])
      try site.retry("the download") {
        try Shell.run("[ -s '\(site.run.directory)/slow' ]")
      }
      proxy.signal(SIGTERM)
      #expect(slow.wait() == 0)
      #expect(proxy.end() == 0, "\(proxy.output)")
      try Shell.run(
        "cmp '\(site.run.directory)/slow' '\(site.run.directory)/content/file'")

      let again = try site.serve(volume)
      #expect(try again.execute(health).code == 0)
      try site.retry("the store to have been read") {
        guard try !again.execute(health).output.contains("still being read") else {
          throw LabError("still being read")
        }
      }
      #expect(try site.fetch().contains("Holdfast; hit"))
      again.signal(SIGTERM)
      #expect(again.end() == 0)
    }
  }

  @Test(
    "with CAP_NET_RAW an ordinary user sees packets, with CAP_NET_ADMIN the table of connections; without leave to escalate it serves all the same"
  )
  func sensors() async throws {
    let images = try await Workshop.images()
    do {
      let site = try Site(images)
      defer { site.run.remove() }
      for (capabilities, mayEscalate, active, effective) in [
        (["net_raw"], true, ["packets"], "2000"),
        (["net_raw", "net_admin"], true, ["packets", "conntrack"], "3000"),
        (["net_raw"], false, [], "0000"),
      ] {
        let proxy = try site.serve(
          try site.volume("volume-\(capabilities.count)-\(mayEscalate)"),
          .init(capabilities: capabilities, mayEscalate: mayEscalate))
        let text = try proxy.execute(["holdfast", "status", "--json"]).output
        let object = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
        let sensors = (object?["sensors"] as? [[String: Any]] ?? []).filter {
          $0["active"] as? Bool == true
        }
        let names = Set(sensors.compactMap { $0["name"] as? String })
        #expect(names.intersection(["packets", "conntrack"]) == Set(active), "\(text)")
        let status = try proxy.execute(["cat", "/proc/1/status"]).output
        #expect(status.contains("Uid:\t65532"))
        #expect(status.contains("CapEff:\t000000000000\(effective)"))
        #expect(try site.fetch().contains("200 OK"))
        proxy.signal(SIGTERM)
        #expect(proxy.end() == 0)
      }
    }
  }

  @Test("a volume that belongs to somebody else: it ends at once, and says what to do")
  func foreignVolume() async throws {
    let images = try await Workshop.images()
    do {
      let site = try Site(images)
      defer { site.run.remove() }
      let proxy = try site.start(try site.volume("volume", owner: "0:0"))
      #expect(proxy.end() == 1)
      #expect(proxy.output.contains("/var/cache/holdfast"), "\(proxy.output)")
      #expect(proxy.output.contains("give that user the directory"), "\(proxy.output)")
    }
  }

  @Test("a volume that is full: downloads arrive, and are not kept")
  func fullVolume() async throws {
    let images = try await Workshop.images()
    do {
      let site = try Site(images)
      defer { site.run.remove() }
      let volume = try site.volume("volume")
      try Shell.run("mount -t tmpfs -o size=4m,uid=65532,gid=65532,mode=770 tmpfs '\(volume)'")
      defer { _ = try? Shell.run("umount '\(volume)'") }
      let proxy = try site.serve(volume)
      for _ in 0..<2 { #expect(try !site.fetch().contains("; hit")) }
      #expect(try proxy.execute(["holdfast", "status"]).code == 0)
      proxy.signal(SIGTERM)
      #expect(proxy.end() == 0)
    }
  }

  // MARK: On a node

  private static let service =
    "iptables -t nat -A PREROUTING -d 10.96.0.10 -p tcp --dport 80 -j DNAT --to-destination 10.8.3.9:8080"
  /// A node that forwards nothing is not exposed.
  private static let forwarding = "sysctl -qw net.ipv4.ip_forward=1"
  private static let liberal = "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal"

  @Test(
    "the cure of the DaemonSet is there while its pod is, gone when it is ended, and taken back by a successor when it was killed",
    .enabled(if: Manifests.obstacle == nil, Comment(rawValue: Manifests.obstacle ?? "")),
    arguments: ["conntrack-fix", "conntrack-fix-drop-invalid"])
  func cure(folder: String) async throws {
    let image = try await Workshop.images().lab
    let set = try #require(try Manifests.objects(folder).first { $0.kind == "DaemonSet" })
    let manifest = try #require(set.containers.first)
    let words = manifest.words(entrypoint: image.settings.entrypoint)
    let run = try LabRun()
    defer { run.remove() }
    try Shell.run("mkdir '\(run.directory)/records'")
    let terms = manifest.terms(standIns: [
      "/run/holdfast-doctor": "\(run.directory)/records"
    ])
    do {
      let host = try Machine("node", of: run)
      try host.shell(Self.forwarding)
      try host.shell(Self.service)
      func state() throws -> String {
        try host.shell("cat \(Self.liberal); nft list tables; iptables-save -t nat | grep -v '^#'")
      }
      func start(_ log: String) throws -> Container {
        let pod = try Container(
          image, words, terms: terms, on: host, log: "\(run.directory)/\(log)")
        try pod.wait(for: "kept until SIGTERM")
        return pod
      }
      let before = try state()

      let pod = try start("first")
      #expect(try state() != before)
      #expect(pod.output.contains("PROTECTED"), "\(pod.output)")
      pod.signal(SIGTERM)
      #expect(pod.end() == 0, "\(pod.output)")
      #expect(try state() == before, "\(pod.output)")

      let killed = try start("killed")
      killed.signal(SIGKILL)
      _ = killed.end()
      #expect(try state() != before)
      let successor = try start("successor")
      successor.signal(SIGTERM)
      #expect(successor.end() == 0, "\(successor.output)")
      #expect(try state() == before, "\(successor.output)")
    }
  }

  @Test(
    "what was set before is nobody's to take back",
    .enabled(if: Manifests.obstacle == nil, Comment(rawValue: Manifests.obstacle ?? "")))
  func others() async throws {
    let image = try await Workshop.images().lab
    let manifest = try #require(
      try Manifests.objects("conntrack-fix").flatMap(\.containers).first)
    let words = manifest.words(entrypoint: image.settings.entrypoint)
    let run = try LabRun()
    defer { run.remove() }
    try Shell.run("mkdir '\(run.directory)/records'")
    let terms = manifest.terms(standIns: ["/run/holdfast-doctor": "\(run.directory)/records"])
    do {
      let host = try Machine("node", of: run)
      try host.shell("\(Self.service)\necho 1 > \(Self.liberal)")
      let pod = try Container(image, words, terms: terms, on: host, log: "\(run.directory)/pod")
      try pod.wait(for: "kept until SIGTERM")
      pod.signal(SIGTERM)
      #expect(pod.end() == 0)
      #expect(pod.output.contains("nothing to take back"), "\(pod.output)")
      #expect(try host.shell("cat \(Self.liberal)") == "1\n")
    }
  }

  @Test(
    "the init container of the shield leaves its rule in the pod's network, with no more than NET_ADMIN",
    .enabled(if: Manifests.obstacle == nil, Comment(rawValue: Manifests.obstacle ?? "")))
  func shield() async throws {
    let image = try await Workshop.images().lab
    let containers = try Manifests.objects("shield").flatMap(\.containers)
    let manifest = try #require(containers.first { $0.isFirst })
    let words = manifest.words(entrypoint: image.settings.entrypoint)
    let terms = manifest.terms()
    let run = try LabRun()
    defer { run.remove() }
    do {
      let host = try Machine("pod", of: run)
      let first = try Container(image, words, terms: terms, on: host, log: "\(run.directory)/log")
      #expect(first.end() == 0, "\(first.output)")
      #expect(
        first.output.contains("tcp flags") && first.output.contains("drop"), "\(first.output)")
      #expect(try host.shell("nft list ruleset").contains("holdfast-shield"))
      // A container that starts again, as when the pod's sandbox stays, finds it there.
      let again = try Container(image, words, terms: terms, on: host, log: "\(run.directory)/log2")
      #expect(again.end() == 0, "\(again.output)")
      #expect(try host.shell("nft list tables | wc -l") == "1\n")
    }
  }
}
