"""Fixtures for what logins and transport security need: the surroundings in tests/labs, and certificates.

All are started at the first use, once for the whole run, on free ports of the loopback, with their state in a folder
of their own, and stopped in the end, by process id. A test is skipped, with the reason, where root or a package is missing.

  domain           a Windows-like domain: domain.dir, domain.ntlm_auth, domain.env[...], domain.wbinfo(...)
  certificates     certificates.server.cert / .key, .ca.cert, .client, .expired, .mismatched, .stranger; make(...) for more
  postfix_dovecot  postfix_dovecot(mechs="plain", tls_required=True, domain=..., certificate=...): a Peer
  exchange_peer    exchange_peer("--tls", "--final-334", ..., certificate=...): a Peer
  oauth_peer       oauth_peer("--https", "--style", "microsoft", ..., certificate=...): a Peer, with http_port and base

The three peers are functions: the same arguments give the same running peer; fresh=True gives one of its own (to be broken).
POSTHOUSE_LAB_DOMAIN names a domain that runs already (windows-auth-lab start DIR): it is used, and left running.
"""
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from conftest import PATIENCE, free_port, need, run, until

LABS = Path(__file__).resolve().parents[1] / "labs"
HELPER_DIALOGUE = LABS / "helper-dialogue"


def need_root(what):
    if os.geteuid() != 0:
        pytest.skip(f"{what} needs root")


def lab(script, *args, env=None, limit=180):
    """Runs a script of tests/labs; its output goes through a file, for what it leaves running keeps hold of it."""
    with tempfile.TemporaryFile("w+") as out:
        r = subprocess.run([str(LABS / script), *map(str, args)], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                           timeout=limit, env={**os.environ, **(env or {})})
        out.seek(0)
        text = out.read()
    if r.returncode != 0:
        pytest.fail(f"{script} {args} ended with {r.returncode}\n{text}")
    return text


@pytest.fixture(scope="session")
def labs_folder():
    """Not pytest's own, which only root can enter: servers of the labs run as other users. Short, for sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="phlab-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


# --- the domain ---

class Domain:
    def __init__(self, folder):
        self.dir = Path(folder)
        self.env = {}
        for line in lab("windows-auth-lab", "env", folder).splitlines():
            key, _, value = line.strip().partition("=")
            if key.startswith("LAB_"):
                self.env[key] = "".join(shlex.split(value))
        self.ntlm_auth = self.env["LAB_NTLM_AUTH"]
        self.keytab, self.krb5_config = self.env["LAB_KEYTAB"], self.env["LAB_KRB5_CONFIG"]
        self.ccache = self.env["LAB_CCACHE"]
        # for a client with alice's ticket
        self.kerberos = {"KRB5_CONFIG": self.krb5_config, "KRB5CCNAME": self.ccache}

    def ctl(self, verb, *args):
        """kinit USER [PASSWORD [OWNER]], adduser USER PASSWORD, kill-winbindd, freeze, thaw, dc-down, ..."""
        return lab("windows-auth-lab", verb, self.dir, *args)

    def wbinfo(self, *args, check=True):
        return run(self.env["LAB_WBINFO"], *args, check=check)

    @contextlib.contextmanager
    def without_winbindd(self):
        self.ctl("kill-winbindd")
        try:
            yield
        finally:
            self.ctl("start-winbindd")

    @contextlib.contextmanager
    def frozen(self):
        """winbindd is stopped in its tracks (SIGSTOP), and goes on at the end."""
        self.ctl("freeze")
        try:
            yield
        finally:
            self.ctl("thaw")

    @contextlib.contextmanager
    def without_controller(self):
        self.ctl("dc-down")
        try:
            yield
        finally:
            self.ctl("dc-up")
            until("a login after the controller is back", self.works, 60, 0.5)

    def works(self):
        return self.wbinfo("-a", "LAB\\alice%password", check=False).returncode == 0


@pytest.fixture(scope="session")
def domain(labs_folder):
    given = os.environ.get("POSTHOUSE_LAB_DOMAIN")
    if given:
        yield Domain(given)
        return
    need_root("the domain")
    need("samba", "samba-tool", "winbindd", "ntlm_auth", "net", "kinit", "ldbmodify")
    folder = labs_folder / "win"
    lab("windows-auth-lab", "start", folder)
    try:
        yield Domain(folder)
    finally:
        lab("windows-auth-lab", "stop", folder)


# --- certificates ---

class Certificate:
    """cert, key: paths in PEM; chain: cert and those of its issuers below the root; names as they were asked for."""

    def __init__(self, cert, key, chain, names):
        self.cert, self.key, self.chain, self.names = cert, key, chain, names

    def copy_to(self, cert, key):
        """To other names, each replaced at once."""
        for source, target in ((self.chain, cert), (self.key, key)):
            new = Path(f"{target}.new")
            shutil.copy(source, new)
            os.replace(new, target)

    def days_left(self):
        text = run("openssl", "x509", "-in", self.cert, "-noout", "-enddate").stdout.strip().partition("=")[2]
        return (time.mktime(time.strptime(text, "%b %d %H:%M:%S %Y %Z")) - time.mktime(time.gmtime())) / 86400


class Authority(Certificate):
    def __init__(self, folder, name, issuer=None):
        self.folder = Path(folder) / name
        (self.folder / "new").mkdir(parents=True)
        (self.folder / "index").touch()
        (self.folder / "ca.cnf").write_text(f"""\
[ca]
default_ca = it
[it]
database = {self.folder}/index
new_certs_dir = {self.folder}/new
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
copy_extensions = none
[any]
commonName = optional
[req]
distinguished_name = dn
[dn]
""")
        if issuer is None:
            cert, key = self.folder / "ca.pem", self.folder / "ca.key"
            run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 3650,
                "-subj", f"/CN={name}", "-config", self.folder / "ca.cnf", "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-addext", "subjectKeyIdentifier=hash", "-keyout", key, "-out", cert)
            super().__init__(cert, key, cert, [])
        else:
            c = issuer.issue(f"{name}-ca", [], ca=True)
            super().__init__(c.cert, c.key, c.chain, [])
        self.root = issuer is None

    def issue(self, name, names, days=(-1, 365), purpose="serverAuth", key="ec", ca=False):
        cert, private, request, extensions = (self.folder / f"{name}.{x}" for x in ("pem", "key", "csr", "ext"))
        kind = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if key == "ec" else [key]
        run("openssl", "req", "-new", "-newkey", *kind, "-nodes", "-subj", f"/CN={names[0] if names else name}",
            "-config", self.folder / "ca.cnf", "-keyout", private, "-out", request)
        rows = ["subjectKeyIdentifier = hash", "authorityKeyIdentifier = keyid"]
        if ca:
            rows += ["basicConstraints = critical,CA:TRUE", "keyUsage = critical,keyCertSign,cRLSign"]
        else:
            rows += ["basicConstraints = critical,CA:FALSE", f"extendedKeyUsage = {purpose}"]
        if names:
            kinds = ("email" if "@" in n else "IP" if n.replace(".", "").isdigit() or ":" in n else "DNS" for n in names)
            rows.append("subjectAltName = " + ",".join(f"{k}:{n}" for k, n in zip(kinds, names)))
        extensions.write_text("\n".join(rows) + "\n")
        first, last = (time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + d * 86400)) for d in days)
        run("openssl", "ca", "-batch", "-notext", "-config", self.folder / "ca.cnf", "-cert", self.cert, "-keyfile", self.key,
            "-in", request, "-out", cert, "-extfile", extensions, "-startdate", first, "-enddate", last)
        chain = self.folder / f"{name}.chain.pem"
        chain.write_text(cert.read_text() + ("" if self.root else self.chain.read_text()))
        return Certificate(cert, private, chain, names)


class Certificates:
    """Keys are P-256, names DNS, IP or mail addresses by their looks; days: from and to, counted from now."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.ca = Authority(folder, "Test-Root")
        names = ["localhost", "relay.example.com", "127.0.0.1"]
        self.server = self.make("server", names)
        self.rsa = self.make("rsa", names, key="rsa:2048")
        self.expired = self.make("expired", names, days=(-30, -1))
        self.future = self.make("future", names, days=(1, 30))
        self.mismatched = self.make("mismatched", ["other.example.net"])
        self.client = self.make("client", ["scanner.example.com", "scanner@example.com"], purpose="clientAuth")
        self.client_expired = self.make("client-expired", ["scanner.example.com"], days=(-30, -1), purpose="clientAuth")
        self.strange_ca = Authority(folder, "Stranger-Root")
        self.stranger = self.strange_ca.issue("stranger", names)                        # of an unknown authority
        self.strange_client = self.strange_ca.issue("strange-client", ["scanner.example.com"], purpose="clientAuth")

    def make(self, name, names, days=(-1, 365), purpose="serverAuth", key="ec", issuer=None):
        return (issuer or self.ca).issue(name, names, days, purpose, key)

    def authority(self, name, issuer=None):
        """One more: of its own, or below another (issuer=certificates.ca gives an intermediate one)."""
        return Authority(self.folder, name, issuer)


@pytest.fixture(scope="session")
def certificates(labs_folder):
    need("openssl")
    return Certificates(labs_folder)


# --- smart hosts that want a login ---

class Peer:
    """A running peer: port, address, dir, cert (what a client has to trust)."""

    def __init__(self, script, folder, port, certificate):
        self.script, self.dir, self.port, self.certificate = script, Path(folder), port, certificate
        self.address = f"localhost:{port}"
        at = self.dir / "tls" if script == "smtp-auth-peer" else self.dir
        self.cert = at / "cert.pem"
        if certificate is not None:
            at.mkdir(parents=True)
            shutil.copy(certificate.chain, self.cert)
            shutil.copy(certificate.key, at / "key.pem")

    def mail(self):
        """Texts of the messages it took."""
        parts = lab(self.script, "mail", self.dir).split("\n=== ")
        return [p.partition("\n")[2] for p in parts if p.strip()]

    def until_mail(self, text, limit=PATIENCE):
        """Waits for the message that contains the text; the message."""
        return until(f"a message with {text!r} at {self.script}", lambda: next((m for m in self.mail() if text in m), None), limit, 0.1)

    def log(self):
        return "".join(f.read_text(errors="replace") for f in sorted(self.dir.glob("*.log")))

    def stop(self):
        lab(self.script, "stop", self.dir)


class OauthPeer(Peer):
    def __init__(self, *args):
        super().__init__(*args)
        self.http_port = free_port()
        self.client_id, self.client_secret = "relay-client", "s3cr3t/+="

    @property
    def base(self):
        return json.loads((self.dir / "oauth.json").read_text())["base"]

    def token(self, kind="3599"):
        """An access token for alice@lab.test: expired, scope (a wrong one), or so many seconds long."""
        return lab("oauth-peer", "token", self.dir, kind).strip()

    def ctl(self, **keys):
        return lab("oauth-peer", "ctl", self.dir, *(f"{k}={v}" for k, v in keys.items()))

    def stats(self):
        return json.loads(lab("oauth-peer", "stats", self.dir))

    def refresh_token(self):
        return (self.dir / "refresh-token").read_text()


class Peers:
    """Starts what is not there yet; stops all in the end."""

    def __init__(self, folder, script, kind, start):
        self.folder, self.script, self.kind, self.start_args = folder, script, kind, start
        self.running, self.count = {}, 0

    def get(self, key, certificate, fresh, **how):
        key = (key, str(certificate and certificate.cert))
        if fresh or key not in self.running:
            self.count += 1
            # an odd end for those that a test may break, so that nobody else is given them
            key = (*key, self.count) if fresh else key
            peer = self.kind(self.script, self.folder / f"{self.script}{self.count}", free_port(), certificate)
            args, env = self.start_args(peer, **how)
            lab(self.script, "start", *args, env=env)
            self.running[key] = peer
        return self.running[key]

    def stop(self):
        for peer in self.running.values():
            peer.stop()


@pytest.fixture(scope="session")
def postfix_dovecot(labs_folder):
    """(mechs=None, tls_required=False, domain=None, certificate=None, fresh=False): PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1
    SCRAM-SHA-256 and, with a domain, NTLM GSSAPI; users alice and bob (password), smarthost (relaypass)."""
    def args(peer, mechs, tls_required, domain):
        env = {**({"MECHS": mechs} if mechs else {}), **({"TLS": "required"} if tls_required else {})}
        return [peer.port, peer.dir, *([domain.dir] if domain else [])], env

    peers = Peers(labs_folder, "smtp-auth-peer", Peer, args)

    def get(mechs=None, tls_required=False, domain=None, certificate=None, fresh=False):
        need_root("Postfix")
        need("postfix", "dovecot", "openssl")
        key = (mechs, tls_required, domain and str(domain.dir))
        return peers.get(key, certificate, fresh, mechs=mechs, tls_required=tls_required, domain=domain)
    yield get
    peers.stop()


@pytest.fixture(scope="session")
def exchange_peer(labs_folder, domain):
    """(*options, certificate=None, fresh=False); its options: tests/labs/exchange-peer without arguments prints them."""
    peers = Peers(labs_folder, "exchange-peer", Peer, lambda peer, options: ([peer.port, peer.dir, domain.dir, *options], {}))

    def get(*options, certificate=None, fresh=False):
        return peers.get(options, certificate, fresh, options=options)
    yield get
    peers.stop()


@pytest.fixture(scope="session")
def oauth_peer(labs_folder):
    """(*options, certificate=None, fresh=False); its options: tests/labs/oauth-peer without arguments prints them."""
    peers = Peers(labs_folder, "oauth-peer", OauthPeer, lambda peer, options: ([peer.http_port, peer.port, peer.dir, *options], {}))

    def get(*options, certificate=None, fresh=False):
        need("openssl")
        return peers.get(options, certificate, fresh, options=options)
    yield get
    peers.stop()
