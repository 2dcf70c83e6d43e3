"""Real daemons on free ports, in folders of their own; everything is stopped by process id.

POSTHOUSE names the binary, POSTHOUSE_BUILD the build tree (plugins are found in it).
Nothing sleeps for luck: waiting is for a log event, a file, a reply, with a limit.
"""
import os
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import time
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("POSTHOUSE_BUILD", TOP / "build" / "check"))
POSTHOUSE = os.environ.get("POSTHOUSE", str(BUILD / "posthouse"))
PLUGINS = BUILD / "plugins" / ".libs"
SANITIZED = (BUILD / "Makefile").exists() and "\nSAN_CFLAGS = -fsanitize" in (BUILD / "Makefile").read_text()
PATIENCE = 60
SANITIZER = re.compile(r"(WARNING: ThreadSanitizer|(ERROR|WARNING): (Address|Leak|Thread)Sanitizer|runtime error: )")


# Where tests run side by side (pytest-xdist, --dist loadgroup): what shares a domain runs in one process, since starting
# one takes long and some tests break it; what measures or fills the machine runs in another; else a file stays together.
DOMAIN = {"domain", "exchange_peer", "lab_relay"}
# What runs a command of one thread, or a relay whose threads do what other tests have them do: not for the thread sanitizer.
UNTHREADED = {"test_tools", "test_config", "test_mistakes", "test_check_connect", "test_examples", "test_combinations"}


@pytest.hookimpl(tryfirst=True)         # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items):
    for item in items:
        group = ("domain" if DOMAIN & set(item.fixturenames) or item.path.stem in ("test_combinations", "test_auth_windows")
                 else item.path.stem)
        item.add_marker(pytest.mark.xdist_group(group))
        if item.path.stem in UNTHREADED:
            item.add_marker(pytest.mark.unthreaded)


def pytest_configure(config):
    suppressions = f"suppressions={TOP / 'tests' / 'tsan.supp'}"
    os.environ["TSAN_OPTIONS"] = f"{suppressions}:{os.environ.get('TSAN_OPTIONS', '')}"
    for mark in ("slow: takes more than some seconds", "figures: measures; meaningless under sanitizers",
                 "unthreaded: shows nothing of threads that others do not"):
        config.addinivalue_line("markers", mark)


def until(what, check, limit=PATIENCE, every=0.02):
    """Waits until check() is true and returns what it returned. what: text, or a function that makes it when it is too late."""
    end = time.monotonic() + limit
    while True:
        got = check()
        if got:
            return got
        if time.monotonic() > end:
            pytest.fail(f"waited {limit} s for {what() if callable(what) else what}")
        time.sleep(every)


def run(*args, check=True, **kw):
    kw.setdefault("timeout", 120)
    r = subprocess.run([str(a) for a in args], capture_output=True, text=True, **kw)
    if check and r.returncode != 0:
        pytest.fail(f"{args} ended with {r.returncode}\n{r.stdout}\n{r.stderr}")
    return r


def posthouse(*args, **kw):
    return run(POSTHOUSE, *args, **kw)


class Process:
    """A child in its own session, its output in a file."""

    def __init__(self, argv, log, env=None, **kw):
        self.log = Path(log)
        self.out = open(self.log, "ab")
        self.p = subprocess.Popen([str(a) for a in argv], stdout=self.out, stderr=self.out,
                                  stdin=subprocess.DEVNULL, start_new_session=True,
                                  env={**os.environ, **(env or {})}, **kw)

    @property
    def pid(self):
        return self.p.pid

    def text(self):
        return self.log.read_text(errors="replace")

    def wait_log(self, pattern, limit=PATIENCE, after=0):
        def look():
            m = re.search(pattern, self.text()[after:])
            if m is None and self.p.poll() is not None:
                pytest.fail(f"process ended with {self.p.returncode} before {pattern}:\n{self.text()[-4000:]}")
            return m
        return until(f"{pattern} in {self.log}:\n{self.text()[-2000:]}", look, limit)

    def wait(self, limit=PATIENCE):
        try:
            return self.p.wait(limit)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.p.args} did not end; log:\n{self.text()[-4000:]}")

    def stop(self, sig=signal.SIGTERM, limit=PATIENCE):
        if self.p.poll() is None:
            self.p.send_signal(sig)
            try:
                self.p.wait(limit)
            except subprocess.TimeoutExpired:
                os.killpg(self.p.pid, signal.SIGKILL)
                self.p.wait()
                pytest.fail(f"{self.p.args} did not end; log:\n{self.text()[-4000:]}")
        self.out.close()
        self.sound()
        return self.p.returncode

    def sound(self):
        """Fails the test when a sanitizer complained in the output."""
        found = SANITIZER.search(self.text())
        if found:
            pytest.fail(f"{self.p.args}:\n{self.text()[found.start():][:6000]}")

    def signal(self, sig):
        self.p.send_signal(sig)


class Sink(Process):
    def __init__(self, folder, *args, port=0):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        n = len(list(self.folder.glob("sink*.log")))
        self.port_file = self.folder / f"sink{n}.port"
        self.mail = self.folder / "arrived"
        super().__init__([POSTHOUSE, "sink", "--listen", f"127.0.0.1:{port}", "--port-file", self.port_file, *args],
                         self.folder / f"sink{n}.log")
        self.port = int(until("the sink's port", lambda: self.port_file.exists() and self.port_file.read_text().strip()
                              or (self.p.poll() is not None and pytest.fail(self.text()))))
        self.address = f"127.0.0.1:{self.port}"

    def messages(self):
        """What arrived, as bytes, when started with --store."""
        return [f.read_bytes() for f in sorted(self.mail.glob("*.eml"))]


class Relay(Process):
    def __init__(self, folder, smarthost, config=None, more="", plugins=None, wait=True, env=None, listen="127.0.0.1:0",
                 argv=(), top=""):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config = self.folder / "posthouse.yaml"
        self.spool = self.folder / "spool"
        self.smarthost = smarthost
        self.listen = listen
        if plugins is None:
            plugins = f"""\
  - auth-anonymous
  - relay-access:
      allow: [127.0.0.0/8, "::1"]
  - smarthost:
      hosts: ["{smarthost}"]
      connections: 20
"""
        self.config.write_text(config or f"""\
hostname: relay.example.com
listen:
  - address: "{listen}"
spool: {self.spool}
{top}{more}plugins:
{plugins}""")
        self.env, self.prefix = env, list(argv)
        self.start(wait)

    def start(self, wait=True):
        self.mark = (self.folder / "relay.log").stat().st_size if (self.folder / "relay.log").exists() else 0
        super().__init__([*self.prefix, POSTHOUSE, "run", "-c", self.config, "--plugin-dir", PLUGINS], self.folder / "relay.log",
                         env=self.env)
        if wait:
            self.ready()
        return self

    def ready(self, limit=PATIENCE):
        self.wait_log("event=daemon.ready", limit, self.mark)
        self.port = int(re.findall(r"event=daemon.listening.*address=\S*:(\d+)", self.text()[self.mark:])[0])
        self.address = f"127.0.0.1:{self.port}"

    def kill9(self):
        self.p.kill()
        self.p.wait()
        self.out.close()
        self.sound()

    def queue(self, *args, check=True):
        return posthouse("queue", *args[:1], "-c", self.config, *args[1:], check=check)

    def queue_json(self, *args):
        import json
        return json.loads(self.queue(*args, "--json").stdout)

    def count(self):
        return int(self.queue_json("count")[0]["messages"])

    def until_empty(self, limit=PATIENCE):
        def what():
            return f"an empty queue; in it:\n{self.queue('list').stdout[:3000]}\nthe end of the log:\n{self.text()[-3000:]}"
        until(what, lambda: self.count() == 0, limit, 0.1)

    def smtp(self):
        return smtplib.SMTP("127.0.0.1", self.port, timeout=PATIENCE)


@pytest.fixture
def started():
    """Collects what a test starts; stops it in the end, newest first."""
    things = []
    yield things
    wrong = []
    for t in reversed(things):
        try:
            t.stop()
        except pytest.fail.Exception as e:
            wrong.append(str(e))
    if wrong:
        pytest.fail("\n".join(wrong))


@pytest.fixture
def sink(tmp_path, started):
    s = Sink(tmp_path, "--store", tmp_path / "arrived")
    started.append(s)
    return s


@pytest.fixture
def relay(tmp_path, sink, started):
    r = Relay(tmp_path, sink.address)
    started.append(r)
    return r


@pytest.fixture
def start(tmp_path, started):
    """start.sink(...), start.relay(...): for tests that want their own."""
    things = started

    class Start:
        folder = tmp_path
        started = things

        @staticmethod
        def sink(*args, store=True, **kw):
            s = Sink(tmp_path, *(["--store", tmp_path / "arrived"] if store else []), *args, **kw)
            started.append(s)
            return s

        @staticmethod
        def relay(smarthost, **kw):
            r = Relay(tmp_path, smarthost, **kw)
            started.append(r)
            return r
    return Start


class Talk:
    """An SMTP session by hand."""

    def __init__(self, port, greet=True):
        self.s = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.f = self.s.makefile("rb")
        if greet:
            assert self.reply()[0] == 220

    def reply(self):
        lines = []
        while True:
            line = self.f.readline()
            if not line:
                return (0, "\n".join(lines))
            line = line.decode("utf-8", "replace").rstrip("\r\n")
            lines.append(line)
            if len(line) < 4 or line[3] != "-":
                return (int(line[:3]), "\n".join(lines))

    def send(self, data):
        self.s.sendall(data if isinstance(data, bytes) else data.encode())

    def cmd(self, line):
        self.send(line + "\r\n")
        return self.reply()

    def close(self):
        self.f.close()
        self.s.close()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def need(*programs):
    """Skips, with the reason, only where a program that the test drives is missing."""
    for p in programs:
        if shutil.which(p) is None:
            pytest.skip(f"{p} is not installed")


# at the end: labs uses what stands above
from labs import certificates, domain, exchange_peer, labs_folder, oauth_peer, postfix_dovecot    # noqa: E402,F401
