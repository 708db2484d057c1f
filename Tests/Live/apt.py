"""apt with a root of its own: configuration, lists and cache, so that nothing on the machine changes."""

import os
import pathlib
import re
import shutil
import subprocess


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


def secured(settings):
    """Has the copied sources fetched by https; whether there was one to change."""
    changed = False
    for path in [*settings.glob("sources.list"), *settings.glob("sources.list.d/*")]:
        text = path.read_text()
        if "http://" in text or "https://" in text:
            changed = True
            path.write_text(text.replace("http://", "https://"))
    return changed
