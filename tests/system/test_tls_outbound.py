"""TLS towards smart hosts: the four policies against good, bad and hostile ones."""
import re
import ssl

import pytest

from conftest import Relay, until
from host import Host


def relay_to(start, host, policy, certificates, more="", tls="", hosts=None, top="queue:\n  retry: [1s]\n"):
    anchors = f"      tls-ca-file: {certificates.ca.cert}\n" if policy == VERIFY else ""
    folder = start.folder / f"relay{len(start.started)}"
    text = f"""\
hostname: relay.example.com
listen:
  - address: "127.0.0.1:0"
    tls: off
spool: {folder}/spool
workers: 1
{top}plugins:
  - tls:
      check-files: 100ms
{tls}  - auth-anonymous
  - relay-access:
      allow: [127.0.0.0/8]
  - smarthost:
      hosts: ["{hosts or host.address}"]
      tls: {policy}
{anchors}{more}"""
    r = Relay(folder, host.address, config=text)
    start.started.append(r)
    return r


def send(r, subject="hello"):
    with r.smtp() as s:
        s.sendmail("from@example.org", ["to@example.net"], f"Subject: {subject}\r\n\r\nhello\r\n")


def host(start, *args, **kw):
    h = Host(*args, **kw)
    start.started.append(h)
    return h


OPPORTUNISTIC, REQUIRED, VERIFY = "opportunistic", "required", "verify"
# certificate, name that is wanted, what is wrong with it
CERTIFICATES = (
    ("server", "localhost", None),
    ("expired", "localhost", r"the certificate CN=localhost expired on 20\d\d-\d\d-\d\d"),
    ("future", "localhost", r"not valid before 20\d\d"),
    ("mismatched", "localhost", r"the certificate is for other\.example\.net, not for localhost"),
    ("stranger", "localhost", r"unknown CA: CN=localhost was issued by CN=Stranger-Root"),
)


@pytest.mark.slow
@pytest.mark.parametrize("which, name, wrong", CERTIFICATES, ids=[c[0] for c in CERTIFICATES])
def test_every_policy_with_every_certificate(start, certificates, which, name, wrong):
    for policy in ("off", OPPORTUNISTIC, REQUIRED, VERIFY):
        h = host(start, certificate=getattr(certificates, which))
        r = relay_to(start, h, policy, certificates, f"      tls-name: {name}\n" if policy == VERIFY else "")
        send(r)
        if policy == VERIFY and wrong is not None:
            r.wait_log(f"event=deliver.tls-failed.*{wrong}")
            assert not h.mail and "MAIL" not in " ".join(h.seen) and r.count() == 1
        else:
            until("the mail", lambda: h.mail)
            assert h.handshakes == (policy != "off")
            if policy != "off":
                r.wait_log(f"event=deliver.tls .*version=TLSv1.3.*verified={'yes' if policy == VERIFY else 'no'}")
        r.stop()
        h.stop()


def test_hidden_starttls(start, certificates):
    """Who wants TLS never falls back; who takes what there is, does."""
    for policy, goes in ((OPPORTUNISTIC, True), (REQUIRED, False), (VERIFY, False)):
        h = host(start)         # does not offer it
        r = relay_to(start, h, policy, certificates)
        send(r)
        if goes:
            until("the mail", lambda: h.mail)
        else:
            r.wait_log("event=site.suspended.*STARTTLS is required but not offered")
            assert not h.mail and not any(x.startswith("MAIL") for x in h.seen) and r.count() == 1
        r.stop()


def test_starttls_refused(start, certificates):
    for policy, goes in ((OPPORTUNISTIC, True), (REQUIRED, False)):
        h = host(start, {"STARTTLS": "454 4.7.0 TLS not available"}, certificate=certificates.server)
        r = relay_to(start, h, policy, certificates)
        send(r)
        if goes:
            until("the mail", lambda: h.mail)
        else:
            r.wait_log("event=site.suspended.*STARTTLS is required but refused: 454 4.7.0 TLS not available")
            assert not h.mail and not any(x.startswith("MAIL") for x in h.seen)
        r.stop()


class Injecting(Host):
    """Says more than 220 before the handshake (NO STARTTLS)."""

    def secure(self, s):
        s.sendall(b"250-injected.example\r\n250 AUTH PLAIN\r\n")
        return super().secure(s)


@pytest.mark.parametrize("policy", [OPPORTUNISTIC, VERIFY])
def test_replies_injected_behind_the_220(start, certificates, policy):
    """They lie between 220 and the hello: believed by nobody, whether the handshake survives them or not."""
    h = Injecting(certificate=certificates.server)
    start.started.append(h)
    r = relay_to(start, h, policy, certificates, "      tls-name: localhost\n" if policy == VERIFY else "")
    send(r)
    if policy == OPPORTUNISTIC:
        until("the mail", lambda: h.mail)
    else:
        r.wait_log("event=deliver.(tls-failed|tls )")
    assert "AUTH" not in " ".join(h.seen)
    assert "injected.example" not in r.text() or "does not speak TLS" in r.text()


class Garbage(Host):
    """Agrees to STARTTLS and goes on in the clear."""

    def secure(self, s):
        s.sendall(b"220 mx.example.net what do you mean?\r\n")
        s.recv(1000)
        raise EOFError


def test_no_tls_behind_the_220(start, certificates):
    for policy, then in ((OPPORTUNISTIC, "goes on in the clear"), (REQUIRED, "tries elsewhere or later")):
        h = Garbage(certificate=certificates.server)
        start.started.append(h)
        r = relay_to(start, h, policy, certificates)
        send(r)
        r.wait_log(f'the remote does not speak TLS: it sent .*220 mx.example.net.*then="{then}"')
        assert policy == OPPORTUNISTIC or not any(x.startswith("MAIL") for x in h.seen)
        r.stop()


def test_protocol_too_old(start, certificates):
    h = host(start, certificate=certificates.rsa, oldest=ssl.TLSVersion.TLSv1)
    r = relay_to(start, h, REQUIRED, certificates)
    send(r)
    r.wait_log(r"event=deliver.tls-failed.*(too old|does not speak any version)")
    r.stop()
    r = relay_to(start, h, REQUIRED, certificates, "      tls-minimum: 1.0\n")
    send(r)
    r.wait_log("event=deliver.tls .*version=TLSv1 ")
    until("the mail", lambda: h.mail)


def test_implicit_tls(start, certificates):
    h = host(start, certificate=certificates.server, implicit=True)
    r = relay_to(start, h, VERIFY, certificates, "      tls-name: localhost\n      tls-implicit: yes\n")
    send(r)
    until("the mail", lambda: h.mail)
    assert h.handshakes == 1 and "STARTTLS" not in h.seen
    r.stop()
    plain = host(start, certificate=certificates.server)
    r = relay_to(start, plain, VERIFY, certificates, "      tls-name: localhost\n      tls-implicit: yes\n")
    send(r)
    r.wait_log("the remote does not speak TLS: it sent .*220 mx.example.net.*a port with STARTTLS needs tls-implicit: no")


def test_client_certificate(start, certificates):
    h = host(start, certificate=certificates.server, client_ca=certificates.ca.cert)
    h.context.maximum_version = ssl.TLSVersion.TLSv1_2      # 1.3 tells the client after its handshake
    r = relay_to(start, h, VERIFY, certificates, "      tls-name: localhost\n")
    send(r)
    r.wait_log("event=deliver.tls-failed.*wants a certificate")
    r.stop()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        h.context.maximum_version = version
        h.mail.clear()
        r = relay_to(start, h, VERIFY, certificates, f"""\
      tls-name: localhost
      tls-certificate: {certificates.client.chain}
      tls-key: {certificates.client.key}
""")
        send(r)
        until("the mail", lambda: h.mail)
        assert ("DNS", "scanner.example.com") in h.peers[-1]["subjectAltName"]
        r.stop()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_sessions_are_taken_up_again(start, certificates, version):
    h = host(start, certificate=certificates.server)
    h.context.maximum_version = getattr(ssl.TLSVersion, version)
    r = relay_to(start, h, VERIFY, certificates, "      tls-name: localhost\n      messages-per-connection: 1\n")
    for i in range(4):
        send(r, str(i))
        until("the mail", lambda: len(h.mail) == i + 1)
    until("four handshakes", lambda: len(re.findall("event=deliver.tls ", r.text())) == 4)
    assert re.findall(r"event=deliver\.tls .*verified=(\w+) resumed=(\w+)", r.text()) == [("yes", "no")] + [("yes", "yes")] * 3


def test_trust_is_taken_up_when_its_file_changes(start, certificates):
    h = host(start, certificate=certificates.stranger)
    anchors = start.folder / "anchors.pem"
    anchors.write_text(certificates.ca.cert.read_text())
    r = start.relay(h.address, config=f"""\
listen:
  - address: "127.0.0.1:0"
    tls: off
spool: {start.folder}/spool
queue:
  retry: [1s]
plugins:
  - tls:
      check-files: 100ms
      ca-file: {anchors}
  - auth-anonymous
  - relay-access:
      allow: [127.0.0.0/8]
  - smarthost:
      hosts: ["{h.address}"]
      tls: verify
      tls-name: localhost
""")
    send(r)
    r.wait_log("event=deliver.tls-failed.*unknown CA")
    anchors.write_text(certificates.ca.cert.read_text() + certificates.strange_ca.cert.read_text())
    r.wait_log("files were replaced and are in use now")
    until("the mail", lambda: h.mail)


def test_large_mail_both_directions(start, certificates):
    h = host(start, certificate=certificates.server)
    r = relay_to(start, h, VERIFY, certificates, "      tls-name: localhost\n")
    body = "".join(f"{i:>70}\r\n" for i in range(13000))
    with r.smtp() as s:
        s.sendmail("from@example.org", ["to@example.net"], "Subject: large\r\n\r\n" + body)
    until("the mail", lambda: h.mail)
    assert h.mail[0].endswith(body)
