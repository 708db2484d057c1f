#!/usr/bin/env python3
"""Mixed traffic through a real Holdfast for many minutes; what must not grow is watched.

  soak.py --holdfast PATH [--minutes 30] [--rate 100] [--workers 2] [--seed 1] [--json FILE]

One process is origin and all clients, both of which know what every byte should be, so the load is as
bounded as `--rate` (visits per second) and this language are. The verdict:

  bytes         nothing wrong in any answer
  memory        the trend of the resident set after warm-up (the median of all slopes, by Theil and Sen)
                adds up to less than 2 MiB and 3 % of the median over the time measured; warm-up lasts
                until the store was full once, and a third of the time at least
  descriptors   sockets fall back to what they were before the first client; open files keep below
                the store's bound and do not grow in the second half
  gauges        connections, fills and tunnels are zero when everyone has left
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from clients import Clients
from origin import Origin

STORE = 96 << 20
GAUGES = ("connections_open", "fills_running", "tunnels_open")
WARM_UP = 1 / 3  # of the time, at least


class Proxy:
    """The program under test, with a configuration and a store of its own."""

    def __init__(self, program, workers, log):
        self.directory = tempfile.mkdtemp(prefix="holdfast-soak-")
        self.path = self.directory + "/holdfast.yaml"
        self.workers = workers
        self.reloads = 0
        self._write()
        self._log = open(log, "wb")
        self.process = subprocess.Popen(
            [program, "serve", "--config", self.path], stdout=self._log, stderr=self._log)

    def _write(self):
        # The address is a literal: nothing is looked up, and it may be reached because it is named here.
        with open(self.path, "w") as file:
            file.write(
                "listen: [127.0.0.1:%d]\nadmin: 127.0.0.1:%d\nthreads: %d\n"
                "store: { path: %s/store, size: %dMiB, memory: 8MiB }\n"
                "destinations: { private: [127.0.0.0/8], connect-ports: [1-65535] }\n"
                "upstream: { idle-timeout: 5s, max-idle: %d }\n"
                "log: { access: none }\nresets: { path: none }\n"
                % (*self._ports(), self.workers, self.directory, STORE >> 20, 16 + self.reloads % 8))

    def _ports(self):
        if not hasattr(self, "port"):
            self.port, self.admin = free_ports(2)
        return self.port, self.admin

    def reload(self):
        self.reloads += 1
        self._write()
        self.process.send_signal(signal.SIGHUP)

    async def started(self):
        for _ in range(600):
            if self.process.poll() is not None:
                sys.exit("holdfast ended at its start; see %s" % self._log.name)
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            except OSError:
                await asyncio.sleep(0.1)
        sys.exit("holdfast does not accept connections")

    async def metrics(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.admin)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        text = (await reader.read()).decode()
        writer.close()
        values = {}
        for line in text.split("\r\n\r\n", 1)[1].splitlines():
            if line.startswith(("holdfast_", "process_")) and "_bucket" not in line:
                name, _, value = line.rpartition(" ")
                values[name] = float(value)
        return values

    def resident(self):
        with open("/proc/%d/statm" % self.process.pid) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def processor_seconds(self):
        with open("/proc/%d/stat" % self.process.pid) as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        sockets = files = 0
        for name in os.listdir("/proc/%d/fd" % self.process.pid):
            try:
                target = os.readlink("/proc/%d/fd/%s" % (self.process.pid, name))
            except OSError:
                continue
            if target.startswith("socket:"):
                sockets += 1
            elif target.startswith("/"):
                files += 1
        return sockets, files

    def stop(self):
        self.process.terminate()
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
        return code


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def gauge_sum(values, name):
    """A metric without its labels."""
    return sum(value for key, value in values.items() if key.startswith("holdfast_" + name))


def slope(samples):
    """The median slope between all pairs of (time, value): a few odd samples do not move it."""
    slopes = [(b[1] - a[1]) / (b[0] - a[0])
              for i, a in enumerate(samples) for b in samples[i + 1 :] if b[0] > a[0]]
    return statistics.median(slopes) if slopes else 0.0


async def sample(proxy, began):
    sockets, files = proxy.descriptors()
    values = await proxy.metrics()
    return {
        "seconds": round(time.monotonic() - began, 1), "resident": proxy.resident(),
        "sockets": sockets, "files": files, "processor": proxy.processor_seconds(),
        "store": values.get("holdfast_store_bytes", 0), "entries": values.get("holdfast_store_entries", 0),
        "requests": gauge_sum(values, "requests_total"),
        **{name: gauge_sum(values, name) for name in GAUGES},
    }


async def quiet(proxy, sockets_before):
    """Everyone has left: what is still open goes within the time-outs, or is lost."""
    for _ in range(60):
        await asyncio.sleep(1)
        # Counted first: asking for the metrics is a connection too.
        sockets, _ = proxy.descriptors()
        values = await proxy.metrics()
        if sockets <= sockets_before and all(gauge_sum(values, name) == 0 for name in GAUGES):
            break
    return sockets, {name: gauge_sum(values, name) for name in GAUGES}


async def traffic(clients, proxy, options, samples, began):
    clock, visits, pace = asyncio.get_running_loop().time, set(), random.Random(options.seed)
    seconds = options.minutes * 60
    next_visit = next_sample = next_reload = clock()
    end = clock() + seconds
    interval = max(1.0, min(10.0, seconds / 60))
    while clock() < end:
        now = clock()
        if now >= next_sample:
            next_sample += interval
            samples.append(await sample(proxy, began))
            report(samples[-1], clients)
        if now >= next_reload:
            next_reload += options.reload or 1e9
            if options.reload:
                proxy.reload()
        while next_visit <= now:
            next_visit += pace.expovariate(options.rate)
            # When the machine has no time for us, visits are left out rather than heaped up.
            if len(visits) < 300:
                task = asyncio.create_task(clients.visit())
                visits.add(task)
                task.add_done_callback(visits.discard)
        await asyncio.sleep(max(0.001, min(next_visit, next_sample, end) - clock()))
    if visits:
        await asyncio.wait(visits)


def report(sample, clients):
    if not report.lines:
        print("    time  resident  sockets  files  store    requests  wrong", flush=True)
    report.lines += 1
    print("%7.0fs %6.1f MiB %7d %6d %4.0f MiB %9d %6d" % (
        sample["seconds"], sample["resident"] / 2**20, sample["sockets"], sample["files"],
        sample["store"] / 2**20, sample["requests"], len(clients.wrong)), flush=True)


report.lines = 0


def judge(samples, start, end_sockets, gauges, clients, code):
    # Until the store reclaims, its index grows with every answer that is stored.
    full = next((s["seconds"] for s in samples if s["store"] > 0.85 * STORE), None)
    begin = max(WARM_UP * samples[-1]["seconds"], full or 0)
    warm = [s for s in samples if s["seconds"] >= begin]
    is_long = full is not None and len(warm) >= 20
    memory = [(s["seconds"], s["resident"]) for s in warm]
    span = warm[-1]["seconds"] - warm[0]["seconds"]
    median = statistics.median(value for _, value in memory)
    growth = slope(memory) * span
    bound = (2 << 20) + 0.03 * median
    half = len(warm) // 2
    files_before = max(s["files"] for s in warm[:half] or warm)
    files_after = max(s["files"] for s in warm[half:])
    checks = {
        "bytes": (not clients.wrong, "%d answers wrong, %.1f GB right, %d cuts seen as cuts" % (
            len(clients.wrong), clients.bytes / 1e9, clients.cuts_seen)),
        "memory": (
            growth <= bound or not is_long, "median %.1f MiB, trend %+.2f MiB over %.0f s (bound %.2f)%s" % (
                median / 2**20, growth / 2**20, span, bound / 2**20,
                "" if is_long else "; not judged: too short to fill the store and measure after that")),
        "descriptors": (
            end_sockets <= start["sockets"] and files_after <= 1100
            and files_after <= files_before * 1.1 + 16,
            "sockets %d at the start, %d at the end; files at most %d, then %d" % (
                start["sockets"], end_sockets, files_before, files_after)),
        "gauges": (not any(gauges.values()), ", ".join("%s %d" % item for item in gauges.items())),
        "end": (code == 0, "status %s after SIGTERM" % code),
    }
    print()
    for name, (is_good, text) in checks.items():
        print("%-12s %s  %s" % (name, "ok  " if is_good else "FAIL", text))
    for text in clients.wrong[:20]:
        print("  " + text)
    return checks


async def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--holdfast", required=True, help="the program to test")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=100, help="visits per second")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--reload", type=float, default=20, help="seconds between reloads; 0 for none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", default=".build/soak.json", help="where all samples go")
    options = parser.parse_args()
    os.makedirs(os.path.dirname(options.json) or ".", exist_ok=True)

    origin = Origin()
    await origin.start()
    proxy = Proxy(options.holdfast, options.workers, options.json + ".log")
    began, samples = time.monotonic(), []
    code = None
    try:
        await proxy.started()
        await asyncio.sleep(1)
        start = await sample(proxy, began)
        clients = Clients(proxy.port, origin.port, options.seed)
        print("seed %d, %d workers, %g visits per second for %g minutes" % (
            options.seed, options.workers, options.rate, options.minutes))
        await traffic(clients, proxy, options, samples, began)
        clients.close()
        end_sockets, gauges = await quiet(proxy, start["sockets"])
    finally:
        code = proxy.stop()
    checks = judge(samples, start, end_sockets, gauges, clients, code)
    is_good = all(good for good, _ in checks.values())
    seconds = samples[-1]["seconds"] - samples[0]["seconds"]
    used = samples[-1]["processor"] - samples[0]["processor"]
    print("\n%d requests, %d reloads, %.0f %% of a core: %s" % (
        samples[-1]["requests"], proxy.reloads, 100 * used / max(seconds, 1),
        "flat" if is_good else "NOT GOOD"))
    with open(options.json, "w") as file:
        json.dump({
            "options": vars(options), "good": is_good, "visits": clients.counts,
            "checks": {name: {"good": good, "says": text} for name, (good, text) in checks.items()},
            "wrong": clients.wrong, "start": start, "samples": samples}, file, indent=1)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
