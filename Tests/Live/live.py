#!/usr/bin/env python3
"""Real apt-get, real packages, through Holdfast: cold, warm, and with the network gone.

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

import proxies
import python_packages
from proxies import Namespace, Unavailable


class Skip(Exception):
    """Why this cannot be tried here."""


class Failed(Exception):
    """A promise that was not kept."""


class Apt:
    """An apt with directories of its own. `proxy` is a URL, or None for the direct way."""

    def __init__(self, root, proxy, namespace=None):
        self.root = pathlib.Path(root)
        self.namespace = namespace
        self.downloads = self.root / "downloads"
        for folder in ("etc", "state/lists/partial", "cache/archives/partial", "downloads", "parts"):
            (self.root / folder).mkdir(parents=True)
        (self.root / "state/status").touch()
        copy_settings(self.root / "etc")
        settings = {
            "Dir::State": self.root / "state",
            "Dir::State::status": self.root / "state/status",
            "Dir::Cache": self.root / "cache",
            "Dir::Etc": self.root / "etc",
            "Dir::Etc::parts": self.root / "parts",  # none of the machine's hooks
            "Dir::Etc::main": self.root / "none",
            "Acquire::http::Proxy": proxy or "DIRECT",
            "Acquire::https::Proxy": proxy or "DIRECT",
            "Acquire::https::Timeout": "10",
            "Acquire::http::Timeout": "60",
            "Acquire::Retries": "0",  # what breaks must show
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root",
        }
        lines = [f'{name} "{value}";' for name, value in settings.items()]
        self.configuration = self.root / "apt.conf"
        self.configuration.write_text("\n".join(lines) + "\n")

    def run(self, *words, check=True):
        """Standard output of a command of the apt family; its complaints go into an exception."""
        command = [*(self.namespace.prefix if self.namespace else []), *map(str, words)]
        # The settings file is read before the machine's, and turns those away; no proxy variables.
        environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        environment |= {"APT_CONFIG": str(self.configuration), "LC_ALL": "C"}
        done = subprocess.run(
            command, cwd=self.downloads, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        if check and done.returncode:
            raise Failed(f"{' '.join(words[:2])} failed:\n{done.stdout[-500:]}{done.stderr[-2000:]}")
        return done.stdout

    def update(self):
        """Fetches the indexes. A source that cannot be reached is left out; how many files came."""
        self.run("apt-get", "update", check=False)
        return len(list((self.root / "state/lists").glob("*_Packages*")))

    def offers(self):
        """(size, name) of every package the sources offer."""
        found, name = [], ""
        for line in self.run("apt-cache", "dumpavail").splitlines():
            if line.startswith("Package: "):
                name = line[9:]
            elif line.startswith("Size: "):
                found.append((int(line[6:]), name))
        return sorted(set(found))

    def locate(self, names):
        """What apt would fetch for these packages: {file: (URI, size, SHA-256)}."""
        located = {}
        for line in self.run("apt-get", "download", "--print-uris", *names).splitlines():
            match = re.fullmatch(r"'(\S+)' (\S+) (\d+) SHA256:([0-9a-f]{64})", line.strip())
            if match:
                uri, file, size, digest = match.groups()
                located[file] = (uri, int(size), digest)
        return located

    def download(self, names):
        self.run("apt-get", "download", *names)


def copy_settings(target):
    """The machine's sources, keys, preferences and credentials."""
    shell = subprocess.run(
        ["apt-config", "shell", *"list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d "
         "key Dir::Etc::trusted/f keys Dir::Etc::trustedparts/d auth Dir::Etc::netrcparts/d "
         "wishes Dir::Etc::preferencesparts/d".split()],
        stdout=subprocess.PIPE, text=True, check=True,
    ).stdout  # fmt: skip
    for _, place in re.findall(r"^(\w+)='(.*)'$", shell, re.M):
        source = pathlib.Path(place)
        if source.is_dir():
            shutil.copytree(source, target / source.name, dirs_exist_ok=True)
        elif source.is_file():
            shutil.copy(source, target)


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


def python_case(options, scratch):
    started = time.monotonic()
    problem = python_packages.run(
        scratch, options.program,
        lambda text: print(f"{time.monotonic() - started:6.1f}s  {text}", flush=True),
    )  # fmt: skip
    if problem:
        raise Failed(problem)


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
    parser.add_argument("--only", choices=["apt", "python"], help="just this")
    parser.add_argument("--keep", action="store_true", help="leave the scratch directory")
    options = parser.parse_args()
    options.kind = proxies.Squid if options.other else proxies.Holdfast
    options.program = options.holdfast
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-live-", dir="/var/tmp"))
    scratch.chmod(0o755)
    try:
        cases = {"apt": apt_case} if options.other else {"apt": apt_case, "python": python_case}
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
