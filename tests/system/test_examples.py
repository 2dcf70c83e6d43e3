"""Each of config/examples is complete: with nothing replaced but addresses, ports, paths, secrets and endpoints, it
passes `posthouse check`, and a message gets through it to a peer of the labs."""
import re
import smtplib
import ssl
import subprocess
import warnings

import pytest
from conftest import BUILD, PLUGINS, TOP, Relay, free_port, posthouse, until
from host import Host
from labs import *  # noqa: F401,F403 the fixtures

EXAMPLES = TOP / "config" / "examples"
BODY = "From: app@contoso.com\r\nTo: b@example.net\r\nSubject: through %s\r\n\r\nHello\r\n"


def replaced(text, pairs):
    """Every replacement must find its place: an example that changes must not leave its test behind."""
    for old, new in pairs:
        assert old in text, f"{old!r} does not stand in the example"
        text = text.replace(old, new)
    return text


def secret(folder, name, text):
    f = folder / name
    f.write_text(text + "\n")
    f.chmod(0o600)
    return str(f)


@pytest.fixture
def example(tmp_path, started):
    """example(name, replacements): the relay that the example makes, running; its text is checked first."""
    def go(name, pairs, check_status=0, uncomment=False):
        text = (EXAMPLES / f"{name}.yaml").read_text()
        text = uncommented(text) if uncomment else text.split("# --- ")[0]
        text = re.sub(r"^user: posthouse\n", "", replaced(text, [("/var/spool/posthouse", str(tmp_path / "spool")), *pairs]), flags=re.M)
        text = text.replace('address: "*:', 'address: "127.0.0.1:').replace("address: 10.20.0.5:", "address: 127.0.0.1:")
        text = re.sub(r"(address: \"?127.0.0.1:)(25|587)", lambda m: f"{m[1]}{free_port()}", text)
        if "listener: 10.20.0.5:587" in text:   # the second listener, wherever it is now
            at = re.findall(r"address: (127.0.0.1:\d+)", text)[1]
            text = text.replace("listener: 10.20.0.5:587", f"listener: {at}")
        config = tmp_path / "example.yaml"
        config.write_text(text)
        r = posthouse("check", "-c", config, "--plugin-dir", PLUGINS)
        assert "warning" not in r.stderr, r.stderr
        r = posthouse("check", "--connect", "-c", config, "--plugin-dir", PLUGINS, "--to", "b@example.net", check=False)
        assert r.returncode == check_status, r.stdout + r.stderr
        relay = Relay(tmp_path, None, config=text)
        started.append(relay)
        relay.ports = [int(p) for p in re.findall(r"event=daemon.listening.*address=\S*:(\d+)", relay.text())]
        return relay
    return go


def uncommented(text):
    """The second half of gmail.yaml in place of what it says it stands for."""
    head, tail = text.split("# --- with an app password")
    head = head[:head.index("  - auth-oauth2:")]
    return head + "".join(line[1:] + "\n" for line in tail.splitlines()[1:])


def submit(port, name, sender="app@contoso.com"):
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as c:
        c.sendmail(sender, ["b@example.net"], (BODY % name).encode())


def until_arrived(host, name):
    return until(f"the message at the host ({host.seen})", lambda: next((m for m in host.mail if f"through {name}" in m), None))


def on_loopback(old, port, more=""):
    """hosts: as it stands, for the lab's port, where a name may lead to this machine."""
    return (f'hosts: ["{old}"]', f'hosts: ["[localhost]:{port}"]\n      allow-loopback: yes{more}')


def test_every_example_has_a_test():
    names = {f.stem for f in EXAMPLES.glob("*.yaml")}
    assert names == {"iis-anonymous-relay", "microsoft365-oauth", "microsoft365-connector", "gmail", "exchange-onprem", "scanners"}


def test_iis_anonymous_relay(example):
    with Host() as h:
        relay = example("iis-anonymous-relay", [on_loopback("[smtp.example.net]", h.port)])
        submit(relay.port, "iis")
        until_arrived(h, "iis")


def test_microsoft365_oauth(example, oauth_peer, certificates, tmp_path):
    peer = oauth_peer("--style", "microsoft", "--tls-required", certificate=certificates.server)
    relay = example("microsoft365-oauth", [
        on_loopback("[smtp.office365.com]:587", peer.port, f"\n      tls-ca-file: {certificates.ca.cert}"),
        ("tenant: contoso.onmicrosoft.com", "tenant: contoso.onmicrosoft.com\n"
         f"      token-endpoint: {peer.base}/contoso.onmicrosoft.com/oauth2/v2.0/token"),
        ("00000000-0000-0000-0000-000000000000", peer.client_id),
        ("/etc/posthouse/oauth.secret", secret(tmp_path, "oauth.secret", peer.client_secret)),
        ("username: relay@contoso.com", "username: alice@lab.test")])
    submit(relay.port, "microsoft365", "alice@lab.test")
    peer.until_mail("through microsoft365")


def test_microsoft365_connector(example, certificates):
    with Host(certificate=certificates.server, client_ca=certificates.ca.cert) as h:
        relay = example("microsoft365-connector", [
            on_loopback("[contoso-com.mail.protection.outlook.com]:25", h.port, f"\n      tls-ca-file: {certificates.ca.cert}"),
            ("/etc/posthouse/tls/fullchain.pem", str(certificates.client.chain)),
            ("/etc/posthouse/tls/privkey.pem", str(certificates.client.key))])
        submit(relay.port, "connector")
        until_arrived(h, "connector")
        assert all(("DNS", "scanner.example.com") in p["subjectAltName"] for p in h.peers) and len(h.peers) >= 2


def test_gmail_with_oauth(example, oauth_peer, certificates, tmp_path):
    peer = oauth_peer("--style", "google", "--tls-required", certificate=certificates.server, fresh=True)
    relay = example("gmail", [
        on_loopback("[smtp.gmail.com]:587", peer.port, f"\n      tls-ca-file: {certificates.ca.cert}"),
        ("provider: google", f"provider: google\n      token-endpoint: {peer.base}/token"),
        ("000000000000-example.apps.googleusercontent.com", peer.client_id),
        ("/etc/posthouse/oauth.secret", secret(tmp_path, "oauth.secret", peer.client_secret)),
        ("/etc/posthouse/oauth.refresh", secret(tmp_path, "oauth.refresh", peer.refresh_token().strip())),
        ("somebody@gmail.com", "alice@lab.test")])
    submit(relay.port, "gmail", "alice@lab.test")
    peer.until_mail("through gmail")


def test_gmail_with_an_app_password(example, certificates, tmp_path):
    with Host(certificate=certificates.server, login=("LOGIN PLAIN XOAUTH2", "somebody@gmail.com", "abcd efgh ijkl mnop")) as h:
        relay = example("gmail", [
            on_loopback("[smtp.gmail.com]:587", h.port, f"\n      tls-ca-file: {certificates.ca.cert}"),
            ("/etc/posthouse/password", secret(tmp_path, "password", "abcd efgh ijkl mnop"))], uncomment=True)
        submit(relay.port, "password")
        until_arrived(h, "password")


def test_exchange_on_premises(example, exchange_peer, domain, certificates, tmp_path):
    peer = exchange_peer("--tls-required", certificate=certificates.server)
    helper = str(domain.ntlm_auth)
    relay = example("exchange-onprem", [
        on_loopback("[exchange.contoso.com]:587", peer.port),
        ("/etc/posthouse/tls/contoso-ca.pem", str(certificates.ca.cert)),
        ("/etc/posthouse/tls/fullchain.pem", str(certificates.server.chain)),
        ("/etc/posthouse/tls/privkey.pem", str(certificates.server.key)),
        ("CONTOSO\\relay", "LAB\\smarthost"),
        ("CONTOSO\\mailsenders", "LAB\\mailsenders"),
        ("[CONTOSO=contoso.com]", "[LAB=lab.test]\n"
         f"      ntlm-helper: [{helper}, --helper-protocol=squid-2.5-ntlmssp]\n"
         f"      spnego-helper: [{helper}, --helper-protocol=gss-spnego]\n"
         f"      gssapi-helper: [{BUILD}/posthouse-gssapi]\n"
         f"      ntlm-client-helper: [{helper}, --helper-protocol=ntlmssp-client-1]\n"
         f"      spnego-client-helper: [{helper}, --helper-protocol=gss-spnego-client]\n"
         f"      membership-helper: [{domain.env['LAB_WBINFO']}]"),
        ("/etc/posthouse/password", secret(tmp_path, "password", "relaypass"))])
    submit(relay.ports[0], "exchange")
    peer.until_mail("through exchange")
    # and an application with a Windows account of its own
    (tmp_path / "m.eml").write_text(BODY % "integrated", newline="")
    r = subprocess.run(["curl", "-sS", "--ssl-reqd", "--cacert", certificates.ca.cert, f"smtp://localhost:{relay.ports[1]}",
                        "--login-options", "AUTH=NTLM", "-u", "LAB\\alice:password", "--mail-from",
                        "alice@contoso.com", "--mail-rcpt", "b@example.net", "-T", tmp_path / "m.eml"], capture_output=True, text=True,
                       timeout=60)
    assert r.returncode == 0, r.stderr + relay.text()
    peer.until_mail("through integrated")


def test_scanners(example, certificates, tmp_path):
    users = tmp_path / "users"
    with Host(certificate=certificates.server) as h:
        pairs = [
            on_loopback("[smtp.example.net]", h.port, f"\n      tls-ca-file: {certificates.ca.cert}"),
            ("/etc/posthouse/tls/fullchain.pem", str(certificates.rsa.chain)),
            ("/etc/posthouse/tls/privkey.pem", str(certificates.rsa.key)),
            ("[10.20.7.40, 10.20.7.41]", "[127.0.0.1]"),
            ("allow: [10.20.7.0/24]", "allow: [127.0.0.0/8]"),
            ("/etc/posthouse/users", str(users))]
        users.touch(mode=0o600)
        relay = example("scanners", pairs)
        posthouse("user", "-c", relay.config, "--plugin-dir", PLUGINS, "add", "scanner-3rd-floor", "--password-stdin", input="secret\n")
        submit(relay.ports[0], "clear")
        until_arrived(h, "clear")
        context = ssl.create_default_context(cafile=certificates.ca.cert)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with smtplib.SMTP("localhost", relay.ports[1], timeout=60) as c:
            c.starttls(context=context)
            assert c.sock.version() == "TLSv1"
            c.login("scanner-3rd-floor", "secret")
            c.sendmail("scan@example.com", ["b@example.net"], (BODY % "old").encode())
        until_arrived(h, "old")
        relay.wait_log(r"TLSv1\b")
        # that port is for logins
        with smtplib.SMTP("localhost", relay.ports[1], timeout=60) as c:
            c.starttls(context=context)
            c.ehlo()
            assert c.mail("scan@example.com")[0] == 530
