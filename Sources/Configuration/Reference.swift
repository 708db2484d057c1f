// Every key there is: type, default, bounds, meaning. docs/configuration.md,
// config/holdfast.yaml and the error messages are made from this list; tests compare the
// committed files with it (`holdfast reference` prints them anew).
//
// To add a key: a property in Configuration.swift and a line here.

import Platform

/// The list of all keys.
package enum Reference {
  private static let defaults = Configuration()

  /// In the order in which the pages show them. Sections stand together.
  package static let settings: [Setting<Configuration>] = [
    Setting(
      "listen", \.listeners, in: defaults, .restart,
      example: "[127.0.0.1:3128, { address: 127.0.0.1:8080, origin: \"http://127.0.0.1:8000\" }]",
      "Where clients connect. Each address serves every way in: forward proxy, named mirrors, prefix mirror and tunnels; with `origin` it is a reverse proxy for that origin."
    ),
    Setting(
      "admin", \.admin, in: defaults, .restart, example: "127.0.0.1:3129",
      "Where metrics, health and the admin API are served; `none` turns them off. Anyone who can connect here can see and purge what is stored, unless there is a `token-file`: `{ address: 127.0.0.1:3129, token-file: /etc/holdfast/admin-token }`. A third key, `hosts`, lists names by which the listener may be asked, beside `localhost` and addresses. Token and names change with a reload.",
      boundToStart: { $0.map { "\($0.address)" } ?? "none" }
    ),
    Setting(
      "threads", \.threads, in: defaults, .restart, example: "2",
      "Worker threads. `auto` is one per core that this process may use."),

    Setting(
      "store.path", \.store.path, in: defaults, .restart,
      default: "/var/cache/holdfast for root, else ~/.cache/holdfast", example: "/srv/holdfast",
      "Directory of the store; it is made if it is missing and belongs to one running instance. `XDG_CACHE_HOME` is honoured."
    ),
    Setting(
      "store.size", \.store.size, in: defaults, .restart, .mib(16)...(.gib(1 << 20)),
      example: "50GiB",
      "Hard cap on the disk space of the store, bodies that are still growing included. What was not used for longest is dropped first."
    ),
    Setting(
      "store.memory", \.store.memory, in: defaults, .restart, .mib(1)...(.gib(1 << 10)),
      example: "512MiB",
      "Memory for small answers kept ready to send. Larger ones are sent from the page cache, which is the kernel's."
    ),

    Setting(
      "store.max-share", \.store.maxShare, in: defaults, .reload, 1...100, example: "25",
      "Largest share of `store.size`, in percent, that one response may take. A larger one is passed on to those who read it and not kept, so that no single answer, and none without end, drives out everything else."
    ),

    Setting(
      "store.keep-free", \.store.keepFree, in: defaults, .reload, example: "20GiB",
      "How much of its file system the store leaves free for others, whatever `store.size` allows: what was not used for longest is dropped first, and then new answers are passed on and not kept. `auto` is a twentieth of the file system, 1 GiB at most; `0B` leaves nothing."
    ),

    Setting(
      "clients", \.clients, in: defaults, .reload, example: "[127.0.0.0/8, \"::1\", 10.0.0.0/8]",
      "Networks whose clients may use the proxy. Everyone else is turned away before a byte is read."
    ),

    Setting(
      "auth.file", \.auth.file, in: defaults, .reload, example: "/etc/holdfast/users",
      "File with the users who may use the proxy and their hashed passwords; `holdfast auth add` writes it. Clients then need both: an address in `clients`, and a name with its password. Listeners with an `origin` go by `clients` alone. `none` asks nobody."
    ),
    Setting(
      "auth.realm", \.auth.realm, in: defaults, .reload, example: "CI proxy",
      "What a person who is asked for the password is told it is for."),

    Setting(
      "destinations.allow", \.destinations.allow, in: defaults, .reload,
      example: "[deb.example.org, \"*.example.com\"]",
      "Hosts that may be asked for: names, `*.` and a name for all hosts below it, or `*` for all. Origins and mirrors that this file names are always allowed."
    ),
    Setting(
      "destinations.deny", \.destinations.deny, in: defaults, .reload,
      example: "[tracker.example.org]", "Hosts that may not be asked for, even if `allow` has them."
    ),
    Setting(
      "destinations.private", \.destinations.privateNetworks, in: defaults, .reload,
      example: "[10.8.0.0/16]",
      "Networks that may be reached although they are private. All other loopback, link-local and private addresses are refused after name resolution, so that no client reaches inwards through the proxy."
    ),
    Setting(
      "destinations.connect-ports", \.destinations.connectPorts, in: defaults, .reload,
      example: "[443, 8000-8999]",
      "Ports that CONNECT may open a tunnel to. A tunnel is not looked into, so every port more is a way out of the network."
    ),

    Setting(
      "intercept.hosts", \.intercept.hosts, in: defaults, .reload,
      example: "[files.example.org, \"*.example.com\"]",
      "Hosts whose tunnels (CONNECT) are decrypted, so that what they send is stored like everything else. Clients have to trust the authority in `intercept.ca`. All other tunnels are passed on unread."
    ),
    Setting(
      "intercept.except", \.intercept.except, in: defaults, .reload,
      example: "[pinned.example.com]",
      "Hosts among them whose tunnels are passed on unread: their clients expect one certificate and no other."
    ),
    Setting(
      "intercept.ca", \.intercept.ca, in: defaults, .reload,
      default: "/etc/holdfast/ca for root, else ~/.config/holdfast/ca",
      example: "/srv/holdfast/ca",
      "Directory with the authority that signs for these hosts: `ca.pem`, which clients have to trust, and `ca.key`, which nobody but the service may read. `holdfast ca init` makes it. `XDG_CONFIG_HOME` is honoured."
    ),
    Setting(
      "intercept.rejected", \.intercept.rejected, in: defaults, .reload, example: "tunnel",
      "What becomes of a client that refuses our certificate for a host: `refuse` shows it another one the next time, and says so in the log; `tunnel` passes its tunnels to this host on unread for an hour."
    ),

    Setting(
      "mirrors", \.mirrors, in: defaults, .reload,
      example: "{ debian: { url: \"http://deb.example.org/debian/\" } }",
      "Names in the path that stand for an upstream: `GET /debian/dists/stable/Release` is fetched from the URL of the mirror `debian`."
    ),

    Setting(
      "public-url", \.publicURL, in: defaults, .reload, example: "https://cache.example.org/",
      "Where clients reach this proxy, as they write it, path included. With it the links in pages of mirrors that are rewritten are whole URLs; `none` writes them without scheme and host, to be followed at whatever address a client asked. Needed where something in front takes a part of the path away."
    ),

    Setting(
      "rules", \.rules, in: defaults, .reload,
      example:
        "[{ match: registry.example.org/simple/**, fresh: 10m }, { match: \"/**/*.whl\", class: immutable }]",
      "What this cache knows about resources beyond what their origins say. The first rule whose pattern matches a target URI decides; what it leaves open follows RFC 9111 and the built-in knowledge of package files. Applied when a stored answer is used, so a changed rule takes effect at once."
    ),
    Setting(
      "offline", \.offline, in: defaults, .reload, example: "true",
      "Answers from the store only: what is stored is sent however stale it is, everything else gets 504, and nothing leaves this machine."
    ),
    Setting(
      "cache.targeted-fields", \.cache.targetedFields, in: defaults, .restart,
      example: "[Mirror-Cache-Control, CDN-Cache-Control]",
      "Response fields whose directives take the place of Cache-Control and Expires (RFC 9213). The first one that an answer has, well-formed, counts; `[]` for none. What is stored has been judged by them, down to the fields that were kept of it, so they hold for as long as the program runs."
    ),

    Setting(
      "upstream.connect-timeout", \.upstream.connectTimeout, in: defaults, .reload,
      .milliseconds(100)...(.seconds(300)), example: "5s",
      "How long connecting to an origin may take, over all of its addresses."),
    Setting(
      "upstream.read-timeout", \.upstream.readTimeout, in: defaults, .reload,
      .milliseconds(100)...(.seconds(3600)), example: "60s",
      "How long an origin may be silent in the middle of an exchange before it counts as lost."),
    Setting(
      "upstream.dead-after", \.upstream.deadAfter, in: defaults, .reload,
      .seconds(0)...(.seconds(3600)), example: "10s",
      "How long nothing at all may be heard of an origin that is waited for, not even that it has got what was sent, before the path to it counts as dead. Its kernel is asked (keepalive) from the first two seconds of silence on, so an origin that only thinks for long is not meant: that is `upstream.read-timeout`. `0s` asks nobody."
    ),
    Setting(
      "upstream.retries", \.upstream.retries, in: defaults, .reload, 0...100, example: "5",
      "How often in a row a request without content, or a download, is tried again when its connection to the origin has ended: from where it broke off where the origin lets us, else from the start and compared. Clients do not notice. `0` passes every cut on."
    ),
    Setting(
      "upstream.min-progress", \.upstream.minProgress, in: defaults, .reload, example: "16KiB",
      "Least an origin has to send of its content, or take of a request's, in each `limits.progress-window`; one that only trickles counts as lost. `none` makes no demand. Event streams (`text/event-stream`) are let be."
    ),
    Setting(
      "upstream.idle-timeout", \.upstream.idleTimeout, in: defaults, .reload,
      .seconds(1)...(.seconds(3600)), example: "60s",
      "How long an unused connection to an origin is kept. Shorter than what origins allow, so that they rarely close one just as it is used again."
    ),
    Setting(
      "upstream.max-idle", \.upstream.maxIdle, in: defaults, .reload, 0...1024, example: "8",
      "Unused connections kept per origin and worker thread."),
    Setting(
      "upstream.max-idle-total", \.upstream.maxIdleTotal, in: defaults, .reload, 0...65_536,
      example: "64",
      "Unused connections kept per worker thread, all origins together; the one unused for longest goes first."
    ),
    Setting(
      "upstream.max-connections", \.upstream.maxConnections, in: defaults, .reload, 1...65_536,
      example: "32",
      "Most requests at one origin at a time, all worker threads together; the next ones wait in line."
    ),
    Setting(
      "upstream.max-total", \.upstream.maxTotal, in: defaults, .reload, 1...1_000_000,
      example: "512", "Most requests at all origins together at a time; the next ones wait in line."
    ),
    Setting(
      "upstream.max-waiting", \.upstream.maxWaiting, in: defaults, .reload, 0...1_000_000,
      example: "100", "Most requests in the line for one origin; 503 beyond it."),
    Setting(
      "upstream.queue-timeout", \.upstream.queueTimeout, in: defaults, .reload,
      .milliseconds(100)...(.seconds(3600)), example: "10s",
      "How long a request may stand in line for an origin, or for the memory to write a page of links anew; 503 beyond it."
    ),
    Setting(
      "upstream.finish-below", \.upstream.orphans.finishBelow, in: defaults, .reload,
      example: "1MiB",
      "A fetch whose clients have all left is finished for the store if at most this much is still to come, or came since of an answer that does not say how long it is."
    ),
    Setting(
      "upstream.finish-above", \.upstream.orphans.finishAbove, in: defaults, .reload, 0...100,
      example: "95",
      "It is finished as well if at least this share of it, in percent, is here. 100 leaves it to `finish-below`."
    ),
    Setting(
      "upstream.finish-within", \.upstream.orphans.finishWithin, in: defaults, .reload,
      .seconds(0)...(.seconds(86_400)), example: "30s",
      "How long a fetch may go on for nobody."),
    Setting(
      "upstream.finish-at-most", \.upstream.orphans.finishAtMost, in: defaults, .reload,
      0...65_536, example: "0",
      "How many fetches at a time may go on for nobody, renewals in the background included; others are given up at once."
    ),

    Setting(
      "upstream.ca", \.upstream.ca, in: defaults, .reload, example: "/etc/holdfast/authorities.pem",
      "Who vouches for https origins: `system` for the authorities this system trusts, or a file of PEM certificates, which are then the only ones."
    ),
    Setting(
      "upstream.unverified-hosts", \.upstream.unverifiedHosts, in: defaults, .reload,
      example: "[old.example.org]",
      "Hosts whose certificates are taken whatever they say. Anybody on the way to them can read and change what they send, and what they change is stored: better have `upstream.ca` trust their authority."
    ),

    Setting(
      "upstream.parent", \.upstream.parent, in: defaults, .reload,
      example: "http://proxy.example.org:3128",
      "The proxy through which origins are asked and tunnels are made: its URL, http or https, with `user@` in front of the host if it asks who is there; `environment` to go by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY; `none` for the direct way. It is the parent that looks up the origins' names then, so `destinations.private` can judge only addresses that clients name."
    ),
    Setting(
      "upstream.parent-password-file", \.upstream.parentPasswordFile, in: defaults, .reload,
      example: "/etc/holdfast/parent.password",
      "File whose first line is the password for the parent."),
    Setting(
      "upstream.no-parent", \.upstream.noParent, in: defaults, .reload,
      example: "[\"*.example.net\"]", "Hosts that are asked directly all the same."),
    Setting(
      "upstream.credentials", \.upstream.credentials, in: defaults, .reload,
      example:
        "[{ hosts: [packages.example.org], user: ci, password-file: /etc/holdfast/packages.password }]",
      "What origins are shown that want to know who asks, on GET and HEAD requests of mirrors and of listeners with an `origin`. Sent over https only. The client's own Authorization, which was for the mirror, stays behind. What is fetched this way is never served to requests that come another way."
    ),

    Setting(
      "upstream.forward-fields", \.upstream.forwardFields, in: defaults, .reload,
      example: "[X-Forwarded-For, Referer]",
      "Request fields that fetches for the store carry although what is stored does not depend on them. By default those from which origins are known to make an answer stay behind: X-Forwarded-For and its kind, X-Original-URL, X-HTTP-Method-Override, Origin, Referer. Name only what your origins do not reflect."
    ),
    Setting(
      "upstream.rate", \.upstream.rate, in: defaults, .reload, example: "200MiB/s",
      "How fast origins are read, all of them together, tunnels included. What waits is waited for by not reading: no memory grows."
    ),

    Setting(
      "rate.connection", \.rate.connection, in: defaults, .reload, example: "10MiB/s",
      "How fast each connection to a client is served, hits, misses and tunnels alike."),
    Setting(
      "rate.client", \.rate.client, in: defaults, .reload, example: "50MiB/s",
      "How fast all connections of one client are served together. A client is an IPv4 address or an IPv6 network of 64 bits."
    ),
    Setting(
      "rate.total", \.rate.total, in: defaults, .reload, example: "500MiB/s",
      "How fast all clients are served together."),

    Setting(
      "limits.request-line", \.limits.requestLine, in: defaults, .reload, .kib(1)...(.kib(64)),
      example: "8KiB",
      "Longest request line; 414 beyond it. Signed download URLs run to several KiB."),
    Setting(
      "limits.head", \.limits.head, in: defaults, .reload, .kib(4)...(.kib(256)), example: "32KiB",
      "Largest head of a message, start line and fields together; 431 beyond it for requests, 502 for responses."
    ),
    Setting(
      "limits.fields", \.limits.fields, in: defaults, .reload, 16...128, example: "64",
      "Most fields in one head; the same status codes beyond it."),
    Setting(
      "limits.content", \.limits.content, in: defaults, .reload, example: "1GiB",
      "Largest content of a request, such as an upload; 413 beyond it. `none` lifts the limit. Content is passed on as it comes and never kept whole in memory."
    ),
    Setting(
      "limits.header-timeout", \.limits.headerTimeout, in: defaults, .reload,
      .milliseconds(100)...(.seconds(3600)), example: "10s",
      "How long a client may take to send the head of a request, from its first byte; 408 beyond it."
    ),
    Setting(
      "limits.content-timeout", \.limits.contentTimeout, in: defaults, .reload,
      .milliseconds(100)...(.seconds(3600)), example: "120s",
      "How long a client may pause within the content of a request; 408 beyond it."),
    Setting(
      "limits.idle-timeout", \.limits.idleTimeout, in: defaults, .reload,
      .milliseconds(100)...(.seconds(86_400)), example: "5m",
      "How long a client's connection may stay open without a request."),
    Setting(
      "limits.write-timeout", \.limits.writeTimeout, in: defaults, .reload,
      .milliseconds(100)...(.seconds(3600)), example: "5m",
      "How long a client may read nothing of an answer that is being sent. A slow client is fine, one that stands still is cut off."
    ),
    Setting(
      "limits.min-progress", \.limits.minProgress, in: defaults, .reload, example: "16KiB",
      "Least a client has to send of a request's content, or read of an answer, in each `limits.progress-window`, as long as the proxy waits for it; 408 or a cut beyond it. `none` makes no demand."
    ),
    Setting(
      "limits.progress-window", \.limits.progressWindow, in: defaults, .reload,
      .milliseconds(100)...(.seconds(3600)), example: "5m",
      "The stretch of time in which `limits.min-progress` and `upstream.min-progress` have to be reached."
    ),
    Setting(
      "limits.tunnel-timeout", \.limits.tunnelTimeout, in: defaults, .reload,
      .seconds(1)...(.seconds(604_800)), example: "1h",
      "How long nothing may move through a tunnel, in either direction."),
    Setting(
      "limits.connections", \.limits.connections, in: defaults, .reload, 1...1_000_000,
      example: "10000",
      "Most connections from clients at a time, tunnels included; the next ones are closed at once. The system's limit on descriptors (`ulimit -n`) counts as well, and there a tunnel is two."
    ),
    Setting(
      "limits.connections-per-client", \.limits.connectionsPerClient, in: defaults, .reload,
      1...1_000_000, example: "256",
      "Most connections from one IPv4 address, or from one IPv6 network of 64 bits, at a time; 429 beyond it. Whole clusters may stand behind one address."
    ),
    Setting(
      "limits.drain-timeout", \.limits.drainTimeout, in: defaults, .reload,
      .seconds(0)...(.seconds(86_400)), example: "5m",
      "How long requests that are under way may go on after SIGTERM. A little less than the 30s that most supervisors wait before they kill."
    ),

    Setting(
      "resets.path", \.resets.path, in: defaults, .restart,
      default: "/var/log/holdfast/resets.jsonl for root, else ~/.local/state/holdfast/resets.jsonl",
      example: "/srv/log/resets.jsonl",
      "Where the record of every reset, cut, stall and refusal goes, a JSON object per line: a file, `stdout`, `stderr` or `none`. Its directory is made if it is missing. The last 2000 are in memory anyway, for `holdfast resets`."
    ),
    Setting(
      "resets.file-size", \.resets.fileSize, in: defaults, .restart, .mib(1)...(.gib(64)),
      example: "256MiB",
      "A larger file is moved aside (`resets.jsonl.1`, `.2`, …), and a new one begun."),
    Setting(
      "resets.file-age", \.resets.fileAge, in: defaults, .restart,
      .seconds(3600)...(.seconds(366 * 86_400)), example: "24h", "An older file too."),
    Setting(
      "resets.files", \.resets.files, in: defaults, .restart, 1...1000, example: "30",
      "Files that are kept, the one being written included; the oldest go."),
    Setting(
      "resets.sensors", \.resets.sensors, in: defaults, .restart, example: "full",
      "How closely packets are looked at, for who broke a connection and how. `lite` sees segments that begin or end a connection and messages of routers, `full` the headers of all; `auto` is `full` for origins and `lite` for clients. Takes CAP_NET_RAW; where that is missing, it is said at the start and verdicts rest on what the sockets tell."
    ),
    Setting(
      "resets.kernel", \.resets.kernel, in: defaults, .restart, example: "counters",
      "What the kernel is asked about connections that break. `counters` reads what it counts, which needs no privilege; `auto` also asks the table of translated connections (CAP_NET_ADMIN) and watches tracepoints about resets (tracefs, CAP_PERFMON), where that is permitted. What is missing is said at the start."
    ),
    Setting(
      "resets.namespace", \.resets.namespace, in: defaults, .restart,
      example: "/proc/1/ns/net",
      "The network namespace whose table of connections is asked: that of the node, where addresses of Services are translated. Takes CAP_SYS_ADMIN to enter. `none` for the program's own."
    ),
    Setting(
      "resets.nflog", \.resets.nflog, in: defaults, .restart, 0...65_535, example: "42",
      "The group of an NFLOG rule for packets that the table of connections calls INVALID, in the same namespace: `iptables -t mangle -A PREROUTING -p tcp -m conntrack --ctstate INVALID -j NFLOG --nflog-group 42`. They are counted for the connection that breaks. 0 for none."
    ),
    Setting(
      "resets.captures", \.resets.captures, in: defaults, .restart,
      default: "/var/log/holdfast/captures for root, else ~/.local/state/holdfast/captures",
      example: "/srv/log/captures",
      "The directory for a capture (pcapng) of each fault whose packets were seen: headers only, with the verdict as a comment. `none` for no captures."
    ),
    Setting(
      "resets.capture-files", \.resets.captureFiles, in: defaults, .restart, 1...100_000,
      example: "100", "Captures that are kept; the oldest go."),
    Setting(
      "resets.capture-size", \.resets.captureSize, in: defaults, .restart, .kib(4)...(.mib(16)),
      example: "256KiB", "A capture is no larger; it has the last packets of its connection."),

    Setting(
      "log.format", \.log.format, in: defaults, .restart, example: "json",
      "`text` is for people, `json` writes one object per line."),
    Setting(
      "log.access", \.log.access, in: defaults, .restart, example: "/var/log/holdfast/access.log",
      "Where the access log goes, one line per request: `stdout`, `stderr`, `none`, or a file to append to."
    ),
    Setting(
      "log.level", \.log.level, in: defaults, .restart, example: "debug",
      "Least severe messages that are written. They go to stderr."),
  ]

  /// What each section is about, in the order of the pages.
  package static let sections: [(name: String, meaning: String)] = [
    ("store", "What is kept, and how much of it."),
    ("auth", "What clients have to show besides their address."),
    ("destinations", "Which hosts and ports the proxy may reach for its clients."),
    ("intercept", "Which tunnels are decrypted, and with whose authority."),
    ("cache", "How stored answers are read."),
    ("upstream", "Waiting for origins, and keeping connections to them."),
    ("rate", "How fast clients are served; `none` is as fast as can be."),
    ("limits", "Bounds on what a client may send and how long it may take."),
    ("resets", "The record of how connections broke: where, and how much of it."),
    ("log", "What is written down, and where."),
  ]

  /// The keys whose values differ but take effect only when the program is started anew.
  package static func restartKeys(from old: Configuration, to new: Configuration) -> [String] {
    settings.filter { $0.application == .restart && $0.boundToStart(old) != $0.boundToStart(new) }
      .map(\.key)
  }

  /// Puts the values of such keys back to what they were when the program was started, for who goes on with `new`.
  package static func keepStart(_ start: Configuration, in new: inout Configuration) {
    for setting in settings where setting.application == .restart { setting.copy(start, &new) }
  }
}
