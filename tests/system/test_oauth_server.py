"""auth-oauth2 towards clients: tokens checked by keys and by introspection, forged and expired ones, what is told to whom."""
import base64
import concurrent.futures
import hashlib
import hmac
import itertools
import json
import os
import smtplib
import ssl
import subprocess
import sys

import pytest
from conftest import PATIENCE, SANITIZED, TOP, need, run, until
from labs import certificates, labs_folder, oauth_peer  # noqa: F401: fixtures


def config(folder, certificates, server, more=""):  # noqa: F811
    rows = "".join(f"        {r}\n" for r in server.strip().splitlines())
    return f"""\
hostname: relay.example.com
listen:
  - address: "127.0.0.1:0"
    tls: offered
    auth: required
spool: {folder}/spool
log-level: trace
plugins:
  - tls:
      certificate: {certificates.server.chain}
      key: {certificates.server.key}
  - auth-oauth2:
      timeout: 2s
      server:
{rows}  - relay-access: {{ authenticated: true }}
  - smarthost:
      hosts: ["127.0.0.1:1"]
      tls: off
"""


def by_keys(peer, more=""):
    return f"""\
jwks-uri: {peer.base}/jwks
issuer: ["{peer.base}"]
audience: ["https://outlook.office.com"]
{more}"""


def by_asking(peer, more=""):
    return f"""\
introspection-endpoint: {peer.base}/introspect
{more}"""


CHECKS = {"keys": by_keys, "introspection": by_asking}


@pytest.fixture
def peer(oauth_peer):  # noqa: F811
    return oauth_peer(fresh=True)


@pytest.fixture
def relay(start, tmp_path, peer, certificates):  # noqa: F811
    def begin(server):
        return start.relay("", config=config(tmp_path, certificates, server))
    return begin


class Client(smtplib.SMTP):
    """Inside TLS; says AUTH by hand. Each comes from an address of its own: failed logins make the relay slow, per address."""
    count = itertools.count(2)

    def __init__(self, relay, certificates, tls=True):  # noqa: F811
        n = next(self.count)
        super().__init__("127.0.0.1", relay.port, timeout=PATIENCE, source_address=(f"127.0.{n // 250}.{n % 250 + 2}", 0))
        self.ehlo()
        if tls:
            self.starttls(context=ssl.create_default_context(cafile=certificates.ca.cert))
            self.ehlo()

    def auth_line(self, mechanism, message, initial=True):
        b64 = base64.b64encode(message).decode()
        if initial:
            return self.docmd("AUTH", f"{mechanism} {b64}")
        code, text = self.docmd("AUTH", mechanism)
        assert (code, text) == (334, b"")
        return self.docmd(b64)


def message(mechanism, token, user="alice@lab.test"):
    if mechanism == "XOAUTH2":
        return f"user={user}\1auth=Bearer {token}\1\1".encode()
    return (f"n,a={user}," if user else "n,,").encode() + f"\1host=relay.example.com\1port=587\1auth=Bearer {token}\1\1".encode()


def all_refused(relay, certificates, messages):  # noqa: F811
    """Each by a client of its own, all at once."""
    with concurrent.futures.ThreadPoolExecutor(len(messages)) as pool:
        def one(m):
            c = Client(relay, certificates)
            refused(c, *m)
            c.close()
        for result in [pool.submit(one, m) for m in messages]:
            result.result()


def refused(c, mechanism, msg, status="invalid_token"):
    code, text = c.auth_line(mechanism, msg)
    assert code == 334, (code, text)
    assert json.loads(base64.b64decode(text))["status"] == status
    code, text = c.docmd("AQ==" if mechanism == "OAUTHBEARER" else "")
    assert code == 535, (code, text)


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt(header, claims, signature=b""):
    return ".".join(b64url(p if isinstance(p, bytes) else json.dumps(p).encode()) for p in (header, claims, signature))


def parts(token):
    return [base64.urlsafe_b64decode(p + "=" * (-len(p) % 4)) for p in token.split(".")]


def no_tokens(relay, *tokens):
    text = relay.text()
    for t in tokens:
        # any part of it that is long enough to be of use
        for piece in t.split("."):
            assert len(piece) < 20 or piece[:20] not in text
    assert "Bearer" not in text and "dXNlcj1" not in text


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_login_and_identity(relay, peer, certificates, check, mechanism):  # noqa: F811
    r = relay(CHECKS[check](peer))
    token = peer.token()
    for initial in (True, False):
        c = Client(r, certificates)
        assert c.auth_line(mechanism, message(mechanism, token), initial)[0] == 235
        c.sendmail("alice@lab.test", ["bob@lab.test"], "Subject: x\r\n\r\nx\r\n")
        c.quit()
    r.wait_log(f"event=auth.ok .*user=alice@lab.test mechanism={mechanism}")
    no_tokens(r, token)
    if check == "introspection":
        assert peer.stats()["introspections"] == 1      # the second one was remembered
    else:
        assert peer.stats()["jwks"] == 1


@pytest.mark.parametrize("check", CHECKS)
def test_refusals(relay, peer, certificates, check):  # noqa: F811
    r = relay(CHECKS[check](peer, "leeway: 0s"))
    good = peer.token()
    expired = peer.token("expired")
    all_refused(r, certificates, [(m, message(m, token, user)) for m in ("OAUTHBEARER", "XOAUTH2") for token, user in (
        (expired, f"{m}1@lab.test"), (good, f"{m}2@lab.test"), ("nonsense", f"{m}3@lab.test"))])
    c = Client(r, certificates)
    assert c.auth_line("OAUTHBEARER", message("OAUTHBEARER", good, ""))[0] == 235
    r.wait_log("event=auth.failed .*the token belongs to alice@lab.test")
    no_tokens(r, good)


def test_forged_tokens(relay, peer, certificates):  # noqa: F811
    r = relay(by_keys(peer))
    good = peer.token()
    header, claims, signature = parts(good)
    h, c = json.loads(header), json.loads(claims)
    public = (peer.dir / "token-key.pub").read_bytes()
    hs = {**h, "alg": "HS256"}
    body = jwt(hs, c).rsplit(".", 1)[0]
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    forged = {
        "none": jwt({**h, "alg": "none"}, c),
        "None": jwt({**h, "alg": "None"}, c, signature),
        "no algorithm": jwt({"kid": h["kid"]}, c, signature),
        "public key as a shared secret": body + "." + b64url(hmac.new(public, body.encode(), hashlib.sha256).digest()),
        "another user": jwt(header, {**c, "preferred_username": "bob@lab.test"}, signature),
        "another signature": jwt(header, claims, flipped),
        "empty signature": jwt(header, claims),
        "another algorithm": jwt({**h, "alg": "PS256"}, c, signature),
        "crit": jwt({**h, "crit": ["exp"]}, c, signature),
        "unknown key": jwt({**h, "kid": "unknown"}, c, signature),
        "said twice": jwt(header[:-1] + b',"alg":"none"}', claims, signature),
    }
    all_refused(r, certificates, [("OAUTHBEARER", message("OAUTHBEARER", token, "bob@lab.test" if name == "another user" else f"u{i}@lab.test"))
                                  for i, (name, token) in enumerate(forged.items())])
    assert "the token belongs to" not in r.text()       # none came that far
    assert "event=auth.ok" not in r.text()
    client = Client(r, certificates)
    assert client.auth_line("OAUTHBEARER", message("OAUTHBEARER", good))[0] == 235
    # an unknown key is looked for once a minute, not once for each client that makes one up
    assert peer.stats()["jwks"] == 1


def test_claims_and_scope(relay, peer, certificates):  # noqa: F811
    r = relay(by_keys(peer, "required-scope: [https://graph.microsoft.com/.default]"))
    c = Client(r, certificates)
    refused(c, "OAUTHBEARER", message("OAUTHBEARER", peer.token(), "u1@lab.test"), "insufficient_scope")
    c = Client(r, certificates)
    assert c.auth_line("OAUTHBEARER", message("OAUTHBEARER", peer.token("scope")))[0] == 235


@pytest.mark.slow
@pytest.mark.parametrize("what", ["issuer", "audience"])
def test_of_others(relay, peer, certificates, what):  # noqa: F811
    r = relay("\n".join(f'{what}: ["https://other.example"]' if line.startswith(what) else line for line in by_keys(peer).splitlines()))
    c = Client(r, certificates)
    refused(c, "OAUTHBEARER", message("OAUTHBEARER", peer.token()))
    r.wait_log(f"event=auth.failed .*another {what}")


def test_a_new_key_is_found(start, relay, peer, certificates, tmp_path):  # noqa: F811
    keys = tmp_path / "keys.json"

    def fetch():
        import urllib.request
        return urllib.request.urlopen(peer.base + "/jwks").read()
    keys.write_bytes(fetch())
    r = relay(f"jwks-file: {keys}\nissuer: [\"{peer.base}\"]\naudience: [\"https://outlook.office.com\"]\n")
    c = Client(r, certificates)
    assert c.auth_line("OAUTHBEARER", message("OAUTHBEARER", peer.token()))[0] == 235
    peer.ctl(**{"rotate-keys": "1"})
    c = Client(r, certificates)
    refused(c, "OAUTHBEARER", message("OAUTHBEARER", peer.token(), "u1@lab.test"))
    c = Client(r, certificates)
    new = tmp_path / "keys.new"
    new.write_bytes(fetch())
    new.rename(keys)
    assert c.auth_line("OAUTHBEARER", message("OAUTHBEARER", peer.token()))[0] == 235


@pytest.fixture
def later(tmp_path):
    """later.env: for a relay whose steady clock can be put forward; later.by(seconds) does it."""
    if SANITIZED:
        pytest.skip("the sanitizers' library must come first")
    library, file = tmp_path / "later.so", tmp_path / "later"
    file.write_bytes(bytes(8))
    run(os.environ.get("CC", "cc"), "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, TOP / "tests" / "system" / "later.c")

    class Later:
        env, seconds = {"LD_PRELOAD": str(library), "LATER": str(file)}, 0

        @classmethod
        def by(cls, seconds):
            cls.seconds += seconds
            with open(file, "r+b") as f:
                f.write(cls.seconds.to_bytes(8, sys.byteorder))
    return Later


def test_keys_come_and_go_at_their_address(start, peer, certificates, tmp_path, later):  # noqa: F811
    r = start.relay("", config=config(tmp_path, certificates, by_keys(peer, "jwks-age: 1m")), env=later.env)
    unknown = "signed with a key that its issuer does not show"

    def code(token):
        c = Client(r, certificates)
        got = c.auth_line("OAUTHBEARER", message("OAUTHBEARER", token))[0]
        c.close()
        return got
    a = peer.token()
    assert code(a) == 235
    peer.ctl(**{"rotate-keys": "1"})
    b = peer.token()
    # a key that nobody knows is looked for once a minute, however many tokens name it
    all_refused(r, certificates, [("OAUTHBEARER", message("OAUTHBEARER", b, f"u{i}@lab.test")) for i in range(6)])
    until("each refusal's reason", lambda: r.text().count(unknown) == 6)
    assert peer.stats()["jwks"] == 1
    later.by(61)
    assert [code(b), code(a), code(b)] == [235] * 3
    assert peer.stats()["jwks"] == 2
    # those of before are withdrawn: known here, but not for longer than jwks-age
    peer.ctl(**{"rotate-keys": "only"})
    c = peer.token()
    later.by(61)
    all_refused(r, certificates, [("OAUTHBEARER", message("OAUTHBEARER", token, f"{name}@lab.test")) for name, token in (("a", a), ("b", b))])
    until("each refusal's reason", lambda: r.text().count(unknown) == 8)
    assert code(c) == 235 and peer.stats()["jwks"] == 3
    # nor does an issuer that is away make them good for ever: another age, and nobody can say
    peer.ctl(http="503")
    later.by(61)
    assert code(c) == 235
    r.wait_log("clients' tokens cannot be checked: .*503")
    later.by(61)
    assert code(c) == 454
    peer.ctl(http="ok")
    later.by(6)
    assert code(c) == 235
    no_tokens(r, a, b, c)


@pytest.mark.parametrize("check", CHECKS)
def test_issuer_down_is_temporary(relay, peer, certificates, check):  # noqa: F811
    r = relay(CHECKS[check](peer).replace(peer.base + "/", "http://127.0.0.1:1/"))
    for i in range(3):
        c = Client(r, certificates)
        assert c.auth_line("OAUTHBEARER", message("OAUTHBEARER", peer.token(), f"u{i}@lab.test"))[0] == 454
    assert r.text().count("error event=plugin.log") == 1, r.text()
    assert "clients' tokens cannot be checked" in r.text()


def test_only_inside_tls(relay, peer, certificates):  # noqa: F811
    r = relay(by_keys(peer))
    c = Client(r, certificates, tls=False)
    assert "auth" not in c.esmtp_features or "OAUTHBEARER" not in c.esmtp_features["auth"]
    assert c.auth_line("OAUTHBEARER", message("OAUTHBEARER", peer.token()))[0] in (504, 530, 538)


MALFORMED = [
    b"", b"\1\1", b"user=alice\1\1", b"n,a=alice,\1auth=Bearer \1\1", b"n,a=alice,\1auth=Basic abc\1\1", b"p=x,a=alice,\1auth=Bearer x\1\1",
    b"n,a=alice,\1auth=Bearer abc\1", b"n,a=al=ice,\1auth=Bearer abc\1\1", b"n,a=alice,\1auth=Bearer a\0b\1\1",
    b"n,a=alice,\1auth=Bearer abc\1auth=Bearer abd\1\1", b"n,a=alice,\1auth=Bearer a b\1\1", b"n,a=" + b"x" * 300 + b",\1auth=Bearer abc\1\1",
]


def test_malformed_messages(relay, peer, certificates):  # noqa: F811
    r = relay(by_keys(peer))

    def one(msg):
        c = Client(r, certificates)
        return c.auth_line("OAUTHBEARER", msg, initial=False)[0], c.noop()[0]
    with concurrent.futures.ThreadPoolExecutor(len(MALFORMED)) as pool:
        assert set(pool.map(one, MALFORMED)) == {(501, 250)}


@pytest.mark.slow
def test_long_tokens(relay, peer, certificates):  # noqa: F811
    r = relay(by_keys(peer))
    c = Client(r, certificates)
    refused(c, "OAUTHBEARER", message("OAUTHBEARER", "x" * 8192, "u1@lab.test"))
    c = Client(r, certificates)
    assert c.auth_line("OAUTHBEARER", message("OAUTHBEARER", "x" * 8200, "u2@lab.test"), initial=False)[0] == 501
    c = Client(r, certificates)
    assert c.auth_line("OAUTHBEARER", message("OAUTHBEARER", "x" * 20000), initial=False)[0] == 500


def test_curl(relay, peer, certificates, tmp_path):  # noqa: F811
    need("curl")
    r = relay(by_keys(peer))
    (tmp_path / "m").write_text("Subject: curl\r\n\r\ncurl\r\n")
    token = peer.token()
    cmd = ["curl", "-sS", f"smtp://localhost:{r.port}", "--ssl-reqd", "--cacert", certificates.ca.cert, "--mail-from", "alice@lab.test",
           "--mail-rcpt", "bob@lab.test", "-T", tmp_path / "m", "--user", "alice@lab.test"]
    subprocess.run([*cmd, "--oauth2-bearer", token], check=True)
    r.wait_log("event=auth.ok .*user=alice@lab.test mechanism=")
    no_tokens(r, token)
    assert subprocess.run([*cmd, "--oauth2-bearer", peer.token("expired")], capture_output=True).returncode == 67


def test_many_at_once_and_hang_ups(relay, peer, certificates):  # noqa: F811
    """Introspection is slow, clients go away in the middle: nobody else is harmed."""
    r = relay(by_asking(peer, "cache: 0s"))
    clients = [Client(r, certificates) for _ in range(12)]
    token = peer.token()
    b64 = base64.b64encode(message("XOAUTH2", token)).decode()
    for c in clients:
        c.putcmd("AUTH", "XOAUTH2 " + b64)
    for c in clients[::3]:
        c.close()
    for i, c in enumerate(clients):
        if i % 3:
            assert c.getreply()[0] == 235
    until("all sessions' ends", lambda: r.text().count("event=smtp.closed") >= 4)
    assert peer.stats()["introspections"] >= 8
