"""Logging in at smart hosts, and TLS towards them: each mechanism, every refusal, what the queue says, how it goes on."""
import base64
import hashlib
import hmac
import os
import re
import signal

import pytest
from conftest import posthouse, until
from host import Host

USER, PASSWORD = "relay@example.com", "s3cr3t-of-the-relay"
ALARM = "event=site.login-refused"


def b64(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


class LoginHost(Host):
    """login[0] lists what is offered. lie: how the SCRAM signature is wrong. refuse: reply to every AUTH."""

    def __init__(self, certificate, mechanisms="PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256", lie=None, refuse=None, **kw):
        self.lie, self.refuse, self.logins = lie, refuse, []
        super().__init__(certificate=certificate, login=(mechanisms, USER, PASSWORD), **kw)

    def password(self, word):
        self.login = (self.login[0], USER, word)

    def auth(self, line, say, hear):
        how = line.split(" ")[1]
        self.logins.append(how)
        if self.refuse:
            return self.refuse
        if how == "EXTERNAL":
            name = base64.b64decode(line.split(" ")[2]) if line.split(" ")[2] != "=" else b""
            return "235 2.7.0 Accepted" if name in (b"", USER.encode()) and self.peers[-1] else "535 5.7.8 No certificate"
        if how == "CRAM-MD5":
            challenge = b"<1896.697170952@postoffice.example.net>"
            say("334 " + b64(challenge))
            name, _, digest = base64.b64decode(hear()).decode().rpartition(" ")
            right = name == USER and digest == hmac.new(self.login[2].encode(), challenge, "md5").hexdigest()
            return "235 2.7.0 Accepted" if right else "535 5.7.8 Wrong digest"
        if how == "SCRAM-SHA-256":
            return self.scram(base64.b64decode(line.split(" ")[2]).decode(), say, hear)
        return super().auth(line, say, hear)

    def scram(self, first, say, hear):
        gs2, bare = first.split(",,", 1)
        nonce = bare.split("r=")[1] + "fyko+d2lbbFgONRv9qkxdawL"
        salt, rounds = b"sixteen octets!!", 4096
        server_first = f"r={nonce},s={b64(salt)},i={rounds}"
        say("334 " + b64(server_first))
        final = base64.b64decode(hear()).decode()
        without, _, proof = final.rpartition(",p=")
        assert without == f"c={b64(gs2 + ',,')},r={nonce}"
        salted = hashlib.pbkdf2_hmac("sha256", self.login[2].encode(), salt, rounds)

        def mac(key, text):
            return hmac.new(key, text.encode(), "sha256").digest()
        client_key = mac(salted, "Client Key")
        message = f"{bare},{server_first},{without}"
        signature = mac(hashlib.sha256(client_key).digest(), message)
        if base64.b64decode(proof) != bytes(a ^ b for a, b in zip(client_key, signature)):
            return "535 5.7.8 Wrong proof"
        if self.lie == "early":
            return "235 2.7.0 Accepted"
        server = mac(mac(salted, "Server Key") if self.lie is None else b"guess", message)
        say("334 " + b64("v=" + b64(server)))
        if hear() != "":
            return "501 5.5.2 An empty line was wanted"
        return "235 2.7.0 Accepted"


@pytest.fixture
def at(start, certificates, tmp_path):
    """at(host, more options...): a relay that logs in there; at.password(word) writes the file."""
    class At:
        secret = tmp_path / "password"

        @staticmethod
        def password(word):
            At.secret.write_text(word + "\n")
            At.secret.chmod(0o600)

        @staticmethod
        def relay(host, *options, tls="verify", auth="basic", top="", env=None):
            own = ["tls-name: localhost", f"tls-ca-file: {certificates.ca.cert}"] if tls == "verify" else []
            login = [f"auth: {auth}", f"username: {USER}", f"password-file: {At.secret}"] if auth else []
            lines = "".join(f"      {line}\n" for line in [f'hosts: ["{host.address}"]', f"tls: {tls}", *own, *login, *options])
            return start.relay(host.address, top=f"queue:\n  probe: [300ms, 1h]\nlog-level: trace\n{top}", env=env, plugins=f"""\
  - auth-anonymous
  - relay-access: {{ allow: [127.0.0.0/8] }}
  - tls
  - auth-basic
  - smarthost:
{lines}""")
    At.password(PASSWORD)
    return At


@pytest.fixture
def host(certificates):
    made = []

    def make(mechanisms="PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256", certificate=certificates.server, **kw):
        made.append(LoginHost(certificate, mechanisms, **kw))
        return made[-1]
    yield make
    for h in made:
        h.stop()


def send(relay, word="hello", n=1):
    for i in range(n):
        with relay.smtp() as c:
            c.sendmail("a@example.org", ["b@example.net"], f"Subject: {word} {i}\r\n\r\n{word}\r\n")


def arrived(host, n=1):
    until(f"{n} messages at the host, saw {host.seen}", lambda: len(host.mail) >= n)


def kept_secret(relay, *words):
    for word in (PASSWORD, b64(PASSWORD), b64(f"\0{USER}\0{PASSWORD}"), *words):
        assert word not in relay.text()


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"])
def test_each_mechanism(at, host, mechanism):
    h = host(mechanism)
    relay = at.relay(h)
    send(relay)
    arrived(h)
    assert h.logins == [mechanism]
    relay.wait_log(rf"event=deliver.login .*login={USER} mechanism={mechanism}")
    relay.wait_log(r"event=deliver.tls .*version=TLSv1.3 .*verified=yes")
    assert "line=\"AUTH" in relay.text()
    kept_secret(relay)


def test_strongest_first_or_as_listed(at, host, start):
    h = host()
    relay = at.relay(h)
    send(relay)
    arrived(h)
    relay.stop()
    relay = at.relay(h, "mechanisms: [LOGIN, PLAIN]")
    send(relay)
    arrived(h, 2)
    assert h.logins == ["SCRAM-SHA-256", "LOGIN"]


def test_external_shows_the_certificate(at, host, certificates):
    h = host("EXTERNAL PLAIN", client_ca=certificates.ca.cert)
    relay = at.relay(h, "auth: basic", "mechanisms: [EXTERNAL]", f"tls-certificate: {certificates.client.chain}",
                     f"tls-key: {certificates.client.key}", auth=None)
    send(relay)
    arrived(h)
    assert h.logins == ["EXTERNAL"]


def test_long_response_waits_for_the_prompt(at, host):
    word = "0123456789" * 60
    at.password(word)
    h = host("PLAIN")
    h.password(word)
    relay = at.relay(h)
    send(relay)
    arrived(h)
    assert "AUTH PLAIN" in h.seen               # RFC 4954 4: no command above 512 octets
    assert word not in relay.text()


def test_refused_login_keeps_the_mail_until_the_password_is_right(at, host):
    h = host("PLAIN LOGIN")
    h.password("another")
    relay = at.relay(h, "idle-timeout: 200ms")
    send(relay, n=20)
    relay.wait_log(ALARM)
    line = next(x for x in relay.text().splitlines() if ALARM in x)
    assert "level=error" in line or " error " in line.lower()
    assert USER in line and "535 5.7.8" in line and "its mail is kept" in line
    assert relay.count() == 20
    shown = relay.queue("list").stdout
    mid = relay.queue_json("list")[0]["id"]
    shown = relay.queue("show", mid).stdout
    assert "login refused" in shown and "535 5.7.8" in shown
    until("a probe", lambda: len(h.logins) >= 2)
    relay.wait_log("event=deliver.login-failed")
    assert relay.text().count(ALARM) == 1
    assert len(h.logins) < 6 and not h.mail     # not a try for each message
    # the host takes it again: nobody knows until somebody asks
    h.password(PASSWORD)
    relay.queue("flush")
    relay.wait_log("event=site.resumed")
    arrived(h, 20)
    relay.until_empty()
    kept_secret(relay)
    # the password is changed on both sides, and told by a reload
    h.password("new-word")
    until("no connection", lambda: h.open == 0)
    send(relay, n=5)
    until("the second alarm", lambda: relay.text().count(ALARM) == 2)
    until("it waits for long", lambda: "probe" in relay.queue("show", relay.queue_json("list")[0]["id"]).stdout)
    at.password("new-word")
    relay.signal(signal.SIGHUP)
    arrived(h, 25)
    relay.until_empty()
    assert not any("Undeliver" in m or "Mail Delivery" in m for m in h.mail)
    assert "new-word" not in relay.text()


@pytest.mark.parametrize("lie", ["signature", "early"])
def test_host_that_does_not_know_the_password(at, host, lie):
    h = host("SCRAM-SHA-256", lie=lie)
    relay = at.relay(h)
    send(relay)
    relay.wait_log(ALARM)
    assert not h.mail and relay.count() == 1
    assert not any(line.startswith("MAIL") for line in h.seen)


def test_temporary_refusal_is_no_alarm(at, host):
    h = host("PLAIN", refuse="454 4.7.0 Temporary authentication failure")
    relay = at.relay(h)
    send(relay)
    relay.wait_log("event=site.suspended.*454 4.7.0")
    h.refuse = None
    arrived(h)
    assert ALARM not in relay.text()


def test_reply_that_repeats_the_secret(at, host):
    line = b64(f"\0{USER}\0{PASSWORD}")
    h = host("PLAIN", refuse=f"535 5.7.8 {line} is not right, {PASSWORD} is not the password")
    relay = at.relay(h)
    send(relay)
    relay.wait_log(ALARM)
    kept_secret(relay, line[:16])
    mid = relay.queue_json("list")[0]["id"]
    assert PASSWORD not in relay.queue("show", mid).stdout and line not in relay.queue("show", mid).stdout


def test_login_is_wanted_at_mail(at, host):
    h = host("", replies={"MAIL": "530 5.7.0 Authentication required"})
    relay = at.relay(h, auth=None)
    send(relay, n=3)
    relay.wait_log(ALARM)
    assert relay.count() == 3
    mid = relay.queue_json("list")[0]["id"]
    assert "a login is wanted: 530 5.7.0" in relay.queue("show", mid).stdout
    del h.replies["MAIL"]
    relay.queue("flush")
    arrived(h, 3)


def test_no_password_in_the_clear(at, certificates):
    with LoginHost(None, "PLAIN LOGIN", login_only_in_tls=False) as h:
        relay = at.relay(h, tls="opportunistic")
        send(relay)
        relay.wait_log("event=site.login-failed.*no usable login mechanism without TLS")
        assert relay.count() == 1 and h.logins == []
        h.login = ("CRAM-MD5 PLAIN", USER, PASSWORD)
        relay.queue("flush")
        arrived(h)
        assert h.logins == ["CRAM-MD5"]


# --- TLS ---

@pytest.mark.parametrize("tls", ["required", "verify"])
@pytest.mark.parametrize("case", ["hidden", "refused", "broken"])
def test_never_falls_back(at, host, certificates, tls, case):
    replies = {"hidden": {}, "refused": {"STARTTLS": "454 4.7.0 TLS not available"},
               "broken": {"STARTTLS": "220 2.0.0 Go ahead\n500 5.5.1 What is this?"}}[case]
    h = host("", certificate=None if case == "hidden" else certificates.server, replies=replies)
    relay = at.relay(h, tls=tls, auth=None)
    send(relay)
    relay.wait_log("event=site.suspended.*4.7.[45] ")
    assert relay.count() == 1 and not h.mail
    assert not any(line.startswith(("MAIL", "AUTH")) for line in h.seen)


def test_opportunistic_takes_what_it_gets(at, host):
    h = host("", replies={"STARTTLS": "454 4.7.0 TLS not available"})
    relay = at.relay(h, tls="opportunistic", auth=None)
    send(relay)
    arrived(h)
    relay.stop()
    h = host("", replies={"STARTTLS": "220 2.0.0 Go ahead\n500 5.5.1 What is this?"})
    relay = at.relay(h, tls="opportunistic", auth=None)
    send(relay)
    arrived(h)
    relay.wait_log("event=deliver.tls-failed.*goes on in the clear")
    relay.stop()
    h = host("")
    relay = at.relay(h, tls="opportunistic", auth=None)
    send(relay)
    arrived(h)
    assert h.handshakes == 1


def test_verified_or_not_at_all(at, host, certificates):
    for certificate, words in ((certificates.expired, "expired"), (certificates.mismatched, "localhost"), (certificates.stranger, "")):
        h = host("PLAIN", certificate=certificate)
        relay = at.relay(h)
        send(relay)
        relay.wait_log(f"event=deliver.tls-failed.*{words}", after=relay.mark)
        relay.wait_log("event=site.suspended.*4.7.5 ", after=relay.mark)
        assert relay.count() == 1 and h.logins == []
        relay.stop()
        os.rename(relay.spool, f"{relay.spool}-{words or 'stranger'}")


def test_from_the_first_byte(at, host):
    h = host("PLAIN", implicit=True)
    relay = at.relay(h, "tls-implicit: yes")
    send(relay)
    arrived(h)
    assert h.logins == ["PLAIN"] and "STARTTLS" not in h.seen


def test_check_says_what_is_missing(tmp_path):
    cases = {
        "auth: basic": "needs the plugin auth-basic, which the file does not name",
        "tls: required": "needs the plugin tls, which the file does not name",
        "tls-provider: other": "there is no instance other",
        "tls-implicit: yes": "needs the plugin tls",
        "username: x": "of no use without a login",
        "tls-ca-file: not-there.pem": "is not a whole path",
    }
    from conftest import PLUGINS
    for option, words in cases.items():
        config = tmp_path / "c.yaml"
        config.write_text(f'spool: {tmp_path}/spool\nplugins:\n  - smarthost:\n      hosts: ["127.0.0.1"]\n      {option}\n')
        r = posthouse("check", "-c", config, "--plugin-dir", PLUGINS, check=False)
        assert r.returncode != 0 and words in r.stdout + r.stderr, (option, r.stdout, r.stderr)


def complaints(tmp_path, plugins):
    from conftest import PLUGINS
    config = tmp_path / "c.yaml"
    config.write_text(f"spool: {tmp_path}/spool\nplugins:\n{plugins}")
    r = posthouse("check", "-c", config, "--plugin-dir", PLUGINS, check=False)
    return r.returncode, r.stdout + r.stderr


def test_check_reads_the_files_of_tls(tmp_path, certificates):
    cert, key = certificates.client.cert, certificates.client.key
    odd = tmp_path / "odd.pem"
    odd.write_text("no PEM\n")
    both = tmp_path / "both.pem"
    both.write_text(cert.read_text() + key.read_text())
    for options, words in ((f"tls-certificate: {cert}\n      tls-key: {key}", None), (f"tls-certificate: {both}", None),
                           (f"tls-certificate: {cert}", "tls-certificate: .*holds no private key; set tls-key"),
                           (f"tls-certificate: {odd}\n      tls-key: {key}", "tls-certificate: .*holds no certificate"),
                           (f"tls-certificate: {cert}\n      tls-key: {odd}", "tls-key: .*holds no private key"),
                           (f"tls: verify\n      tls-ca-file: {odd}", "tls-ca-file: .*holds no certificate"),
                           (f"tls: verify\n      tls-ca-file: {tmp_path}", "tls-ca-file: .*is not a file"),
                           (f"tls: verify\n      tls-ca-file: {tmp_path}/none", "tls-ca-file: .*cannot be read: No such file")):
        status, text = complaints(tmp_path, '  - auth-anonymous\n  - tls\n  - smarthost:\n      hosts: ["127.0.0.1"]\n      ' + options + "\n")
        assert (status == 0) == (words is None), (options, text)
        assert words is None or re.search("error: plugins.smarthost." + words, text), (options, text)
    status, text = complaints(tmp_path, '  - auth-anonymous\n  - tls\n  - relay-access: { allow: [127.0.0.1] }\n'
                              f'  - smarthost: {{ hosts: ["127.0.0.1"], tls: required, tls-ca-file: {cert} }}\n')
    assert status == 0 and "warning: plugins.smarthost.tls-ca-file: decides nothing without tls: verify" in text, text


def test_check_looks_for_the_helpers_of_windows(tmp_path):
    def windows(options):
        return complaints(tmp_path, f'  - auth-windows: {{ {options} }}\n  - relay-access: {{ authenticated: yes }}\n'
                          '  - smarthost: { hosts: ["127.0.0.1"] }\n')
    status, text = windows("ntlm-helper: [/none/ntlm], client-keytab: /none/keytab")
    assert status == 0 and "there is no program /none/ntlm" in text and "/none/keytab cannot be read" in text, text
    status, text = windows('ntlm-helper: "ntlm_auth --helper-protocol=x"')
    assert status == 78 and "write a list: [ntlm_auth, --helper-protocol=...]" in text, text
    status, text = windows("server: no, ntlm-helper: [/none/ntlm]")
    assert "/none/ntlm" not in text, text


def test_windows_for_smart_hosts_only_offers_no_login(start):
    for server in ("yes", "no"):
        r = start.relay("127.0.0.1:1", plugins=f"""\
  - auth-anonymous
  - auth-windows: {{ server: {server}, allow-cleartext-ntlm: yes }}
  - relay-access: {{ allow: [127.0.0.0/8] }}
  - smarthost: {{ hosts: ["127.0.0.1:1"] }}
""")
        with r.smtp() as c:
            c.ehlo()
            assert c.has_extn("auth") == (server == "yes")
        r.stop()


# --- others ---

@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"])
def test_postfix_and_dovecot(start, at, postfix_dovecot, certificates, mechanism):
    peer = postfix_dovecot("plain login cram-md5 scram-sha-256", tls_required=True, certificate=certificates.server)
    at.secret.write_text("relaypass\n")
    relay = start.relay(peer.address, plugins=f"""\
  - auth-anonymous
  - relay-access: {{ allow: [127.0.0.0/8] }}
  - smarthost:
      hosts: ["[localhost]:{peer.port}"]
      allow-loopback: yes
      tls: verify
      tls-ca-file: {certificates.ca.cert}
      auth: basic
      username: smarthost
      password-file: {at.secret}
      mechanisms: [{mechanism}]
  - auth-basic
  - tls
""")
    send(relay, f"by {mechanism}")
    assert "Authenticated sender: smarthost" in peer.until_mail(f"by {mechanism}")
    relay.until_empty()
