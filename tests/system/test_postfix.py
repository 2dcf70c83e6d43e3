"""Debian's Postfix as the client in front, and as the smart host behind."""
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import free_port, need, run, until
from test_clients import BODY, arrived, split_trace


class Postfix:
    """A private instance: own configuration, own queue, one free port."""

    def __init__(self, folder, relayhost, extra=()):
        self.dir = Path(folder) / "postfix"
        conf, queue, data = self.dir / "conf", self.dir / "queue", self.dir / "data"
        for d in (conf, queue, data):
            d.mkdir(parents=True)
        shutil.chown(data, "postfix")
        Path(folder).chmod(0o755)
        for d in (self.dir, *Path(folder).parents):
            if str(d).startswith("/tmp/"):
                d.chmod(d.stat().st_mode | 0o055)
        self.port = free_port()
        settings = {
            "compatibility_level": "3.6", "queue_directory": queue, "data_directory": data,
            "mail_owner": "postfix", "setgid_group": "postdrop", "inet_interfaces": "127.0.0.1", "inet_protocols": "ipv4",
            "mynetworks": "127.0.0.0/8", "mydestination": "", "myhostname": "postfix.example.org", "relayhost": relayhost,
            "alias_maps": "", "alias_database": "", "local_recipient_maps": "", "relay_domains": "",
            "smtp_host_lookup": "native", "disable_dns_lookups": "yes", "maillog_file": self.dir / "log" / "mail.log",
            "maillog_file_prefixes": "/tmp", "append_dot_mydomain": "no", "smtputf8_enable": "no",
            "smtpd_relay_restrictions": "permit_mynetworks, reject", "notify_classes": "", **dict(extra),
        }
        (self.dir / "log").mkdir()
        (conf / "main.cf").write_text("".join(f"{k} = {v}\n" for k, v in settings.items()))
        master = Path("/etc/postfix/master.cf").read_text() if Path("/etc/postfix/master.cf").exists() else \
            Path("/usr/share/postfix/master.cf.dist").read_text()
        lines = []
        for line in master.splitlines():
            w = line.split()
            if w and w[0] == "smtp" and len(w) > 1 and w[1] == "inet":
                w[0], w[4] = f"127.0.0.1:{self.port}", "n"
                line = " ".join(w)
            elif len(w) > 7 and not line[0].isspace() and not line.startswith("#"):
                w[4] = "n"      # no chroot
                line = " ".join(w)
            lines.append(line)
        (conf / "master.cf").write_text("\n".join(lines) + "\n")
        self.conf = conf
        run("postfix", "-c", conf, "start", check=True)

    def stop(self):
        subprocess.run(["postfix", "-c", str(self.conf), "stop"], capture_output=True, timeout=60)


@pytest.fixture
def postfix(tmp_path, started):
    need("postfix")
    import os
    if os.geteuid() != 0:
        pytest.skip("Postfix needs root")

    def make(relayhost, **extra):
        p = Postfix(tmp_path, relayhost, extra.items())
        started.append(p)

        def answers():
            import socket
            try:
                with socket.create_connection(("127.0.0.1", p.port), 1) as s:
                    return s.recv(3) == b"220"
            except OSError:
                return False
        until("Postfix's greeting", answers)
        return p
    return make


def test_postfix_in_front(relay, sink, postfix):
    import smtplib
    p = postfix(f"[127.0.0.1]:{relay.port}")
    with smtplib.SMTP("127.0.0.1", p.port) as c:
        for i in range(20):
            c.sendmail("a@example.org", ["b@example.net", "c@example.net"], BODY.replace("Test", f"n{i}").encode())
    got = arrived(sink, 20)
    for m in got:
        trace, rest = split_trace(m)
        assert rest.endswith(BODY.split("\r\n\r\n", 1)[1].encode())
        assert trace.count(b"Received:") == 2 and b"by postfix.example.org" in trace
    assert {m.split(b"Subject: ")[1].split(b"\r\n")[0] for m in got} == {b"n%d" % i for i in range(20)}


def test_postfix_behind(start, postfix):
    sink = start.sink()
    p = postfix(f"[127.0.0.1]:{sink.port}")
    relay = start.relay(f"127.0.0.1:{p.port}")
    with relay.smtp() as c:
        for i in range(20):
            c.sendmail("a@example.org", ["b@example.net"], BODY.replace("Test", f"n{i}").encode())
    got = arrived(sink, 20)
    assert {m.split(b"Subject: ")[1].split(b"\r\n")[0] for m in got} == {b"n%d" % i for i in range(20)}
    relay.until_empty()


def test_postfix_behind_refuses_one_recipient(start, postfix):
    """A partial outcome of a real server: one taken, the other bounced to the sender."""
    sink = start.sink()
    p = postfix(f"[127.0.0.1]:{sink.port}", smtpd_recipient_restrictions="check_recipient_access inline:{no@example.net=reject5}, permit".
                replace("reject5", "REJECT"))
    relay = start.relay(f"127.0.0.1:{p.port}")
    with relay.smtp() as c:
        c.sendmail("a@example.org", ["yes@example.net", "no@example.net"], BODY.encode())
    got = arrived(sink, 2)
    bounce = next(m for m in got if b"multipart/report" in m)
    assert b"no@example.net" in bounce and b"x-receiver: a@example.org" in bounce
    assert b"x-receiver: yes@example.net" in next(m for m in got if m is not bounce)
