"""TLS towards clients: openssl, Python, curl and swaks; certificates by name and replaced under way; who attacks the handshake."""
import os
import re
import smtplib
import socket
import ssl
import subprocess
import threading

import pytest

from conftest import PATIENCE, PLUGINS, Talk, need, posthouse, run, until


def relay_of(start, sink, certificate, tls="", listener="tls: offered", top=""):
    text = f"""\
hostname: relay.example.com
listen:
  - address: "127.0.0.1:0"
    {listener}
spool: {start.folder}/spool
workers: 2
{top}plugins:
  - tls:
      check-files: 100ms
      certificate: {certificate if isinstance(certificate, str) else certificate.chain}
      key: {start.folder / "live.key" if isinstance(certificate, str) else certificate.key}
{tls}  - auth-anonymous
  - relay-access:
      allow: [127.0.0.0/8]
  - smarthost:
      hosts: ["{sink.address}"]
      tls: off
"""
    return start.relay(sink.address, config=text)


def trusting(certificates, **kw):
    c = ssl.create_default_context(cafile=str(certificates.ca.cert))
    for name, value in kw.items():
        setattr(c, name, value)
    return c


class Secure(Talk):
    """A session by hand behind STARTTLS, or with TLS from the start."""

    def __init__(self, port, context, name="localhost", implicit=False, session=None, ehlo=True):
        if implicit:
            self.s = context.wrap_socket(socket.create_connection(("127.0.0.1", port), PATIENCE), server_hostname=name,
                                         session=session)
            self.f = self.s.makefile("rb")
            assert self.reply()[0] == 220
        else:
            super().__init__(port)
            assert "STARTTLS" in self.cmd("EHLO client.example")[1]
            assert self.cmd("STARTTLS")[0] == 220
            self.f.close()
            self.s = context.wrap_socket(self.s, server_hostname=name, session=session)
            self.f = self.s.makefile("rb")
        if ehlo:
            assert self.cmd("EHLO client.example")[0] == 250

    def mail(self, text="Subject: hello\r\n\r\nhello\r\n", to="to@example.net"):
        for line, code in (("MAIL FROM:<from@example.org>", 250), (f"RCPT TO:<{to}>", 250), ("DATA", 354)):
            assert self.cmd(line)[0] == code
        self.send(text + ".\r\n")
        assert self.reply()[0] == 250


def arrived(sink, n=1):
    until(f"{n} messages", lambda: len(sink.messages()) >= n)
    return [m.decode("utf-8", "replace") for m in sink.messages()]


# --- clients ---

def test_starttls_by_every_client(start, sink, certificates):
    need("openssl", "curl", "swaks")
    r = relay_of(start, sink, certificates.server)
    with smtplib.SMTP("127.0.0.1", r.port, timeout=PATIENCE) as s:
        s._host = "localhost"
        s.starttls(context=trusting(certificates))
        assert not s.has_extn("starttls") or s.ehlo() and not s.has_extn("starttls")
        s.sendmail("python@example.org", ["to@example.net"], "Subject: python\n\nhello\n")
    mail = start.folder / "mail"
    mail.write_text("Subject: curl\r\n\r\nhello\r\n")
    run("curl", "-sS", "--ssl-reqd", "--cacert", certificates.ca.cert, "--mail-from", "curl@example.org", "--mail-rcpt",
        "to@example.net", "-T", mail, f"smtp://127.0.0.1:{r.port}")
    run("swaks", "--server", "127.0.0.1", "--port", r.port, "--tls", "--tls-verify", "--tls-ca-path", certificates.ca.cert,
        "--from", "swaks@example.org", "--to", "to@example.net", "--header", "Subject: swaks")
    script = "EHLO s_client.example\nMAIL FROM:<openssl@example.org>\nRCPT TO:<to@example.net>\nDATA\nSubject: openssl\n\nhello\n.\nQUIT\n"
    got = run("openssl", "s_client", "-quiet", "-crlf", "-starttls", "smtp", "-CAfile", certificates.ca.cert, "-verify_return_error",
              "-verify_hostname", "localhost", "-connect", f"127.0.0.1:{r.port}", input=script)
    assert "221 2.0.0" in got.stdout
    texts = arrived(sink, 4)
    for who in ("python", "curl", "swaks", "openssl"):
        text = next(t for t in texts if f"Subject: {who}" in t)
        assert re.search(r"with ESMTPS\b", text) and re.search(r"TLSv1\.3.*TLS_AES_256_GCM_SHA384", text, re.S), text
    until("four handshakes in the log",
          lambda: len(re.findall(r"event=tls\.opened.*version=TLSv1\.3 cipher=TLS_AES_256_GCM_SHA384", r.text())) == 4)


def test_implicit_tls_by_every_client(start, sink, certificates):
    need("openssl", "curl", "swaks")
    r = relay_of(start, sink, certificates.server, listener="tls: implicit")
    with smtplib.SMTP_SSL("localhost", r.port, timeout=PATIENCE, context=trusting(certificates)) as s:
        assert s.ehlo()[0] == 250 and not s.has_extn("starttls")
        s.sendmail("python@example.org", ["to@example.net"], "Subject: python\n\nhello\n")
    mail = start.folder / "mail"
    mail.write_text("Subject: curl\r\n\r\nhello\r\n")
    run("curl", "-sS", "--cacert", certificates.ca.cert, "--mail-from", "curl@example.org", "--mail-rcpt", "to@example.net",
        "-T", mail, f"smtps://127.0.0.1:{r.port}")
    run("swaks", "--server", "127.0.0.1", "--port", r.port, "--tls-on-connect", "--from", "swaks@example.org",
        "--to", "to@example.net", "--header", "Subject: swaks")
    assert all("with ESMTPS" in t for t in arrived(sink, 3))


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_large_message_arrives_whole(start, sink, certificates, version):
    r = relay_of(start, sink, certificates.server)
    context = trusting(certificates, maximum_version=getattr(ssl.TLSVersion, version))
    body = "".join(f"{i:>70}\r\n" for i in range(60000))
    s = Secure(r.port, context)
    s.mail("Subject: large\r\n\r\n" + body)
    s.close()
    assert arrived(sink)[0].endswith(body)


# --- certificates ---

def serial_of(port, context, name):
    s = Secure(port, context, name)
    got = s.s.getpeercert()["serialNumber"]
    s.cmd("QUIT")
    s.close()
    return got


def test_the_name_asked_for_chooses_the_certificate(start, sink, certificates):
    wild = certificates.make("wild", ["*.wild.example"])
    r = relay_of(start, sink, certificates.server, f"""\
      certificates:
        - certificate: {certificates.mismatched.chain}
          key: {certificates.mismatched.key}
        - certificate: {wild.chain}
          key: {wild.key}
""")
    for asked, c in (("relay.example.com", certificates.server), ("other.example.net", certificates.mismatched),
                     ("OTHER.example.NET", certificates.mismatched), ("any.wild.example", wild)):
        s = Secure(r.port, trusting(certificates), asked)
        assert ("DNS", c.names[0]) in s.s.getpeercert()["subjectAltName"], asked
        s.close()
    s = Secure(r.port, trusting(certificates, check_hostname=False), "unknown.example")
    assert ("DNS", "relay.example.com") in s.s.getpeercert()["subjectAltName"]
    s.close()


@pytest.mark.parametrize("how", ["rename", "link"])
def test_replaced_under_load_without_losing_a_session(start, sink, certificates, how):
    first, second = (certificates.make(f"{how}{i}", ["localhost"]) for i in (1, 2))
    live, key = start.folder / "live.pem", start.folder / "live.key"
    folders = {}
    for c in (first, second):
        folders[c] = start.folder / f"archive{len(folders)}"
        folders[c].mkdir()
        c.copy_to(folders[c] / "chain.pem", folders[c] / "key.pem")

    def place(c):
        if how == "rename":
            c.copy_to(live, key)
        else:
            for name, target in ((live, "chain.pem"), (key, "key.pem")):
                new = start.folder / "new-link"
                new.symlink_to(folders[c] / target)
                os.replace(new, name)

    place(first)
    r = relay_of(start, sink, str(live))
    context = trusting(certificates)
    old = Secure(r.port, context)
    before = old.s.getpeercert()["serialNumber"]
    stop, failures, sent = threading.Event(), [], []

    def load():
        while not stop.is_set():
            try:
                s = Secure(r.port, trusting(certificates))
                s.mail()
                s.cmd("QUIT")
                s.close()
                sent.append(1)
            except Exception as e:      # noqa: BLE001: whatever it is, the test tells it
                failures.append(repr(e))
    threads = [threading.Thread(target=load) for _ in range(3)]
    for t in threads:
        t.start()
    try:
        until("some mail", lambda: len(sent) > 5 or failures)
        place(second)
        r.wait_log("certificate files were replaced and are in use")
        after = serial_of(r.port, trusting(certificates), "localhost")
        assert after != before
        # A broken file changes nothing and is told once.
        bad = start.folder / "bad"
        bad.write_text("rubbish")
        os.replace(bad, live)
        r.wait_log("replaced certificate files cannot be used, the former ones stay in force: .*holds no certificate in PEM")
        assert serial_of(r.port, trusting(certificates), "localhost") == after
        place(first)
        until("the first one again", lambda: serial_of(r.port, trusting(certificates), "localhost") == before)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not failures
    assert len(re.findall("cannot be used", r.text())) == 1
    old.mail("Subject: old session\r\n\r\nstill here\r\n")
    old.close()
    until("all mail", lambda: len(sink.messages()) >= len(sent) + 1)


@pytest.mark.parametrize("which, words", [("expired", "has expired on 20"), ("future", "is not valid before 20")])
def test_replaced_by_one_out_of_date_warns(start, sink, certificates, which, words):
    live, key = start.folder / "live.pem", start.folder / "live.key"
    certificates.server.copy_to(live, key)
    r = relay_of(start, sink, str(live))
    getattr(certificates, which).copy_to(live, key)
    r.wait_log(rf"warn .*in the replaced files, the certificate {live} {words}")
    # It is in use nevertheless, and what is right again is not warned of.
    with pytest.raises(ssl.SSLCertVerificationError):
        Secure(r.port, trusting(certificates))
    at = len(r.text())
    certificates.server.copy_to(live, key)
    r.wait_log("certificate files were replaced and are in use", after=at)
    Secure(r.port, trusting(certificates)).close()
    assert "in the replaced files" not in r.text()[at:]


def test_client_certificates_requested(start, sink, certificates):
    r = relay_of(start, sink, certificates.server, f"""\
      client-certificates: request
      client-ca-file: {certificates.ca.cert}
""")
    for c, log in ((None, 'certificate=""'), (certificates.client, "certificate=scanner@example.com"),
                   (certificates.strange_client, 'certificate=""'), (certificates.client_expired, 'certificate=""')):
        at = len(r.text())
        context = trusting(certificates)
        if c is not None:
            context.load_cert_chain(c.chain, c.key)
        s = Secure(r.port, context)
        s.mail()
        s.close()
        r.wait_log(f"event=tls.opened.*{log}", after=at)
    # of which session, as everything else says
    opened = re.findall(r"event=tls.opened worker=\d+ (sid=\w+ client=127\.0\.0\.1) ", r.text())
    for why in (r"unknown CA.*Stranger-Root", r".*expired on"):
        told = re.search(rf'info event=tls.unbelieved worker=\d+ (sid=\w+ client=127\.0\.0\.1) listener=127.0.0.1:0 why="{why}', r.text())
        assert told and told[1] in opened, r.text()
    assert r.text().count("event=tls.unbelieved") == 2


def test_client_certificates_required(start, sink, certificates):
    r = relay_of(start, sink, certificates.server, f"""\
      client-certificates: require
      client-ca-file: {certificates.ca.cert}
""")
    for c, why in ((None, "showed no certificate"), (certificates.strange_client, "unknown CA"),
                   (certificates.client_expired, "expired on")):
        at = len(r.text())
        context = trusting(certificates)
        if c is not None:
            context.load_cert_chain(c.chain, c.key)
        with pytest.raises((OSError, AssertionError)):
            Secure(r.port, context)
        r.wait_log(f"event=tls.failed.*{why}", after=at)
    context = trusting(certificates)
    context.load_cert_chain(certificates.client.chain, certificates.client.key)
    s = Secure(r.port, context)
    s.mail()
    s.close()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_tickets_are_good_at_every_worker_and_keep_the_identity(start, sink, certificates, version):
    r = relay_of(start, sink, certificates.server, f"""\
      client-certificates: request
      client-ca-file: {certificates.ca.cert}
""")
    context = trusting(certificates, maximum_version=getattr(ssl.TLSVersion, version))
    context.load_cert_chain(certificates.client.chain, certificates.client.key)
    session = None
    for i in range(12):
        at = len(r.text())
        s = Secure(r.port, context, session=session)
        assert s.s.session_reused == (i > 0)
        session = s.s.session
        r.wait_log(f"event=tls.opened.*resumed={int(i > 0)} certificate=scanner@example.com", after=at)
        s.cmd("QUIT")
        s.close()
    assert len(set(re.findall(r"worker=(\d+) .*event=tls.opened|event=tls.opened.*?worker=(\d+)", r.text()))) > 1


def test_without_tickets_nothing_is_resumed(start, sink, certificates):
    r = relay_of(start, sink, certificates.server, "      tickets: no\n")
    context = trusting(certificates)
    s = Secure(r.port, context)
    assert s.s.session is None or not s.s.session.has_ticket
    s.close()


# --- old devices ---

def s_client(r, *args, script="EHLO old\nQUIT\n", check=False):
    return run("openssl", "s_client", "-quiet", "-crlf", "-starttls", "smtp", "-connect", f"127.0.0.1:{r.port}", *args,
               input=script, check=check)


def test_old_versions_only_at_the_fenced_listener(start, sink, certificates):
    need("openssl")
    old = ("-tls1", "-cipher", "DEFAULT@SECLEVEL=0")
    for clients, good in (("127.0.0.0/8", True), ("192.0.2.0/24", False)):
        r = relay_of(start, sink, certificates.rsa, f"""\
      legacy:
        - listener: "127.0.0.1:0"
          clients: [{clients}]
          minimum: 1.0
""")
        got = s_client(r, *old)
        assert ("221 2.0.0" in got.stdout) == good, got
        if good:
            r.wait_log("event=tls.opened.*version=TLSv1 ")
            r.wait_log(r"warn event=tls.legacy worker=\d+ sid=\w+ client=127\.0\.0\.1 listener=127\.0\.0\.1:0 version=TLSv1 cipher=\S")
        else:
            r.wait_log(r"event=tls.failed.*the client speaks at most TLSv1\.0, the minimum at .* is TLSv1\.2")
        assert "221 2.0.0" in s_client(r, "-tls1_3").stdout
        r.stop()
        assert r.text().count("event=tls.legacy") == 1  # of one log: not for the new client, nor for who was refused



def test_minimum_and_ciphers_are_the_operators(start, sink, certificates):
    need("openssl")
    r = relay_of(start, sink, certificates.server, """\
      ciphers: ECDHE+CHACHA20
      ciphersuites: TLS_CHACHA20_POLY1305_SHA256
""")
    s_client(r, "-tls1_2")
    r.wait_log("cipher=ECDHE-ECDSA-CHACHA20-POLY1305")
    s_client(r, "-tls1_3")
    r.wait_log("cipher=TLS_CHACHA20_POLY1305_SHA256")
    s_client(r, "-tls1_2", "-cipher", "ECDHE+AESGCM")
    r.wait_log("event=tls.failed.*no cipher in common with the client")


# --- attacks ---

def test_commands_smuggled_before_the_handshake_are_forgotten(start, sink, certificates):
    r = relay_of(start, sink, certificates.server)
    t = Talk(r.port)
    t.cmd("EHLO client.example")
    t.send("STARTTLS\r\nMAIL FROM:<injected@example.org>\r\nRCPT TO:<victim@example.net>\r\n")
    code, text = t.reply()
    if code == 220:
        # What was in the clear lies before the hello, whoever reads it.
        s = trusting(certificates).wrap_socket(t.s, server_hostname="localhost")
        s.sendall(b"RCPT TO:<victim@example.net>\r\n")
        assert s.recv(1000).startswith(b"503")
        s.sendall(b"EHLO again\r\n")
        assert s.recv(1000).startswith(b"250")
        s.close()
    else:
        assert code in (501, 503, 554, 421), text
    assert "injected" not in "".join(m.decode() for m in sink.messages())
    t.s.close()


def test_nothing_said_in_the_clear_is_known_inside(start, sink, certificates):
    r = relay_of(start, sink, certificates.server)
    t = Talk(r.port)
    t.cmd("EHLO client.example")
    assert t.cmd("MAIL FROM:<from@example.org>")[0] == 250
    code, _ = t.cmd("STARTTLS")
    if code != 220:         # refused within a transaction
        assert code == 503
        assert t.cmd("RSET")[0] == 250
        assert t.cmd("STARTTLS")[0] == 220
    s = trusting(certificates).wrap_socket(t.s, server_hostname="localhost")
    for line, wanted in ((b"RCPT TO:<to@example.net>", b"503"), (b"STARTTLS", b"50"), (b"EHLO inside", b"250"),
                         (b"STARTTLS", b"50")):
        s.sendall(line + b"\r\n")
        assert s.recv(4000).startswith(wanted), line
    s.close()


def test_rubbish_instead_of_a_handshake(start, sink, certificates):
    r = relay_of(start, sink, certificates.server)
    for rubbish, log in ((b"EHLO still in the clear\r\n", "the client does not speak TLS: it sent .*EHLO still in the clea"),
                         (b"\x16\x03\x01\xff\xff" + b"x" * 70000, "event=tls.failed"),
                         (os.urandom(64).replace(b"\x16", b"\x00"), "event=tls.failed")):
        at = len(r.text())
        t = Talk(r.port)
        t.cmd("EHLO client.example")
        assert t.cmd("STARTTLS")[0] == 220
        try:
            t.send(rubbish)
            while t.s.recv(4096):
                pass
        except OSError:
            pass
        t.close()
        r.wait_log(log, after=at)
        r.wait_log("event=smtp.closed", after=at)
    t = Talk(r.port)
    t.cmd("EHLO client.example")
    t.cmd("STARTTLS")
    t.send(b"\x16\x03\x01")
    at = len(r.text())
    t.close()
    r.wait_log("event=smtp.closed", after=at)
    s = Secure(r.port, trusting(certificates))
    s.mail()
    s.close()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_goodbye_inside_data_ends_it_and_nothing_follows_in_the_clear(start, sink, certificates, version):
    r = relay_of(start, sink, certificates.server)
    s = Secure(r.port, trusting(certificates, maximum_version=getattr(ssl.TLSVersion, version)))
    for line in ("MAIL FROM:<from@example.org>", "RCPT TO:<to@example.net>", "DATA"):
        s.cmd(line)
    s.send("Subject: half\r\n\r\nhalf a message\r\n")
    raw = socket.socket(fileno=os.dup(s.s.fileno()))
    raw.settimeout(PATIENCE)
    at = len(r.text())
    s.s.settimeout(2)
    try:
        s.s.unwrap()            # sends close_notify
    except OSError:
        pass
    try:
        raw.sendall(b"more in the clear\r\n.\r\nMAIL FROM:<x@example.org>\r\n")
        raw.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    r.wait_log("event=smtp.closed", after=at)
    raw.close()
    s.f.close()
    assert sink.messages() == [] and r.count() == 0


def test_no_new_handshake_inside(start, sink, certificates):
    need("openssl")
    r = relay_of(start, sink, certificates.server)
    p = subprocess.Popen(["openssl", "s_client", "-tls1_2", "-starttls", "smtp", "-crlf", "-connect", f"127.0.0.1:{r.port}"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    r.wait_log("event=tls.opened")
    p.stdin.write("R\n")
    p.stdin.flush()
    out = p.communicate(timeout=PATIENCE)[0]
    assert "no renegotiation" in out.lower() or "handshake failure" in out.lower(), out[-2000:]


# --- mistakes ---

def test_mistakes_are_found_by_check(start, certificates):
    folder = start.folder
    open_key = folder / "open.key"
    open_key.write_text(certificates.server.key.read_text())
    open_key.chmod(0o644)
    good = f"certificate: {certificates.server.chain}\n      key: {certificates.server.key}"
    legacy = "      legacy:\n        - listener: '*:25'\n          clients: %s\n"
    cases = (
        (f"certificate: {folder}/none.pem\n      key: {certificates.server.key}", r":5:\d+: error: plugins.tls.certificate: .*none.pem: No such file"),
        (f"certificate: {certificates.server.chain}\n      key: {certificates.client.key}", "error: plugins.tls.key: .*does not belong to the certificate"),
        (f"certificate: {certificates.server.key}", "error: plugins.tls.certificate: .*holds no certificate in PEM"),
        (f"certificate: {certificates.expired.chain}\n      key: {certificates.expired.key}", "warning: plugins.tls.certificate: .*has expired on 20"),
        (f"certificate: {certificates.future.chain}\n      key: {certificates.future.key}", "warning: plugins.tls.certificate: .*not valid before 20"),
        (f"certificate: {certificates.server.chain}\n      key: {open_key}", "warning: plugins.tls.key: everybody may read the key"),
        (f"{good}\n      ciphers: NONE-SUCH", "error: plugins.tls.ciphers: .*NONE-SUCH"),
        (f"{good}\n{legacy % '[0.0.0.0/0]'}", "error: plugins.tls.legacy: .*lets everybody use old versions"),
        (f"{good}\n{legacy % '[::/0]'}".replace("[::/0]", '["::/0"]'), "error: plugins.tls.legacy: .*lets everybody use old versions"),
        (f"{good}\n{legacy % '[]'}", "error: plugins.tls.legacy: .*has no clients"),
        (f"{good}\n      client-certificates: require", "error: plugins.tls.client-certificates: needs client-ca-file"),
        (f"{good}\n{legacy % '[10.0.0.0/8]'}", r'error: plugins.tls.legacy: no listener has the address "\*:25"; .*: 127.0.0.1:25'),
        (f"{good}\n      client-certificates: require\n      client-ca-file: {certificates.ca.cert}\n      client-listeners: ['0.0.0.0:25']",
         r'error: plugins.tls.client-listeners: no listener has the address "0.0.0.0:25"; .*: 127.0.0.1:25'),
        (f"certificate: {certificates.ca.cert}", "error: plugins.tls.certificate: .*holds no private key; set key: to"),
        (f"key: {certificates.server.key}", "error: plugins.tls.key: is given without certificate"),
    )
    for i, (options, wanted) in enumerate(cases):
        f = folder / f"case{i}.yaml"
        f.write_text(f"spool: {folder}/spool\nplugins:\n  - auth-anonymous\n  - tls:\n      {options}\n")
        got = posthouse("check", "-c", f, "--plugin-dir", PLUGINS, check=False)
        text = got.stdout + got.stderr
        assert re.search(wanted, text), (options, text)
        assert (got.returncode == 0) == ("warning" in wanted), (options, text)
        assert "key" in wanted or "everybody may read" not in text, text
