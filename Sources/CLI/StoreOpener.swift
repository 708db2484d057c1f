// Finds the store that a command is about: on disk, or inside the instance that has it open.

import ArgumentParser
import Configuration
import Foundation
import HTTP
import Platform
import Storage

/// The options of commands that are about a store, or about the instance that has it open.
struct StoreLocator: ParsableArguments {
  @OptionGroup var common: ConfigurationOptions

  @Option(
    help: ArgumentHelp(
      "Admin listener of the instance that has the store open.", valueName: "address:port"))
  var admin: String?

  @Option(
    help: ArgumentHelp(
      "File with the token that the admin listener asks for; otherwise the configuration's.",
      valueName: "file"))
  var tokenFile: String?

  enum Purpose { case read, write }

  /// The store of this configuration: its directory, or the instance that is running on it.
  func open(_ purpose: Purpose) throws -> any StoreAccess {
    try StoreOpener.open(configuration(), purpose)
  }

  /// The configuration with what the options say.
  func configuration() throws -> Configuration {
    do throws(Diagnostics) {
      var overrides = common.overrides
      if let admin {
        overrides.append(Override(option: "--admin", key: "admin", values: [admin]))
      }
      if let tokenFile {
        overrides.append(
          Override(option: "--token-file", key: "admin.token-file", values: [tokenFile]))
      }
      return try ConfigurationLoader.load(file: common.config, overrides: overrides)
        .configuration
    } catch {
      throw Failure(error)
    }
  }
}

enum StoreOpener {
  static func open(
    _ configuration: Configuration, _ purpose: StoreLocator.Purpose
  ) throws -> any StoreAccess {
    let path = configuration.store.path
    // Opening for writing would make the directory: a misspelt path must not leave a store behind.
    try checkExists(path)
    var options = StoreOptions(path: path, size: configuration.store.size.bytes)
    options.readOnly = purpose == .read
    // A cap below what is there would evict, and nobody asked for that.
    if purpose == .write { options.size = max(options.size, usage(of: path) / 10 * 11) }
    do throws(StoreError) {
      return OfflineStore(store: try Store.open(options))
    } catch {
      guard case .inUse = error else { throw Failure("\(error)") }
      guard let admin = configuration.admin else {
        throw Failure(
          "the store \(path) is in use; give the address of that instance with --admin")
      }
      return RunningStore(client: AdminClient(address: admin.address, token: admin.token))
    }
  }

  private static func checkExists(_ path: String) throws {
    do throws(Errno) {
      _ = try File.open(path + "/format", [.followLinks])
    } catch .noSuchFile, .notADirectory {
      throw Failure("there is no store at \(path); --store or --config says where to look")
    } catch {
      let owner = (try? FileManager.default.attributesOfItem(atPath: path))?[.ownerAccountName]
      let whose = (owner as? String).map { ", which belongs to \($0)," } ?? ""
      throw Failure(
        "the store \(path)\(whose) may not be read by \(NSUserName()): \(error.message); run this as the user it belongs to"
      )
    }
  }

  /// The bytes of all files below a directory.
  private static func usage(of path: String) -> Int64 {
    let files = FileManager.default.enumerator(
      at: URL(fileURLWithPath: path), includingPropertiesForKeys: [.fileSizeKey])
    var sum: Int64 = 0
    while let file = files?.nextObject() as? URL {
      let size = (try? file.resourceValues(forKeys: [.fileSizeKey]))?.fileSize ?? 0
      sum &+= Int64(size)
    }
    return sum
  }
}

enum StoreTarget {
  /// A URL in the form it has as a key.
  static func normalised(_ url: String) throws -> String {
    guard let uri = TargetURI(url) else {
      throw Failure(
        "\(url) is not a whole URL; write one like http://deb.example.org/debian/a.deb", code: 2)
    }
    return uri.description
  }
}
