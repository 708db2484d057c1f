// The manifests as kustomize renders them, as values that tests can look into, and the schemas they are held against.

import Foundation
import Lab
import Yams

enum Manifests {
  static let folders = [
    "base", "sensors", "sensors-node", "reproduce", "conntrack-fix", "conntrack-fix-drop-invalid",
    "shield",
  ]
  static let directory = "\(Workshop.root)/docker/kubernetes"

  /// Why nothing can be rendered here; nil where it can.
  static let obstacle: String? = {
    guard (try? Shell.run("command -v kubectl")) != nil else {
      return "manifests are rendered with kubectl, 1.22 or newer, and there is none"
    }
    // Debian 12's is from before components.
    guard (try? Shell.run("kubectl kustomize '\(directory)/base' >/dev/null")) != nil else {
      return "this kubectl does not know components: 1.22 or newer does"
    }
    return nil
  }()

  static func text(_ folder: String) throws -> String {
    try Shell.run("kubectl kustomize '\(directory)/\(folder)'")
  }

  static func objects(_ folder: String) throws -> [Object] {
    try Yams.load_all(yaml: text(folder)).compactMap { ($0 as? [String: Any]).map(Object.init) }
  }

  struct Object {
    var value: [String: Any]

    var kind: String { value["kind"] as? String ?? "" }
    var name: String { (value["metadata"] as? [String: Any])?["name"] as? String ?? "" }
    var spec: [String: Any] { value["spec"] as? [String: Any] ?? [:] }

    /// Of what makes pods.
    var pod: [String: Any]? {
      (spec["template"] as? [String: Any])?["spec"] as? [String: Any]
    }

    /// Of its pods, those that come first included.
    var containers: [PodContainer] {
      guard let pod else { return [] }
      return ["initContainers", "containers"].flatMap { place in
        (pod[place] as? [[String: Any]] ?? []).map {
          PodContainer(object: self, pod: pod, value: $0, isFirst: place == "initContainers")
        }
      }
    }
  }

  struct PodContainer {
    var object: Object
    var pod: [String: Any]
    var value: [String: Any]
    var isFirst: Bool

    var name: String { value["name"] as? String ?? "" }
    var image: String { value["image"] as? String ?? "" }

    private func security(_ name: String) -> Any? {
      (value["securityContext"] as? [String: Any])?[name]
        ?? (pod["securityContext"] as? [String: Any])?[name]
    }
    private var capabilities: [String: Any] {
      security("capabilities") as? [String: Any] ?? [:]
    }
    var added: [String] { (capabilities["add"] as? [String] ?? []).sorted() }
    var dropped: [String] { capabilities["drop"] as? [String] ?? [] }
    var isPrivileged: Bool { security("privileged") as? Bool ?? false }
    /// As Kubernetes takes it: allowed unless it is forbidden.
    var mayEscalate: Bool { security("allowPrivilegeEscalation") as? Bool ?? true }
    var isReadOnly: Bool { security("readOnlyRootFilesystem") as? Bool ?? false }
    var isNonRoot: Bool { security("runAsNonRoot") as? Bool ?? false }
    var user: Int? { security("runAsUser") as? Int }
    var seccomp: String? { (security("seccompProfile") as? [String: Any])?["type"] as? String }
    var limits: [String: Any] {
      (value["resources"] as? [String: Any])?["limits"] as? [String: Any] ?? [:]
    }

    /// What is started, with variables put in as the kubelet does.
    func words(entrypoint: [String]) -> [String] {
      let command = value["command"] as? [String] ?? entrypoint
      return (command + (value["args"] as? [String] ?? [])).map { word in
        environment.reduce(word) {
          $0.replacingOccurrences(of: "$(\($1.name))", with: $1.value)
        }
      }
    }

    var environment: [(name: String, value: String)] {
      (value["env"] as? [[String: Any]] ?? []).map {
        ($0["name"] as? String ?? "", $0["value"] as? String ?? "")
      }
    }

    /// Paths of the node, by where they are mounted.
    var hostPaths: [(source: String, target: String)] {
      let volumes = pod["volumes"] as? [[String: Any]] ?? []
      return (value["volumeMounts"] as? [[String: Any]] ?? []).compactMap { mount in
        let volume = volumes.first { $0["name"] as? String == mount["name"] as? String }
        guard let host = volume?["hostPath"] as? [String: Any] else { return nil }
        return (host["path"] as? String ?? "", mount["mountPath"] as? String ?? "")
      }
    }

    /// As a runtime starts it here. Paths of the node are taken from `stand-ins` where that has them.
    func terms(standIns: [String: String] = [:]) -> Container.Terms {
      Container.Terms(
        user: "\(user ?? 0):\(user ?? 0)", capabilities: added, mayEscalate: mayEscalate,
        mounts: hostPaths.map {
          Container.Mount(source: standIns[$0.source] ?? $0.source, target: $0.target)
        },
        environment: environment.map { "\($0.name)=\($0.value)" })
    }
  }
}

/// Programs from the Python index, in a place of their own, that know the schemas.
enum Schemas {
  private static let directory = "\(Workshop.directory)/python"

  private static let made = Result { () throws -> Void in
    if (try? Shell.run("'\(directory)/bin/kubernetes-validate' --version")) != nil,
      (try? Shell.run("'\(directory)/bin/check-jsonschema' --version")) != nil
    {
      return
    }
    do {
      try Shell.run(
        """
        exec 2>&1
        rm -rf '\(directory)'
        python3 -m venv '\(directory)'
        '\(directory)/bin/pip' install --quiet --disable-pip-version-check kubernetes-validate check-jsonschema
        """)
    } catch {
      throw Workshop.Unreachable(
        description:
          "no schemas: they come from the Python index (\(Workshop.lastLine("\(error)")))")
    }
  }

  /// Fetches them the first time.
  static func prepare() async throws {
    let result = try await Workshop.away { made }
    if case .failure(let error as Workshop.Unreachable) = result { try Workshop.skip("\(error)") }
    try result.get()
  }

  /// What is wrong with manifests: nothing, or sentences. Fields that are not in the schema are wrong.
  static func faults(inManifests text: String) throws -> String {
    try check(text, "kubernetes-validate --strict --quiet")
  }

  static func faults(inCompose text: String) throws -> String {
    try check(text, "check-jsonschema --builtin-schema vendor.compose-spec")
  }

  private static func check(_ text: String, _ command: String) throws -> String {
    let run = try LabRun()
    defer { run.remove() }
    let file = "\(run.directory)/file.yaml"
    try text.write(toFile: file, atomically: true, encoding: .utf8)
    let output = try Shell.run("set +e\n'\(directory)/bin/'\(command) '\(file)' 2>&1\necho code=$?")
    if output.hasSuffix("code=0\n") { return "" }
    return output
  }
}
