"""What a group of processes costs: CPU time, memory, syncs.

CPU time comes from a control group where one can be made (exact, and short-lived children count), else from
/proc: the processes' own times, plus what each reaped of its children. Memory is PSS, so that shared pages
count once.
"""
import os
import re
import shutil
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def until(what, check, limit, every=0.05):
    end = time.monotonic() + limit
    while True:
        got = check()
        if got:
            return got
        if time.monotonic() > end:
            raise TimeoutError(f"waited {limit} s for {what}")
        time.sleep(every)


def stat_of(pid):
    """Fields of /proc/PID/stat from the state on, or None when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def tree(root):
    """root and all its descendants."""
    children = {}
    for p in Path("/proc").iterdir():
        if p.name.isdigit() and (fields := stat_of(p.name)):
            children.setdefault(int(fields[1]), []).append(int(p.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def pss(pids):
    """Bytes of memory, each shared page counted by its share."""
    total = 0
    for pid in pids:
        try:
            total += int(re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1]) * 1024
        except (FileNotFoundError, ProcessLookupError, TypeError):
            pass        # it has just ended
    return total


class Cpu:
    """A meter for what is started by start()."""

    def __init__(self, name):
        self.group, self.kind = None, "proc"
        for kind, base, usage in (("cgroup v2", Path("/sys/fs/cgroup"), "cpu.stat"),
                                  ("cpuacct", Path("/sys/fs/cgroup/cpuacct"), "cpuacct.usage")):
            group = base / f"posthouse-bench-{os.getpid()}-{name}"
            try:
                group.mkdir()
            except OSError:
                continue
            if (group / usage).exists() and (group / "cgroup.procs").exists():
                self.group, self.kind, self.usage = group, kind, group / usage
                return
            group.rmdir()

    def enter(self):
        """In a child, before exec."""
        if self.group:
            (self.group / "cgroup.procs").write_text(str(os.getpid()))

    def seconds(self, root):
        if self.kind == "cpuacct":
            return int(self.usage.read_text()) / 1e9
        if self.kind == "cgroup v2":
            return int(re.search(r"^usage_usec (\d+)", self.usage.read_text(), re.M)[1]) / 1e6
        # utime, stime, cutime, cstime: what a parent reaped is in it, what runs is in the tree
        return sum(sum(map(int, fields[11:15])) for pid in tree(root) if (fields := stat_of(pid))) / TICK

    def close(self):
        if self.group:
            try:
                until("an empty control group", lambda: not (self.group / "cgroup.procs").read_text().strip(), 10)
                self.group.rmdir()
            except (OSError, TimeoutError):
                pass


class Strace:
    """Counts syncs of what is started behind its prefix, and of all that forks.

    The kernel filters (seccomp-bpf), so that other system calls run at their speed: a relay that is slowed down has
    fewer messages to share a sync.
    """

    CALLS = "fsync,fdatasync,sync_file_range,msync,syncfs,sync"

    def __init__(self, folder):
        self.out = Path(folder) / "strace.out"
        self.prefix = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", f"trace={self.CALLS}", "-e", "signal=none", "-o", str(self.out)]

    def count(self):
        """Calls so far; a call that was interrupted by another's line is there twice, once as resumed."""
        return sum(1 for line in self.out.read_text().splitlines() if "(" in line and " resumed>" not in line)

    @staticmethod
    def there():
        return shutil.which("strace") is not None
