"""What a set of processes costs: CPU time and memory; and whether something else used their core.

CPU time is read from each process's own CPU clock, which covers all its threads, also those that
have ended, to the nanosecond. It includes what the kernel did on the process's behalf: for a
cache more than nine tenths of the whole.
"""

import ctypes
import os
import socket
import ssl
import time
import urllib.request

_libc = ctypes.CDLL(None, use_errno=True)


def free_port():
    """A TCP port that was free a moment ago, chosen by the kernel."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(port, path, timeout=60, tls=False):
    """The content of an answer, or an exception. Whose certificate it is does not matter here."""
    request = urllib.request.Request(
        f"{'https' if tls else 'http'}://127.0.0.1:{port}{path}", headers={"Host": "bench.example.org"}
    )
    context = ssl._create_unverified_context() if tls else None
    with urllib.request.urlopen(request, timeout=timeout, context=context) as answer:
        return answer.read()


def process_tree(root):
    """The process and all its descendants."""
    children = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it ended meanwhile
        children.setdefault(parent, []).append(int(name))
    found, todo = [], [root]
    while todo:
        process = todo.pop()
        found.append(process)
        todo += children.get(process, [])
    return found


def cpu_seconds(processes):
    """CPU time, user and system, that the processes have used so far."""
    total = 0.0
    for process in processes:
        clock = ctypes.c_int()
        if _libc.clock_getcpuclockid(process, ctypes.byref(clock)) == 0:
            total += time.clock_gettime(clock.value)
    return total


def memory_bytes(processes):
    """Resident memory; a page shared by several of the processes counts once (PSS) where readable."""
    total = 0
    for process in processes:
        for file, field in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
            try:
                with open(f"/proc/{process}/{file}") as lines:
                    total += next(int(l.split()[1]) for l in lines if l.startswith(field)) * 1024
                break
            except (OSError, StopIteration):
                continue
    return total


class CoreWatch:
    """How busy one core was with anything at all, and how much the hypervisor took away from it."""

    def __init__(self, core):
        self.core = core
        self.start = self._read()

    def _read(self):
        with open("/proc/stat") as lines:
            for line in lines:
                if line.startswith(f"cpu{self.core} "):
                    user, nice, system, idle, wait, irq, soft, steal = map(int, line.split()[1:9])
                    ticks = os.sysconf("SC_CLK_TCK")
                    return (user + nice + system + irq + soft) / ticks, steal / ticks
        return 0.0, 0.0

    def foreign_seconds(self, own):
        """Busy and stolen seconds on the core since the start that the given CPU time does not explain."""
        busy, steal = self._read()
        return max(0.0, busy - self.start[0] - own) + steal - self.start[1]
