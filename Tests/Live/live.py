#!/usr/bin/env python3
"""Real clients, real packages, through Holdfast: cold, warm, and with the network gone.

Three cases: apt as below; pip and uv by mirrors (python_packages.py); pip, uv and apt through tunnels
(interception.py).

  cold   a fresh apt fetches its indexes and at least 50 MB of packages through the proxy
  warm   another fresh apt fetches the same: no byte of a package may come from upstream
  cut    the proxy is started again where there is no network at all, on the store it left: the
         packages still arrive

apt runs with a root of its own (configuration, lists, cache), so nothing on the machine changes;
the sources and keys are copied from the machine's settings, and the packages are chosen by size
from what those sources offer. Every package is compared with the SHA-256 of apt's signed index,
which is fetched directly, past the proxy. Where no source can be reached it says so and ends well.
"""

import argparse
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import interception
import proxies
import python_packages
from apt import Apt, Failed
from proxies import Namespace, Unavailable


class Skip(Exception):
    """Why this cannot be tried here."""


def choose(apt, wanted):
    """Names of packages of all sizes, `wanted` bytes together, that come over plain HTTP."""
    offers = apt.offers()
    chosen, names = {}, []

    def take(lowest, highest, count, enough):
        # Evenly over the range, so that the choice does not hang on one package.
        fitting = [name for size, name in offers if lowest <= size < highest and name not in names]
        for name in fitting[:: max(1, len(fitting) // count)][:count]:
            located = apt.locate([name])
            if any(not uri.startswith("http://") for uri, _, _ in located.values()):
                continue  # https goes through a tunnel, which nobody caches
            names.append(name)
            chosen.update(located)
            if enough and sum(size for _, size, _ in chosen.values()) >= wanted:
                return

    take(1, 20_000, 10, False)
    take(20_000, 500_000, 10, False)
    take(500_000, 5_000_000, 4, False)
    take(5_000_000, 20_000_000, 40, True)
    total = sum(size for _, size, _ in chosen.values())
    if total < wanted:
        raise Skip(f"the sources offer too little over plain HTTP: {total} bytes")
    return names, chosen


def compare(apt, expected):
    """Every package is there, complete and right."""
    for file, (_, size, digest) in expected.items():
        path = apt.downloads / file
        if not path.exists():
            raise Failed(f"{file} did not arrive")
        content = path.read_bytes()
        if len(content) != size or hashlib.sha256(content).hexdigest() != digest:
            raise Failed(f"{file} has {len(content)} bytes and is not what apt's index says")


def megabytes(count):
    return f"{count / 1e6:.1f} MB"


class Live:
    def __init__(self, options, scratch):
        self.options = options
        self.scratch = scratch
        self.started = time.monotonic()

    def say(self, text):
        print(f"{time.monotonic() - self.started:6.1f}s  {text}", flush=True)

    def fetch(self, label, proxy, names, expected, namespace=None, update=True):
        """One apt from nothing; how many bytes the proxy received from upstream meanwhile."""
        apt = Apt(self.scratch / label, proxy.url, namespace)
        indexes = 0
        if update:
            before = proxy.upstream_bytes()
            indexes = apt.update()
            if indexes == 0:
                raise Failed("apt-get update fetched no index through the proxy")
            self.say(f"{label}: {indexes} indexes, {megabytes(proxy.upstream_bytes() - before)} from upstream")
        else:
            lists = self.scratch / "warm/state/lists"
            shutil.copytree(lists, apt.root / "state/lists", dirs_exist_ok=True)
        before = proxy.upstream_bytes()
        apt.download(names)
        received = proxy.upstream_bytes() - before
        compare(apt, expected)
        total = sum(size for _, size, _ in expected.values())
        self.say(f"{label}: {len(expected)} packages, {megabytes(total)}, all digests right, "
                 f"{received:,} bytes from upstream")  # fmt: skip
        return received, total

    def run(self):
        direct = Apt(self.scratch / "direct", None)
        if direct.update() == 0:
            raise Skip("none of the machine's package sources can be reached")
        names, expected = choose(direct, self.options.megabytes * 1_000_000)
        self.say(f"chose {len(names)} packages from the machine's sources")

        proxy = self.options.kind(self.scratch / "proxy", self.options.program)
        try:
            proxy.start()
            received, total = self.fetch("cold", proxy, names, expected)
            if received < total:
                raise Failed(f"only {received} of {total} bytes came from upstream: this was not cold")

            received, _ = self.fetch("warm", proxy, names, expected)
            verdicts = proxy.verdicts()
            for file, (uri, _, _) in expected.items():
                verdict, upstream = verdicts.get(proxies.normal(uri), [("nothing", 0)])[-1]
                if verdict != "hit" or upstream != 0:
                    why = proxy.explain(uri)
                    raise Failed(f"the second time, {file} was a {verdict}, not a hit{why}")
            if received != 0:
                raise Failed(f"{received} bytes came from upstream while only stored packages were asked for")
            self.say("warm: the proxy's own log calls every one of them a hit")
        finally:
            proxy.stop()

        try:
            namespace = Namespace()
        except Unavailable as problem:
            self.say(f"cut: skipped, {problem}")
            return
        try:
            proxy.start(namespace)
            self.fetch("cut", proxy, names, expected, namespace, update=False)
            self.say("cut: without any network, from the store that was left")
        finally:
            proxy.stop()
            namespace.remove()


def apt_case(options, scratch):
    if not shutil.which("apt-get"):
        raise Skip("this machine has no apt-get")
    Live(options, scratch).run()


def told(run):
    """A case of a module that returns what went wrong."""

    def case(options, scratch):
        started = time.monotonic()
        problem = run(
            scratch, options.program,
            lambda text: print(f"{time.monotonic() - started:6.1f}s  {text}", flush=True),
        )  # fmt: skip
        if problem:
            raise Failed(problem)

    return case


def attempt(name, case, options, scratch):
    """Whether it went well, or could not be tried."""
    try:
        case(options, scratch)
        print(f"live: {name} passed")
        return True
    except (Skip, Unavailable) as problem:
        print(f"live: {name} skipped: {problem}")
        return True
    except Failed as problem:
        print(f"live: {name} FAILED: {problem}", file=sys.stderr)
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--holdfast", metavar="FILE", help="the program")
    parser.add_argument("--megabytes", type=int, default=50, help="at least so much (default 50)")
    parser.add_argument("--with", dest="other", choices=["squid"],
                        help="the same through Squid: is it Holdfast, or the machine?")  # fmt: skip
    parser.add_argument("--only", choices=["apt", "python", "tunnels"], help="just this")
    parser.add_argument("--keep", action="store_true", help="leave the scratch directory")
    options = parser.parse_args()
    options.kind = proxies.Squid if options.other else proxies.Holdfast
    options.program = options.holdfast and os.path.abspath(options.holdfast)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-live-", dir="/var/tmp"))
    scratch.chmod(0o755)
    try:
        cases = {"apt": apt_case} if options.other else {
            "apt": apt_case, "python": told(python_packages.run), "tunnels": told(interception.run),
        }  # fmt: skip
        outcomes = [attempt(name, cases[name], options, scratch) for name in cases
                    if options.only in (None, name)]  # fmt: skip
        return 0 if all(outcomes) else 1
    finally:
        if options.keep:
            print(f"live: everything is in {scratch}")
        else:
            shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
