#!/usr/bin/env python3
"""Downloads through a Service whose translation fails in the middle: who completes them, and how soon.

Namespaces on this machine are a proxy (P), a node with real netfilter rules as kube-proxy writes them
(N), and an origin (O). P knows the origin by the Service's address only:

    client and proxy in P ── N: DNAT 10.96.0.10:80 → 10.219.2.2:8080 ── O

Two faults, each once in the middle of every download:

    L10  the origin's side sends a segment far beyond the window: conntrack calls it INVALID, and it
         crosses the node untranslated
    L11  the node stops translating that connection: live data crosses it as it is

Either way P's kernel resets the origin, whose socket is dead from then on, while that of the proxy in
P lives and waits. Every proxy has the same seconds to wait for an origin that is silent. What counts is
what the client has in the end: all bytes, and the right ones.
"""

import argparse
import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

SERVICE = "10.96.0.10"
ORIGIN = "10.219.2.2"
PORT = 8080
PROXY_PORT = 3128
SIZE = 2 << 20
CONTENT = hashlib.shake_256(b"holdfast").digest(SIZE)
PATIENCE = 2  # seconds that each proxy waits for a silent origin


def run(*command, check=True):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stdout.strip()}")
    return done.stdout


class Network:
    """The three hosts, with names of this process; taken down however it ends."""

    def __init__(self):
        self.names = {host: f"hfheal-{os.getpid()}-{host}" for host in "PNO"}
        sweep()
        try:
            for name in self.names.values():
                run("ip", "netns", "add", name)
                run("ip", "-n", name, "link", "set", "lo", "up")
            self.cable("P", "N", 1)
            self.cable("O", "N", 2)
            self.shell("N", f"""
                echo 1 > /proc/sys/net/ipv4/ip_forward
                iptables -t nat -A PREROUTING -d {SERVICE}/32 -p tcp --dport 80 -j DNAT --to-destination {ORIGIN}:{PORT}
                iptables -t raw -N holdfast-heal
                iptables -t raw -A PREROUTING -s {ORIGIN} -p tcp --sport {PORT} -j holdfast-heal
            """)
        except BaseException:
            self.close()
            raise

    def cable(self, host, node, number):
        """The host's address ends in .2, the node's in .1, and all else is beyond the node."""
        one, other = self.names[host], self.names[node]
        run("ip", "-n", one, "link", "add", "eth0", "type", "veth", "peer", "name", f"eth{number}", "netns", other)
        run("ip", "-n", one, "addr", "add", f"10.219.{number}.2/24", "dev", "eth0")
        run("ip", "-n", other, "addr", "add", f"10.219.{number}.1/24", "dev", f"eth{number}")
        run("ip", "-n", one, "link", "set", "eth0", "up")
        run("ip", "-n", other, "link", "set", f"eth{number}", "up")
        run("ip", "-n", one, "route", "add", "default", "via", f"10.219.{number}.1")

    def shell(self, host, lines):
        return run("ip", "netns", "exec", self.names[host], "sh", "-ec", lines)

    def socket(self, host, *kind):
        """A socket that belongs to the host: made by a thread that is there."""
        made = []

        def make():
            with open(f"/run/netns/{self.names[host]}") as namespace:
                enter(namespace.fileno())
            try:
                made.append(socket.socket(*kind))
            except OSError as error:
                made.append(error)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]

    def close(self):
        for name in self.names.values():
            run("ip", "netns", "del", name, check=False)


def enter(descriptor):
    import ctypes

    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")


def sweep():
    """Hosts of runs that did not live to take them down."""
    for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
        found = re.fullmatch(r"hfheal-(\d+)-[PNO]", name)
        if found and not os.path.exists(f"/proc/{found.group(1)}"):
            run("ip", "netns", "del", name, check=False)


# ---- The origin, and the two faults


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2]))
    if len(data) % 2:
        total += data[-1] << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Origin:
    """Serves CONTENT with a strong validator and ranges. Downloads of /L10/… and /L11/… meet their fault
    once, at half; what is asked for again goes well."""

    def __init__(self, network):
        self.network = network
        self.listener = network.socket("O", socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((ORIGIN, PORT))
        self.listener.listen(128)
        self.sniffer = network.socket("O", socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.sniffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.injector = network.socket("O", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.places = {}  # port of the other side: (the next number, what is acknowledged)
        self.faulty = set()  # paths that have had their fault
        self.faults = {}  # when
        self.lock = threading.Lock()
        threading.Thread(target=self.watch, daemon=True).start()
        threading.Thread(target=self.accept, daemon=True).start()

    def watch(self):
        """Follows the numbers of every connection, as the injected segment has to fit them."""
        while True:
            frame, address = self.sniffer.recvfrom(128)
            if address[2] != socket.PACKET_OUTGOING or len(frame) < 54 or frame[23] != 6:
                continue
            ip = 14 + (frame[14] & 15) * 4
            source, target, number, acknowledged = struct.unpack("!HHII", frame[ip : ip + 12])
            if source != PORT:
                continue
            length = struct.unpack("!H", frame[16:18])[0] - (ip - 14) - (frame[ip + 12] >> 4) * 4
            end = (number + length + (1 if frame[ip + 13] & 3 else 0)) & 0xFFFFFFFF
            with self.lock:
                self.places[target] = (end, acknowledged)

    def accept(self):
        while True:
            connection, peer = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection, peer), daemon=True).start()

    def serve(self, connection, peer):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        unread = b""
        try:
            while True:
                while b"\r\n\r\n" not in unread:
                    more = connection.recv(65536)
                    if not more:
                        return
                    unread += more
                head, _, unread = unread.partition(b"\r\n\r\n")
                self.answer(connection, peer, head.decode("latin-1"))
        except OSError:
            pass
        finally:
            connection.close()

    def answer(self, connection, peer, head):
        path = head.split()[1]
        found = re.search(r"\r\nrange: bytes=(\d+)-(\d*)", head, re.I)
        start = int(found.group(1)) if found else 0
        end = min(int(found.group(2)) if found and found.group(2) else SIZE - 1, SIZE - 1)
        fields = f'ETag: "1"\r\nAccept-Ranges: bytes\r\nCache-Control: max-age=3600\r\nContent-Length: {end + 1 - start}\r\n'
        if found:
            status = f"206 Partial Content\r\nContent-Range: bytes {start}-{end}/{SIZE}"
        else:
            status = "200 OK"
        content = memoryview(CONTENT)[start : end + 1]
        connection.sendall(f"HTTP/1.1 {status}\r\n{fields}\r\n".encode())
        fault = path.split("/")[1]
        with self.lock:
            first = fault in ("L10", "L11") and path not in self.faulty
            self.faulty.add(path)
        if not first:
            connection.sendall(content)
            return
        half = len(content) // 2
        connection.sendall(content[:half])
        self.settle(connection)
        if fault == "L11":
            self.network.shell("N", f"iptables -t raw -A holdfast-heal -p tcp --dport {peer[1]} -j CT --notrack")
            self.faults[path] = time.monotonic()
            connection.sendall(content[half : half + 1000])
        else:
            self.faults[path] = time.monotonic()
            self.inject(peer)
        connection.settimeout(1)
        try:
            connection.recv(1)
        except TimeoutError:
            # It was translated all the same: no fault, and no reason to keep anybody waiting.
            del self.faults[path]
            connection.settimeout(60)
            connection.sendall(content[half + (1000 if fault == "L11" else 0) :])

    @staticmethod
    def settle(connection):
        """Waits until all that was sent is confirmed, so that the numbers stand still."""
        import fcntl

        for _ in range(5000):
            left = struct.unpack("i", fcntl.ioctl(connection, 0x5411, b"\0\0\0\0"))[0]
            if left == 0:
                return
            time.sleep(0.001)

    def inject(self, peer):
        """A segment far beyond the window, with the right acknowledgement."""
        # The sniffer may be a moment behind; the numbers stand still.
        time.sleep(0.02)
        with self.lock:
            number, acknowledged = self.places[peer[1]]
        # Ten million are too few at times: a window that has grown is large, and tracked generously.
        number = (number + 1_000_000_000) & 0xFFFFFFFF
        payload = b"x" * 100
        tcp = struct.pack("!HHIIBBHHH", PORT, peer[1], number, acknowledged, 5 << 4, 0x18, 501, 0, 0)
        addresses = socket.inet_aton(ORIGIN) + socket.inet_aton(peer[0])
        total = checksum(addresses + struct.pack("!BBH", 0, 6, len(tcp) + len(payload)) + tcp + payload)
        tcp = tcp[:16] + struct.pack("!H", total) + tcp[18:]
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp) + len(payload), 1, 0x4000, 64, 6, 0) + addresses
        self.injector.sendto(ip + tcp + payload, (peer[0], 0))


# ---- The proxies


def proxies(directory, holdfast):
    """Name: command line, its configuration written. Each waits as long for a silent origin and is a
    reverse proxy for the Service; where it can cache, it does."""
    directory.mkdir()
    directory.chmod(0o755)

    def write(name, text):
        (directory / name).write_text(text)
        return directory / name

    write("holdfast.yaml", f"""
listen: [{{ address: "127.0.0.1:{PROXY_PORT}", origin: "http://{SERVICE}" }}]
admin: none
threads: 1
store: {{ path: {directory}/store, size: 1GiB, memory: 16MiB, keep-free: 0B }}
destinations: {{ private: [10.0.0.0/8] }}
upstream: {{ read-timeout: {PATIENCE}s }}
log: {{ access: none, level: warning }}
resets: {{ path: {directory}/resets.jsonl, captures: none }}
""")
    write("without.yaml", (directory / "holdfast.yaml").read_text()
          .replace("captures: none", "captures: none, sensors: off").replace("/store,", "/store-without,")
          .replace("resets.jsonl", "resets-without.jsonl"))
    (directory / "cache").mkdir()
    write("nginx.conf", f"""
user root; daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/nginx.log;
events {{ worker_connections 1000; }}
http {{
  access_log off;
  client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2; fastcgi_temp_path {directory}/t3;
  uwsgi_temp_path {directory}/t4; scgi_temp_path {directory}/t5;
  proxy_cache_path {directory}/cache keys_zone=heal:10m max_size=1g use_temp_path=off;
  upstream origin {{ server {SERVICE}:80; keepalive 32; }}
  server {{
    listen 127.0.0.1:{PROXY_PORT};
    location / {{
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_cache heal; proxy_read_timeout {PATIENCE}s;
      proxy_next_upstream error timeout; proxy_next_upstream_tries 3;
    }}
  }}
}}
""")
    write("haproxy.cfg", f"""
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server {PATIENCE}s
  retries 3
  option redispatch
  retry-on all-retryable-errors
frontend heal
  bind 127.0.0.1:{PROXY_PORT}
  default_backend origin
backend origin
  server origin {SERVICE}:80
""")
    write("squid.conf", f"""
http_port 127.0.0.1:{PROXY_PORT} accel defaultsite=heal.example.org no-vhost
cache_peer {SERVICE} parent 80 0 no-query originserver no-digest name=origin
http_access allow all
never_direct allow all
cache_mem 512 MB
maximum_object_size_in_memory 16 MB
read_timeout {PATIENCE} seconds
access_log none
cache_log {directory}/squid.log
pid_filename {directory}/squid.pid
coredump_dir {directory}
visible_hostname heal.example.org
shutdown_lifetime 0 seconds
pinger_enable off
""")
    write("default.vcl", f"""
vcl 4.1;
backend default {{
  .host = "{SERVICE}"; .port = "80";
  .first_byte_timeout = {PATIENCE}s; .between_bytes_timeout = {PATIENCE}s;
}}
""")
    shutil.chown(directory, *(["proxy"] if shutil.which("squid", path=SEARCH) else [os.getuid()]))
    return {
        "holdfast": [holdfast, "serve", "--config", directory / "holdfast.yaml"],
        "holdfast, sockets only": [holdfast, "serve", "--config", directory / "without.yaml"],
        "nginx": ["nginx", "-c", directory / "nginx.conf", "-p", directory, "-e", "stderr"],
        "haproxy": ["haproxy", "-db", "-f", directory / "haproxy.cfg"],
        "squid": ["squid", "-N", "-f", directory / "squid.conf", "-n", f"heal{os.getpid()}"],
        "varnish": ["varnishd", "-F", "-n", directory / "varnish", "-j", "none", "-T", "none",
                    "-a", f"127.0.0.1:{PROXY_PORT}", "-f", directory / "default.vcl", "-s", "malloc,512m"],
    }  # fmt: skip


SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class Proxy:
    def __init__(self, network, command):
        program = shutil.which(str(command[0]), path=SEARCH)
        if not program:
            raise FileNotFoundError(f"{command[0]} is not installed (scripts/setup bench)")
        self.output = tempfile.TemporaryFile()
        self.child = subprocess.Popen(
            ["ip", "netns", "exec", network.names["P"], program, *map(str, command[1:])],
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            probe = network.socket("P", socket.AF_INET, socket.SOCK_STREAM)
            try:
                probe.connect(("127.0.0.1", PROXY_PORT))
                probe.close()
                return
            except OSError:
                if self.child.poll() is not None or time.monotonic() > deadline:
                    self.output.seek(0)
                    said = self.output.read().decode(errors="replace")
                    self.end()
                    raise RuntimeError(f"{command[0]} does not serve: {said[-600:]}") from None
                time.sleep(0.05)

    def end(self):
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.child.pid, 9)
            self.child.wait()


# ---- The client


class Download:
    """One download, and when each part of it came."""

    def __init__(self, network, path):
        self.network = network
        self.path = path
        self.content = b""
        self.arrivals = []  # (time, bytes so far)
        self.end = ""
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        connection = self.network.socket("P", socket.AF_INET, socket.SOCK_STREAM)
        connection.settimeout(60)
        try:
            connection.connect(("127.0.0.1", PROXY_PORT))
            connection.sendall(f"GET {self.path} HTTP/1.1\r\nHost: heal.example.org\r\nConnection: close\r\n\r\n".encode())
            got = bytearray()
            start = None
            while True:
                part = connection.recv(1 << 20)
                if not part:
                    self.end = "closed"
                    break
                got += part
                if start is None and b"\r\n\r\n" in got:
                    start = got.index(b"\r\n\r\n") + 4
                if start is not None:
                    self.arrivals.append((time.monotonic(), len(got) - start))
                    if len(got) - start >= SIZE and b"chunked" not in got[:start].lower():
                        self.end = "complete"
                        break
            self.content = bytes(got[start:] if start else b"")
        except OSError as error:
            self.end = type(error).__name__
        finally:
            connection.close()

    @property
    def is_whole(self):
        return self.content == CONTENT

    def resumed_after(self, fault):
        """Seconds from the fault to the first byte behind the half that had come."""
        for moment, count in self.arrivals:
            if count > SIZE // 2 and moment > fault:
                return moment - fault
        return None


def play(network, origin, command, fault, count, at_once, label):
    proxy = Proxy(network, command)
    try:
        downloads = []
        for start in range(0, count, at_once):
            batch = [
                Download(network, f"/{fault}/{label}/{number}")
                for number in range(start, min(count, start + at_once))
            ]
            for download in batch:
                download.thread.join()
            downloads += batch
            network.shell("N", "iptables -t raw -F holdfast-heal")
    finally:
        proxy.end()
    whole = sum(download.is_whole for download in downloads)
    wrong = sum(
        not CONTENT.startswith(download.content) for download in downloads
    )
    faults = sum(download.path in origin.faults for download in downloads)
    delays = [
        delay
        for download in downloads
        if download.path in origin.faults and download.is_whole
        for delay in [download.resumed_after(origin.faults[download.path])]
        if delay is not None
    ]
    return {"complete": whole, "of": len(downloads), "faults": faults, "wrong": wrong, "after": sorted(delays)}


def table(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        lines.append("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
        if number == 0:
            lines.append("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def milliseconds(values):
    if not values:
        return "–"
    return f"{statistics.median(values) * 1000:.0f} ms, at most {values[-1] * 1000:.0f} ms"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--holdfast", required=True, metavar="FILE", help="the program to try")
    parser.add_argument("--count", type=int, default=50, help="downloads for each fault and proxy (default 50)")
    parser.add_argument("--at-once", type=int, default=5, help="downloads side by side (default 5)")
    parser.add_argument("--only", metavar="A,B", help="these proxies")
    parser.add_argument("--output", metavar="FILE", help="where all figures go, as JSON")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("heal: network namespaces and raw packets need root")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-heal-"))
    network = Network()
    rows = [["proxy", "fault", "complete", "wrong bytes", "from the fault to the next byte (median)"]]
    results = []
    try:
        origin = Origin(network)
        commands = proxies(directory / "proxies", os.path.abspath(options.holdfast))
        for name, command in commands.items():
            if options.only and name not in options.only.split(","):
                continue
            for fault in ("L10", "L11"):
                try:
                    result = play(network, origin, command, fault, options.count, options.at_once, name.replace(" ", "-").replace(",", ""))
                except (FileNotFoundError, RuntimeError) as problem:
                    print(f"{name} is left out: {problem}", file=sys.stderr)
                    break
                results.append({"proxy": name, "fault": fault, **result})
                if result["faults"] < result["of"]:
                    print(f"{name}, {fault}: only {result['faults']} of {result['of']} downloads met the fault", file=sys.stderr)
                rows.append([name, fault, f"{result['complete']} of {result['of']}", str(result["wrong"]), milliseconds(result["after"])])
                print(f"{name}, {fault}: {rows[-1][2]} complete, {rows[-1][4]}", file=sys.stderr)
    finally:
        network.close()
        shutil.rmtree(directory, ignore_errors=True)
    print(table(rows))
    if options.output:
        pathlib.Path(options.output).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
