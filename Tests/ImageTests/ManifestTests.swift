// docker/kubernetes and docker/compose.yaml: well-formed, complete, and with no more rights than they say.

import Foundation
import Lab
import Testing
import Yams

@Suite("Manifests", .timeLimit(.minutes(10)))
struct ManifestTests {
  private static let obstacle = Comment(rawValue: Manifests.obstacle ?? "")

  @Suite(.enabled(if: Manifests.obstacle == nil, obstacle))
  struct Kubernetes {
    @Test(
      "every folder renders, and has no field that Kubernetes does not know",
      arguments: Manifests.folders)
    func schemas(folder: String) async throws {
      try await Schemas.prepare()
      let faults = try await Workshop.away {
        try Schemas.faults(inManifests: Manifests.text(folder))
      }
      #expect(faults == "")
    }

    @Test("a misspelt field is found, and so is one in the wrong place")
    func misspelt() async throws {
      try await Schemas.prepare()
      for (right, wrong) in [
        ("readinessProbe:", "readynessProbe:"),
        ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: \"yes\""),
      ] {
        let text = try Manifests.text("base")
        #expect(text.contains(right))
        let faults = try await Workshop.away {
          try Schemas.faults(inManifests: text.replacing(right, with: wrong))
        }
        #expect(faults.contains("did not validate"), "\(wrong): \(faults)")
      }
    }

    /// Who gets which capability; everybody else gets none.
    private static let capabilities: [String: [String]] = [
      "sensors holdfast": ["NET_RAW"],
      "sensors-node holdfast": ["NET_ADMIN", "NET_RAW"],
      "reproduce holdfast": ["NET_RAW"],
      "reproduce probe-server": ["NET_RAW"],
      "conntrack-fix conntrack-fix": ["NET_ADMIN"],
      "conntrack-fix-drop-invalid conntrack-fix": ["NET_ADMIN"],
      "shield shield": ["NET_ADMIN"],
    ]

    @Test("no container has more rights than it needs, or no limits", arguments: Manifests.folders)
    func rights(folder: String) throws {
      var containers = 0
      for object in try Manifests.objects(folder) {
        for container in object.containers {
          containers += 1
          let who = "\(folder) \(container.name)"
          let added = Self.capabilities[who] ?? []
          #expect(container.added == added, "\(who)")
          #expect(container.dropped == ["ALL"], "\(who)")
          #expect(!container.isPrivileged, "\(who)")
          #expect(container.isReadOnly, "\(who)")
          #expect(container.seccomp == "RuntimeDefault", "\(who)")
          #expect(Set(container.limits.keys) == ["cpu", "memory"], "\(who)")
          // An ordinary user comes to a capability only by the program's file.
          let isOrdinary = container.isNonRoot && (container.user ?? 0) > 0
          #expect(container.mayEscalate == (isOrdinary && !added.isEmpty), "\(who)")
          #expect(isOrdinary || !added.isEmpty, "\(who) is root for nothing")
        }
        guard let pod = object.pod else { continue }
        #expect(pod["automountServiceAccountToken"] as? Bool == false, "\(object.name)")
        #expect(pod["hostPID"] == nil && pod["hostIPC"] == nil)
        let isOnNode = folder.hasPrefix("conntrack-fix") || folder == "sensors-node"
        #expect((pod["hostNetwork"] as? Bool ?? false) == isOnNode, "\(folder) \(object.name)")
      }
      #expect(containers > 0)
    }

    @Test("the shield's capability is gone before the build begins")
    func shield() throws {
      let pod = try #require(try Manifests.objects("shield").first { $0.kind == "Deployment" })
      #expect(pod.containers.filter { $0.isFirst }.map(\.added) == [["NET_ADMIN"]])
      #expect(pod.containers.filter { !$0.isFirst }.map(\.added) == [[]])
    }

    @Test("images are named in one place, with a version", arguments: Manifests.folders)
    func images(folder: String) throws {
      let images = try Manifests.objects(folder).flatMap { $0.containers.map(\.image) }
      for image in images {
        #expect(image.hasPrefix("example.org/holdfast/holdfast"))
        #expect(image.hasSuffix(":0.1.0"))
      }
      // And the one place is enough.
      let run = try LabRun()
      defer { run.remove() }
      let copy = "\(run.directory)/kubernetes"
      let text = try Shell.run(
        """
        cp -r '\(Manifests.directory)' '\(copy)'
        sed -i 's#example.org/holdfast#registry.example.net/mine#; s#0.1.0#7.0.0#' '\(copy)/images/kustomization.yaml'
        kubectl kustomize '\(copy)/\(folder)' | grep ' image: '
        """)
      for line in text.split(separator: "\n") {
        #expect(line.contains(" image: registry.example.net/mine/holdfast"), "\(line)")
        #expect(line.hasSuffix(":7.0.0"), "\(line)")
      }
    }

    @Test(
      "the configurations in them are right, and draining fits into the time that pods are given",
      arguments: ["base", "sensors-node", "reproduce"])
    func configurations(folder: String) throws {
      let objects = try Manifests.objects(folder)
      let maps = objects.filter { $0.kind == "ConfigMap" && $0.name.hasPrefix("holdfast-") }
      let data = maps.first?.value["data"] as? [String: String]
      let text = try #require(data?["holdfast.yaml"])
      try Configurations.check(text)
      let set = try #require(objects.first { $0.kind == "StatefulSet" })
      let grace = try #require(set.pod?["terminationGracePeriodSeconds"] as? Int)
      let container = try #require(set.containers.first)
      let sleep =
        ((container.value["lifecycle"] as? [String: Any])?["preStop"] as? [String: Any])?["sleep"]
        as? [String: Any]
      let pause = sleep?["seconds"] as? Int ?? 0
      #expect(pause > 0)
      #expect(try pause + Configurations.drain(text) + 5 <= grace)
      // Its configuration is the one that it is told to read.
      let mounts = container.value["volumeMounts"] as? [[String: Any]] ?? []
      #expect(mounts.contains { $0["mountPath"] as? String == "/etc/holdfast" })
      #expect(
        container.words(entrypoint: []) == ["serve", "--config", "/etc/holdfast/holdfast.yaml"])
    }

    @Test("selectors find the pods they are for", arguments: Manifests.folders)
    func selectors(folder: String) throws {
      let objects = try Manifests.objects(folder)
      let labels = objects.compactMap { object -> [String: String]? in
        let template = object.spec["template"] as? [String: Any]
        return (template?["metadata"] as? [String: Any])?["labels"] as? [String: String]
      }
      for object in objects {
        let selector: [String: String]?
        switch object.kind {
        case "Service": selector = object.spec["selector"] as? [String: String]
        case "NetworkPolicy":
          selector =
            (object.spec["podSelector"] as? [String: Any])?["matchLabels"] as? [String: String]
        default: continue
        }
        let wanted = try #require(selector, "\(object.kind) \(object.name)")
        #expect(
          labels.contains { pod in wanted.allSatisfy { pod[$0.key] == $0.value } },
          "\(object.kind) \(object.name)")
      }
    }

    @Test(
      "the cure's pods are succeeded before they end, are ended last, and start whatever a node lacks",
      arguments: ["conntrack-fix", "conntrack-fix-drop-invalid"])
    func nodes(folder: String) throws {
      let objects = try Manifests.objects(folder)
      let set = try #require(objects.first { $0.kind == "DaemonSet" })
      let update = (set.spec["updateStrategy"] as? [String: Any])?["rollingUpdate"]
      #expect(update as? [String: Int] == ["maxSurge": 1, "maxUnavailable": 0])
      #expect(set.spec["minReadySeconds"] as? Int ?? 0 > 0)
      #expect(set.pod?["priorityClassName"] as? String == "system-node-critical")
      #expect(objects.contains { $0.kind == "ResourceQuota" })
      for volume in set.pod?["volumes"] as? [[String: Any]] ?? [] {
        let path = try #require(volume["hostPath"] as? [String: Any])
        #expect(path["type"] as? String != "Directory", "\(path)")
        #expect(path["path"] as? String != "/proc/sys/net/netfilter")
      }
      // Its settings are below what it is told.
      let container = try #require(set.containers.first)
      #expect(container.words(entrypoint: []).contains("/host/proc/sys"))
      #expect(container.hostPaths.contains { $0 == ("/proc/sys/net", "/host/proc/sys/net") })
    }

    @Test(
      "readiness is what the proxy says of itself, which is no while it drains",
      arguments: ["base", "sensors", "sensors-node", "reproduce"])
    func readiness(folder: String) throws {
      let set = try #require(try Manifests.objects(folder).first { $0.kind == "StatefulSet" })
      let probe = set.containers.first?.value["readinessProbe"] as? [String: Any] ?? [:]
      let ask = try #require(probe["httpGet"] as? [String: Any])
      #expect(ask["path"] as? String == "/readyz" && ask["port"] as? String == "metrics")
      // The kubelet's own loopback is that of a pod in the node's network, and of no other.
      let isOnNode = set.pod?["hostNetwork"] as? Bool ?? false
      #expect(ask["host"] as? String == (isOnNode ? "127.0.0.1" : nil))
      #expect(Set(probe.keys).isDisjoint(with: ["exec", "tcpSocket"]))
    }

    @Test("the probe's pods have no sidecar, through which nothing could be told")
    func sidecars() throws {
      let pods = try Manifests.objects("reproduce").filter { $0.name.hasPrefix("probe") }
        .compactMap { $0.spec["template"] as? [String: Any] }
      #expect(pods.count == 2)
      for pod in pods {
        let labels = (pod["metadata"] as? [String: Any])?["labels"] as? [String: String]
        #expect(labels?["sidecar.istio.io/inject"] == "false")
      }
    }

    @Test("the script of the clients is plain shell")
    func script() throws {
      try Shell.run("sh -n '\(Manifests.directory)/reproduce/download.sh'")
    }
  }

  // MARK: Compose

  private static var compose: String {
    get throws {
      try String(contentsOfFile: "\(Workshop.root)/docker/compose.yaml", encoding: .utf8)
    }
  }

  @Test(
    "the compose file has no field that its specification does not know; a misspelt one is found")
  func compose() async throws {
    try await Schemas.prepare()
    let text = try Self.compose
    let (right, wrong) = try await Workshop.away {
      (
        try Schemas.faults(inCompose: text),
        try Schemas.faults(inCompose: text.replacing("mem_limit", with: "memlimit"))
      )
    }
    #expect(right == "")
    #expect(wrong.contains("memlimit"), "\(wrong)")
  }

  @Test("the compose file gives no rights, sets limits, and asks for health as the image does")
  func composeRights() throws {
    let object = try #require(try Yams.load(yaml: Self.compose) as? [String: Any])
    let services = try #require(object["services"] as? [String: [String: Any]])
    #expect(Set(services.keys) == ["holdfast", "demo"])
    for (name, service) in services {
      #expect(service["read_only"] as? Bool == true, "\(name)")
      #expect(service["cap_drop"] as? [String] == ["ALL"], "\(name)")
      #expect(service["cap_add"] == nil, "\(name)")
      #expect(service["security_opt"] as? [String] == ["no-new-privileges:true"], "\(name)")
      #expect(service["mem_limit"] != nil && service["cpus"] != nil, "\(name)")
      #expect(service["pids_limit"] != nil, "\(name)")
    }
    let ports = services["holdfast"]?["ports"] as? [String] ?? []
    #expect(ports.allSatisfy { $0.hasPrefix("127.0.0.1:") })
    let file = try String(
      contentsOfFile: "\(Workshop.root)/docker/Dockerfile", encoding: .utf8)
    let health = (services["holdfast"]?["healthcheck"] as? [String: Any])?["test"] as? [String]
    let words = (health ?? []).dropFirst().map { "\"\($0)\"" }.joined(separator: ", ")
    #expect(file.contains("CMD [\(words)]\nENTRYPOINT"))
  }

  @Test("the image's own configuration is right, and drains faster than Docker's ten seconds")
  func image() throws {
    let text = try String(
      contentsOfFile: "\(Workshop.root)/docker/holdfast.yaml", encoding: .utf8)
    try Configurations.check(text)
    #expect(try Configurations.drain(text) < 10)
  }

  @Test(
    "nothing is fetched by a name without a version, and every command is started without a shell")
  func dockerfiles() throws {
    for name in ["Dockerfile", "Dockerfile.lab"] {
      let text = try String(contentsOfFile: "\(Workshop.root)/docker/\(name)", encoding: .utf8)
      #expect(!text.contains("latest"), "\(name)")
      for line in text.split(separator: "\n") {
        for instruction in ["ENTRYPOINT ", "CMD "] where line.hasPrefix(instruction) {
          #expect(line.hasPrefix("\(instruction)["), "\(name): \(line)")
        }
      }
    }
  }
}

/// Configurations, as the built program judges them.
private enum Configurations {
  static func check(_ text: String) throws {
    let run = try LabRun()
    defer { run.remove() }
    let file = "\(run.directory)/holdfast.yaml"
    try text.write(toFile: file, atomically: true, encoding: .utf8)
    try Shell.run("'\(Program.path())' check --config '\(file)' 2>&1")
  }

  /// Seconds.
  static func drain(_ text: String) throws -> Int {
    let object = try #require(try Yams.load(yaml: text) as? [String: Any])
    let limits = try #require(object["limits"] as? [String: Any])
    let words = try #require(limits["drain-timeout"] as? String)
    return try #require(Int(words.dropLast()))
  }
}

enum Program {
  /// Beside the tests, unless it is named.
  static func path() throws -> String {
    if let path = ProcessInfo.processInfo.environment["HOLDFAST_EXECUTABLE"] { return path }
    let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return URL(fileURLWithPath: tests).deletingLastPathComponent()
      .appendingPathComponent("holdfast").path
  }
}
