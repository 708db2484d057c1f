#!/usr/bin/env python3
"""Holdfast beside nginx, Varnish, Squid, Traffic Server and a bare C loop, in one run.

Each server has one worker on one core; the load and the origin have another. The load shares the
machine with the servers, so requests per second say as much about the load as about the server:
the figure that counts is the server's CPU time per request. Rounds alternate between the servers,
a round in which something else used the server's core is repeated, and the median counts.

The origin's request counter proves each round: hits reach it never, misses every time, and what
was missed once must be a hit afterwards. A server that does otherwise is reported, not measured.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time

import report
import servers
import workloads
from measure import CoreWatch, cpu_seconds, fetch, free_port, memory_bytes
from servers import NotAvailable, Process

HERE = pathlib.Path(__file__).resolve().parent
CALM = 0.05  # of the server's core may be used by others before a round counts as disturbed
WIDE = 0.15  # spread of the calm rounds above which more are made


class NotComparable(Exception):
    """Says what a server did that makes its figures mean something else."""


class Bench:
    def __init__(self, options, directory):
        self.options = options
        self.directory = directory
        self.unique = 1_000_000  # the next number that no request has used yet
        self.origin_port = free_port()
        self.origin = None
        options.identity = make_identity(directory)

    def start_origin(self):
        self.origin = Process(
            [self.options.tools / "origin", self.origin_port], self.options.load_core, self.directory
        )
        for _ in range(50):
            try:
                return fetch(self.origin_port, "/stats")
            except OSError:
                if self.origin.child.poll() is not None:
                    break
                time.sleep(0.05)
        raise SystemExit(f"bench: the origin does not start:\n{self.origin.said()}")

    def origin_requests(self):
        return int(fetch(self.origin_port, "/stats").split()[0])

    def load(self, port, workload, connections=None, fresh=False, **extra):
        """Starts the load and returns it when each connection has had its first answer."""
        words = [self.options.tools / "load", "--port", port, "--path", workload.path]
        words += ["--connections", connections or workload.connections]
        if workload.tls:
            words += ["--tls", 1]
        if workload.fresh and fresh:
            words += ["--fresh", 1]
        for name, value in extra.items():
            words += [f"--{name}", value]
        process = Process(words, self.options.load_core, self.directory, pipe=True)
        if process.child.stdout.readline().strip() != "ready":
            process.end()
            raise NotComparable(process.said())
        return process

    def go(self, process):
        """Lets a started load run to its end; its figures."""
        answer, _ = process.child.communicate("go\n")
        if process.child.returncode != 0 or not answer.strip():
            raise NotComparable(process.said())
        figures = json.loads(answer)
        if figures["failed"]:
            raise NotComparable(f"{figures['failed']} of {figures['requests']} answers were not 200:\n{process.said()}")
        return figures

    def which(self, workload):
        """How the load chooses its URLs."""
        if workload.kind in ("miss", "pass"):
            first = self.unique
            self.unique += 10_000_000
            return {"unique": first}
        return {"random": workload.objects}

    def prepare(self, server, workload):
        """Fills the cache for hits, and looks whether the server hands on what the origin sent."""
        if not server.caches:
            return
        path = workload.path + "0"
        truth = fetch(self.origin_port, path)
        for _ in range(2):
            if fetch(server.port, path, tls=workload.tls) != truth:
                raise NotComparable("its answer differs from the origin's")
        if workload.kind in ("hit", "idle"):
            # Twice: a few caches store an object only when it is asked for again.
            for number in range(2):
                warm = self.load(server.port, workload, connections=1, unique=0, requests=workload.objects)
                self.go(warm)

    def round(self, server, workload):
        """One measured interval."""
        length = workload.seconds / (3 if self.options.quick else 1)
        amount = {"seconds": length}
        if workload.requests:
            amount = {"requests": workload.requests // (3 if self.options.quick else 1)}
        choice = self.which(workload)
        # A load that never sleeps would keep the origin, on the same core, from answering misses.
        spin = 1 if workload.kind == "hit" else 0
        load = self.load(server.port, workload, fresh=True, spin=spin, **choice, **amount)
        processes = server.process.tree()
        asked = self.origin_requests()
        watch = CoreWatch(self.options.server_core)
        before = cpu_seconds(processes)
        figures = self.go(load)
        cpu = cpu_seconds(processes) - before
        foreign = watch.foreign_seconds(cpu)
        asked = self.origin_requests() - asked
        self.check(server, workload, figures, asked, choice)
        return {
            "cpu": cpu * 1e3 / (figures["bytes"] / 2**30)
            if workload.unit == "GiB"
            else cpu * 1e6 / figures["requests"],
            "requests_per_second": figures["requests"] / figures["seconds"],
            "bytes_per_second": figures["bytes"] / figures["seconds"],
            "busy": cpu / figures["seconds"],
            "foreign": foreign / figures["seconds"],
            "memory": memory_bytes(processes),
        }

    def check(self, server, workload, figures, asked, choice):
        """The origin's counter says whether the round was what it was meant to be."""
        if not server.caches:
            return
        requests = figures["requests"]
        if workload.kind == "hit" and asked > max(2, requests / 1000):
            raise NotComparable(f"{asked} of {requests} hits went to the origin")
        if workload.kind in ("miss", "pass") and asked < requests * 0.99:
            raise NotComparable(f"only {asked} of {requests} misses went to the origin")
        if workload.kind == "miss":
            # What this round asked for is a hit now. Its first hundred URLs, after the first ones.
            first = choice["unique"] + workload.connections
            before = self.origin_requests()
            self.go(self.load(server.port, workload, connections=1, unique=first, requests=100))
            again = self.origin_requests() - before
            if again > 2:
                raise NotComparable(f"{again} of 100 misses were not stored")

    def measure(self, workload, chosen):
        """All rounds of a workload, alternating; results by server name."""
        running, results = {}, {}
        try:
            for kind in chosen:
                if workload.kind in ("miss", "pass", "idle") and not kind.caches and workload.kind != "idle":
                    continue
                if workload.tls and not kind.speaks_tls:
                    continue
                server = kind(self.directory, self.options.server_core, self.origin_port, self.options)
                running[server.name] = server
                try:
                    server.start(workload)
                    self.prepare(server, workload)
                except (NotAvailable, NotComparable, OSError) as problem:
                    self.leave_out(running.pop(server.name), problem)
            rounds = {name: [] for name in running}
            tries = self.options.rounds * 3
            for number in range(tries):
                for name in list(running):
                    if number >= self.options.rounds and self.enough(rounds[name]):
                        continue
                    try:
                        rounds[name].append(self.round(running[name], workload))
                    except (NotComparable, OSError) as problem:
                        self.leave_out(running.pop(name), problem)
                        rounds.pop(name)
                self.progress(f"{workload.name}: round {number + 1}")
            for name, made in rounds.items():
                results[name] = self.result(made)
        finally:
            for server in running.values():
                server.stop()
            self.progress("")
        return results

    def enough(self, made):
        calm = [r for r in made if r["foreign"] <= CALM]
        return len(calm) >= self.options.rounds and report.spread(calm, "cpu") <= WIDE

    def result(self, made):
        calm = [r for r in made if r["foreign"] <= CALM]
        enough = len(calm) >= min(self.options.rounds, 3)
        if not enough:  # the least disturbed ones are better than none, and are marked
            calm = sorted(made, key=lambda r: r["foreign"])[: self.options.rounds]
        fields = ("cpu", "requests_per_second", "bytes_per_second", "busy", "memory")
        return {
            **{field: report.median(calm, field) for field in fields},
            "spread": report.spread(calm, "cpu"),
            "calm": enough,
            "rounds": made,
        }

    def measure_idle(self, workload, chosen):
        """Memory per idle connection; a fresh server for each round, so nothing is reused."""
        results = {}
        for kind in chosen:
            if workload.tls and not kind.speaks_tls:
                continue
            made = []
            for number in range(1 if self.options.quick else self.options.rounds):
                self.progress(f"{workload.name}: {kind.name}, round {number + 1}")
                server = kind(self.directory, self.options.server_core, self.origin_port, self.options)
                try:
                    server.start(workload)
                    self.prepare(server, workload)
                    # A first handful brings in what every server allocates once.
                    first = self.load(server.port, workload, connections=64, random=1)
                    before = memory_bytes(server.process.tree())
                    crowd = self.load(server.port, workload, random=1)
                    after = memory_bytes(server.process.tree())
                    made.append(
                        {
                            "bytes_per_connection": (after - before) / workload.connections,
                            "memory": after,
                        }
                    )
                    first.end()
                    crowd.end()
                except (NotAvailable, NotComparable, OSError) as problem:
                    self.leave_out(server, problem)
                    break
                finally:
                    server.stop()
            if made:
                results[kind.name] = {
                    "bytes_per_connection": report.median(made, "bytes_per_connection"),
                    "memory": report.median(made, "memory"),
                    "rounds": made,
                }
        self.progress("")
        return results

    def leave_out(self, server, problem):
        self.progress("")
        print(f"{server.name} is left out: {problem}", file=sys.stderr)
        server.stop()

    def progress(self, text):
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def build_tools(directory):
    """Compiles the origin, the load and the floor."""
    compiler = shutil.which("cc") or shutil.which("clang")
    if not compiler:
        raise SystemExit("bench: no C compiler (scripts/setup bench)")
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("origin", "load", "floor"):
        subprocess.run(
            [compiler, "-O2", "-Wall", "-Wextra", "-o", directory / name, HERE / f"{name}.c",
             *(["-lssl", "-lcrypto"] if name == "load" else [])],
            check=True,
        )  # fmt: skip
    return directory


def make_identity(directory):
    """A certificate for all servers that speak TLS, and its key: P-256, as most have today."""
    certificate, key = directory / "server.pem", directory / "server.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "2", "-subj", "/CN=bench.example.org", "-addext", "subjectAltName=DNS:bench.example.org",
         "-keyout", key, "-out", certificate],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return certificate, key


def machine():
    model = platform.machine()
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release()}


def parse(words):
    names = [w.name for w in workloads.ALL]
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="workloads: " + "; ".join(f"{w.name} ({w.sentence})" for w in workloads.ALL),
    )
    parser.add_argument("--holdfast", metavar="FILE", help="the program to measure")
    parser.add_argument("--quick", action="store_true", help="shorter rounds; for a first look")
    parser.add_argument("--rounds", type=int, default=3, help="calm rounds to make (default 3)")
    parser.add_argument("--only", metavar="A,B", help="these workloads: " + ",".join(names))
    parser.add_argument(
        "--servers", metavar="A,B", help="these servers: " + ",".join(s.name for s in servers.ALL + servers.VARIANTS)
    )
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--scratch", metavar="DIR", help="where caches lie (default: the system's /var/tmp)")
    parser.add_argument("--output", metavar="DIR", default=".build/bench", help="where the JSON goes")
    options = parser.parse_args(words)
    options.workloads = choose(parser, options.only, {w.name: w for w in workloads.ALL})
    known = servers.ALL + (servers.VARIANTS if options.servers else [])
    options.chosen = choose(parser, options.servers, {s.name: s for s in known})
    if options.holdfast:
        options.holdfast = pathlib.Path(options.holdfast).absolute()
    cores = os.sched_getaffinity(0)
    if not {options.server_core, options.load_core} <= cores:
        parser.error(f"cores {options.server_core} and {options.load_core} are needed, usable are {sorted(cores)}")
    return options


def choose(parser, words, known):
    if not words:
        return list(known.values())
    unknown = [word for word in words.split(",") if word not in known]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return [value for name, value in known.items() if name in words.split(",")]


def main():
    options = parse(sys.argv[1:])
    output = pathlib.Path(options.output)
    options.tools = build_tools(output / "tools").absolute()
    os.sched_setaffinity(0, {options.load_core})
    versions = {}
    for kind in list(options.chosen):
        try:
            versions[kind.name] = kind.version(options)
        except NotAvailable as problem:
            print(f"{kind.name} is left out: {problem}", file=sys.stderr)
            options.chosen.remove(kind)

    facts = machine()
    print(f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}")
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    results = {}
    # Squid and Traffic Server give up root's rights, so everybody may enter.
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=options.scratch or "/var/tmp") as scratch:
        os.chmod(scratch, 0o755)
        bench = Bench(options, pathlib.Path(scratch))
        try:
            bench.start_origin()
            for workload in options.workloads:
                measure = bench.measure_idle if workload.kind == "idle" else bench.measure
                results[workload.name] = measure(workload, options.chosen)
                print(f"\n{workload.sentence}\n")
                print(report.workload_table(workload, results[workload.name]), flush=True)
        finally:
            if bench.origin:
                bench.origin.end()

    if len(options.workloads) > 1 and "nginx" in versions:
        print("\nCPU per request (memory for idle connections), as a ratio to nginx\n")
        print(report.summary_table(options.workloads, results, list(versions)))
    if any(not r.get("calm", True) for found in results.values() for r in found.values()):
        print("\n! something else used the server's core in too many rounds; trust this row less")
    moment = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    record = {"time": moment, "machine": facts, "versions": versions, "quick": options.quick, "results": results}
    for name in (f"{moment}.json", "latest.json"):
        (output / name).write_text(json.dumps(record, indent=1))
    print(f"\nAll rounds: {output / 'latest.json'}")


if __name__ == "__main__":
    main()
