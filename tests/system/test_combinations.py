"""Every client against the relay, and the relay against every smart host: who can log in how.

The breadth: one row a combination, each with its outcome and the identity that comes of it. What each mechanism does in
its corners is tested by the plugin's own tests. Rows that fail as they should are there, too: a test that lets everybody
in is worth nothing.
"""
import base64
import itertools
import os
import re
import smtplib
import ssl
import subprocess

import pytest
from conftest import BUILD, PATIENCE, PLUGINS, POSTHOUSE, Relay, Sink, free_port, need, run, until
from labs import HELPER_DIALOGUE

pytestmark = pytest.mark.slow          # the plugins' own tests run under the sanitizers
number = itertools.count(1)
MESSAGE = "From: a@example.org\r\nTo: b@example.net\r\nSubject: {}\r\n\r\nhello\r\n"


# --- the relay as the server ---

class Server:
    """One relay with all ways to log in: a port with STARTTLS on offer, one with TLS from the first byte."""

    def __init__(self, folder, domain, oauth, certificates):
        self.folder, self.domain, self.oauth, self.certificates = folder, domain, oauth, certificates
        self.ca = certificates.ca.cert
        self.sink = Sink(folder, "--store", folder / "arrived")
        users = folder / "users"
        # a name of its own for each wrong password: every failure of a name holds the next one back for longer
        for name in ("alice", *(f"wrong{i}" for i in range(1, 6))):
            run(POSTHOUSE, "user", "add", name, "--file", users, "--password-stdin", "--iterations", "4096", "--plugin-dir", PLUGINS,
                input="password\n")
        helper = domain.ntlm_auth
        self.relay = Relay(folder, None, config=f"""\
hostname: relay.lab.test
listen:
  - address: 127.0.0.1:0
    tls: offered
    auth: required
    max-auth-failures: 20
  - address: 127.0.0.1:{free_port()}
    tls: implicit
    auth: required
spool: {folder}/spool
plugins:
  - tls:
      certificate: {certificates.server.cert}
      key: {certificates.server.key}
      client-certificates: request
      client-ca-file: {certificates.ca.cert}
  - auth-basic:
      users: {users}
      allow-cleartext: yes
  - auth-windows:
      ntlm-helper: [{helper}, --helper-protocol=squid-2.5-ntlmssp]
      spnego-helper: [{helper}, --helper-protocol=gss-spnego]
      gssapi-helper: [{BUILD}/posthouse-gssapi]
      keytab: {domain.keytab}
      domains: [LAB=lab.test]
      allow-cleartext-ntlm: yes
  - auth-oauth2:
      server:
        introspection-endpoint: {oauth.base}/introspect
        user-claim: [username]
  - relay-access:
      authenticated: yes
  - smarthost:
      hosts: ["{self.sink.address}"]
      tls: off
""", env={"KRB5_CONFIG": domain.krb5_config})
        self.starttls, self.implicit = map(int, re.findall(r"event=daemon.listening.*address=\S*:(\d+)", self.relay.text())[:2])

    def stop(self):
        self.relay.stop()
        self.sink.stop()


@pytest.fixture(scope="module")
def server(labs_folder, domain, oauth_peer, certificates):
    folder = labs_folder / "combinations"
    folder.mkdir()
    s = Server(folder, domain, oauth_peer(), certificates)
    yield s
    s.stop()


class Job:
    """One row's work: a message with a subject of its own."""

    def __init__(self, server, port, tls):
        self.s, self.port, self.tls = server, port, tls
        self.subject = f"combination {next(number)}"
        self.file = server.folder / "m.eml"
        self.file.write_text(MESSAGE.format(self.subject))

    def run(self, *argv, env=None, **kw):

        r = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=PATIENCE,
                           env={**os.environ, **self.s.domain.kerberos, **(env or {})}, **kw)
        return r.returncode == 0, r.stdout + r.stderr

    # each gives (accepted, what was said)

    def curl(self, mech, user, *more):
        need("curl")
        url = f"{'smtps' if self.tls == 'implicit' else 'smtp'}://localhost:{self.port}"
        secure = ["--cacert", self.s.ca, *(["--ssl-reqd"] if self.tls == "starttls" else [])] if self.tls else []
        return self.run("curl", "-sS", "--max-time", 30, url, "--login-options", f"AUTH={mech}", "-u", user, "--mail-from",
                        "alice@lab.test", "--mail-rcpt", "b@example.net", "-T", self.file, *secure, *more)

    def curl_token(self, mech, kind="3599", user="alice@lab.test"):
        return self.curl(mech, f"{user}:", "--oauth2-bearer", self.s.oauth.token(kind))

    def msmtp(self, auth, user="alice", password="password", *more):
        need("msmtp")
        conf, secret = self.s.folder / "msmtprc", self.s.folder / "secret"
        conf.touch(mode=0o600)
        tls = {"": ["tls off"], "starttls": ["tls on", "tls_starttls on"], "implicit": ["tls on", "tls_starttls off"]}[self.tls]
        conf.write_text("\n".join(["account default", "host localhost", f"port {self.port}", "from alice@lab.test", f"auth {auth}",
                                   f"user {user}", f"passwordeval cat {secret}", "ntlmdomain LAB", *tls,
                                   *([f"tls_trust_file {self.s.ca}"] if self.tls else []), *more, ""]))
        secret.write_text(password + "\n")
        return self.run("msmtp", "-C", conf, "b@example.net", input=self.file.read_text())

    def msmtp_token(self, auth):
        return self.msmtp(auth, "alice@lab.test", self.s.oauth.token())

    def swaks(self, mech, user="alice", password="password"):
        need("swaks")
        tls = {"": [], "starttls": ["-tls"], "implicit": ["-tlsc"]}[self.tls]
        return self.run("swaks", "-s", f"localhost:{self.port}", "-f", "alice@lab.test", "-t", "b@example.net", "-a", mech,
                        "-au", user, "-ap", password, "--auth-extra", "realm=LAB", *tls, "-h-Subject", self.subject)

    def smtplib(self, mech, user="alice", password="password", certificate=None):
        context = ssl.create_default_context(cafile=str(self.s.ca))
        if certificate is not None:
            context.load_cert_chain(certificate.cert, certificate.key)
        try:
            if self.tls == "implicit":
                c = smtplib.SMTP_SSL("localhost", self.port, timeout=PATIENCE, context=context)
            else:
                c = smtplib.SMTP("localhost", self.port, timeout=PATIENCE)
            with c:
                if self.tls == "starttls":
                    c.starttls(context=context)
                c.ehlo()
                if mech == "EXTERNAL":
                    code, said = c.docmd("AUTH", "EXTERNAL =")
                    if code != 235:
                        return False, said.decode()
                else:
                    c.user, c.password = user, password
                    c.auth(mech, getattr(c, f"auth_{mech.lower()}"))
                c.sendmail("alice@lab.test", ["b@example.net"], MESSAGE.format(self.subject))
            return True, ""
        except (smtplib.SMTPException, ssl.SSLError) as e:
            return False, str(e)

    def smtplib_external(self, which):
        return self.smtplib("EXTERNAL", certificate=getattr(self.s.certificates, which) if which else None)

    def openssl(self, user="alice", password="password"):
        """A person at the keyboard: openssl s_client and base64, each line when the reply to the last is there."""
        need("openssl")
        how = ["-starttls", "smtp"] if self.tls == "starttls" else []
        p = subprocess.Popen(["openssl", "s_client", "-quiet", "-crlf", "-CAfile", str(self.s.ca), "-verify_return_error", "-connect",
                              f"localhost:{self.port}", *how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said = []

        def reply():
            while True:
                line = p.stdout.readline().decode()
                said.append(line)
                if line[3:4] != "-":
                    return line or "(end)"
        try:
            if self.tls == "implicit":
                reply()                 # else s_client has kept the greeting to itself
            token = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
            for line in ("EHLO me", f"AUTH PLAIN {token}", "MAIL FROM:<alice@lab.test>", "RCPT TO:<b@example.net>", "DATA"):
                p.stdin.write(line.encode() + b"\n")
                p.stdin.flush()
                if reply()[0] not in "23":
                    return False, "".join(said)
            p.stdin.write(MESSAGE.format(self.subject).replace("\r", "").encode() + b".\n")
            p.stdin.flush()
            good = reply().startswith("250")
            p.stdin.write(b"QUIT\n")
            p.stdin.close()
            p.wait(PATIENCE)
            return good, "".join(said)
        finally:
            p.kill()
            p.wait()

    def helper(self, mech, *who, target=None):
        return self.run(HELPER_DIALOGUE, "smtp", self.s.domain.dir, f"localhost:{self.port}", mech, *who,
                        env={"TARGET": target} if target else None)


S, I, C = "starttls", "implicit", ""


def row(client, tls, what, call, who=None, mech=None, mail=True, marks=()):
    """who: the identity that comes of it, None: refused. mail: the client sends a message, too."""
    return pytest.param(tls, call, who, mech, mail, id=f"{client}-{tls or 'clear'}-{what}".replace(" ", "-"), marks=marks)


ROWS = [
    *(row("curl", t, m, lambda j, m=m: j.curl(m, "alice:password"), "alice", m) for m in ("PLAIN", "LOGIN") for t in (C, S, I)),
    row("curl", S, "PLAIN wrong password", lambda j: j.curl("PLAIN", "wrong1:wrong")),
    row("curl", S, "PLAIN unknown user", lambda j: j.curl("PLAIN", "nobody:password")),
    *(row("curl", t, "NTLM", lambda j: j.curl("NTLM", "LAB\\alice:password"), r"LAB\alice", "NTLM") for t in (C, S, I)),
    row("curl", C, "NTLM wrong password", lambda j: j.curl("NTLM", "LAB\\bob:wrong")),
    row("ntlm_auth", C, "NTLM UTF-8 password", lambda j: j.helper("NTLM", "LAB\\carol", "pässwörd 1"), r"LAB\carol", "NTLM", mail=False),
    row("curl", C, "NTLM disabled account", lambda j: j.curl("NTLM", "LAB\\dave:password")),
    *(row("curl", t, "GSSAPI", lambda j: j.curl("GSSAPI", "alice@LAB.TEST:"), r"LAB\alice", "GSSAPI") for t in (C, S)),
    row("curl", S, "OAUTHBEARER", lambda j: j.curl_token("OAUTHBEARER"), "alice@lab.test", "OAUTHBEARER"),
    row("curl", S, "OAUTHBEARER expired", lambda j: j.curl_token("OAUTHBEARER", "expired")),
    row("curl", S, "OAUTHBEARER not this mailbox", lambda j: j.curl_token("OAUTHBEARER", user="eve@lab.test")),
    *(row("msmtp", t, m, lambda j, m=m: j.msmtp(m), "alice", m.upper()) for m in ("plain", "login") for t in (S, I)),
    *(row("msmtp", t, "scram-sha-256", lambda j: j.msmtp("scram-sha-256"), "alice", "SCRAM-SHA-256") for t in (C, S, I)),
    row("msmtp", S, "scram-sha-256 wrong password", lambda j: j.msmtp("scram-sha-256", "wrong2", "wrong")),
    *(row("msmtp", t, "gssapi", lambda j: j.msmtp("gssapi"), r"LAB\alice", "GSSAPI") for t in (C, S)),
    row("msmtp", C, "ntlm version 1", lambda j: j.msmtp("ntlm")),
    *(row("msmtp", S, m, lambda j, m=m: j.msmtp_token(m), "alice@lab.test", m.upper()) for m in ("oauthbearer", "xoauth2")),
    *(row("swaks", t, m, lambda j, m=m: j.swaks(m), "alice", m) for m in ("PLAIN", "LOGIN") for t in (C, S, I)),
    row("swaks", S, "LOGIN wrong password", lambda j: j.swaks("LOGIN", "wrong3", "wrong")),
    row("swaks", C, "NTLM version 1", lambda j: j.swaks("NTLM")),
    *(row("smtplib", t, m, lambda j, m=m: j.smtplib(m), "alice", m) for m in ("PLAIN", "LOGIN") for t in (C, S, I)),
    row("smtplib", S, "PLAIN wrong password", lambda j: j.smtplib("PLAIN", "wrong4", "wrong")),
    *(row("smtplib", t, "EXTERNAL", lambda j: j.smtplib_external("client"), "scanner@example.com", "EXTERNAL") for t in (S, I)),
    row("smtplib", S, "EXTERNAL without a certificate", lambda j: j.smtplib_external(None)),
    row("smtplib", S, "EXTERNAL of a stranger", lambda j: j.smtplib_external("strange_client")),
    row("smtplib", S, "EXTERNAL expired", lambda j: j.smtplib_external("client_expired")),
    row("openssl", S, "PLAIN", lambda j: j.openssl(), "alice", "PLAIN"),
    row("openssl", I, "PLAIN", lambda j: j.openssl(), "alice", "PLAIN"),
    row("openssl", I, "PLAIN wrong password", lambda j: j.openssl("wrong5", "wrong")),
    row("ntlm_auth", C, "NTLM", lambda j: j.helper("NTLM"), r"LAB\alice", "NTLM", mail=False),
    row("ntlm_auth", C, "NTLM wrong password", lambda j: j.helper("NTLM", "LAB\\carol", "wrong"), mail=False),
    row("ntlm_auth", C, "SPNEGO with NTLM", lambda j: j.helper("GSSAPI-SPNEGO"), r"LAB\alice", "GSSAPI", mail=False),
    row("ntlm_auth", C, "SPNEGO with NTLM wrong password", lambda j: j.helper("GSSAPI-SPNEGO", "LAB\\smarthost", "wrong"), mail=False),
    row("ntlm_auth", C, "SPNEGO with Kerberos", lambda j: j.helper("GSSAPI-SPNEGO", target="relay.lab.test"), r"LAB\alice",
        "GSSAPI", mail=False),
    row("python-gssapi", C, "GSSAPI", lambda j: j.helper("GSSAPI"), r"LAB\alice", "GSSAPI", mail=False),
]


@pytest.mark.parametrize("tls,call,who,mech,mail", ROWS)
def test_client(server, tls, call, who, mech, mail):
    mark = len(server.relay.text())
    job = Job(server, server.implicit if tls == "implicit" else server.starttls, tls)
    accepted, said = call(job)
    assert accepted == (who is not None), f"{said}\n{server.relay.text()[mark:]}"
    if who is None:
        assert "event=auth.ok" not in server.relay.text()[mark:]
        return
    found = server.relay.wait_log(r"event=auth\.ok.*", after=mark)[0]
    assert re.search(rf"user=\"?{re.escape(re.escape(who))}\"? |user=\"?{re.escape(who)}\"? ", found + " "), found
    assert f"mechanism={mech}" in found, found
    if mail:
        m = until("the message", lambda: next((m for m in server.sink.messages() if f"Subject: {job.subject}\r\n".encode() in m), None))
        assert re.search(rb"\swith ESMTPSA\s" if tls else rb"\swith ESMTPA\s", m.partition(b"\r\n\r\n")[0]), m


# --- the relay as the client ---

class Outbound:
    """A relay towards one smart host; sends one message."""

    def __init__(self, start, domain=None):
        self.start, self.domain = start, domain

    def __call__(self, peer, options, plugins="", env=None):
        rows = "".join(f"      {k}: {v}\n" for k, v in options.items())
        password = self.start.folder / "password"
        password.touch(mode=0o600)
        password.write_text(options.pop("_password", "password") + "\n")
        rows = "".join(f"      {k}: {str(v).replace('PASSWORD', str(password))}\n" for k, v in options.items())
        self.relay = self.start.relay(None, config=f"""\
hostname: relay.example.com
log-level: debug
listen:
  - address: 127.0.0.1:0
spool: {self.start.folder}/spool
plugins:
  - tls
{plugins}  - auth-anonymous
  - relay-access:
      allow: [127.0.0.0/8]
  - smarthost:
      hosts: ["{peer.address}"]
      allow-loopback: yes
{rows}""", env={**(self.domain.kerberos if self.domain else {}), **(env or {})})
        self.subject = f"outbound {next(number)}"
        with self.relay.smtp() as c:
            c.sendmail("a@example.org", ["b@example.net"], MESSAGE.format(self.subject))
        return self

    def arrives(self, peer):
        m = peer.until_mail(f"Subject: {self.subject}")
        self.relay.until_empty()
        return m

    def stays(self, why):
        """The login or the TLS is refused: the mail waits, the site is suspended, and nothing bounces."""
        found = self.relay.wait_log(why)[0]
        until("the message in the queue", lambda: self.relay.count() == 1)
        return found


@pytest.fixture
def outbound(start):
    return Outbound(start)


@pytest.fixture
def outbound_domain(start, domain):
    return Outbound(start, domain)


BASIC = {"auth": "basic", "username": "alice", "password-file": "PASSWORD"}


@pytest.mark.parametrize("mech", ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"])
def test_postfix_by_each_mechanism(outbound, postfix_dovecot, certificates, mech):
    peer = postfix_dovecot(certificate=certificates.server)
    m = outbound(peer, {**BASIC, "tls": "verify", "tls-ca-file": certificates.ca.cert, "mechanisms": f"[{mech}]"},
                 "  - auth-basic\n").arrives(peer)
    assert "(Authenticated sender: alice)" in m and "with ESMTPSA" in m
    assert mech.lower() in until("the peer's line", lambda: next(
        (x for x in reversed(peer.log().splitlines()) if "sasl_method=" in x), "")).lower()


def test_postfix_by_the_strongest(outbound, postfix_dovecot, certificates):
    peer = postfix_dovecot(certificate=certificates.server)
    m = outbound(peer, {**BASIC, "tls": "required"}, "  - auth-basic\n").arrives(peer)
    assert "(Authenticated sender: alice)" in m
    assert "SCRAM-SHA-256" in [x for x in peer.log().splitlines() if "sasl_method=" in x][-1]


def test_postfix_with_a_wrong_password(outbound, postfix_dovecot, certificates):
    peer = postfix_dovecot(certificate=certificates.server)
    o = outbound(peer, {**BASIC, "tls": "required", "_password": "wrong"}, "  - auth-basic\n")
    assert "login=alice" in o.stays(r"event=site\.login-refused.*")
    assert o.subject not in "".join(peer.mail())


def test_postfix_where_the_certificate_is_wrong(outbound, postfix_dovecot, certificates):
    peer = postfix_dovecot(certificate=certificates.mismatched)
    o = outbound(peer, {**BASIC, "tls": "verify", "tls-ca-file": certificates.ca.cert}, "  - auth-basic\n")
    assert "other.example.net" in o.stays(r"event=deliver\.tls-failed.*")


WINDOWS = {"auth": "windows", "username": r"'LAB\alice'", "password-file": "PASSWORD"}


def windows(domain, **more):
    rows = {"ntlm-client-helper": f"[{domain.ntlm_auth}, --helper-protocol=ntlmssp-client-1]",
            "spnego-client-helper": f"[{domain.ntlm_auth}, --helper-protocol=gss-spnego-client]",
            "gssapi-helper": f"[{BUILD}/posthouse-gssapi]", **{k.replace("_", "-"): v for k, v in more.items()}}
    return "  - auth-windows:\n" + "".join(f"      {k}: {v}\n" for k, v in rows.items())


@pytest.mark.parametrize("how,final", [("NTLM", False), ("RFC4752", False), *itertools.product(["SPNEGO-NTLM", "SPNEGO-Kerberos"],
                                                                                               [False, True])])
def test_exchange(outbound_domain, exchange_peer, domain, certificates, how, final):
    peer = exchange_peer("--tls", *(["--final-334"] if final else []), certificate=certificates.server)
    more = {"NTLM": {}, "SPNEGO-NTLM": {}, "SPNEGO-Kerberos": {"client_cache": domain.ccache, "client_host": "relay.lab.test"},
            "RFC4752": {"client_cache": domain.ccache, "client_gssapi": "rfc4752", "client_host": "localhost"}}[how]
    options = {**WINDOWS, "tls": "required", "mechanisms": "[NTLM]" if how == "NTLM" else "[GSSAPI]"}
    if "Kerberos" in how or how == "RFC4752":
        del options["password-file"]
    m = outbound_domain(peer, options, windows(domain, **more)).arrives(peer)
    assert "X-Lab-TLS: yes" in m and "alice" in re.search("X-Lab-Authenticated: (.*)", m)[1], m


def test_exchange_with_a_wrong_password(outbound_domain, exchange_peer, domain, certificates):
    peer = exchange_peer("--tls", certificate=certificates.server)
    o = outbound_domain(peer, {**WINDOWS, "tls": "required", "mechanisms": "[NTLM]", "_password": "wrong"}, windows(domain))
    assert "LAB" in o.stays(r"event=site\.login-refused.*")


@pytest.mark.parametrize("how", ["NTLM", "GSSAPI"])
def test_postfix_with_a_domain_login(outbound_domain, postfix_dovecot, domain, certificates, how):
    peer = postfix_dovecot(domain=domain, certificate=certificates.server)
    more = {} if how == "NTLM" else {"client_cache": domain.ccache, "client_gssapi": "rfc4752", "client_host": "localhost"}
    options = {**WINDOWS, "tls": "required", "mechanisms": f"[{how}]"}
    if how == "GSSAPI":
        del options["password-file"]
    m = outbound_domain(peer, options, windows(domain, **more)).arrives(peer)
    assert re.search(r"\(Authenticated sender: (LAB\\)?alice", m), m


def oauth(folder, peer, secret=None, **more):
    file = folder / "client-secret"
    file.touch(mode=0o600)
    file.write_text((secret or peer.client_secret) + "\n")
    rows = {"token-endpoint": f"{peer.base}/token", "client-id": peer.client_id, "client-secret-file": file,
            "scope": "https://outlook.office365.com/.default", "ca-file": peer.cert, **{k.replace("_", "-"): v for k, v in more.items()}}
    return "  - auth-oauth2:\n" + "".join(f"      {k}: {v}\n" for k, v in rows.items())


OAUTH = {"auth": "oauth2", "username": "alice@lab.test", "tls": "required"}


@pytest.mark.parametrize("style", ["google", "microsoft"])
@pytest.mark.parametrize("mech", ["XOAUTH2", "OAUTHBEARER"])
def test_oauth_by_client_credentials(outbound, oauth_peer, certificates, start, mech, style):
    peer = oauth_peer("--https", "--tls", "--mechs", mech, "--style", style)
    m = outbound(peer, dict(OAUTH), oauth(start.folder, peer)).arrives(peer)
    assert "X-Lab-Authenticated: alice@lab.test" in m and "X-Lab-TLS: yes" in m


def test_oauth_by_refresh_token(outbound, oauth_peer, start):
    peer = oauth_peer("--https", "--tls", fresh=True)
    file = start.folder / "refresh"
    file.touch(mode=0o600)
    file.write_text(peer.refresh_token())
    m = outbound(peer, dict(OAUTH), oauth(start.folder, peer, refresh_token_file=file, scope="https://mail.google.com/")).arrives(peer)
    assert "X-Lab-Authenticated: alice@lab.test" in m
    assert peer.stats()["grants"].get("refresh_token") == 1 and peer.refresh_token() != file.read_text()


def test_oauth_with_a_wrong_secret(outbound, oauth_peer, start):
    peer = oauth_peer("--https", "--tls", fresh=True)
    o = outbound(peer, dict(OAUTH), oauth(start.folder, peer, secret="wrong"))
    o.stays(r"event=site\.login-(refused|failed).*")
    assert peer.stats()["tokens_issued"] == 0


def test_relay_to_relay_by_certificate(outbound, start, sink, certificates, tmp_path):
    """posthouse at both ends, EXTERNAL: nothing of a password anywhere."""
    far = Relay(tmp_path / "far", None, config=f"""\
hostname: far.example.com
listen:
  - address: 127.0.0.1:0
    tls: required
    auth: required
spool: {tmp_path}/far/spool
plugins:
  - tls:
      certificate: {certificates.server.cert}
      key: {certificates.server.key}
      client-certificates: request
      client-ca-file: {certificates.ca.cert}
  - auth-basic
  - relay-access
  - smarthost:
      hosts: ["{sink.address}"]
      tls: off
""")
    start.started.append(far)
    far.address = f"localhost:{far.port}"
    o = outbound(far, {"auth": "basic", "mechanisms": "[EXTERNAL]", "tls": "verify", "tls-ca-file": certificates.ca.cert,
                       "tls-certificate": certificates.client.cert, "tls-key": certificates.client.key}, "  - auth-basic\n")
    m = until("the message", lambda: next((m for m in sink.messages() if o.subject.encode() in m), None))
    assert m.count(b" with ESMTPSA ") == 1
    assert "user=scanner@example.com" in far.wait_log(r"event=auth\.ok.*")[0]
