"""The programs that take part: sink, generator, posthouse and a private Postfix, each in a folder of its own."""
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from meter import Cpu, pss, stat_of, tree, until


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def greets(port):
    """The moment of the greeting, or None."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            return time.monotonic() if s.recv(4).startswith(b"220") else None
    except OSError:
        return None


def bench(posthouse, port, *args):
    """Runs the generator; its results."""
    r = subprocess.run([posthouse, "bench", "--to", f"127.0.0.1:{port}", "--json", *map(str, args)], capture_output=True,
                       text=True, timeout=1800)
    if r.returncode not in (0, 69):
        raise RuntimeError(f"bench: {r.returncode} {r.stderr}")
    result = json.loads(r.stdout)
    if result["refused"] or result["lost"]:
        raise RuntimeError(f"bench: messages refused or lost: {r.stdout}")
    return result


class Sink:
    def __init__(self, posthouse, folder, *args, port=0):
        self.port_file = Path(folder) / "sink.port"
        self.port_file.unlink(missing_ok=True)
        self.log = open(Path(folder) / "sink.log", "w+")
        self.p = subprocess.Popen([posthouse, "sink", "--listen", f"127.0.0.1:{port}", "--verify", "--json", "--port-file",
                                   str(self.port_file), *map(str, args)], stdout=self.log, stderr=self.log)
        until("the sink", lambda: self.port_file.exists() or self.p.poll() is not None, 10)
        if self.p.poll() is not None:
            raise RuntimeError(f"sink: {Path(self.log.name).read_text()}")
        self.port = int(self.port_file.read_text())

    def lines(self):
        return [x for x in Path(self.log.name).read_text().splitlines() if x.startswith("{") and x.endswith("}")]

    def statistics(self):
        before = len(self.lines())
        self.p.send_signal(signal.SIGUSR1)
        until("statistics of the sink", lambda: len(self.lines()) > before, 30, 0.005)
        return json.loads(self.lines()[-1])

    def until_has(self, n, limit):
        """Statistics once n different messages have arrived."""
        return until(f"{n} messages at the sink", lambda: (s := self.statistics())["distinct"] >= n and s, limit, 0.2)

    def stop(self):
        if self.p.poll() is None:
            self.p.terminate()
            self.p.wait(30)
        self.log.close()


class Relay:
    """What both have in common. start() runs it, pid is the root of its processes."""

    def __init__(self, options, folder, smarthost, connections, chunking=True, prefix=(), tls=None):
        """tls: None, or (certificate, key) to be offered by STARTTLS."""
        self.prefix, self.tls = list(prefix), tls
        self.o, self.folder, self.smarthost, self.connections, self.chunking = options, Path(folder), smarthost, connections, chunking
        self.folder.mkdir(parents=True)
        self.port = free_port()
        self.cpu = Cpu(self.name)
        self.configure()

    def ready(self, limit=30):
        until(f"{self.name}'s greeting", lambda: greets(self.port) or self.check(), limit, 0.002)

    def check(self):
        """Raises when it has ended."""

    def cpu_seconds(self):
        return self.cpu.seconds(self.pid)

    def pids(self):
        return tree(self.pid)

    def memory(self):
        return pss(self.pids())

    def close(self):
        self.stop()
        self.cpu.close()


class Posthouse(Relay):
    name = "posthouse"

    def configure(self):
        self.config = self.folder / "posthouse.yaml"
        tls = f"  - tls: {{ certificate: {self.tls[0]}, key: {self.tls[1]} }}\n" if self.tls else ""
        self.config.write_text(f"""\
hostname: relay.example.com
listen:
  - address: 127.0.0.1:{self.port}
    tls: {"offered" if self.tls else "off"}
spool: {self.folder / "spool"}
outbound:
  chunking: {"yes" if self.chunking else "no"}
plugins:
{tls}  - auth-anonymous
  - relay-access:
      allow: [127.0.0.0/8]
  - smarthost:
      hosts: ["127.0.0.1:{self.smarthost}"]
      tls: off
      connections: {self.connections}
""")

    def spawn(self):
        plugins = ["--plugin-dir", self.o.plugin_dir] if self.o.plugin_dir else []
        log = open(self.folder / "relay.log", "ab")
        self.p = subprocess.Popen([*self.prefix, self.o.posthouse, "run", "-c", str(self.config), *plugins], stdout=log, stderr=log,
                                  stdin=subprocess.DEVNULL, preexec_fn=self.cpu.enter)
        log.close()
        self.pid = self.p.pid

    def start(self):
        self.spawn()
        self.ready()

    def check(self):
        if self.p.poll() is not None:
            raise RuntimeError(f"posthouse ended: {(self.folder / 'relay.log').read_text()[-2000:]}")

    def stop(self):
        if self.p.poll() is None:
            for pid in tree(self.p.pid) if self.prefix else [self.p.pid]:
                os.kill(pid, signal.SIGTERM)                    # strace keeps it to itself
            try:
                self.p.wait(60)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()

    def control(self, *args):
        plugins = ["--plugin-dir", self.o.plugin_dir] if self.o.plugin_dir and args[0] == "reload" else []
        return subprocess.run([self.o.posthouse, *args[:1], *args[1:2], "-c", str(self.config), *args[2:], *plugins],
                              capture_output=True, text=True, timeout=120)

    def flush(self):
        r = self.control("queue", "flush", "--all")
        if r.returncode != 0:
            raise RuntimeError(f"queue flush: {r.stderr}")


class Postfix(Relay):
    """Debian's, with a configuration and a queue of its own, tuned for a relay to one smart host.

    Its way of syncing (each queue file, before 250) is untouched. DNS, client name lookups, anvil's limits and chroot
    are off, processes and concurrency are raised, connections to the smart host are reused, processes live long.
    """
    name = "postfix"

    def configure(self):
        self.conf, queue, data, log = (self.folder / d for d in ("conf", "queue", "data", "log"))
        for d in (self.conf, queue, data, log):
            d.mkdir()
        shutil.chown(data, "postfix")
        for d in (self.folder, *self.folder.parents):           # its processes are not root
            if d.stat().st_mode & 0o055 != 0o055 and d != Path("/"):
                d.chmod(d.stat().st_mode | 0o055)
        limit = max(200, self.o.sessions_most + 50)
        self.settings = {
            "compatibility_level": "3.6", "queue_directory": queue, "data_directory": data, "mail_owner": "postfix",
            "setgid_group": "postdrop", "maillog_file": log / "mail.log", "maillog_file_prefixes": self.folder,
            "inet_interfaces": "127.0.0.1", "inet_protocols": "ipv4", "myhostname": "relay.example.com", "mydestination": "",
            "mynetworks": "127.0.0.0/8", "relayhost": f"[127.0.0.1]:{self.smarthost}", "alias_maps": "", "alias_database": "",
            "local_recipient_maps": "", "notify_classes": "", "smtpd_relay_restrictions": "permit_mynetworks, reject",
            "message_size_limit": "0", "mailbox_size_limit": "0", "smtpd_peername_lookup": "no",
            "disable_dns_lookups": "yes", "smtp_host_lookup": "native", "smtpd_tls_security_level": "none",
            "smtp_tls_security_level": "none", "append_dot_mydomain": "no",
            "default_process_limit": limit, "smtpd_client_connection_count_limit": "0", "smtpd_client_connection_rate_limit": "0",
            "smtpd_client_message_rate_limit": "0", "in_flow_delay": "0", "max_use": "10000",
            "smtp_destination_concurrency_limit": self.connections, "initial_destination_concurrency": self.connections,
            # on demand is quicker here than always, but far away each reuse saves four round trips
            "smtp_connection_cache_on_demand": "yes",
            "smtp_connection_cache_destinations": "static:all" if self.connections == 1 else "",
            "smtp_connection_reuse_count_limit": "1000", "qmgr_message_active_limit": "100000",
            "qmgr_message_recipient_limit": "100000", "queue_run_delay": "1h", "minimal_backoff_time": "1h",
            "maximal_backoff_time": "4h", "smtp_connect_timeout": "5s",
        }
        if self.tls:                                            # its session cache is tlsmgr's; tickets are on by default
            self.settings |= {"smtpd_tls_security_level": "may", "smtpd_tls_cert_file": self.tls[0], "smtpd_tls_key_file": self.tls[1]}
        self.settings |= dict(self.o.postfix_settings)
        (self.conf / "main.cf").write_text("".join(f"{k} = {v}\n" for k, v in self.settings.items()))
        given = next(f for f in (Path("/etc/postfix/master.cf"), Path("/usr/share/postfix/master.cf.dist")) if f.exists())
        lines = []
        for line in given.read_text().splitlines():
            words = line.split()
            if len(words) > 7 and not line.startswith((" ", "\t", "#")):
                if words[1] == "inet":
                    if words[0] != "smtp":
                        continue
                    words[0] = f"127.0.0.1:{self.port}"
                words[4] = "n"                                  # no chroot: nothing to be copied there
                line = " ".join(words)
            lines.append(line)
        (self.conf / "master.cf").write_text("\n".join(lines) + "\n")

    def postfix(self, *args):
        return subprocess.run(["postfix", "-c", str(self.conf), *args], capture_output=True, text=True, timeout=120,
                              preexec_fn=self.cpu.enter)

    def spawn(self):
        if self.prefix:                 # strace stays as long as what it watches
            self.tracer = subprocess.Popen([*self.prefix, "postfix", "-c", str(self.conf), "start"], stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL, preexec_fn=self.cpu.enter)
        elif (r := self.postfix("start")).returncode != 0:
            raise RuntimeError(f"postfix start: {r.stderr}")
        pid_file = Path(self.settings["queue_directory"]) / "pid" / "master.pid"
        self.pid = int(until("master's pid", lambda: pid_file.exists() and pid_file.read_text().strip(), 10))

    def start(self):
        self.spawn()
        self.ready()

    def stop(self):
        self.postfix("stop")
        until("the end of master", lambda: stat_of(self.pid) is None, 60)
        if self.prefix:
            self.tracer.wait(60)

    def flush(self):
        subprocess.run(["postqueue", "-c", str(self.conf), "-f"], check=True, timeout=120)

    def program(self, name):
        """Processes of that name."""
        return [p for p in self.pids() if (Path(f"/proc/{p}/comm").read_text().strip() if stat_of(p) else "") == name]

    @staticmethod
    def there():
        return shutil.which("postfix") is not None and os.geteuid() == 0
