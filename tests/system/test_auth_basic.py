"""Logins with a password or a certificate: real clients, the users file while it changes, sender rules, PAM, the log line."""
import base64
import hashlib
import hmac
import os
import pty
import re
import secrets
import shutil
import signal
import smtplib
import ssl
import subprocess
from pathlib import Path

import pytest
from conftest import PATIENCE, PLUGINS, POSTHOUSE, SANITIZED, TOP, Talk, need, posthouse, run, until

PASSWORD = "correct horse"


class Users:
    """A users file and a relay that takes mail from whoever is in it."""

    def __init__(self, start, sink, certificates, options="", more="", listen="auth: required", plugins="", env=None, users=True):
        self.folder = start.folder
        self.file = self.folder / "users"
        self.config = self.folder / "posthouse.yaml"
        self.certificates = certificates
        cert = certificates.server
        self.text = f"""\
hostname: localhost
listen:
  - {{ address: "127.0.0.1:0", {listen} }}
spool: {self.folder / "spool"}
workers: 2
{more}plugins:
  - tls: {{ certificate: {cert.chain}, key: {cert.key}, client-certificates: request, client-ca-file: {certificates.ca.cert} }}
  - auth-basic: {{ {f"users: {self.file}," if users else ""} default-domain: example.com{options} }}
{plugins}  - relay-access: {{ allow: [], authenticated: true }}
  - smarthost: {{ hosts: ["{sink.address}"] }}
"""
        self.config.write_text(self.text)
        self.start, self.sink, self.env = start, sink, env

    def run(self):
        self.relay = self.start.relay(self.sink.address, config=self.text, env=self.env)
        return self.relay

    def user(self, *args, stdin=None, check=True):
        return run(POSTHOUSE, "user", "-c", self.config, "--plugin-dir", PLUGINS, *args, input=stdin, check=check)

    def add(self, name, password=PASSWORD, *args):
        return self.user("add", name, "--password-stdin", "--scheme", "sha256", "--iterations", "4096", *args, stdin=password + "\n")

    def client_context(self, certificate=None):
        ctx = ssl.create_default_context(cafile=str(self.certificates.ca.cert))
        ctx.check_hostname = False
        if certificate is not None:
            ctx.load_cert_chain(str(certificate.cert), str(certificate.key))
        return ctx

    def smtp(self, tls=True, certificate=None):
        # from an address of its own each time: replies to those that failed are held back longer and longer
        self.clients = getattr(self, "clients", 1) + 1
        s = smtplib.SMTP("127.0.0.1", self.relay.port, timeout=PATIENCE, source_address=(f"127.0.1.{self.clients}", 0))
        s.ehlo()
        if tls:
            s.starttls(context=self.client_context(certificate))
            s.ehlo()
        return s


@pytest.fixture
def users(start, sink, certificates):
    def make(*args, **kw):
        return Users(start, sink, certificates, *args, **kw)
    return make


def login(s, name, password=PASSWORD, mechanism="PLAIN", initial=True):
    """The reply of one login."""
    s.user, s.password = name, password
    try:
        return s.auth(mechanism, getattr(s, "auth_" + mechanism.lower()), initial_response_ok=initial)[0]
    except smtplib.SMTPAuthenticationError as e:
        return e.smtp_code


# --- an own client of SCRAM ---

def b64(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


class Scram:
    """One exchange; each step can be spoilt."""

    def __init__(self, name, password, gs2="n,,", binding=b""):
        self.gs2, self.binding, self.password = gs2, binding, password
        self.nonce = secrets.token_urlsafe(18)
        self.bare = f"n={name.replace('=', '=3D').replace(',', '=2C')},r={self.nonce}"

    def first(self):
        return self.gs2 + self.bare

    def final(self, challenge):
        self.got = dict(x.split("=", 1) for x in challenge.split(","))
        assert self.got["r"].startswith(self.nonce) and len(self.got["r"]) > len(self.nonce) + 20
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), base64.b64decode(self.got["s"]), int(self.got["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        without = f"c={b64(self.gs2.encode() + self.binding)},r={self.got['r']}"
        auth = f"{self.bare},{challenge},{without}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), auth, "sha256")
        self.server = b64(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), auth, "sha256"))
        return without + ",p=" + b64(bytes(a ^ b for a, b in zip(key, signature)))


def scram(s, name, password=PASSWORD, mechanism="SCRAM-SHA-256", gs2="n,,", binding=b"", initial=True):
    """The code of the last reply, having verified the server."""
    x = Scram(name, password, gs2, binding)
    if initial:
        code, text = s.docmd("AUTH", f"{mechanism} {b64(x.first())}")
    else:
        assert s.docmd("AUTH", mechanism) == (334, b"")
        code, text = s.docmd(b64(x.first()))
    if code != 334:
        return code
    code, text = s.docmd(b64(x.final(base64.b64decode(text).decode())))
    if code != 334:
        return code
    assert base64.b64decode(text).decode() == "v=" + x.server
    return s.docmd("")[0]


# --- the mechanisms ---

def test_mechanisms_inside_tls_and_outside(users):
    u = users()
    u.add("bob")
    relay = u.run()
    with u.smtp(tls=False) as s:
        assert s.esmtp_features["auth"].split() == ["SCRAM-SHA-256"]
        for mechanism in "PLAIN", "LOGIN":
            assert login(s, "bob", mechanism=mechanism) == 538
            assert s.docmd("AUTH", mechanism)[0] == 538
        assert s.docmd("AUTH", "EXTERNAL =")[0] in (504, 538)
        assert s.docmd("AUTH", "SCRAM-SHA-256-PLUS")[0] in (504, 538)
        assert scram(s, "bob") == 235
    for mechanism in "PLAIN", "LOGIN":
        for initial in True, False:
            for name in "bob", "BOB@example.com":
                with u.smtp() as s:
                    assert set(s.esmtp_features["auth"].split()) == {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"}
                    assert login(s, name, mechanism=mechanism, initial=initial) == 235
    relay.wait_log(r"event=auth.ok .*user=bob@example.com mechanism=LOGIN")


def test_wrong_passwords_and_unknown_users_look_the_same(users):
    u = users()
    u.add("bob")
    u.run()
    replies = set()
    for name, password, mechanism in (("bob", "wrong", "PLAIN"), ("bob", "wrong", "SCRAM"), ("nobody", "wrong", "PLAIN"),
                                      ("ghost", PASSWORD, "LOGIN"), ("spectre", PASSWORD, "SCRAM"), ("bob@example.org", PASSWORD, "PLAIN")):
        with u.smtp() as s:
            s.user, s.password = name, password
            if mechanism != "SCRAM":
                with pytest.raises(smtplib.SMTPAuthenticationError) as e:
                    s.auth(mechanism, getattr(s, "auth_" + mechanism.lower()))
                replies.add((e.value.smtp_code, e.value.smtp_error))
                continue
            x = Scram(name, password)
            code, text = s.docmd("AUTH", f"SCRAM-SHA-256 {b64(x.first())}")
            assert code == 334
            replies.add(s.docmd(b64(x.final(base64.b64decode(text).decode()))))
            assert x.got["i"] == "4096" and len(base64.b64decode(x.got["s"])) == 16
    assert replies == {(535, b"5.7.8 Authentication credentials invalid")}


def test_a_made_up_salt_outlives_a_restart(users):
    u = users()
    u.add("bob")
    relay = u.run()

    def salt(name):
        with u.smtp(tls=False) as s:
            x = Scram(name, "x")
            text = s.docmd("AUTH", f"SCRAM-SHA-256 {b64(x.first())}")[1]
            s.docmd("*")
            x.final(base64.b64decode(text).decode())
            return x.got["s"]
    before = {n: salt(n) for n in ("bob", "nobody", "somebody")}
    assert len(set(before.values())) == 3
    assert before == {n: salt(n) for n in before}
    relay.stop()
    relay.start()
    assert before == {n: salt(n) for n in before}


@pytest.mark.parametrize("initial", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_scram_inside_tls(users, initial):
    u = users()
    u.add("bob")
    u.user("add", "eve", "--password-stdin", "--scheme", "sha256", "--no-scram", stdin=PASSWORD)
    u.user("add", "ann,=x", "--password-stdin", "--scheme", "scram", "--iterations", "4096", stdin=PASSWORD)
    relay = u.run()
    for name, password, code in (("bob", PASSWORD, 235), ("bob", "wrong", 535), ("nobody", PASSWORD, 535), ("eve", PASSWORD, 535),
                                 ("ann,=x", PASSWORD, 235)):
        with u.smtp() as s:
            assert scram(s, name, password, initial=initial) == code
    with u.smtp() as s:         # without a hash the verifier serves for PLAIN, too
        assert login(s, "ann,=x") == 235
    with u.smtp() as s:         # authorization identities: one's own only
        assert scram(s, "bob", gs2="n,a=bob@example.com,") == 235
    with u.smtp() as s:
        assert scram(s, "bob", gs2="n,a=eve,") == 535
    relay.wait_log("why=\"wants to act for somebody else")


def binding_of(s, kind, certificates):
    if kind == "tls-server-end-point":
        der = ssl.PEM_cert_to_DER_cert(Path(certificates.server.cert).read_text())
        return hashlib.sha256(der).digest()
    return s.sock.get_channel_binding(kind)


def test_scram_bound_to_the_channel(users):
    u = users()
    u.add("bob")
    relay = u.run()
    kind = "tls-server-end-point"
    with u.smtp() as s:
        assert scram(s, "bob", mechanism="SCRAM-SHA-256-PLUS", gs2=f"p={kind},,", binding=binding_of(s, kind, u.certificates)) == 235
    with u.smtp() as s:
        assert scram(s, "bob", mechanism="SCRAM-SHA-256-PLUS", gs2=f"p={kind},,", binding=b"x" * 32) == 535
    relay.wait_log("why=\"the channel binding differs")
    with u.smtp() as s:
        assert scram(s, "bob", mechanism="SCRAM-SHA-256-PLUS", gs2="p=tls-nothing,,", binding=b"x" * 32) == 535
    with u.smtp() as s:
        assert scram(s, "bob", mechanism="SCRAM-SHA-256-PLUS", gs2="n,,") == 501
    with u.smtp() as s:
        assert scram(s, "bob", mechanism="SCRAM-SHA-256", gs2=f"p={kind},,", binding=b"x") == 501
    # RFC 5802 6: who says y has not seen that -PLUS is offered
    with u.smtp() as s:
        assert scram(s, "bob", gs2="y,,") == 535
    relay.wait_log("somebody between changes what is said")
    with u.smtp(tls=False) as s:        # outside TLS it is not
        assert scram(s, "bob", gs2="y,,") == 235


def test_tls_unique_of_tls_1_2(users):
    u = users()
    u.add("bob")
    u.run()
    s = smtplib.SMTP("127.0.0.1", u.relay.port, timeout=PATIENCE)
    s.ehlo()
    ctx = u.client_context()
    ctx.maximum_version = ssl.TLSVersion.TLSv1_2
    s.starttls(context=ctx)
    s.ehlo()
    binding = s.sock.get_channel_binding("tls-unique")
    assert binding and scram(s, "bob", mechanism="SCRAM-SHA-256-PLUS", gs2="p=tls-unique,,", binding=binding) == 235
    s.quit()


def test_y_is_fine_where_plus_is_not_offered(users):
    u = users(listen="auth: required, mechanisms: [SCRAM-SHA-256]")
    u.add("bob")
    u.run()
    with u.smtp() as s:
        assert s.esmtp_features["auth"].split() == ["SCRAM-SHA-256"]
        assert scram(s, "bob", gs2="y,,") == 235
    with u.smtp() as s:
        assert login(s, "bob") == 504


def test_external_by_certificate(users):
    u = users()
    relay = u.run()
    with u.smtp() as s:
        assert "EXTERNAL" not in s.esmtp_features["auth"].split()
        assert s.docmd("AUTH", "EXTERNAL =")[0] == 504
    for line, code in (("EXTERNAL =", 235), ("EXTERNAL " + b64("somebody.else"), 535)):
        with u.smtp(certificate=u.certificates.client) as s:
            assert "EXTERNAL" in s.esmtp_features["auth"].split()
            assert s.docmd("AUTH", line)[0] == code
    with u.smtp(certificate=u.certificates.client) as s:
        assert s.docmd("AUTH", "EXTERNAL") == (334, b"")
        assert s.docmd("")[0] == 235
    name = relay.wait_log(r"event=auth.ok .*user=(\S+) mechanism=EXTERNAL").group(1)
    with u.smtp(certificate=u.certificates.client) as s:
        assert s.docmd("AUTH", "EXTERNAL " + b64(name))[0] == 235


def test_malformed_messages(users):
    u = users(options=", allow-cleartext: yes")
    u.add("bob")
    relay = u.run()
    nul = "\0"
    cases = [("PLAIN " + b64(f"{nul}bob"), 501), ("PLAIN " + b64(f"a{nul}bob{nul}{PASSWORD}"), 535), ("PLAIN =", 501),
             ("PLAIN " + b64(f"{nul}bob{nul}"), 501), ("PLAIN " + b64(f"{nul}b\nob{nul}x"), 501), ("PLAIN !!!", 501),
             ("PLAIN " + b64(nul * 3 + "x"), 501), ("PLAIN " + b64(nul + "x" * 3000 + nul + "y"), 501),
             ("SCRAM-SHA-256 " + b64("n,,n=,r=x"), 501), ("SCRAM-SHA-256 " + b64("rubbish"), 501), ("SCRAM-SHA-256 =", 501),
             ("LOGIN " + b64("b\x01ob"), 501)]
    for line, code in cases:
        t = Talk(relay.port)
        t.cmd("EHLO x")
        assert t.cmd("AUTH " + line)[0] == code, line
        assert t.cmd("NOOP")[0] == 250
        t.close()
    t = Talk(relay.port)
    t.cmd("EHLO x")
    assert t.cmd("AUTH LOGIN") == (334, "334 VXNlcm5hbWU6")
    assert t.cmd(b64("bob")) == (334, "334 UGFzc3dvcmQ6")
    assert t.cmd("*")[0] == 501
    assert t.cmd("AUTH LOGIN =") == (334, "334 VXNlcm5hbWU6")
    assert t.cmd(b64("bob\0"))[0] == 334
    assert t.cmd("=")[0] == 501
    assert t.cmd("AUTH LOGIN " + b64("bob"))[0] == 334
    assert t.cmd(b64(PASSWORD + "\0"))[0] == 235
    assert t.cmd("AUTH LOGIN")[0] == 503
    t.close()
    assert PASSWORD not in relay.text() and b64(PASSWORD) not in relay.text()


# --- real clients ---

def mail_of(sink, relay):
    relay.until_empty()
    return until("a message", sink.messages)[-1]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_curl(users, sink, tmp_path, mechanism):
    need("curl")
    u = users()
    u.add("bob")
    relay = u.run()
    (tmp_path / "mail").write_text("Subject: by curl\r\n\r\nhello\r\n")
    run("curl", "-sS", "--ssl-reqd", "--cacert", u.certificates.ca.cert, "--login-options", f"AUTH={mechanism}", "-u", f"bob:{PASSWORD}",
        "--mail-from", "bob@example.com", "--mail-rcpt", "ann@example.net", "-T", tmp_path / "mail", f"smtp://localhost:{relay.port}",
        "--resolve", f"localhost:{relay.port}:127.0.0.1")
    got = mail_of(sink, relay)
    assert b"by curl" in got and re.search(rb"with ESMTPSA", got)
    relay.wait_log(f"user=bob@example.com mechanism={mechanism}")


def test_msmtp_by_scram(users, sink, tmp_path):
    need("msmtp")
    if "scram-sha-256" not in run("msmtp", "--version").stdout.lower():
        pytest.skip("this msmtp was built without SCRAM")
    u = users()
    u.add("bob")
    relay = u.run()
    for method in "scram-sha-256", "scram-sha-256-plus", "plain", "login":
        mark = len(relay.text())
        r = run("msmtp", "--host=localhost", f"--port={relay.port}", "--tls=on", "--tls-starttls=on", f"--tls-trust-file={u.certificates.ca.cert}",
                f"--auth={method}", "--user=bob", f"--passwordeval=echo {PASSWORD}", "--from=bob@example.com", "ann@example.net",
                input=f"Subject: by {method}\n\nhello\n", check=method != "scram-sha-256-plus")
        if r.returncode != 0:   # this msmtp may know no channel binding
            assert "unsupported" in r.stderr or "not supported" in r.stderr or "unknown" in r.stderr or "invalid" in r.stderr, r.stderr
            continue
        relay.wait_log(f"user=bob@example.com mechanism={method.upper()}", after=mark)
    assert b"hello" in mail_of(sink, relay)


def test_swaks(users, sink):
    need("swaks")
    u = users()
    u.add("bob")
    relay = u.run()
    for mechanism in "PLAIN", "LOGIN":
        r = run("swaks", "--server", f"127.0.0.1:{relay.port}", "-tls", "--auth", mechanism, "--auth-user", "bob", "--auth-password", PASSWORD,
                "--from", "bob@example.com", "--to", "ann@example.net", "--body", "by swaks", check=False)
        assert r.returncode == 0, r.stdout
    r = run("swaks", "--server", f"127.0.0.1:{relay.port}", "-tls", "--auth", "PLAIN", "--auth-user", "bob", "--auth-password", "wrong",
            "--from", "bob@example.com", "--to", "ann@example.net", check=False)
    assert r.returncode == 28 and "535 5.7.8" in r.stdout
    assert b"by swaks" in mail_of(sink, relay)


# --- files that change ---

def test_users_while_running(users):
    u = users()
    u.config.write_text(u.text)
    warned = posthouse("check", "-c", u.config, "--plugin-dir", PLUGINS)
    assert "does not exist yet" in warned.stderr + warned.stdout
    relay = u.run()                     # no file yet: nobody can log in
    with u.smtp() as s:
        assert login(s, "bob") == 535
    old = u.smtp()                      # connected before
    u.add("bob")
    relay.wait_log(r"users read anew from \S+users: 1 entries")
    with u.smtp() as s:
        assert login(s, "bob") == 235
    assert login(old, "bob") == 235
    old.close()
    mark = len(relay.text())
    u.user("passwd", "bob", "--password-stdin", stdin="another one\n")
    relay.wait_log("users read anew", after=mark)
    with u.smtp() as s:
        assert login(s, "bob") == 535
        assert login(s, "bob", "another one") == 235
    # a mistake by hand: said with file and line, and nothing changes
    mark = len(relay.text())
    with open(u.file, "a") as f:
        f.write("oops\n")
    relay.wait_log(rf"{u.file}:2: there is no password hash", after=mark)
    with u.smtp() as s:
        assert login(s, "bob", "another one") == 235
    # put right, and one more
    lines = u.file.read_text().splitlines()
    mark = len(relay.text())
    u.file.write_text(lines[0] + "\n" + lines[0].replace("bob", "ann") + "\n")
    relay.wait_log("users read anew from .*: 2 entries", after=mark)
    with u.smtp() as s:
        assert login(s, "ann@example.com", "another one") == 235
    mark = len(relay.text())
    u.file.chmod(0o644)
    relay.wait_log("mode 0644: others could read it", after=mark)
    u.file.chmod(0o600)
    mark = len(relay.text())
    u.user("remove", "ann")
    relay.wait_log("users read anew from .*: 1 entries", after=mark)
    with u.smtp() as s:
        assert login(s, "ann", "another one") == 535


def test_a_session_of_before_a_reload_logs_in(users):
    u = users()
    u.add("bob")
    relay = u.run()
    s = u.smtp()
    posthouse("reload", "-c", u.config)
    relay.wait_log("event=config.reloaded|event=daemon.reloaded|generation=2")
    assert login(s, "bob") == 235
    s.quit()


def test_a_file_with_mistakes_stops_the_start(users):
    u = users()
    u.file.write_text("bob:oops\n")
    u.file.chmod(0o600)
    r = posthouse("check", "-c", u.config, "--plugin-dir", PLUGINS, check=False)
    assert r.returncode == 78 and f"{u.file}:1: the hash is none of" in r.stderr + r.stdout
    u.file.chmod(0o604)
    r = posthouse("check", "-c", u.config, "--plugin-dir", PLUGINS, check=False)
    assert r.returncode == 78 and "mode 0604" in r.stderr + r.stdout


def test_more_checks_than_allowed(users):
    """One check at once: the second client is told to come again, and the relay goes on."""
    u = users(options=", checks-at-once: 1")
    u.user("add", "bob", "--password-stdin", "--scheme", "bcrypt", "--iterations", "4096", stdin=PASSWORD)
    # a cost that keeps the thread busy for a while
    u.file.write_text(u.file.read_text().replace("$2b$10$", "$2b$13$"))
    relay = u.run()
    talks = [u.smtp() for _ in range(6)]
    for s in talks:
        s.send(f"AUTH PLAIN {b64(chr(0) + 'bob' + chr(0) + 'wrong')}\r\n")
    codes = sorted(s.getreply()[0] for s in talks)
    assert 454 in codes and 535 in codes and set(codes) == {454, 535}
    relay.wait_log("checks-at-once")
    for s in talks:
        s.close()


# --- sender rules ---

@pytest.mark.parametrize("rule,name,allowed,refused", [
    ("any", "bob", ["bob@example.com", "x@elsewhere.example"], []),
    ("own-domain", "bob", ["ann@example.com", "x@EXAMPLE.COM"], ["x@elsewhere.example", "x@sub.example.com", "example.com@evil.example"]),
    ("map", "bob", ["sales@example.com", "x@lists.example.com", "noreply@example.com"], ["bob@example.com", "ann@example.com"]),
    ("map", "ann", ["ann@example.com", "noreply@example.com"], ["sales@example.com"]),
    ("map", "eve", ["noreply@example.com"], ["eve@example.com"]),
])
def test_sender_login(users, tmp_path, rule, name, allowed, refused):
    senders = tmp_path / "senders"
    senders.write_text("# who may be whom\nbob@example.com sales@example.com @lists.example.com\nann ann@example.com\n* noreply@example.com\n")
    u = users(options=f", sender-login: {rule if rule != 'map' else f'map {senders}'}")
    u.add(name)
    u.run()
    with u.smtp() as s:
        assert login(s, name) == 235
        for sender in ["", *allowed]:
            assert s.docmd("MAIL", f"FROM:<{sender}>")[0] == 250, sender
            s.rset()
        for sender in refused:
            code, text = s.docmd("MAIL", f"FROM:<{sender}>")
            assert code == 553 and text.startswith(b"5.7.1 "), sender
            s.rset()


def test_sender_rules_hold_for_certificates_and_change(users, tmp_path):
    senders = tmp_path / "senders"
    u = users(options=f", sender-login: map {senders}")
    r = posthouse("check", "-c", u.config, "--plugin-dir", PLUGINS, check=False)
    assert r.returncode == 78 and "does not exist" in r.stderr + r.stdout
    senders.write_text("nobody x@example.com\n")
    relay = u.run()
    with u.smtp(certificate=u.certificates.client) as s:
        assert s.docmd("AUTH", "EXTERNAL =")[0] == 235
        name = relay.wait_log(r"user=(\S+) mechanism=EXTERNAL").group(1)
        assert s.docmd("MAIL", "FROM:<scan@example.com>")[0] == 553
        assert f"login {name} may not send as <scan@example.com>" in relay.wait_log("may not send as.*").string
        senders.with_suffix(".new").write_text(f"{name} scan@example.com\n")
        senders.with_suffix(".new").rename(senders)
        relay.wait_log("sender-login map read anew")
        assert s.docmd("MAIL", "FROM:<scan@example.com>")[0] == 250
        s.rset()
        senders.write_text("oops\n")
        relay.wait_log(rf"{senders}:1: there is no address")
        assert s.docmd("MAIL", "FROM:<scan@example.com>")[0] == 250


@pytest.mark.parametrize("rule", ["own-domain", "map"])
def test_a_certificates_name_is_whole_as_it_is(users, tmp_path, rule):
    """The default domain is for those who type their name without one."""
    senders = tmp_path / "senders"
    senders.write_text("printer7@example.com boss@example.com\nprinter7 scan@example.net\nann ceo@example.com\n")
    u = users(options=f", sender-login: {rule if rule != 'map' else f'map {senders}'}")
    u.add("printer7")
    u.run()
    short = u.certificates.make("short-name", ["printer7"], purpose="clientAuth")
    with u.smtp(certificate=short) as s:
        assert s.docmd("AUTH", "EXTERNAL =")[0] == 235
        assert s.docmd("MAIL", "FROM:<boss@example.com>")[0] == 553
        assert s.docmd("MAIL", "FROM:<scan@example.net>")[0] == (250 if rule == "map" else 553)
    with u.smtp() as s:
        assert login(s, "printer7") == 235
        assert s.docmd("MAIL", "FROM:<boss@example.com>")[0] == 250
    if rule == "map":           # nor is its domain taken off
        with u.smtp(certificate=u.certificates.make("whole-name", ["ann@example.com"], purpose="clientAuth")) as s:
            assert s.docmd("AUTH", "EXTERNAL =")[0] == 235
            assert s.docmd("MAIL", "FROM:<ceo@example.com>")[0] == 553


def test_misspelt_auth_is_hidden_from_the_trace(users):
    u = users(options=", allow-cleartext: yes", more="log-level: trace\n")
    u.add("bob")
    relay = u.run()
    secret = b64(f"\0bob\0{PASSWORD}")
    lines = [" AUTH PLAIN ", "\tauth plain ", "AUTH=PLAIN ", "AUTH=", "AUTHPLAIN ", "AUTH:PLAIN ", "authenticate plain "]
    for line in lines:
        t = Talk(relay.port)
        t.cmd("EHLO client.example")
        assert t.cmd(line + secret)[0] in (500, 501, 502, 503, 504), line
        t.cmd(secret)           # and what would have been the answer to a prompt
        t.cmd("NOOP")
        t.close()
    until("all lines in the trace", lambda: len(re.findall(r"event=smtp.in .*line=NOOP", relay.text())) == len(lines))
    assert len(re.findall(r"event=smtp.in .*line=AUTH hidden=\*\*\*", relay.text())) == len(lines)
    assert secret not in relay.text()


# --- PAM ---

def pam_env(folder, users, service="posthouse", auth=None, account=None):
    """libpam_wrapper and its module that takes names and passwords from a file."""
    wrapper = next(iter(Path("/usr/lib").glob("*/libpam_wrapper.so*")), None)
    matrix = next(iter(Path("/usr/lib").glob("*/pam_wrapper/pam_matrix.so")), None)
    if wrapper is None or matrix is None:
        pytest.skip("libpam-wrapper is not installed")
    if SANITIZED:
        pytest.skip("a sanitizer and libpam_wrapper cannot both be first")
    db = folder / "passdb"
    db.write_text("".join(f"{n}:{p}:{service}\n" for n, p in users.items()))
    services = folder / "pam.d"
    services.mkdir(exist_ok=True)
    own = f"{matrix} passdb={db}"
    (services / service).write_text(f"auth required {auth or own}\naccount required {account or own}\n")
    (services / "other").write_text("auth required pam_deny.so\naccount required pam_deny.so\n")
    return {"LD_PRELOAD": str(wrapper), "PAM_WRAPPER": "1", "PAM_WRAPPER_SERVICE_DIR": str(services)}


def test_pam(users, tmp_path):
    env = pam_env(tmp_path, {"alice": PASSWORD, "carol@example.com": "c" * 20})
    u = users(plugins="  - auth-pam: { domains: [example.com] }\n", env=env)
    u.add("bob")
    relay = u.run()
    for name, password, code in (("alice", PASSWORD, 235), ("alice@EXAMPLE.com", PASSWORD, 235), ("bob", PASSWORD, 235), ("alice", "wrong", 535),
                                 ("alice@example.org", PASSWORD, 535), ("nobody", PASSWORD, 535), ("-alice", PASSWORD, 535), ("bob", "wrong", 535)):
        for mechanism in ("PLAIN", "LOGIN") if code == 235 else ("PLAIN",):
            with u.smtp() as s:
                assert login(s, name, password, mechanism) == code, (name, mechanism)
    with u.smtp() as s:                 # PAM has no verifiers
        assert scram(s, "alice") == 535
    assert "user=alice@example.com mechanism=PLAIN" in relay.text()
    assert PASSWORD not in relay.text()


def test_pam_alone(users, tmp_path):
    env = pam_env(tmp_path, {"alice@example.com": PASSWORD}, service="smtp")
    u = users(plugins="  - auth-pam: { service: smtp }\n", env=env, users=False)
    u.run()
    with u.smtp() as s:
        assert s.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]
        assert login(s, "alice") == 235


def test_pam_cannot_say(users, tmp_path):
    env = pam_env(tmp_path, {"alice": PASSWORD}, auth="/nowhere/pam_no_such_module.so")
    u = users(plugins="  - auth-pam: { domains: [example.com] }\n", env=env, users=False)
    relay = u.run()
    with u.smtp() as s:
        assert login(s, "alice") == 454
    relay.wait_log("error .*service posthouse, user alice: ")


def test_pam_account_phase(users, tmp_path):
    env = pam_env(tmp_path, {"alice": PASSWORD}, account="pam_deny.so")
    u = users(plugins="  - auth-pam: { domains: [example.com] }\n", env=env, users=False)
    relay = u.run()
    with u.smtp() as s:
        assert login(s, "alice") == 535
    relay.wait_log("user alice: account: ")


def test_pam_without_a_file_of_the_service(users):
    """PAM would take other then; a file that is there is not warned of."""
    there = next((f.name for f in Path("/etc/pam.d").glob("*") if f.name != "other"), None)
    if there is None:
        pytest.skip("no services in /etc/pam.d")
    for service, warns in (("posthouse-not-there", True), (there, False)):
        u = users(plugins=f"  - auth-pam: {{ service: {service} }}\n", users=False)
        r = posthouse("check", "-c", u.config, "--plugin-dir", PLUGINS)
        said = r.stdout + r.stderr
        told = f"warning: plugins.auth-pam.service: /etc/pam.d/{service} does not exist, so PAM uses /etc/pam.d/other\n" in said
        assert told == warns, said
        assert ("other refuses everybody on most systems" in said) == warns
    u = users(plugins="  - auth-pam: { service: posthouse-not-there }\n", users=False)
    u.run().wait_log("/etc/pam.d/posthouse-not-there does not exist, so PAM uses /etc/pam.d/other")


# --- the log ---

def test_fail2ban_finds_who_guesses(users, tmp_path):
    need("fail2ban-regex")
    u = users()
    u.add("bob")
    relay = u.run()
    for name, password in ("bob", "wrong"), ("nobody client=203.0.113.9", "x"), ('x" client=203.0.113.9 y="', "y"), ("bob", PASSWORD):
        with u.smtp() as s:
            login(s, name, password)
    relay.wait_log("event=auth.ok")
    log = tmp_path / "failures.log"
    log.write_text(relay.text())
    r = run("fail2ban-regex", "--print-all-matched", log, TOP / "config" / "fail2ban" / "posthouse.conf")
    assert re.search(r"Failregex: 3 total", r.stdout), r.stdout
    r = run("fail2ban-regex", "-o", "ip", log, TOP / "config" / "fail2ban" / "posthouse.conf")
    assert sorted(r.stdout.split()) == ["127.0.1.2", "127.0.1.3", "127.0.1.4"]


# --- posthouse user ---

def on_a_terminal(argv, answers):
    """Runs argv with a terminal of its own; returns what stood there and the exit status."""
    pid, fd = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)    # started in the background, it would be ignored
        os.execv(argv[0], argv)
    seen = b""
    answers = list(answers)
    while True:
        try:
            got = os.read(fd, 4096)
        except OSError:
            break
        if not got:
            break
        seen += got
        if answers and seen.rstrip().endswith(b":"):
            until("the echo to be off", lambda: not echoes(fd))
            os.write(fd, answers.pop(0))
    os.close(fd)
    return seen.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def echoes(fd):
    import termios
    return bool(termios.tcgetattr(fd)[3] & termios.ECHO)


def test_user_on_a_terminal(users):
    u = users()
    argv = [str(POSTHOUSE), "user", "-c", str(u.config), "--plugin-dir", str(PLUGINS)]
    seen, status = on_a_terminal([*argv, "add", "bob"], [b"pass word\n", b"pass word\n"])
    assert status == 0 and "bob@example.com added" in seen and "pass word" not in seen, seen
    assert u.file.stat().st_mode & 0o777 == 0o600
    seen, status = on_a_terminal([*argv, "passwd", "bob"], [b"one\n", b"two\n"])
    assert status == 65 and "the two differ; nothing is changed" in seen and "one\r" not in seen
    seen, status = on_a_terminal([*argv, "check", "bob"], [b"pass word\n"])
    assert status == 0 and "right" in seen
    seen, status = on_a_terminal([*argv, "check", "bob"], [b"wrong\n"])
    assert status == 1
    seen, status = on_a_terminal([*argv, "passwd", "bob"], [b"\x03"])
    assert status == -2                 # interrupted, with nothing changed
    seen, status = on_a_terminal([*argv, "passwd", "bob"], [b"\x04"])
    assert status == 66
    assert u.user("check", "bob", "--password-stdin", stdin="pass word\n").stdout == "right\n"
    r = subprocess.run([*argv, "add", "eve"], capture_output=True, text=True, stdin=subprocess.DEVNULL, start_new_session=True)
    assert r.returncode == 66 and "--password-stdin" in r.stderr


def test_user_command(users, tmp_path):
    u = users()
    secret = tmp_path / "secret"
    secret.write_text("from a file\nand more\n")
    for scheme in "yescrypt", "bcrypt", "sha512", "sha256", "scram":
        u.user("add", scheme, "--password-file", secret, "--scheme", scheme, "--iterations", "4096")
        assert u.user("check", scheme, "--password-file", secret).stdout == "right\n"
        assert u.user("check", scheme.upper() + "@example.com", "--password-stdin", stdin="from a", check=False).returncode == 1
    listed = [line.split("\t") for line in u.user("list").stdout.splitlines()]
    assert listed == [[f"{s}@example.com", s if s != "scram" else "-", "scram 4096"] for s in ("yescrypt", "bcrypt", "sha512", "sha256", "scram")]
    assert u.user("check").stdout == f"{u.file}: ok, 5 users\n"
    for args, status, word in ((["add", "bcrypt", "--password-file", secret], 65, "already"), (["passwd", "eve", "--password-file", secret], 67, "not in"),
                               (["remove", "eve"], 67, "not in"), (["add", "a:b"], 65, "colon"), (["add", ""], 65, "empty"), (["add", "a b"], 65, "blank"),
                               (["add", "#a"], 65, "#"), (["add", "x" * 300], 65, "255"), (["add", "eve", "--password-file", "/nowhere"], 74, "cannot be read"),
                               (["frobnicate"], 64, "there is no"), (["add"], 64, "one name"), (["list", "x"], 64, "no name"), ([], 64, "what"),
                               (["add", "eve", "--scheme", "md5"], 64, "no scheme"), (["list", "--frob"], 64, "--frob"),
                               (["add", "eve", "--iterations", "1"], 64, "4096"), (["list", "--instance", "x"], 64, "no auth-basic"),
                               (["list", "--file", "/nowhere/x"], 66, "does not exist")):
        r = u.user(*args, check=False)
        assert (r.returncode, word in r.stderr) == (status, True), (args, r.returncode, r.stderr)
    for text, word in (("\n", "empty"), ("x" * 600, "511"), ("a\x01b\n", "control"), ("", "empty")):
        r = u.user("add", "eve", "--password-stdin", stdin=text, check=False)
        assert r.returncode == 65 and word in r.stderr
    assert u.user("add", "eve", "--password-stdin", "--scheme", "bcrypt", stdin="x" * 73, check=False).returncode == 65
    # another file, without any configuration
    other = tmp_path / "other"
    argv = ["user", "--plugin-dir", PLUGINS, "--file", other]
    posthouse(*argv, "add", "bob", "--password-stdin", "--iterations", "4096", input=PASSWORD)
    assert posthouse(*argv, "list").stdout.startswith("bob\tyescrypt\tscram")
    posthouse(*argv, "remove", "bob", "-q")
    assert other.read_text() == ""
    r = posthouse("user", "--plugin-dir", PLUGINS, "-c", "/nowhere.yaml", "list", check=False)
    assert r.returncode != 0


def test_user_changes_at_once(users):
    """Many at once: each is in the file in the end."""
    u = users()
    argv = [POSTHOUSE, "user", "-c", u.config, "--plugin-dir", PLUGINS, "add"]
    started = []
    for i in range(12):
        p = subprocess.Popen([*map(str, argv), f"user{i}", "--password-stdin", "--scheme", "sha256", "--iterations", "4096", "-q"],
                             stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        p.stdin.write(PASSWORD.encode())
        p.stdin.close()
        started.append(p)
    for p in started:
        assert p.wait(PATIENCE) == 0, p.stderr.read()
        p.stderr.close()
    assert len(u.user("list").stdout.splitlines()) == 12
    assert [f.name for f in u.folder.glob(".users-*")] == []


def test_user_made_by_root_is_the_relays(users):
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    u = users()
    (u.folder / "spool").mkdir()
    shutil.chown(u.folder / "spool", "nobody")
    u.add("bob")
    assert u.file.owner() == "nobody" and u.file.stat().st_mode & 0o777 == 0o600
    shutil.chown(u.file, "daemon")
    u.add("ann")
    assert u.file.owner() == "daemon"
