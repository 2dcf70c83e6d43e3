"""`posthouse check --connect` says, step by step, what a delivery would meet, and sends nothing."""
import json
import os
import re
import socket
import ssl
import subprocess

import pytest
from conftest import PLUGINS, POSTHOUSE, SANITIZER, free_port, posthouse
from host import Host
from labs import *  # noqa: F401,F403 the fixtures

OK, NOHOST, UNAVAILABLE, TEMPFAIL, CONFIG = 0, 68, 69, 75, 78


class Outcome:
    def __init__(self, r, steps=None):
        self.status, self.text, self.err, self.steps = r.returncode, r.stdout, r.stderr, steps

    def step(self, name, nth=0):
        found = [s for s in self.steps if s["step"] == name]
        assert len(found) > nth, f"no step {name}: {self.steps}"
        return found[nth]

    def verdict(self, name, nth=0):
        return self.step(name, nth)["verdict"]


@pytest.fixture
def check(tmp_path):
    """check(smarthost options, *arguments, more=other plugins): the outcome; text=True for what people see."""
    def go(options, *args, more="", text=False, hostname="relay.example.com", top="", env=None):
        config = tmp_path / "check.yaml"
        if isinstance(options, str):
            options = [options]
        config.write_text(f"hostname: {hostname}\nspool: {tmp_path}/spool\n{top}plugins:\n  - auth-anonymous\n{more}" +
                          "".join("  - smarthost:\n" + "".join(f"      {line}\n" for line in o.strip().splitlines()) for o in options))
        argv = [POSTHOUSE, "check", "--connect", "-c", config, "--plugin-dir", PLUGINS, *([] if text else ["--json"]), *args]
        r = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=120, env={**os.environ, **(env or {})})
        found = SANITIZER.search(r.stderr)
        assert found is None, r.stderr[found.start():][:5000]
        # but for a place that plugins may keep things in, such as a token that has replaced another
        assert not [f for f in (tmp_path / "spool").glob("*") if f.name != "state"], "the spool was opened"
        return Outcome(r, None if text else json.loads(r.stdout) if r.stdout.strip() else [])
    return go


def secret(tmp_path, text="correct horse"):
    f = tmp_path / "password"
    f.write_text(text + "\n")
    f.chmod(0o600)
    return f


# --- plain SMTP ---

def test_a_good_host_step_by_step(check):
    with Host() as h:
        o = check(f'hosts: ["{h.address}"]', text=True)
    assert o.status == OK, o.text + o.err
    timeless = re.sub(r"\b\d+\.\d ms", "N ms", o.text).replace(str(h.port), "PORT")
    assert timeless.split("\n", 1)[1] == """\
smarthost: 1 host, tls: opportunistic, auth: anonymous; from <postmaster@relay.example.com> to <postmaster@example.com> (made up)
127.0.0.1:PORT
  connect     ok   127.0.0.1:PORT, N ms
  greeting    ok   220 mx.example.net ESMTP, N ms
  ehlo        ok   mx.example.net: SIZE 1000000, 8BITMIME, ENHANCEDSTATUSCODES, N ms
  tls         note not offered; mail goes in the clear
                   hint: the policy is opportunistic; required or verify would keep the mail
  login       ok   none, as configured
  mail        ok   250 2.1.0 Sender ok, N ms
  rcpt        ok   250 2.1.5 Recipient ok, N ms
  rset        ok   250 2.0.0 Ok, N ms
  quit        ok   221 2.0.0 Bye, N ms
1 host tried: all is well, and no mail was sent
"""
    assert h.seen == ["EHLO relay.example.com", "MAIL FROM:<postmaster@relay.example.com>", "RCPT TO:<postmaster@example.com>",
                      "RSET", "QUIT"]
    assert h.mail == []


def test_against_the_sink_with_addresses_of_ones_own(check, start):
    sink = start.sink()
    o = check(f'hosts: ["{sink.address}"]', "--to", "b@example.net", "--from", "a@example.org", "--verbose", text=True)
    assert o.status == OK, o.text + o.err
    assert "> MAIL FROM:<a@example.org>" in o.text and "> RCPT TO:<b@example.net>" in o.text
    assert "made up" not in o.text and "DATA" not in o.text
    assert sink.messages() == []


def test_quiet_says_nothing_when_all_is_well(check):
    with Host() as h:
        o = check(f'hosts: ["{h.address}"]\ntls: off', "--quiet", text=True)
        assert o.status == OK and not re.search(r"\bok\b", o.text)
    o = check('hosts: ["127.0.0.1:1"]', "--quiet", text=True)
    assert o.status == NOHOST and "FAIL" in o.text


def test_a_dead_port(check):
    o = check(f'hosts: ["127.0.0.1:{free_port()}"]')
    assert o.status == NOHOST
    assert o.verdict("connect") == "failure" and "refused" in o.step("connect")["text"] and "port" in o.step("connect")["hint"]


def test_an_unknown_name(check):
    o = check('hosts: ["[no-such-host.invalid]:25"]\nallow-loopback: yes')
    assert o.status in (NOHOST, TEMPFAIL)       # without a network nobody can say that there is no such name
    assert o.verdict("dns") == "failure" and "no-such-host.invalid" in o.step("dns")["text"] and o.step("dns")["hint"]


def test_a_name_that_leads_to_this_machine(check):
    with Host() as h:
        o = check(f'hosts: ["[127.0.0.1]:{h.port}"]')
        assert o.status == OK
        o = check(f'hosts: ["[localhost]:{h.port}"]\nallow-loopback: yes')
        assert o.status == OK and "localhost" in o.step("dns")["text"] and "127.0.0.1" in o.step("dns")["text"]


def test_all_hosts_of_the_list_and_all_smarthosts_are_tried(check):
    with Host(name="one") as a, Host(name="two") as b, Host(name="three") as c:
        o = check([f'as: partner\nhosts: ["{a.address}", "127.0.0.1:{free_port()}", "{b.address}"]\ndomains: [partner.example, .branch.example]',
                   f'hosts: ["{c.address}"]'])
        assert o.status == NOHOST
        assert [s["text"].split()[1] for s in o.steps if s["step"] == "greeting"] == ["one", "two", "three"]
        assert {s["site"] for s in o.steps} == {"partner", "smarthost"}
        assert "RCPT TO:<postmaster@partner.example>" in a.seen
        o = check([f'as: partner\nhosts: ["{a.address}"]\ndomains: [partner.example]', f'hosts: ["{c.address}"]'],
                  "--to", "b@partner.example")
        assert o.status == OK and {s["site"] for s in o.steps} == {"partner"}


def test_a_recipient_without_a_route(check):
    o = check('hosts: ["127.0.0.1:1"]\ndomains: [partner.example]', "--to", "b@example.net")
    assert o.status == CONFIG and o.verdict("route") == "failure" and "b@example.net" in o.step("route")["text"]


@pytest.mark.parametrize("verb, reply, step, status", [
    ("GREETING", "554 5.7.1 Go away", "greeting", UNAVAILABLE),
    ("GREETING", "421 4.3.2 Busy", "greeting", TEMPFAIL),
    ("EHLO", "450 4.3.2 Not now", "ehlo", TEMPFAIL),
    ("MAIL", "530 5.7.0 Must issue a STARTTLS command first", "mail", UNAVAILABLE),
    ("MAIL", "451 4.3.0 Later", "mail", TEMPFAIL),
    ("RCPT", "550 5.7.1 Relaying denied", "rcpt", UNAVAILABLE),
    ("RCPT", "450 4.2.0 Greylisted", "rcpt", TEMPFAIL),
    ("RCPT", "550 5.1.1 No such user", "rcpt", UNAVAILABLE),
])
def test_refusals(check, verb, reply, step, status):
    with Host(replies={verb: reply}) as h:
        o = check(f'hosts: ["{h.address}"]', "--to", "b@example.net")
        assert o.status == status, o.steps
        assert o.verdict(step) == "failure" and reply in o.step(step)["text"]
        assert "DATA" not in h.seen
        if verb in ("MAIL", "RCPT"):
            assert o.step(step)["hint"] and h.seen[-2:] == ["RSET", "QUIT"]


def test_a_made_up_recipient_may_be_unknown_but_not_denied(check):
    with Host(replies={"RCPT": "550 5.1.1 No such user"}) as h:
        o = check(f'hosts: ["{h.address}"]')
        assert o.status == OK and o.verdict("rcpt") == "warning" and "--to" in o.step("rcpt")["hint"]
    with Host(replies={"RCPT": "550 relay not permitted"}) as h:
        assert check(f'hosts: ["{h.address}"]').status == UNAVAILABLE


def test_a_host_that_hangs_up_or_stays_silent(check):
    with Host(replies={"MAIL": None}) as h:
        o = check(f'hosts: ["{h.address}"]')
        assert o.status == TEMPFAIL and "closed" in o.step("mail")["text"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        o = check(f'hosts: ["127.0.0.1:{silent.getsockname()[1]}"]', "--timeout", "300ms")
    assert o.status == TEMPFAIL and o.step("greeting")["text"] == "no answer within 0.3 s" and o.step("greeting")["ms"] >= 290 and "tls-implicit" in o.step("greeting")["hint"]


def test_what_a_host_says_cannot_steer_the_terminal(check):
    with Host(replies={"RCPT": "550 5.7.1 \x1b[2J\x07 gone"}) as h:
        o = check(f'hosts: ["{h.address}"]', "--verbose", text=True)
    assert o.status == UNAVAILABLE and "\x1b" not in o.text and "\x07" not in o.text


def test_usage_and_mistakes(check, tmp_path):
    assert posthouse("check", "--to", "b@example.net", check=False).returncode == 64
    assert check('hosts: ["127.0.0.1:25"]', "--to", "nobody").status == 64
    o = check('hosts: []')
    assert o.status == CONFIG and "hosts" in o.err


# --- TLS ---

TLS = "  - tls\n"


def trusted(certificates, extra=""):
    return f"tls: verify\ntls-ca-file: {certificates.ca.cert}\nallow-loopback: yes\n{extra}"


def test_a_verified_certificate(check, certificates):
    with Host(certificate=certificates.server) as h:
        o = check(f'hosts: ["[localhost]:{h.port}"]\n{trusted(certificates)}', more=TLS)
        assert o.status == OK, o.steps
        assert "TLSv1.3" in o.step("tls")["text"] and "policy verify" in o.step("tls")["text"]
        text = o.step("certificate")["text"]
        assert o.verdict("certificate") == "ok" and "verified for localhost" in text and "relay.example.com" in text
        assert "Test-Root" in text and re.search(r"\(36[45] days\)", text)
        # what was heard before TLS is forgotten: it said EHLO twice
        assert h.seen.count("EHLO relay.example.com") == 2 and h.handshakes == 1
        assert len([s for s in o.steps if s["step"] == "ehlo"]) == 2


def test_tls_from_the_first_byte(check, certificates):
    with Host(certificate=certificates.server, implicit=True) as h:
        o = check(f'hosts: ["[localhost]:{h.port}"]\ntls-implicit: yes\n{trusted(certificates)}', more=TLS)
        assert o.status == OK and "from the first byte" in o.step("tls")["text"]
        names = [s["step"] for s in o.steps if s["step"] not in ("dns", "connect")]
        assert names[:4] == ["tls", "certificate", "greeting", "ehlo"]


def test_certificates_that_are_not_believed(check, certificates):
    for which, words in ((certificates.expired, ["expired"]), (certificates.mismatched, ["localhost", "other.example.net"]),
                         (certificates.stranger, ["Stranger-Root"])):
        with Host(certificate=which) as h:
            o = check(f'hosts: ["[localhost]:{h.port}"]\n{trusted(certificates)}', more=TLS)
            assert o.status == UNAVAILABLE, o.steps
            assert o.verdict("tls") == "failure" and o.step("tls")["hint"]
            hints = " ".join(s.get("hint") or "" for s in o.steps)
            assert ("set tls-ca-file" in hints) == (which is certificates.stranger), hints
            shown = o.step("certificate")["text"]       # also what was refused: whose it is, from whom, until when
            # one failure, one hint
            assert [s["step"] for s in o.steps if s["verdict"] == "failure"] == ["tls"] and not o.step("certificate").get("hint"), o.steps
            assert o.verdict("certificate") == "note" and "issued by" in shown and "not verified: " in shown, shown
            assert re.search(r"\(-?\d+ days\)", shown) and ("expired 20" in shown) == (which is certificates.expired), shown
            assert ("other.example.net" in shown) == (which is certificates.mismatched), shown
            said = " ".join(s["text"] for s in o.steps if s["step"] in ("tls", "certificate"))
            assert all(w in said for w in words), said
            assert not [s for s in h.seen if s.startswith("MAIL")]
        with Host(certificate=which) as h:      # encrypted, and said to whom it is not known
            o = check(f'hosts: ["[localhost]:{h.port}"]\ntls: required\nallow-loopback: yes', more=TLS)
            assert o.status == OK and "not verified" in o.step("certificate")["text"], o.steps


def test_a_certificate_about_to_expire(check, certificates):
    soon = certificates.make("soon", ["localhost"], days=(-80, 5))
    with Host(certificate=soon) as h:
        o = check(f'hosts: ["[localhost]:{h.port}"]\n{trusted(certificates)}', more=TLS)
    assert o.status == OK and o.verdict("certificate") == "warning"
    assert re.search(r"\([45] days\)", o.step("certificate")["text"])


def test_hidden_starttls_is_no_way_into_the_clear(check):
    with Host() as h:
        for policy in ("required", "verify"):
            o = check(f'hosts: ["{h.address}"]\ntls: {policy}', more=TLS)
            assert o.status == UNAVAILABLE and o.verdict("tls") == "failure" and "STARTTLS" in o.step("tls")["text"]
        assert not [s for s in h.seen if s.startswith("MAIL")]


def test_opportunistic_goes_on_in_the_clear_and_says_so(check, certificates):
    with Host(certificate=certificates.server, oldest=ssl.TLSVersion.TLSv1) as h:
        o = check(f'hosts: ["[localhost]:{h.port}"]\nallow-loopback: yes', more=TLS)
        assert o.status == OK and o.verdict("tls") == "warning", o.steps
        assert o.verdict("rcpt") == "ok"


def test_opportunistic_with_a_login_says_what_becomes_of_it(check, certificates, tmp_path):
    """Mail does not go in the clear where its login does not."""
    def outcome(h, mechanisms):
        return check(f'hosts: ["127.0.0.1:{h.port}"]\nallow-loopback: yes\ntls: opportunistic\nauth: basic\nmechanisms: {mechanisms}\n'
                     f'username: alice@example.com\npassword-file: {secret(tmp_path)}', more=BASIC)
    for mechanisms, waits in (("[PLAIN, LOGIN]", True), ("[CRAM-MD5]", False)):
        with Host(login=("PLAIN", "alice@example.com", "correct horse"), login_only_in_tls=False) as h:
            o = outcome(h, mechanisms)
            assert o.status == UNAVAILABLE and o.verdict("login") == "failure", o.steps
            assert o.step("tls")["text"] == "not offered; " + ("without it there is no login, and mail waits" if waits else
                                                              "login and mail go in the clear")
        with Host(certificate=certificates.server, oldest=ssl.TLSVersion.TLSv1, login=("PLAIN", "alice@example.com", "correct horse")) as h:
            o = outcome(h, mechanisms)
            assert o.verdict("tls") == "warning" and ("mail waits" in o.step("tls")["hint"]) == waits, o.steps


@pytest.mark.parametrize("auth, words", [("basic", "waits where only PLAIN and LOGIN are offered"), ("oauth2", "a token is not sent in the clear")])
def test_opportunistic_is_warned_about_as_the_login_has_it(check, tmp_path, auth, words):
    with Host() as h:
        r = check(f'hosts: ["{h.address}"]\ntls: opportunistic\nauth: {auth}\nusername: alice@example.com\n' +
                  (f"password-file: {secret(tmp_path)}" if auth == "basic" else ""),
                  more=TLS + ("  - auth-basic\n" if auth == "basic" else f"""\
  - auth-oauth2:
      token-endpoint: https://127.0.0.1:1/token
      grant: client-credentials
      client-id: relay
      client-secret-file: {secret(tmp_path)}
"""))
        assert words in r.err and ("may go in the clear" in r.err) == (auth == "basic"), r.err + str(r.steps)
        assert r.step("login")["verdict"] == "failure" and not [s for s in h.seen if s.startswith(("AUTH", "MAIL"))]


# --- logins ---

BASIC = TLS + "  - auth-basic\n"


def with_login(certificates, h, password):
    return f'hosts: ["[localhost]:{h.port}"]\n{trusted(certificates)}auth: basic\nusername: alice@example.com\npassword-file: {password}'


def test_a_login(check, certificates, tmp_path):
    with Host(certificate=certificates.server, login=("LOGIN PLAIN", "alice@example.com", "correct horse")) as h:
        o = check(with_login(certificates, h, secret(tmp_path)), more=BASIC)
        assert o.status == OK, o.steps
        assert re.match(r"(PLAIN|LOGIN) as alice@example.com: 235 2.7.0", o.step("login")["text"])
        assert "MAIL FROM:<alice@example.com>" in h.seen


def test_a_wrong_password_is_tried_once_and_shown_nowhere(check, certificates, tmp_path):
    with Host(certificate=certificates.server, login=("PLAIN", "alice@example.com", "another")) as h:
        o = check(with_login(certificates, h, secret(tmp_path)).replace(f'"[localhost]:{h.port}"', f'"[localhost]:{h.port}", "[localhost]:{h.port}"'),
                  "--verbose", more=BASIC)
        assert o.status == UNAVAILABLE and o.verdict("login") == "failure" and "535 5.7.8" in o.step("login")["text"]
        assert o.verdict("login", 1) == "warning" and "lock" in o.step("login", 1)["text"]
        assert len([s for s in h.seen if s.startswith("AUTH")]) == 1
        assert not [s for s in h.seen if s.startswith("MAIL")]
    everything = json.dumps(o.steps) + o.err
    assert "correct horse" not in everything and "AGFsaWNl" not in everything and "> AUTH PLAIN ****" in o.err


def test_no_login_in_the_clear(check, certificates, tmp_path):
    with Host(login=("PLAIN LOGIN", "alice@example.com", "correct horse"), login_only_in_tls=False) as h:
        o = check(f'hosts: ["{h.address}"]\ntls: off\nauth: basic\nusername: alice@example.com\npassword-file: {secret(tmp_path)}', more=BASIC)
        assert o.status == UNAVAILABLE and o.verdict("login") == "failure" and "tls" in o.step("login")["hint"], o.steps
        assert not [s for s in h.seen if s.startswith(("AUTH", "MAIL"))]


def test_a_login_that_is_not_offered(check, certificates, tmp_path):
    with Host(certificate=certificates.server) as h:
        o = check(with_login(certificates, h, secret(tmp_path)), more=BASIC)
        assert o.status == UNAVAILABLE and "not offered" in o.step("login")["text"] and "587" in o.step("login")["hint"]


def test_root_tries_as_the_relays_own_account(check):
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    with Host() as h:
        o = check(f'hosts: ["{h.address}"]', top="user: nobody\n")
        assert o.status == OK
        o = check(f'hosts: ["{h.address}"]', top="user: there-is-none\n")
        assert o.status == CONFIG and "there-is-none" in o.err
