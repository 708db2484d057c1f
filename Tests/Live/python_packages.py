"""Real pip and uv, a few packages with what they depend on, by way of Holdfast's mirrors.

  cold      each tool installs through a mirror named in the configuration, from nothing
  warm      the same with empty caches of their own, by the named mirror and with the index's host in front
            of the path: every file has to be a hit
  offline   the proxy lets nothing out any more (`offline: true`): they still install

The index is the one pip uses when nobody says otherwise, and what it resolves to is up to it: asked
is only that all of it comes through the mirror, and that an install works.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import urllib.parse

from proxies import Holdfast, Unavailable

PACKAGES = ["requests", "rich"]


class Mirror(Holdfast):
    """A Holdfast with a mirror `pypi` of an index."""

    def __init__(self, directory, program, index, files):
        super().__init__(directory, program)
        self.index = index
        self.files = files
        self.offline = False

    def command(self):
        command = super().command()
        configuration = pathlib.Path(command[-1])
        configuration.write_text(
            configuration.read_text()
            + f"""
mirrors:
  pypi: {{ url: "{self.index}", ecosystem: pypi, files: {self.files} }}
offline: {str(self.offline).lower()}
"""
        )
        return command

    @property
    def named(self):
        return f"{self.url}/pypi/"

    @property
    def prefixed(self):
        parts = urllib.parse.urlsplit(self.index)
        return f"{self.url}/{parts.hostname}:{parts.port or 443}{parts.path}"


def default_index():
    """The index that pip uses by itself."""
    code = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Unavailable("this machine has no pip")
    return done.stdout.strip().rstrip("/") + "/"


class Tool:
    """pip or uv with directories of its own, and none of the machine's settings."""

    extra = {}  # further environment variables
    prefix = []  # what it is run by

    def __init__(self, root, index):
        self.root = pathlib.Path(root)
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        self.target = self.root / "target"
        self.index = index

    def install(self):
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.upper().startswith(("PIP_", "UV_")) and not name.lower().endswith("_proxy")
        }
        environment |= {
            "HOME": str(self.root), "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1",
            "UV_CACHE_DIR": str(self.root / "cache"), "PIP_DISABLE_PIP_VERSION_CHECK": "1", **self.extra,
        }  # fmt: skip
        done = subprocess.run(
            [*self.prefix, *map(str, self.command()), *PACKAGES], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600,
        )  # fmt: skip
        if done.returncode:
            return f"{self.name} failed:\n{done.stdout[-2000:]}"
        missing = [package for package in PACKAGES if not (self.target / package).is_dir()]
        return f"{self.name} did not install {', '.join(missing)}" if missing else None


class Pip(Tool):
    name = "pip"

    def command(self):
        return [sys.executable, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--only-binary", ":all:",
                "--target", self.target, "--index-url", self.index]  # fmt: skip


class Uv(Tool):
    name = "uv"

    def command(self):
        return ["uv", "pip", "install", "--quiet", "--only-binary", ":all:", "--python", sys.executable,
                "--target", self.target, "--default-index", self.index]  # fmt: skip


def tools():
    return [Pip] + ([Uv] if shutil.which("uv") else [])


def installed(name, proxy, label, tools_by_name, say):
    """Has each tool install through the proxy; why it is not as it should be, or None. After `cold` all are hits."""
    before = proxy.verdicts() if label != "cold" else {}
    for tool in tools_by_name.values():
        problem = tool.install()
        if problem:
            return f"{label}: {problem}"
    files = new_verdicts(before, proxy.verdicts())
    if not files:
        return f"{label}: no file came through the proxy"
    others = {uri: verdict for uri, verdict in files.items() if verdict != {"hit"}}
    if label != "cold" and others:
        return f"{label}: not every file was a hit: {list(others.items())[:3]}"
    say(f"{name}, {label}: {', '.join(tools_by_name)}: {len(files)} files" + ("" if label == "cold" else ", all hits"))
    return None


def run(scratch, program, say):
    """Why it failed, or None. Raises `Unavailable` where it cannot be tried."""
    index = default_index()
    probe = subprocess.run(["curl", "-sS", "-o", os.devnull, "-f", index + "pip/"], stderr=subprocess.PIPE, text=True)
    if probe.returncode:
        raise Unavailable(f"the package index cannot be reached: {probe.stderr.strip()}")
    proxy = Mirror(scratch / "python", program, index, [])
    kinds = tools()
    if len(kinds) == 1:
        say("python: this machine has no uv, so only pip is tried")
    try:
        proxy.start()
        for label, address in (("cold", proxy.named), ("warm", proxy.named), ("prefix", proxy.prefixed)):
            fresh = {kind.name: kind(scratch / f"{label}-{kind.name}", address) for kind in kinds}
            problem = installed("python", proxy, label, fresh, say)
            if problem:
                return problem
        proxy.stop()
        proxy.offline = True
        proxy.start()
        for kind in kinds:
            problem = kind(scratch / f"offline-{kind.name}", proxy.named).install()
            if problem:
                return f"offline: {problem}"
        say("python, offline: they still install")
        return None
    finally:
        proxy.stop()


def new_verdicts(before, after):
    """{URI of a wheel or its metadata: verdicts} of requests that `before` does not have."""
    found = {}
    for uri, entries in after.items():
        fresh = entries[len(before.get(uri, [])):]
        if fresh and urllib.parse.urlsplit(uri).path.endswith((".whl", ".whl.metadata")):
            found[uri] = {verdict for verdict, _ in fresh}
    return found
