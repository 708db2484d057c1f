// Finds the store that a command is about.

import Configuration
import HTTP

enum StoreOpener {
  /// The store of this configuration: its directory, or the instance that is running on it.
  static func open(_ configuration: Configuration) throws -> any StoreAccess {
    guard let admin = configuration.admin else {
      throw Failure("the store \(configuration.store.path) is in use, and admin is none")
    }
    return RunningStore(client: AdminClient(address: admin))
  }
}

enum StoreTarget {
  /// A URL in the form it has as a key.
  static func normalised(_ url: String) throws -> String {
    guard let uri = TargetURI(url) else {
      throw Failure("\(url) is not a whole URL; write one like http://deb.example.org/debian/a.deb")
    }
    return uri.description
  }
}
