"""The proxies that `live.py` can put between apt and its sources, and the namespace without network."""

import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse

PR_SET_PDEATHSIG = 1


class Unavailable(Exception):
    """Why something cannot be had on this machine."""


class Namespace:
    """A network namespace that has a loopback interface and nothing else."""

    def __init__(self):
        self.name = f"holdfast-live-{os.getpid()}"
        if os.geteuid() != 0:
            raise Unavailable("a network namespace needs root")
        for command in (["netns", "add", self.name], ["-n", self.name, "link", "set", "lo", "up"]):
            done = subprocess.run(
                ["ip", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            if done.returncode:
                raise Unavailable(f"no network namespace: {done.stdout.strip()}")

    @property
    def prefix(self):
        return ["ip", "netns", "exec", self.name]

    def remove(self):
        subprocess.run(["ip", "netns", "delete", self.name], check=False)


class Proxy:
    """A forward proxy with a store that outlives it. Subclasses configure it and read its log."""

    def __init__(self, directory, program):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True)
        self.program = program
        self.port = free_port()
        self.child = None
        self.namespace = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def command(self):
        raise NotImplementedError

    def verdicts(self):
        """{URI: [(verdict, bytes from upstream), …]} in the order of the requests so far."""
        raise NotImplementedError

    def upstream_bytes(self):
        """How many bytes it has received from upstream since it was started."""
        raise NotImplementedError

    def explain(self, uri):
        """What the proxy's answer says about its cache, and what the origin gave it to go by."""
        head = subprocess.run(
            ["curl", "-sS", "-x", self.url, "-o", os.devnull, "-D", "-", uri],
            stdout=subprocess.PIPE, text=True,
        ).stdout  # fmt: skip
        names = ("cache-status", "x-cache", "cache-control", "expires", "last-modified", "etag")
        lines = [line for line in head.splitlines() if line.lower().startswith(names)]
        return "".join("\n  " + line for line in lines)

    def start(self, namespace=None):
        self.namespace = namespace
        prefix = namespace.prefix if namespace else []
        command = [*prefix, *map(str, self.command())]

        def die_with_us():
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

        with open(self.directory / "output", "ab") as output:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                cwd=self.directory, preexec_fn=die_with_us,
            )  # fmt: skip
        for _ in range(300):
            if self.child.poll() is not None:
                raise Unavailable(f"the proxy ended at once:\n{self.said()}")
            if self.answers():
                return
            time.sleep(0.1)
        raise Unavailable(f"the proxy does not listen:\n{self.said()}")

    def answers(self):
        """Whether its port can be connected to, from where it is."""
        if self.namespace:
            probe = f"exec 3<>/dev/tcp/127.0.0.1/{self.port}"
            return subprocess.run(
                [*self.namespace.prefix, "bash", "-c", probe], stderr=subprocess.DEVNULL
            ).returncode == 0  # fmt: skip
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def stop(self):
        if not self.child:
            return
        self.child.terminate()
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child = None

    def get(self, url):
        """A page of the proxy's own, fetched from where it is."""
        prefix = self.namespace.prefix if self.namespace else []
        return subprocess.run(
            [*prefix, "curl", "-sS", "--noproxy", "*", url], stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def said(self):
        return "\n".join((self.directory / "output").read_text(errors="replace").splitlines()[-20:])


class Holdfast(Proxy):
    def __init__(self, directory, program):
        if not program or not os.access(program, os.X_OK):
            raise Unavailable("the program is not built (make release)")
        super().__init__(directory, program)
        self.admin = free_port()
        self.log = self.directory / "access.json"

    def command(self):
        configuration = self.directory / "holdfast.yaml"
        configuration.write_text(
            f"""
listen: [127.0.0.1:{self.port}]
admin: 127.0.0.1:{self.admin}
store: {{ path: {self.directory}/store }}
log: {{ format: json, access: {self.log} }}
resets: {{ path: none }}
"""
        )
        return [self.program, "serve", "--config", configuration]

    def verdicts(self):
        # Lines reach the file a second after the request at the latest.
        time.sleep(1.5)
        found = {}
        for line in self.log.read_text().splitlines():
            entry = json.loads(line)
            found.setdefault(normal(entry["url.full"]), []).append((entry["cache"], entry["upstream"]))
        return found

    def upstream_bytes(self):
        page = self.get(f"http://127.0.0.1:{self.admin}/metrics")
        values = re.findall(r"^holdfast_upstream_received_bytes_total(?:{.*})? (\S+)$", page, re.M)
        if not values:
            raise Unavailable("/metrics has no holdfast_upstream_received_bytes_total")
        return int(sum(map(float, values)))


class Squid(Proxy):
    """For comparison. Its verdicts and byte counts come from its access log."""

    def __init__(self, directory, program):
        found = shutil.which("squid", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if not found:
            raise Unavailable("squid is not installed (scripts/setup bench)")
        super().__init__(directory, found)
        self.log = self.directory / "access.log"

    def command(self):
        store = self.directory / "store"
        configuration = self.directory / "squid.conf"
        configuration.write_text(
            f"""
http_port 127.0.0.1:{self.port}
http_access allow all
cache_mem 256 MB
maximum_object_size 256 MB
cache_dir ufs {store} 4096 16 256
logformat live %Ss %<st %ru
access_log stdio:{self.log} live
cache_log {self.directory}/cache.log
cache_store_log none
pid_filename {self.directory}/pid
coredump_dir {self.directory}
shutdown_lifetime 0 seconds
pinger_enable off
refresh_pattern . 1440 20% 10080
"""
        )
        if not store.exists():
            store.mkdir()
            for path in (self.directory, store):
                if os.geteuid() == 0:
                    shutil.chown(path, "proxy")
            subprocess.run(
                [self.program, "-N", "-z", "-f", configuration, "-n", f"live{self.port}"],
                check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        return [self.program, "-N", "-f", configuration, "-n", f"live{self.port}"]

    def entries(self):
        time.sleep(1.5)
        if not self.log.exists():
            return
        for line in self.log.read_text().splitlines():
            status, size, uri = line.split(None, 2)
            if "NONE" not in status:
                hit = "HIT" in status and "REFRESH" not in status
                yield uri, "hit" if hit else "miss", 0 if hit else int(size)

    def verdicts(self):
        found = {}
        for uri, verdict, upstream in self.entries():
            found.setdefault(normal(uri), []).append((verdict, upstream))
        return found

    def upstream_bytes(self):
        return sum(upstream for _, _, upstream in self.entries())


def normal(uri):
    """A URI in one spelling, whichever log it stands in: what needs no escape is not escaped."""
    return re.sub("%[0-9A-Fa-f]{2}", lambda m: unreserved(m[0]), uri)


def unreserved(escape):
    character = urllib.parse.unquote(escape)
    return character if re.fullmatch(r"[A-Za-z0-9._~!$&'()*+,;=-]", character) else escape.upper()


def free_port():
    """A TCP port that was free a moment ago, chosen by the kernel."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
