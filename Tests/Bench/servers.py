"""The servers under test: how each is configured, started and ended.

All get the same terms: one worker, the same core, no access log, caches larger than the work,
idle connections kept to the origin, client connections kept open. Where a server has a choice
that matters, the comment says what was chosen and why. Each runs in a directory of its own that
goes away with it.
"""

import ctypes
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import time

from measure import fetch, free_port, process_tree

PR_SET_PDEATHSIG = 1


def raise_descriptor_limit(wanted=60000):
    """As many open files as this machine allows, up to the wanted number; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
        return wanted
    except (OSError, ValueError):  # not ours to raise above the hard limit
        wanted = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted


DESCRIPTORS = raise_descriptor_limit()


class NotAvailable(Exception):
    """Says why a server is left out."""


def program(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise NotAvailable(f"{name} is not installed (scripts/setup bench)")
    return path


class Process:
    """A child process on one core that dies with us, and is ended by its own id."""

    def __init__(self, command, core, directory, environment=None, pipe=False):
        def prepare():
            os.sched_setaffinity(0, {core})
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

        self.log = pathlib.Path(directory) / "output"
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                [str(word) for word in command],
                cwd=directory,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE if pipe else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe else log,
                stderr=log,
                text=True,
                preexec_fn=prepare,
                start_new_session=True,
            )

    def tree(self):
        return process_tree(self.child.pid)

    def end(self):
        processes = self.tree()
        self.child.terminate()
        try:
            self.child.wait(5)
        except subprocess.TimeoutExpired:
            pass
        for process in processes:  # the children a hurried parent left behind
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.child.wait()

    def said(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


class Server:
    """One server under test. Subclasses write the configuration and name the command."""

    name = ""
    speaks_tls = False  # measured over TLS as well
    caches = True  # False: only a floor to compare with
    note = ""

    def __init__(self, directory, core, origin_port, options):
        self.directory = pathlib.Path(directory) / self.name
        self.core = core
        self.origin_port = origin_port
        self.options = options
        self.port = free_port()
        self.process = None

    @classmethod
    def version(cls, options):
        """The version, or NotAvailable."""
        raise NotImplementedError

    def command(self, workload):
        """Writes what the server needs into its directory; the command line that starts it."""
        raise NotImplementedError

    environment = None

    def start(self, workload):
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.process = Process(self.command(workload), self.core, self.directory, self.environment)
        deadline = time.monotonic() + 60
        while True:
            if self.process.child.poll() is not None:
                raise NotAvailable(f"{self.name} ended at once:\n{self.process.said()}")
            try:
                fetch(self.port, "/1/started", timeout=5, tls=workload.tls)
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise NotAvailable(f"{self.name} does not answer ({error}):\n{self.process.said()}")
                time.sleep(0.1)

    def stop(self):
        if self.process:
            self.process.end()
            self.process = None
        shutil.rmtree(self.directory, ignore_errors=True)

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        return path

    def folder(self, name, owner=None):
        path = self.directory / name
        path.mkdir()
        if owner and os.geteuid() == 0:
            shutil.chown(path, owner)
        return path


def first_line(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.strip().splitlines()[0]


class Floor(Server):
    name = "floor"
    caches = False
    note = "a bare C loop with one constant answer"

    @classmethod
    def version(cls, options):
        return "C, this machine's compiler, -O2"

    def command(self, workload):
        return [self.options.tools / "floor", self.port, workload.size]


class Holdfast(Server):
    name = "holdfast"
    speaks_tls = True
    # How closely packets are looked at, and whether the kernel is asked; the defaults.
    sensors = "auto"
    kernel = "auto"

    @classmethod
    def version(cls, options):
        if not options.holdfast or not os.access(options.holdfast, os.X_OK):
            raise NotAvailable("the program is not built (make release)")
        return first_line(options.holdfast, "--version").rpartition(" ")[2]

    def command(self, workload):
        certificate, key = self.options.identity
        tls = f", tls: {{ certificate: {certificate}, key: {key} }}" if workload.tls else ""
        configuration = self.write(
            "holdfast.yaml",
            f"""
listen:
  - {{ address: "127.0.0.1:{self.port}", origin: "http://127.0.0.1:{self.origin_port}"{tls} }}
admin: 127.0.0.1:{free_port()}
threads: 1
store: {{ path: {self.directory}/store, size: 16GiB, memory: 512MiB }}
destinations: {{ private: [127.0.0.0/8] }}
log: {{ access: none, level: warning }}
resets: {{ path: none, sensors: {self.sensors}, kernel: {self.kernel}, captures: none }}
""",
        )
        return [self.options.holdfast, "serve", "--config", configuration]


class Nginx(Server):
    name = "nginx"
    speaks_tls = True

    @classmethod
    def version(cls, options):
        return first_line(program("nginx"), "-v").rpartition("/")[2]

    def command(self, workload):
        # `user root` only keeps the worker able to write here. open_file_cache saves an open() per
        # hit, as far as descriptors go: the cache and the connections share them. sendfile is the better choice from 64 KiB up and the worse one below (measured), and
        # tcp_nopush costs two system calls per answer: so each size gets its best setting.
        open_files = min(100_000, DESCRIPTORS - 500 - workload.connections)
        sendfile = "on" if workload.size > 32 * 1024 else "off"
        user = "user root;" if os.geteuid() == 0 else ""
        certificate, key = self.options.identity
        # Its default record size, 16 KiB, is ours too. Sessions are not taken up again here.
        tls = f"ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;"
        self.folder("cache")
        for name in ("client", "proxy", "fastcgi", "uwsgi", "scgi"):
            self.folder(name)
        configuration = self.write(
            "nginx.conf",
            f"""
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile {DESCRIPTORS};
pid {self.directory}/pid;
error_log stderr crit;
events {{ worker_connections {DESCRIPTORS - 100}; }}
http {{
  access_log off;
  sendfile {sendfile};
  tcp_nopush off;
  tcp_nodelay on;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  open_file_cache max={open_files} inactive=1h;
  open_file_cache_valid 1h;
  client_body_temp_path {self.directory}/client;
  fastcgi_temp_path {self.directory}/fastcgi;
  uwsgi_temp_path {self.directory}/uwsgi;
  scgi_temp_path {self.directory}/scgi;
  proxy_temp_path {self.directory}/proxy;
  proxy_cache_path {self.directory}/cache levels=1:2 keys_zone=bench:256m max_size=16g
                   inactive=1d use_temp_path=off;
  upstream origin {{
    server 127.0.0.1:{self.origin_port};
    keepalive 128;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
  }}
  server {{
    listen 127.0.0.1:{self.port} {"ssl" if workload.tls else ""} backlog=4096;
    {tls if workload.tls else ""}
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache bench;
      proxy_cache_key $uri;
      proxy_buffers 16 32k;
      proxy_buffer_size 32k;
      proxy_busy_buffers_size 128k;
    }}
  }}
}}
""",
        )
        return [program("nginx"), "-c", configuration, "-p", self.directory, "-e", "stderr"]


class Varnish(Server):
    name = "varnish"
    note = "keeps everything in memory: its misses do not reach a disk"
    LOGGED = """
        Begin End Link Timestamp SessOpen SessClose ReqStart ReqAcct PipeAcct Hit HitMiss HitPass
        ReqMethod ReqURL ReqProtocol ReqHeader ReqUnset
        RespMethod RespURL RespProtocol RespStatus RespReason RespHeader RespUnset
        BereqMethod BereqURL BereqProtocol BereqHeader BereqUnset BereqAcct
        BerespProtocol BerespStatus BerespReason BerespHeader BerespUnset
        ObjProtocol ObjStatus ObjReason ObjHeader ObjUnset
        VCL_call VCL_return VCL_use Backend BackendOpen BackendClose BackendReuse BackendStart
        Fetch_Body Filters Storage TTL Length Gzip ExpBan
    """.split()

    @classmethod
    def version(cls, options):
        return first_line(program("varnishd"), "-V").partition("(varnish-")[2].split()[0]

    def command(self, workload):
        # One pool of threads. The shared-memory log is written whether somebody reads it or not, so
        # it is masked off like everybody's access log. No pings: a round may starve the manager.
        configuration = self.write(
            "default.vcl",
            f"""
vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{self.origin_port}"; }}
""",
        )
        parameters = {
            "thread_pools": 1,
            "thread_pool_min": 100,
            "thread_pool_max": 2000,
            "timeout_idle": 3600,
            "vsl_mask": ",".join("-" + tag for tag in self.LOGGED),
            "ping_interval": 0,
            "listen_depth": 4096,
            "nuke_limit": 1000,
        }
        return [
            program("varnishd"), "-F", "-n", self.folder("work"), "-j", "none",
            "-a", f"127.0.0.1:{self.port}", "-T", "none", "-f", configuration, "-s", "malloc,6g",
            *[word for name, value in parameters.items() for word in ("-p", f"{name}={value}")],
        ]  # fmt: skip


class Squid(Server):
    name = "squid"

    @classmethod
    def version(cls, options):
        return first_line(program("squid"), "-v").rpartition(" ")[2]

    def command(self, workload):
        # Up to 1 MiB goes to one rock file, more to files of their own by threads (aufs): those drop
        # what they have no time to write, so that a miss would not be a stored miss.
        # Hits come from memory, which Squid has to be told to use for anything above 512 KiB.
        rock, files = self.folder("rock", "proxy"), self.folder("files", "proxy")
        if os.geteuid() == 0:
            shutil.chown(self.directory, "proxy")
        configuration = self.write(
            "squid.conf",
            f"""
http_port 127.0.0.1:{self.port} accel defaultsite=bench.example.org no-vhost
cache_peer 127.0.0.1 parent {self.origin_port} 0 no-query originserver no-digest name=origin
http_access allow all
cache_peer_access origin allow all
never_direct allow all
workers 1
cache_mem 4 GB
maximum_object_size 64 MB
maximum_object_size_in_memory 16 MB
cache_dir rock {rock} 8192 max-size=1048576
cache_dir aufs {files} 8192 16 256 min-size=1048577
access_log none
cache_store_log none
cache_log {self.directory}/cache.log
pid_filename {self.directory}/pid
coredump_dir {self.directory}
visible_hostname bench.example.org
max_filedescriptors {DESCRIPTORS}
client_idle_pconn_timeout 1 hour
server_idle_pconn_timeout 1 hour
request_timeout 1 hour
client_lifetime 1 day
quick_abort_min -1 KB
shutdown_lifetime 0 seconds
pinger_enable off
client_db off
memory_pools on
""",
        )
        squid = program("squid")
        made = subprocess.run(
            [squid, "-N", "-z", "-f", configuration, "-n", f"bench{self.port}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
        )  # fmt: skip
        if made.returncode:
            raise NotAvailable(f"squid -z failed:\n{made.stdout}")
        return [squid, "-N", "-f", configuration, "-n", f"bench{self.port}"]


class TrafficServer(Server):
    name = "ats"

    @classmethod
    def version(cls, options):
        return first_line(program("traffic_server"), "--version").partition("Server ")[2].split()[0]

    def command(self, workload):
        # A "runroot" of its own instead of the system's directories, and no manager: one process.
        etc, run = self.folder("etc"), self.folder("run", "trafficserver")
        cache = self.folder("cache", "trafficserver")
        settings = {
            "http.server_ports": f"STRING {self.port}:ip-in=127.0.0.1",
            "exec_thread.autoconfig": "INT 0",
            "exec_thread.limit": "INT 1",
            "accept_threads": "INT 0",
            "task_threads": "INT 1",
            "exec_thread.affinity": "INT 0",
            "cache.ram_cache.size": "INT 4G",
            "cache.ram_cache_cutoff": "INT 16M",
            "cache.ram_cache.algorithm": "INT 1",
            "cache.threads_per_disk": "INT 4",
            "cache.agg_write_backlog": "INT 256M",
            "cache.target_fragment_size": "INT 1048576",
            "cache.min_average_object_size": "INT 4000",
            "log.logging_enabled": "INT 0",
            "diags.show_location": "INT 0",
            "http.cache.http": "INT 1",
            "url_remap.remap_required": "INT 1",
            "reverse_proxy.enabled": "INT 1",
            "http.keep_alive_no_activity_timeout_in": "INT 3600",
            "http.keep_alive_no_activity_timeout_out": "INT 3600",
            "http.transaction_no_activity_timeout_in": "INT 3600",
            "net.connections_throttle": f"INT {DESCRIPTORS - 500}",
            "net.max_connections_in": f"INT {DESCRIPTORS - 1000}",
            "net.max_requests_in": "INT 0",
            "net.listen_backlog": "INT 4096",
            "net.default_inactivity_timeout": "INT 3600",
            "admin.user_id": "STRING trafficserver",
            "crash_log_helper": "STRING NULL",
        }
        lines = [f"CONFIG proxy.config.{name} {value}" for name, value in settings.items()]
        for name, text in {
            "records.config": "\n".join(lines) + "\n",
            "storage.config": f"{cache} 4G\n",
            "remap.config": f"map / http://127.0.0.1:{self.origin_port}/\n",
            "plugin.config": "",
            "ip_allow.yaml": "ip_allow:\n  - {apply: in, ip_addrs: 127.0.0.1, action: allow, methods: ALL}\n",
        }.items():
            (etc / name).write_text(text)
        system = pathlib.Path(program("traffic_server")).parent.parent
        root = self.write(
            "runroot.yaml",
            f"""
prefix: {self.directory}
exec_prefix: {self.directory}
bindir: {system}/bin
sbindir: {system}/sbin
sysconfdir: {etc}
datadir: {cache}
includedir: {system}/include
libdir: {system}/lib/trafficserver
libexecdir: {system}/lib/trafficserver/modules
localstatedir: {self.directory}
runtimedir: {run}
logdir: {run}
cachedir: {cache}
""",
        )
        self.environment = {"TS_RUNROOT": str(root)}
        if os.geteuid() == 0:  # as root it gives up its rights, and then needs to write here
            shutil.chown(self.directory, "trafficserver")
        return [program("traffic_server")]


class WithoutSensors(Holdfast):
    name = "holdfast-off"
    sensors = "off"
    kernel = "off"


class WithLiteSensor(Holdfast):
    name = "holdfast-lite"
    sensors = "lite"
    kernel = "off"


class WithFullSensor(Holdfast):
    name = "holdfast-full"
    sensors = "full"
    kernel = "off"


ALL = [Floor, Holdfast, Nginx, Varnish, Squid, TrafficServer]
# Measured when they are named: what looking at packets costs.
VARIANTS = [WithoutSensors, WithLiteSensor, WithFullSensor]
