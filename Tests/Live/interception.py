"""Real pip and uv by HTTPS_PROXY through tunnels that Holdfast decrypts, and apt by https through one it does not.

  cold      each tool installs through tunnels to the index, from nothing
  warm      the same with empty caches of their own: every file has to be a hit
  cut       the proxy is started again where there is no network at all: they still install
  tunnel    apt fetches an https source of this machine's by CONNECT, unread (where it has one)

The authority is made with `holdfast ca init` for the hosts that the index leads to, and trusted by the
tools alone: the machine's own bundle with one certificate more.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.parse

import python_packages
from apt import Apt, secured
from proxies import Holdfast, Namespace, Unavailable
from python_packages import PACKAGES, default_index

SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


class Intercepting(Holdfast):
    """A Holdfast that decrypts tunnels to these hosts."""

    def __init__(self, directory, program, hosts):
        super().__init__(directory, program)
        self.hosts = hosts
        self.authority = self.directory / "ca"
        self.offline = False
        words = [word for host in hosts for word in ("--host", host)]
        subprocess.run([program, "ca", "init", "--ca", self.authority, *words], check=True, stdout=subprocess.DEVNULL)
        exported = subprocess.run(
            [program, "ca", "export", "--ca", self.authority], check=True, stdout=subprocess.PIPE
        ).stdout
        self.bundle = self.directory / "bundle.pem"
        self.bundle.write_bytes(pathlib.Path(SYSTEM_BUNDLE).read_bytes() + exported)

    def command(self):
        command = super().command()
        configuration = pathlib.Path(command[-1])
        configuration.write_text(
            configuration.read_text()
            + f"""
intercept: {{ hosts: {list(self.hosts)}, ca: {self.authority} }}
offline: {str(self.offline).lower()}
"""
        )
        return command


def through(tool, proxy):
    """The tool, led through the proxy and trusting its authority."""
    bundle = str(proxy.bundle)
    tool.extra = {
        "HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": bundle, "PIP_CERT": bundle,
        "REQUESTS_CA_BUNDLE": bundle, "CURL_CA_BUNDLE": bundle,
    }  # fmt: skip
    tool.prefix = proxy.namespace.prefix if proxy.namespace else []
    return tool


def hosts_of(index):
    """The hosts of an index and of the files it leads to, as one of its pages names them."""
    page = subprocess.run(
        ["curl", "-sS", "-f", f"{index}{PACKAGES[0]}/"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if page.returncode:
        raise Unavailable(f"the package index cannot be reached: {page.stderr.strip()}")
    hosts = [urllib.parse.urlsplit(index).hostname]
    for host in re.findall(r"https://([A-Za-z0-9.-]+)[/:]", page.stdout):
        if host not in hosts:
            hosts.append(host)
    return hosts[:8]


def run(scratch, program, say):
    """Why it failed, or None. Raises `Unavailable` where it cannot be tried."""
    if not os.path.exists(SYSTEM_BUNDLE):
        raise Unavailable(f"this machine has no {SYSTEM_BUNDLE}")
    index = default_index()
    proxy = Intercepting(scratch / "interception", program, hosts_of(index))
    kinds = python_packages.tools()

    def install(label):
        fresh = {
            kind.name: through(kind(scratch / f"intercepted-{label}-{kind.name}", index), proxy) for kind in kinds
        }
        return python_packages.installed("tunnels", proxy, label, fresh, say)

    try:
        proxy.start()
        problem = install("cold") or install("warm") or tunnelled(scratch, proxy, say)
        if problem:
            return problem
    finally:
        proxy.stop()
    try:
        namespace = Namespace()
    except Unavailable as problem:
        say(f"tunnels, cut: skipped, {problem}")
        return None
    proxy.offline = True
    try:
        proxy.start(namespace)
        return install("cut")
    finally:
        proxy.stop()
        namespace.remove()


def tunnelled(scratch, proxy, say):
    """apt, by an https source through CONNECT: what arrives is right by apt's own signatures."""
    if not shutil.which("apt-get"):
        say("tunnels, apt: skipped, this machine has no apt-get")
        return None
    apt = Apt(scratch / "tunnelled", proxy.url)
    if not secured(apt.root / "etc"):
        say("tunnels, apt: skipped, none of the machine's sources is named by an http or https URL")
        return None
    if apt.update() == 0:
        say("tunnels, apt: skipped, none of the machine's sources can be reached by https")
        return None
    connects = [uri for uri in proxy.verdicts() if "://" not in uri]
    if not connects:
        return "apt: it fetched indexes, but not by CONNECT"
    say("tunnels, apt: indexes by https, through CONNECT and unread")
    return None
