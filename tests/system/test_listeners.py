"""What listeners demand of plugins, as `posthouse check` and the running relay tell; failed logins in the log; secrets in memory."""
import base64
import re
import smtplib
import socket
import subprocess
from pathlib import Path

import pytest

from conftest import PATIENCE, PLUGINS, POSTHOUSE, TOP, Relay, Sink, posthouse, run

EX_OK, EX_CONFIG = 0, 78


def check(tmp_path, listen, plugins):
    f = tmp_path / "posthouse.yaml"
    f.write_text(f"hostname: relay.example.com\nspool: {tmp_path}/spool\nlisten:\n  - address: 127.0.0.1:2525\n{listen}plugins:\n{plugins}")
    return posthouse("check", "-c", f, "--plugin-dir", PLUGINS, check=False)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    d = tmp_path_factory.mktemp("pair")
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
        "/CN=relay.example.com", "-addext", "subjectAltName=DNS:relay.example.com,IP:127.0.0.1", "-keyout", d / "key.pem", "-out",
        d / "cert.pem")
    return d / "cert.pem", d / "key.pem"


@pytest.mark.parametrize("listen, plugins, place, words, hint", [
    ("    tls: required\n", "  - auth-anonymous\n", "5:10", "listen.tls: TLS is required, and no plugin supplies it",
     "add the plugin tls with a certificate and its key"),
    ("    tls: implicit\n", "  - auth-anonymous\n  - tls\n", "5:10",
     "listen.tls: TLS is required, and the plugin for it has no certificate", "give the plugin tls a certificate and its key"),
    ("    auth: required\n", "  - auth-anonymous\n", "5:11", "listen.auth: a login is required, and no plugin supplies a mechanism",
     "add auth-basic, auth-windows or auth-oauth2"),
    ("    auth: required\n    mechanisms: [GSSAPI]\n", "  - auth-basic: { users: USERS }\n", "6:17",
     "listen.mechanisms: a login is required, and no plugin supplies any of these", "leave the list out to offer all that there are"),
    ("    auth: required\n    mechanisms: [SCRAM-SHA-256]\n", "  - auth-basic\n", "6:17",
     "listen.mechanisms: a login is required, and no plugin supplies any of these",
     "auth-basic supplies SCRAM-SHA-256 towards smart hosts only; to let clients in by it, set its users\n"),
    ("    auth: required\n    mechanisms: [PLAIN]\n", "  - auth-basic: { users: USERS }\n", "5:11",
     "listen.auth: a login is required, and every mechanism for it works inside TLS only",
     "give the plugin tls a certificate and its key"),
])
def test_what_is_demanded_and_not_supplied_is_a_mistake(tmp_path, listen, plugins, place, words, hint):
    users = tmp_path / "users"
    users.touch(mode=0o600)
    r = check(tmp_path, listen, plugins.replace("USERS", str(users)))
    assert r.returncode == EX_CONFIG, r.stderr
    assert f"posthouse.yaml:{place}: error: {words}" in r.stderr, r.stderr
    assert f"hint: {hint}" in r.stderr, r.stderr
    assert not (tmp_path / "spool").exists()


def test_what_is_supplied_is_fine_and_leaves_no_trace(tmp_path, pair):
    users = tmp_path / "users"
    users.touch(mode=0o600)
    r = check(tmp_path, "    tls: required\n    auth: required\n    mechanisms: [PLAIN, NTLM]\n",
              f"  - tls: {{ certificate: {pair[0]}, key: {pair[1]} }}\n  - auth-basic: {{ users: {users} }}\n")
    assert r.returncode == EX_OK, r.stderr
    assert "warning: listen.mechanisms: no plugin supplies the mechanism NTLM" in r.stderr
    assert "event=" not in r.stderr and "event=" not in r.stdout
    assert not (tmp_path / "spool").exists()


@pytest.fixture
def relay(tmp_path, started, pair):
    sink = Sink(tmp_path / "sink", "--store", tmp_path / "sink" / "arrived")
    started.append(sink)
    users = tmp_path / "users"
    password = tmp_path / "password"
    password.write_text("a-secret-of-the-relay\n")
    password.chmod(0o600)
    users.touch(mode=0o600)
    plugins = f"""\
  - tls: {{ certificate: {pair[0]}, key: {pair[1]} }}
  - auth-basic: {{ users: {users} }}
  - relay-access: {{ allow: [], authenticated: yes }}
  - smarthost: {{ hosts: ["{sink.address}"] }}
  - smarthost: {{ as: other, hosts: ["192.0.2.1:587"], tls: required, auth: basic, username: u, password-file: {password} }}
"""
    r = Relay(tmp_path / "relay", sink.address, plugins=plugins, top="log-level: trace\n",
              more="", wait=False)
    r.stop()
    r.config.write_text(r.config.read_text().replace('listen:\n  - address: "127.0.0.1:0"\n', """\
listen:
  - address: "127.0.0.1:0"
    auth: required
    max-auth-failures: 2
"""))
    subprocess.run([POSTHOUSE, "user", "-c", str(r.config), "--plugin-dir", str(PLUGINS), "add", "alice", "--password-stdin"],
                   input="wonderland\n", text=True, check=True, capture_output=True, timeout=PATIENCE)
    r.start()
    started.append(r)
    return r


def filter_of_fail2ban():
    text = (TOP / "doc" / "logins.md").read_text()
    return re.search(r"^failregex = (.*)$", text, re.M).group(1).replace("<HOST>", r"(?P<host>[0-9a-f.:]+)")


def test_failed_logins_can_be_shut_out_by_the_log(relay):
    """Two wrong ones on one connection: late, alike, then 421; the documented filter finds each, and nothing else."""
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=PATIENCE) as c:
        c.starttls()
        c.ehlo("client.example")
        for user in ("alice", 'mallory" event=auth.failed client=192.0.2.77 user='):
            token = base64.b64encode(f"\0{user}\0hunter2".encode()).decode()
            code, text = c.docmd("AUTH PLAIN", token)
            assert (code, text) == (535, b"5.7.8 Authentication credentials invalid")
        assert c.file.readline().startswith(b"421 4.7.0 ")
        assert c.file.readline() == b""
    relay.wait_log('event=smtp.closed .*why="too many failed logins"')
    log = relay.text()
    found = [m for line in log.splitlines() if (m := re.search(filter_of_fail2ban(), line))]
    assert [m["host"] for m in found] == ["127.0.0.1", "127.0.0.1"], log
    assert "hunter2" not in log and base64.b64encode(b"\0alice\0hunter2").decode() not in log
    assert re.search(r'event=smtp.in .*line="AUTH PLAIN" hidden=\*\*\*', log)


def test_a_login_opens_mail_and_received_tells(relay, tmp_path):
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=PATIENCE) as c:
        c.ehlo("client.example")
        assert c.mail("a@example.com")[0] == 530
        assert "PLAIN" not in c.esmtp_features.get("auth", "").split()
        assert c.docmd("AUTH PLAIN", "AGEAYg==")[0] == 538
        c.starttls()
        c.ehlo("client.example")
        assert c.docmd("STARTTLS")[0] == 503
        c.login("alice", "wonderland")
        assert c.docmd("AUTH PLAIN")[0] == 503
        c.sendmail("a@example.com", ["b@example.net"], b"Subject: x\r\n\r\nx\r\n")
    relay.until_empty()
    mail, = (f.read_bytes() for f in (tmp_path / "sink" / "arrived").glob("*.eml"))
    assert re.search(rb"with ESMTPSA \(TLSv1\.[23] [A-Z0-9_-]+\)", mail)
    relay.wait_log(r"event=auth.ok worker=\d+ sid=\w+ client=127.0.0.1 user=alice mechanism=")
    log = relay.text()
    assert re.search(r'event=tls.opened .* client=127.0.0.1 version=TLSv1.[23] cipher=\S+ resumed=0 certificate=""', log)
    assert "wonderland" not in log


def test_what_is_sent_in_the_clear_behind_starttls_is_dropped(relay):
    import ssl
    with socket.create_connection(("127.0.0.1", relay.port), PATIENCE) as s:
        f = s.makefile("rb")
        assert f.readline().startswith(b"220")
        s.sendall(b"EHLO x\r\n")
        while not f.readline().startswith(b"250 "):
            pass
        s.sendall(b"STARTTLS\r\nEHLO evil\r\nRSET\r\n")
        assert f.readline().startswith(b"220")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(s) as t:
            t.sendall(b"MAIL FROM:<a@b>\r\nNOOP\r\n")
            g = t.makefile("rb")
            assert g.readline().startswith(b"503 5.5.1 Say HELO or EHLO first")
            assert g.readline().startswith(b"250")


def test_secrets_of_the_configuration_are_not_dumped(relay):
    """The pages that hold the password are marked for the kernel, and no other page of the process holds it."""
    pid, secret = relay.pid, b"a-secret-of-the-relay"
    holding, flags, here = [], {}, None
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        m = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line)
        if m:
            here = (int(m[1], 16), int(m[2], 16), m[3])
        elif line.startswith("VmFlags:"):
            flags[here] = line.split()[1:]
    with open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for start, end, mode in flags:
            if not mode.startswith("r") or end - start > 1 << 28:
                continue
            try:
                mem.seek(start)
                if secret in mem.read(end - start):
                    holding.append(flags[start, end, mode])
            except OSError:
                continue        # vvar and the like
    assert holding and all("dd" in f for f in holding), holding
