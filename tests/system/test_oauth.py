"""auth-oauth2 towards a smart host: every grant, what goes wrong at the endpoint, and what survives a restart."""
import re
import stat
import subprocess

import pytest
from conftest import PLUGINS, free_port, posthouse, until
from labs import certificates, labs_folder, oauth_peer  # noqa: F401: fixtures

SECRET = "s3cr3t/+="


def config(folder, peer, oauth, more="", mechanisms="[XOAUTH2, OAUTHBEARER]", user="alice@lab.test", level="trace"):
    (folder / "secret").write_text(SECRET + "\n")
    (folder / "secret").chmod(0o600)
    rows = "".join(f"      {r}\n" for r in oauth.strip().splitlines())
    return f"""\
hostname: relay.example.com
listen:
  - address: "127.0.0.1:0"
    tls: off
spool: {folder}/spool
log-level: {level}
queue: {{ retry: [1s], probe: 1s }}
{more}plugins:
  - tls:
      ca-file: {peer.cert}
  - auth-anonymous
  - relay-access: {{ allow: [127.0.0.0/8] }}
  - auth-oauth2:
{rows}  - smarthost:
      hosts: ["localhost:{peer.port}"]
      allow-loopback: yes
      idle-timeout: 1s
      tls: verify
      auth: oauth2
      username: {user}
      mechanisms: {mechanisms}
"""


def client_credentials(peer, folder, more=""):
    return f"""\
token-endpoint: {peer.base}/token
client-id: relay-client
client-secret-file: {folder}/secret
scope: https://outlook.office365.com/.default
retry-first: 1s
retry-at-most: 2s
timeout: 5s
{more}"""


def refreshing(peer, folder, more=""):
    return f"""\
token-endpoint: {peer.base}/token
device-endpoint: {peer.base}/device
client-id: relay-client
client-secret-file: {folder}/secret
grant: refresh-token
retry-first: 1s
retry-at-most: 2s
{more}"""


@pytest.fixture
def peer(oauth_peer, certificates):  # noqa: F811
    return oauth_peer("--tls-required", certificate=certificates.server, fresh=True)


@pytest.fixture
def relay(start, tmp_path, peer):
    def begin(oauth=None, **kw):
        wait = kw.pop("wait", True)
        r = start.relay(peer.address, wait=wait, config=config(tmp_path, peer, oauth or client_credentials(peer, tmp_path), **kw))
        return r
    return begin


def send(relay, text, n=1):
    with relay.smtp() as s:
        for i in range(n):
            s.sendmail("alice@lab.test", ["bob@lab.test"], f"Subject: {text} {i}\r\n\r\n{text} {i} end\r\n")


def no_secrets(relay, *secrets):
    text = relay.text()
    for s in (SECRET, "s3cr3t", "eyJ", *secrets):
        assert s not in text, text[max(0, text.find(s) - 300):text.find(s) + 100]


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_client_credentials(relay, peer, mechanism):
    r = relay(mechanisms=f"[{mechanism}]")
    send(r, "hello")
    assert "X-Lab-Authenticated: alice@lab.test" in peer.until_mail("hello 0 end")
    r.until_empty()
    send(r, "again")
    peer.until_mail("again 0 end")
    assert peer.stats()["token_requests"] == 1
    no_secrets(r)


@pytest.mark.slow
def test_basic_authentication_and_parameters(relay, peer, tmp_path):
    r = relay(client_credentials(peer, tmp_path, "client-authentication: basic\nextra-parameters: [audience=mail]"))
    send(r, "basic")
    peer.until_mail("basic 0 end")
    assert peer.stats()["client_auth"] == "basic"
    no_secrets(r)


@pytest.mark.parametrize("algorithm", [pytest.param("RS256", marks=pytest.mark.slow), "auto"])
def test_certificate_assertion(relay, peer, tmp_path, algorithm):
    key, cert = tmp_path / "client.key", peer.dir / "client-cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=relay", "-keyout", key,
                    "-out", cert], check=True, capture_output=True)
    key.chmod(0o600)
    r = relay(f"""\
provider: microsoft365
tenant: contoso.onmicrosoft.com
token-endpoint: {peer.base}/contoso.onmicrosoft.com/oauth2/v2.0/token
client-id: relay-client
client-key: {key}
client-certificate: {cert}
assertion-algorithm: {algorithm}
""")
    send(r, "signed")
    peer.until_mail("signed 0 end")
    stats = peer.stats()
    assert stats["client_auth"] == "assertion"
    assert stats["assertions"] == ["PS256" if algorithm == "auto" else "RS256"]
    no_secrets(r)


def test_service_account(relay, peer, tmp_path):
    import json
    (tmp_path / "sa.json").write_text(json.dumps({"type": "service_account", "client_email": "relay@lab-project.test", "private_key_id": "k1",
                                                  "private_key": (peer.dir / "sa-key.pem").read_text()}))
    (tmp_path / "sa.json").chmod(0o600)
    r = relay(f"""\
provider: google
token-endpoint: {peer.base}/token
service-account-file: {tmp_path}/sa.json
subject: alice@lab.test
""")
    send(r, "service")
    peer.until_mail("service 0 end")
    assert peer.stats()["grants"] == {"urn:ietf:params:oauth:grant-type:jwt-bearer": 1}


def test_refresh_token_rotates_and_outlives_a_restart(relay, peer, tmp_path):
    first = peer.refresh_token()
    (tmp_path / "refresh").write_text(first + "\n")
    (tmp_path / "refresh").chmod(0o600)
    r = relay(refreshing(peer, tmp_path, f"refresh-token-file: {tmp_path}/refresh"))
    send(r, "one")
    peer.until_mail("one 0 end")
    second = peer.refresh_token()
    assert second != first
    kept = tmp_path / "spool/state/auth-oauth2/refresh-token"
    assert second in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    r.stop()
    r.start()       # the configured token is dead by now
    send(r, "two")
    peer.until_mail("two 0 end")
    third = peer.refresh_token()
    assert third not in (first, second) and third in kept.read_text()
    no_secrets(r, first, second, third)
    assert not list(kept.parent.glob("*.new"))


@pytest.mark.slow
def test_a_newly_configured_token_wins(relay, peer, tmp_path):
    (tmp_path / "refresh").write_text(peer.refresh_token())
    (tmp_path / "refresh").chmod(0o600)
    r = relay(refreshing(peer, tmp_path, f"refresh-token-file: {tmp_path}/refresh"))
    send(r, "one")
    peer.until_mail("one 0 end")
    r.stop()
    kept = tmp_path / "spool/state/auth-oauth2/refresh-token"
    kept.write_text(kept.read_text().replace(peer.refresh_token(), "dead-and-gone"))
    (tmp_path / "refresh").write_text(peer.refresh_token())
    r.start()
    send(r, "two")
    peer.until_mail("two 0 end")


def test_endpoint_down_keeps_mail_says_it_once_and_recovers(relay, peer):
    peer.ctl(http="503")
    r = relay(level="info")
    r.wait_log(r"error event=plugin.log .*no access token from .*it says 503")
    for i in range(5):
        send(r, f"kept{i}")
    r.wait_log("event=site.suspended")
    asked = peer.stats()["token_requests"]
    assert r.count() == 5
    peer.ctl(http="ok")
    for i in range(5):
        peer.until_mail(f"kept{i} 0 end")
    r.until_empty()
    r.wait_log("gives access tokens again")
    assert len(re.findall("error event=plugin.log.*auth-oauth2", r.text())) == 1, r.text()
    assert r.text().count("event=site.suspended") == 1, r.text()
    assert asked < 20
    no_secrets(r)


@pytest.mark.parametrize("http, words", [
    ("invalid_client", "the client secret is wrong .*reload.*401 invalid_client"),
    pytest.param("garbage", "not an answer", marks=pytest.mark.slow),
    ("huge", "larger than"),
    pytest.param("redirect", "redirection", marks=pytest.mark.slow),
    ("hang", "no answer in time"),
])
def test_what_endpoints_say_is_told_in_words(relay, peer, tmp_path, http, words):
    peer.ctl(http=http)
    r = relay(client_credentials(peer, tmp_path).replace("timeout: 5s", "timeout: 1s"))
    r.wait_log(f"error event=plugin.log .*no access token from .*{words}")
    send(r, "kept")
    r.wait_log("event=site.suspended")
    assert r.count() == 1
    peer.ctl(http="ok")
    peer.until_mail("kept 0 end")
    no_secrets(r)


def test_unreachable_endpoint(relay, peer, tmp_path):
    r = relay(client_credentials(peer, tmp_path).replace(peer.base, f"http://127.0.0.1:{free_port()}"))
    r.wait_log("error event=plugin.log .*no access token from .*Failed to connect")
    send(r, "kept")
    r.wait_log("event=site.suspended")
    assert r.count() == 1


@pytest.mark.slow
def test_the_end_waits_for_a_hanging_endpoint_and_not_longer(relay, peer, tmp_path):
    peer.ctl(http="hang")
    r = relay(client_credentials(peer, tmp_path).replace("timeout: 5s", "timeout: 6s"))
    send(r, "kept")
    assert r.stop(limit=20) == 0


@pytest.mark.slow
def test_ends_of_the_token_is_not_waited_for(relay, peer):
    """A short-lived token is replaced before its end, without mail asking for it."""
    peer.ctl(lifetime="4")
    r = relay()
    until("three tokens", lambda: peer.stats()["tokens_issued"] >= 3)
    send(r, "fresh")
    peer.until_mail("fresh 0 end")
    assert peer.stats()["smtp_refused"] == {}


def test_revoked_token_is_replaced_once_without_an_alarm(relay, peer):
    r = relay()
    send(r, "before")
    peer.until_mail("before 0 end")
    r.until_empty()
    r.wait_log("event=deliver.said .*line=QUIT")        # the next message needs a new login
    peer.ctl(revoke="1")
    send(r, "after")
    peer.until_mail("after 0 end")
    stats = peer.stats()
    assert stats["smtp_refused"] == {"revoked": 1} and stats["token_requests"] == 2
    assert "site.login-refused" not in r.text() and "site.suspended" not in r.text()


@pytest.mark.parametrize("mechanism, style", [("XOAUTH2", "google"), pytest.param("XOAUTH2", "microsoft", marks=pytest.mark.slow),
                                              ("OAUTHBEARER", "google")])
def test_host_that_refuses_every_token(relay, peer, mechanism, style):
    peer.ctl(smtp="refuse", style=style)
    r = relay(mechanisms=f"[{mechanism}]")
    send(r, "kept", 3)
    r.wait_log("error event=site.login-refused")
    assert r.count() == 3
    # one token, and one in its place; not one for each message or attempt
    until("a third refusal", lambda: peer.stats()["smtp_refused"].get("refused", 0) >= 3)
    assert peer.stats()["token_requests"] == 2
    if style == "google":
        assert "the host does not accept the access token: status" in r.text()
    assert "501 5.5.2" not in r.text()
    peer.ctl(smtp="ok")
    for i in range(3):
        peer.until_mail(f"kept {i} end")
    no_secrets(r)


def test_one_refresh_under_many_messages(start, relay, peer, tmp_path):
    peer.ctl(http="slow:2")
    r = relay()
    send(r, "flood", 40)
    for i in (0, 39):
        peer.until_mail(f"flood {i} end")
    r.until_empty()
    assert peer.stats()["token_requests"] == 1


def test_https_endpoint_is_verified(start, oauth_peer, certificates, tmp_path):  # noqa: F811
    p = oauth_peer("--tls-required", "--https", certificate=certificates.server, fresh=True)
    r = start.relay(p.address, config=config(tmp_path, p, client_credentials(p, tmp_path)))
    r.wait_log("error event=plugin.log .*no access token from .*certificate cannot be trusted .*set ca-file")
    r.stop()
    assert p.stats()["token_requests"] == 0
    r.config.write_text(config(tmp_path, p, client_credentials(p, tmp_path, f"ca-file: {certificates.ca.cert}")))
    r.start()
    send(r, "trusted")
    p.until_mail("trusted 0 end")


# --- posthouse oauth ---

def test_device_login(relay, peer, tmp_path):
    r = relay(refreshing(peer, tmp_path))
    r.wait_log("error event=plugin.log .*nobody has signed in yet: run .*posthouse oauth login")
    send(r, "waits")
    assert r.count() == 1
    peer.ctl(device="slow_down")        # and then it is approved
    out = posthouse("oauth", "login", "-c", r.config, "--plugin-dir", PLUGINS, "auth-oauth2", timeout=60).stdout
    assert f"{peer.base}/activate" in out and "ABCD-1234" in out and "Signed in" in out
    stats = peer.stats()
    assert stats["device_polls"] == 2 and stats.get("device_too_fast", 0) == 0
    peer.until_mail("waits 0 end", 30)  # the running daemon has noticed
    kept = tmp_path / "spool/state/auth-oauth2/refresh-token"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    status = posthouse("oauth", "status", "-c", r.config, "--plugin-dir", PLUGINS).stdout
    assert "refresh-token" in status and "kept since" in status and peer.refresh_token() not in status
    tried = posthouse("oauth", "token", "-c", r.config, "--plugin-dir", PLUGINS).stdout
    assert re.search(r"gives an access token of \d+ characters, good for \d+ s", tried) and "eyJ" not in tried
    no_secrets(r, peer.refresh_token())


@pytest.mark.parametrize("how, words", [("deny", "refused by the person"), ("expired", "nobody entered the code in time")])
def test_device_login_that_fails(start, peer, tmp_path, how, words):
    path = tmp_path / "posthouse.yaml"
    path.write_text(config(tmp_path, peer, refreshing(peer, tmp_path)))
    (tmp_path / "spool").mkdir(mode=0o700)
    peer.ctl(device=how)
    r = posthouse("oauth", "login", "-c", path, "--plugin-dir", PLUGINS, check=False)
    assert r.returncode == 69 and words in r.stderr, r.stderr
    assert not (tmp_path / "spool/state/auth-oauth2/refresh-token").exists()


@pytest.mark.slow
def test_commands_say_what_is_wrong(peer, tmp_path):
    path = tmp_path / "posthouse.yaml"
    path.write_text(config(tmp_path, peer, client_credentials(peer, tmp_path)))

    def oauth(*args):
        return posthouse("oauth", *args[:1], "-c", path, "--plugin-dir", PLUGINS, *args[1:], check=False)
    r = oauth("login")
    assert r.returncode == 78 and "needs nobody to sign in" in r.stderr
    r = oauth("login", "other")
    assert r.returncode == 78 and "has no instance other" in r.stderr
    r = oauth("dance")
    assert r.returncode == 64 and "usage:" in r.stderr
    peer.ctl(http="invalid_client")
    r = oauth("token")
    assert r.returncode == 69 and "invalid_client" in r.stderr and SECRET not in r.stderr
    assert oauth("--help").returncode == 0
