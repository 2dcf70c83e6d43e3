"""Real clients submit; what arrives at the smart host is what they sent."""

from conftest import Talk, need, posthouse, run, until

BODY = "From: a@example.org\r\nTo: b@example.net\r\nSubject: Test\r\n\r\nline\r\n.dot first\r\n..two dots\r\n\r\nend\r\n"


def arrived(sink, n=1):
    until(f"{n} messages at the sink", lambda: len(sink.messages()) >= n)
    got = sink.messages()
    assert len(got) == n
    return got


def split_trace(message):
    """The envelope lines of the sink, the Received fields on top, and the rest."""
    lines = message.split(b"\r\n")
    trace = []
    while lines and (lines[0].lower().startswith((b"x-sender:", b"x-receiver:", b"received:"))
                     or (trace and lines[0][:1] in (b" ", b"\t"))):
        trace.append(lines.pop(0))
    return b"\r\n".join(trace), b"\r\n".join(lines)


def test_smtplib_body_is_unchanged(relay, sink):
    with relay.smtp() as c:
        assert c.sendmail("a@example.org", ["b@example.net"], BODY.encode()) == {}
    trace, rest = split_trace(arrived(sink)[0])
    assert rest == BODY.encode()
    assert b"x-sender: a@example.org" in trace and b"x-receiver: b@example.net" in trace
    assert trace.count(b"Received:") == 1 and b"by relay.example.com" in trace and b"for <b@example.net>" in trace


def test_received_does_not_tell_recipients_when_there_are_several(relay, sink):
    with relay.smtp() as c:
        c.sendmail("a@example.org", ["b@example.net", "secret@example.net"], BODY.encode())
    trace, _ = split_trace(arrived(sink)[0])
    assert b"for <" not in trace


def test_every_byte_value_in_8bit_content(relay, sink):
    raw = bytes(b for b in range(1, 256) if b not in (10, 13))
    body = b"Subject: bytes\r\n\r\n" + b"\r\n".join(raw[i:i + 60] for i in range(0, len(raw), 60)) + b"\r\n" + \
        b"x" * 5000 + b"\r\n"
    with relay.smtp() as c:
        c.sendmail("a@example.org", ["b@example.net"], body, mail_options=["BODY=8BITMIME"])
    assert split_trace(arrived(sink)[0])[1] == body


def test_swaks(relay, sink):
    need("swaks")
    r = run("swaks", "--server", relay.address, "--from", "a@example.org", "--to", "b@example.net",
            "--header", "Subject: from swaks", "--body", ".hidden dot\nlast", "--helo", "swaks.example")
    assert "250 2.0.0" in r.stdout
    _, rest = split_trace(arrived(sink)[0])
    assert b"Subject: from swaks" in rest and b"\r\n.hidden dot\r\nlast" in rest


def test_curl(relay, sink, tmp_path):
    need("curl")
    (tmp_path / "m.eml").write_text(BODY, newline="")
    run("curl", "-sS", f"smtp://{relay.address}/client.example", "--mail-from", "a@example.org", "--mail-rcpt", "b@example.net",
        "--mail-rcpt", "c@example.net", "-T", tmp_path / "m.eml")
    trace, rest = split_trace(arrived(sink)[0])
    assert rest == BODY.encode()
    assert b"x-receiver: c@example.net" in trace


def test_msmtp(relay, sink, tmp_path):
    need("msmtp")
    run("msmtp", "--host=127.0.0.1", f"--port={relay.port}", "--from=a@example.org", "--auth=off", "--tls=off", "b@example.net",
        input=BODY.replace("\r\n", "\n"))
    assert b"\r\n.dot first\r\n..two dots\r\n" in split_trace(arrived(sink)[0])[1]


def test_posthouse_send(relay, sink, tmp_path):
    (tmp_path / "m.eml").write_text(BODY, newline="")
    r = posthouse("send", "--to", relay.address, "--from", "a@example.org", "--rcpt", "b@example.net", tmp_path / "m.eml")
    assert r.stdout.strip()
    assert split_trace(arrived(sink)[0])[1] == BODY.encode()


def test_telnet_transcript_as_iis_documents_it(relay, sink):
    """Typed line by line: a space behind the colon, no brackets, a bare host name."""
    t = Talk(relay.port)
    assert t.cmd("EHLO server")[0] == 250
    assert t.cmd("MAIL FROM: a@b.com")[0] == 250
    assert t.cmd("RCPT TO: c@d.com")[0] == 250
    assert t.cmd("DATA")[0] == 354
    t.send("Subject: Test Message\r\n")
    t.send("\r\n")
    t.send("This is a test message\r\n")
    code, text = t.cmd(".")
    assert code == 250 and text.startswith("250 2.0.0 ")
    assert t.cmd("QUIT")[0] == 221
    trace, rest = split_trace(arrived(sink)[0])
    assert rest == b"Subject: Test Message\r\n\r\nThis is a test message\r\n"
    assert b"x-sender: a@b.com" in trace


def test_large_message_streams_through(relay, sink):
    line = b"0123456789abcdef" * 62 + b"\r\n"
    body = b"Subject: large\r\n\r\n" + line * 8000
    with relay.smtp() as c:
        c.sendmail("a@example.org", ["b@example.net"], body)
    assert split_trace(arrived(sink)[0])[1] == body
    relay.until_empty()
    until("the content file to go", lambda: not list((relay.spool / "large").glob("*")))


def test_bdat_chunks(relay, sink):
    t = Talk(relay.port)
    t.cmd("EHLO client.example")
    assert t.cmd("MAIL FROM:<a@example.org> BODY=BINARYMIME")[0] == 250
    assert t.cmd("RCPT TO:<b@example.net>")[0] == 250
    one, two = b"Subject: chunks\r\n\r\n.\r\n", b"bare \n and \r and \0 are content here\r\n"
    t.send(b"BDAT %d\r\n%s" % (len(one), one))
    assert t.reply()[0] == 250
    t.send(b"BDAT %d LAST\r\n%s" % (len(two), two))
    assert t.reply()[0] == 250
    assert split_trace(arrived(sink)[0])[1] == one + two


def test_pipelined_group_in_one_segment(relay, sink):
    t = Talk(relay.port, greet=True)
    t.cmd("EHLO client.example")
    t.send(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
    assert [t.reply()[0] for _ in range(3)] == [250, 250, 354]
    t.send(b"Subject: 1\r\n\r\none\r\n.\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
    assert [t.reply()[0] for _ in range(4)] == [250, 250, 250, 354]
    t.send(b"Subject: 2\r\n\r\ntwo\r\n.\r\nQUIT\r\n")
    assert [t.reply()[0] for _ in range(2)] == [250, 221]
    arrived(sink, 2)


def test_no_mail_from_a_session_that_dies_before_the_dot(relay, sink):
    t = Talk(relay.port)
    t.cmd("EHLO client.example")
    t.cmd("MAIL FROM:<a@example.org>")
    t.cmd("RCPT TO:<b@example.net>")
    t.cmd("DATA")
    t.send("Subject: never\r\n\r\nhalf")
    t.close()
    relay.wait_log(r"event=smtp.closed")
    with relay.smtp() as c:
        c.sendmail("a@example.org", ["b@example.net"], BODY.encode())
    assert b"never" not in arrived(sink)[0]


def test_without_authentication_plugin_mail_is_530(start):
    sink = start.sink()
    relay = start.relay(sink.address, plugins=f"""\
  - smarthost:
      hosts: ["{sink.address}"]
""")
    t = Talk(relay.port)
    t.cmd("EHLO client.example")
    code, text = t.cmd("MAIL FROM:<a@example.org>")
    assert code == 530 and "5.7.0" in text


def test_relay_is_denied_to_those_not_listed(start):
    sink = start.sink()
    relay = start.relay(sink.address, plugins=f"""\
  - auth-anonymous
  - relay-access:
      allow: [192.0.2.0/24]
  - smarthost:
      hosts: ["{sink.address}"]
""")
    t = Talk(relay.port)
    t.cmd("EHLO client.example")
    assert t.cmd("MAIL FROM:<a@example.org>")[0] == 250
    code, text = t.cmd("RCPT TO:<b@example.net>")
    assert code == 550 and "5.7.1" in text


def test_ipv6_in_and_out(tmp_path, start):
    import socket
    try:
        s = socket.create_server(("::1", 0), family=socket.AF_INET6)
        s.close()
    except OSError:
        import pytest
        pytest.skip("no IPv6 on this machine")
    sink = start.sink("--listen", "[::1]:0")
    relay = start.relay(f"[::1]:{sink.port}", listen="[::1]:0")
    posthouse("send", "--to", f"[::1]:{relay.port}", "--from", "a@example.org", "--rcpt", "b@example.net", "-",
              input=BODY)
    arrived(sink)
