"""SCRAM-SHA-256-PLUS, posthouse sending to posthouse, and somebody who stands between them."""
import base64
import re
import smtplib
import ssl

import pytest
from conftest import PATIENCE, PLUGINS, POSTHOUSE, Relay, run, until
from host import Host

PASSWORD = "correct horse"


@pytest.fixture
def receiver(start, sink, certificates, tmp_path):
    """A relay that takes mail from bob."""
    file, cert, config = tmp_path / "users", certificates.server, tmp_path / "posthouse.yaml"
    config.write_text(f"""\
hostname: localhost
listen:
  - {{ address: "127.0.0.1:0", auth: required }}
spool: {tmp_path / "spool"}
plugins:
  - tls: {{ certificate: {cert.chain}, key: {cert.key} }}
  - auth-basic: {{ users: {file}, default-domain: example.com }}
  - relay-access: {{ allow: [], authenticated: true }}
  - smarthost: {{ hosts: ["{sink.address}"] }}
""")
    # before it starts: the first login must not come before the file has been read anew
    run(POSTHOUSE, "user", "-c", config, "--plugin-dir", PLUGINS, "add", "bob", "--password-stdin", "--scheme", "sha256",
        "--iterations", "4096", input=PASSWORD + "\n")
    return start.relay(sink.address, config=config.read_text())


@pytest.fixture
def sender(started, certificates, tmp_path):
    """sender(port): a relay that has one message for the smart host there."""
    def send(port):
        secret = tmp_path / "password"
        secret.write_text(PASSWORD + "\n")
        secret.chmod(0o600)
        r = Relay(tmp_path / "sender", "", top="log-level: debug\n", plugins=f"""\
  - auth-anonymous
  - relay-access: {{ allow: [127.0.0.0/8] }}
  - tls
  - auth-basic
  - smarthost:
      hosts: ["127.0.0.1:{port}"]
      allow-loopback: yes
      tls: verify
      tls-name: localhost
      tls-ca-file: {certificates.ca.cert}
      auth: basic
      username: bob
      password-file: {secret}
""")
        started.append(r)
        with r.smtp() as s:
            s.sendmail("bob@example.com", ["ann@example.net"], "Subject: bound\r\n\r\nhello\r\n")
        return r
    return send


class Between(Host):
    """Has the server's key, and hands each login on to the server; offers what it likes."""

    def __init__(self, certificates, server, mechanisms):
        self.ca, self.server, self.first = certificates.ca.cert, server, []
        super().__init__(certificate=certificates.server, login=(mechanisms,))

    def auth(self, line, say, hear):
        _, mechanism, initial = line.split(" ")
        self.first.append((mechanism, base64.b64decode(initial).decode()))
        with smtplib.SMTP("localhost", self.server, timeout=PATIENCE) as s:
            s.starttls(context=ssl.create_default_context(cafile=str(self.ca)))
            s.ehlo()
            assert "SCRAM-SHA-256-PLUS" in s.esmtp_features["auth"].split()
            code, text = s.docmd("AUTH", f"{mechanism} {initial}")
            while code == 334:
                say(f"334 {text.decode()}")
                code, text = s.docmd(hear())
        return f"{code} {text.decode()}"


def test_plus_is_chosen_from_posthouse_to_posthouse(receiver, sender, sink):
    s = sender(receiver.port)
    s.wait_log(r"event=deliver.tls .*version=TLSv1.3 .*verified=yes")
    s.wait_log(r"event=deliver.login .*login=bob mechanism=SCRAM-SHA-256-PLUS")
    receiver.wait_log(r"event=auth.ok .*user=bob@example.com mechanism=SCRAM-SHA-256-PLUS")
    until("the message", sink.messages)
    assert re.search(rb"with ESMTPSA", sink.messages()[0])


@pytest.mark.parametrize("offered,first,why", [
    ("SCRAM-SHA-256", ("SCRAM-SHA-256", "y,,"), "somebody between changes what is said"),
    ("SCRAM-SHA-256-PLUS SCRAM-SHA-256", ("SCRAM-SHA-256-PLUS", "p=tls-exporter,,"), "the channel binding differs"),
])
def test_who_stands_between_gets_no_login(receiver, sender, sink, certificates, offered, first, why):
    with Between(certificates, receiver.port, offered) as h:
        s = sender(h.port)
        s.wait_log("event=site.login-refused")
        receiver.wait_log(f"event=auth.failed .*{why}")
        mechanism, message = h.first[0]
        assert mechanism == first[0] and message.startswith(first[1] + "n=bob,r=")
        # an honest login is refused in no other way than by that
        assert s.count() == 1 and not h.mail and not sink.messages()
        assert "auth.ok" not in receiver.text()
