"""Attacks on a running relay, one entry per way: what clients send.

Behind the relay stands a sink; after each attack a message by an honest client goes through, and then all that
arrived is looked at: nothing the relay did not acknowledge, no transaction made of the content of another.
What next hops and the DNS do to the relay is in test_hostile_hops.py.
"""
import contextlib
import itertools
import re
import resource
import signal
import socket
import time

import pytest

from conftest import SANITIZED, Relay, Sink, Talk, until
from test_clients import split_trace

HEAD = b"Subject: attack\r\n\r\n"
EVIL = b"MAIL FROM:<evil@evil.example>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nSubject: smuggled\r\n\r\nsmuggled\r\n"


class Range:
    """A relay, its sink, and what arrived since the last look."""

    def __init__(self, folder, top="", **kw):
        self.sink = Sink(folder, "--store", folder / "arrived")
        # of one worker, so that the log tells of one message after the other
        self.relay = Relay(folder, self.sink.address, top="workers: 1\n" + top, **kw)
        self.seen, self.fences = set(), 0

    def stop(self):
        self.relay.stop()
        self.sink.stop()

    def session(self, hello="EHLO attacker.example"):
        t = Talk(self.relay.port)
        if hello:
            assert t.cmd(hello)[0] == 250
        return t

    def rss(self):
        with open(f"/proc/{self.relay.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) / 1024

    def settle(self):
        """Sends honest mail, waits until it and all that was acknowledged before has arrived; returns the rest."""
        self.fences += 1
        mark = f"fence {self.fences}."
        t = self.session("EHLO honest.example")
        code, text = submit(t, b"Subject: " + mark.encode() + b"\r\n\r\n")
        assert code == 250, text
        t.close()
        self.relay.wait_log("event=smtp.accepted.*mid=" + text.split()[-1])
        accepted = self.relay.text().count("event=smtp.accepted")
        until("all that was acknowledged", lambda: len(list(self.sink.mail.glob("*.eml"))) >= accepted)
        new = [f for f in sorted(self.sink.mail.glob("*.eml")) if f.name not in self.seen]
        self.seen.update(f.name for f in new)
        got = [f.read_bytes() for f in new]
        assert sum(mark.encode() in m for m in got) == 1 and len(self.seen) == accepted
        return [m for m in got if mark.encode() not in m]


def submit(t, content, sender=b"a@example.org", rcpt=b"b@example.net", end=b".\r\n"):
    for c in (b"MAIL FROM:<" + sender + b">", b"RCPT TO:<" + rcpt + b">", b"DATA"):
        t.send(c + b"\r\n")
        code, text = t.reply()
        assert code in (250, 354), text
    t.send(content + end)
    return t.reply()


def replies(t):
    """The codes of all replies until the relay closes."""
    codes = []
    with contextlib.suppress(ConnectionResetError):
        while (got := t.reply())[0]:
            codes.append(got[0])
    return codes


def dribble(t, *pieces):
    """Each piece in a segment of its own, as far as the relay listens."""
    t.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for p in pieces:
            t.send(p)
            time.sleep(0.0005)


@pytest.fixture(scope="module")
def range_(tmp_path_factory):
    r = Range(tmp_path_factory.mktemp("attacks"))
    yield r
    r.stop()


# --- framing ---

SIDES = [b"", b"\r", b"\n", b"\r\n", b"\n\r", b"\r\r", b"\n\n", b"\r\n\r", b"\r\r\n", b"\r\n\n"]
AROUND = [(a, b) for a, b in itertools.product(SIDES, SIDES) if b"\r\n.\r\n" not in a + b"." + b]


@pytest.mark.parametrize("split", [False, True], ids=["one segment", "split"])
@pytest.mark.parametrize("before,behind", AROUND, ids=[f"{a!r}.{b!r}" for a, b in AROUND])
def test_smuggling(range_, before, behind, split):
    """No end of data but CRLF.CRLF; anything else with a bare CR or LF refuses the message and closes."""
    t = range_.session()
    for c in ("MAIL FROM:<a@example.org>", "RCPT TO:<b@example.net>", "DATA"):
        assert t.cmd(c)[0] in (250, 354)
    text = HEAD + b"first" + before + b"." + behind + EVIL + b".\r\n"
    pieces = [bytes([c]) for c in before + b"." + behind]
    dribble(t, *([HEAD + b"first", *pieces, EVIL, b".\r\nQUIT\r\n"] if split else [text + b"QUIT\r\n"]))
    codes = replies(t)
    bare = re.search(rb"\r(?!\n)|(?<!\r)\n", text) is not None
    got = range_.settle()
    if bare:
        assert codes == [521] and got == []
    else:
        assert codes == [250, 221] and len(got) == 1
        content = re.sub(rb"(^|\r\n)\.", rb"\1", text.removesuffix(b".\r\n"))
        assert split_trace(got[0])[1] == content and b"x-sender: a@example.org" in got[0]


@pytest.mark.parametrize("middle", [b"\r\n.\0\r\n", b"\r\n\0.\r\n", b"\r\n. \r\n", b"\r\n .\r\n", b"\r\n.\x0b\r\n", b"\r\n\x0b.\r\n",
                                    b"\r\n.\x85\r\n", b"\r\n..\r\n", b"\r\n.\t\r\n", b"\xe2\x80\xa8.\xe2\x80\xa8"], ids=repr)
def test_bytes_near_the_dot_are_content(range_, middle):
    t = range_.session()
    assert submit(t, HEAD + b"first" + middle + EVIL)[0] == 250
    got = range_.settle()
    assert len(got) == 1 and b"x-receiver: b@example.net" in got[0]
    assert split_trace(got[0])[1] == (HEAD + b"first" + middle + EVIL).replace(b"\r\n.", b"\r\n")


def test_two_transactions_are_two(range_):
    """The control: with CRLF.CRLF the same bytes are two messages."""
    t = range_.session()
    assert submit(t, HEAD + b"first\r\n", end=b".\r\n" + EVIL + b".\r\nQUIT\r\n")[0] == 250
    assert replies(t) == [250, 250, 354, 250, 221]
    assert len(range_.settle()) == 2


@pytest.mark.parametrize("line,want", [
    (b"NOOP\rRCPT TO:<x@example.net>\r\n", [500]),
    (b"NOOP\r\rQUIT\r\n", [500]),
    (b"NOOP\nNOOP\r\n", [250, 250]),
    (b"NOOP\0x\r\n", [500]),
    (b"\0\0\0\0\r\n", [500]),
    (b"RCPT TO:<a\0b@example.net>\r\n", [500]),
    (b'RCPT TO:<"a\rb"@example.net>\r\n', [500]),
    (b'RCPT TO:<"a\\\nRCPT TO:<x@example.net>"@example.net>\r\n', [501, 501]),
    (b"RCPT TO:<a\x7fb@example.net>\r\n", [500]),
    (b"RCPT TO:<a\x1b[2Jb@example.net>\r\n", [500]),
    (b"RCPT TO:<" + b"a" * 1900 + b"@example.net>\r\n", [501]),
    (b"RCPT TO:<" + b"<" * 1900 + b"\r\n", [501]),
    (b"RCPT TO:<" + b"(" * 1900 + b"\r\n", [501]),
    (b"RCPT TO:<" + b"@a," * 600 + b":b@example.net>\r\n", [501]),
    (b"RCPT TO:<" + b'"' * 1901 + b"@example.net>\r\n", [501]),
    (b"RCPT TO:<" + b"x" * 60000 + b"@example.net>\r\n", [500]),
    (b"EHLO " + b"x" * 11000 + b"\r\n", [500]),
    (b"RCPT TO:<\xff\xfe@example.net>\r\n", [501]),
    (b"RCPT TO:<b@ex\xc3\xa4mple.net>\r\n", [553]),
    (b"XCLIENT ADDR=127.0.0.1 NAME=localhost\r\n", [500]),
    (b"XFORWARD ADDR=127.0.0.1\r\n", [500]),
    (b"DEBUG\r\n", [500]), (b"WIZ\r\n", [500]), (b"ETRN @example.net\r\n", [502]), (b"EXPN staff\r\n", [502]),
    (b"PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\n", [500]),
    (b"\r\n\r\nPROXY\r\n", [500, 500, 500]),
    (b"BDAT -1 LAST\r\n", [501]), (b"BDAT 18446744073709551617\r\n", [501]), (b"BDAT 9x LAST\r\n", [501]),
    (b"BDAT\r\n", [501]), (b"BDAT 0x10\r\n", [501]), (b"BDAT 5 LAST LAST\r\n", [501]), (b"BDAT +3\r\n", [501]),
    (b"MAIL FROM:<x@example.org>\r\n", [503]),
], ids=lambda v: repr(v[:40]) if isinstance(v, bytes) else "")
def test_bad_commands_in_a_transaction(range_, line, want):
    """Each is refused once, none of it becomes a second command, and the transaction goes on."""
    t = range_.session()
    t.cmd("MAIL FROM:<a@example.org>")
    t.cmd("RCPT TO:<b@example.net>")
    t.send(line)
    assert [t.reply()[0] for _ in want] == want
    assert t.cmd("DATA")[0] == 354
    t.send(HEAD + b"after\r\n.\r\n")
    assert t.reply()[0] == 250
    got = range_.settle()
    assert len(got) == 1 and got[0].count(b"x-receiver:") == 1


def test_command_without_an_end(range_):
    """100 kB, then 8 MB more of one line: one reply, bounded memory, and nothing of its tail is obeyed."""
    before = range_.rss()
    t = range_.session()
    t.send(b"MAIL FROM:<" + b"a" * 100_000)
    assert t.reply()[0] == 500
    for _ in range(128):
        t.send(b"x" * 65536)
    assert range_.rss() - before < (100 if SANITIZED else 8)
    t.send(b"\nNOOP\r\n")
    assert t.reply()[0] == 250
    t.close()
    assert range_.settle() == []


@pytest.mark.parametrize("n", [998, 999, 1000, 4095, 4096, 16384, 100_000])
def test_long_content_lines_are_unchanged(range_, n):
    body = HEAD + b"x" * n + b"\r\n" + b"." * n + b"\r\n" + (b"y" * (n - 1) + b".") + b"\r\nend\r\n"
    t = range_.session()
    assert submit(t, body.replace(b"\r\n.", b"\r\n.."))[0] == 250
    (got,) = range_.settle()
    assert split_trace(got)[1] == body


@pytest.mark.parametrize("body", [b"a\0b\r\n", b"\0" * 5000 + b"\r\n", b"\r\n\0\r\n"], ids=["one", "many", "alone"])
@pytest.mark.parametrize("where", ["header", "body"])
def test_nul_in_content_cuts_nothing(range_, body, where):
    content = (b"X-A: " + body.replace(b"\r\n", b"") + b"\r\n" + HEAD if where == "header" else HEAD + body) + b"end\r\n"
    t = range_.session()
    assert submit(t, content)[0] == 250
    (got,) = range_.settle()
    assert got.endswith(content)


@pytest.mark.parametrize("group,want,messages", [
    # content before 354, after a DATA that is refused: not one line of it is a command
    (b"MAIL FROM:<a@example.org>\r\nDATA\r\nSubject: x\r\n\r\n" + EVIL + b".\r\n", [250, 503, 503], 0),
    (b"MAIL FROM:<a@example.org>\r\nRCPT TO:<nonsense>\r\nDATA\r\nhello\r\n" + EVIL + b".\r\n", [250, 501, 503, 503], 0),
    # and after one that is taken: content
    (b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nSubject: x\r\n\r\n" + EVIL + b".\r\nQUIT\r\n",
     [250, 250, 354, 250, 221], 1),
    # refused chunks: their octets are dropped
    (b"BDAT %d LAST\r\n%sQUIT\r\n" % (len(EVIL), EVIL), [503, 221], 0),
    (b"MAIL FROM:<a@example.org>\r\nBDAT %d\r\n%sQUIT\r\n" % (len(EVIL), EVIL), [250, 503, 221], 0),
    (b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nBDAT 10\r\nSubject: aMAIL FROM:<x@example.org>\r\nBDAT %d LAST\r\n%s"
     b"QUIT\r\n" % (len(EVIL), EVIL), [250, 250, 250, 503, 250, 221], 1),
    (b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nBDAT 0 LAST\r\nQUIT\r\n", [250, 250, 250, 221], 1),
    (b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n" + b"BDAT 0\r\n" * 50 + b"BDAT 13 LAST\r\n\r\n.\r\nQUIT\r\n.x"
     b"QUIT\r\n", [250, 250] + [250] * 51 + [221], 1),
    (b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nBDAT 4\r\na\r\n\r"
     b"BDAT 7 LAST\r\n\n.\r\nb\r\nQUIT\r\n", [250, 250, 250, 250, 221], 1),
    (b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nBDAT 9223372036854775807 LAST\r\nQUIT\r\n", [250, 250], 0),
], ids=["no recipient", "bad recipient", "early content", "chunk without mail", "chunk without rcpt", "mail between chunks",
        "empty", "empty ones and dots", "cut in CRLF", "absurd size"])
def test_pipelined_groups(range_, group, want, messages):
    t = range_.session()
    t.send(group)
    codes = [t.reply()[0] for _ in want]
    t.s.shutdown(socket.SHUT_WR)
    assert codes + replies(t) == want
    got = range_.settle()
    assert len(got) == messages
    assert not any(b"x-sender: evil" in m for m in got)


def test_client_that_sends_all_and_half_closes(range_):
    """As by «printf ... | nc»: all that came before the end is obeyed and answered."""
    for _ in range(20):
        t = range_.session()
        t.send((b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n" + HEAD + b"x\r\n.\r\n") * 3 + b"QUIT\r\n")
        t.s.shutdown(socket.SHUT_WR)
        assert replies(t) == [250, 250, 354, 250] * 3 + [221]
    assert len(range_.settle()) == 60


def test_dots_in_a_chunk_are_stuffed_for_a_hop_with_data(tmp_path):
    r = Range(tmp_path, top="outbound:\n  chunking: no\n")
    try:
        t = r.session()
        content = HEAD + b"a\r\n.\r\n" + EVIL + b".\r\n..\r\n.x\r\nend without line end"
        for c in (b"MAIL FROM:<a@example.org>\r\n", b"RCPT TO:<b@example.net>\r\n"):
            t.send(c)
            assert t.reply()[0] == 250
        t.send(b"BDAT %d LAST\r\n%s" % (len(content), content))
        assert t.reply()[0] == 250
        (got,) = r.settle()
        assert split_trace(got)[1] == content + b"\r\n"
    finally:
        r.stop()


@pytest.mark.parametrize("seq", [b"\n.\n", b"\n.\r\n", b"\r\n.\n"], ids=repr)
def test_bare_newlines_that_are_accepted_reach_the_hop_as_content(lenient, seq):
    t = lenient.session()
    assert submit(t, HEAD + b"first" + seq + EVIL)[0] == 250
    (got,) = lenient.settle()
    rest = split_trace(got)[1]
    assert re.search(rb"\r(?!\n)|(?<!\r)\n", rest) is None and b"x-sender: a@" in got
    assert b"MAIL FROM:<evil" in rest


@pytest.fixture(scope="module")
def lenient(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lenient")
    r = Range(folder, listen='127.0.0.1:0"\n    accept-bare-newline: "yes')
    yield r
    r.stop()


@pytest.mark.parametrize("mail,want", [
    ("MAIL FROM:<a@example.org> SIZE=99999999999", 552), ("MAIL FROM:<a@example.org> SIZE=99999999999999999999999", 552),
    ("MAIL FROM:<a@example.org> SIZE=-1", 501), ("MAIL FROM:<a@example.org> SIZE=", 501), ("MAIL FROM:<a@example.org> SIZE=1k", 501),
    ("MAIL FROM:<a@example.org> SIZE", 501), ("MAIL FROM:<a@example.org> SIZE=1 SIZE=2", 501),
    ("MAIL FROM:<a@example.org> NONSENSE=1", 555), ("MAIL FROM:<a@example.org> BODY=9BIT", 501),
    ("MAIL FROM:<a@example.org> ENVID=a+0D+0Ab RET=FULL", 501), ("MAIL FROM:<a@example.org> ENVID=+zz", 501),
], ids=lambda v: str(v)[26:])
def test_mail_parameters(range_, mail, want):
    t = range_.session()
    code, text = t.cmd(mail)
    assert code // 100 == want // 100, text
    assert t.cmd("RSET")[0] == 250
    t.close()


def test_size_that_lies(tmp_path):
    """Announced small, sent large: the rest is read and dropped, the session goes on."""
    r = Range(tmp_path, listen='127.0.0.1:0"\n    max-message-size: "64K')
    try:
        t = r.session()
        t.send(b"MAIL FROM:<a@example.org> SIZE=1\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
        assert [t.reply()[0] for _ in range(3)] == [250, 250, 354]
        t.send(HEAD + (b"x" * 998 + b"\r\n") * 3000 + EVIL + b".\r\n")
        assert t.reply()[0] == 552
        t.send(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nBDAT 70000\r\n" + EVIL.ljust(70000, b"x") + b"NOOP\r\n")
        assert [t.reply()[0] for _ in range(4)] == [250, 250, 552, 250]
        assert r.settle() == []
    finally:
        r.stop()


# --- addresses and relaying ---

@pytest.fixture(scope="module")
def outsider(tmp_path_factory):
    """A relay for which we are nobody: 127.0.0.1 is not among those who may relay."""
    folder = tmp_path_factory.mktemp("outsider")
    sink = Sink(folder, "--store", folder / "arrived")
    relay = Relay(folder, sink.address, plugins=f"""\
  - auth-anonymous
  - relay-access:
      allow: [192.0.2.0/24, "2001:db8::/32"]
  - smarthost:
      hosts: ["{sink.address}"]
""")
    yield relay, sink
    relay.stop()
    sink.stop()


FORMS = ["user@example.net", "user%example.net@relay.example.com", "user%example.net", "example.net!user",
         "example.net!user@relay.example.com", "@relay.example.com:user@example.net", "@a,@b:user@example.net",
         '"user@example.net"@relay.example.com', '"user@example.net"', "user@example.net@relay.example.com", "user@example.net.",
         "user@[127.0.0.1]", "user%example.net@[127.0.0.1]", "user@[IPv6:::1]", "user", "postmaster", "user@localhost",
         "user@relay.example.com", "root@127.0.0.1", '"-oQ/tmp"@example.net', "${run{/bin/true}}@localhost", ":include:/etc/passwd",
         "|/bin/true", '"; touch /tmp/x; "@example.net', "user@ex\u0430mple.net"]


@pytest.mark.parametrize("sender", ["a@example.org", "", "postmaster@relay.example.com", "root@localhost"])
@pytest.mark.parametrize("rcpt", FORMS)
def test_no_open_relay(outsider, rcpt, sender):
    relay, sink = outsider
    t = Talk(relay.port)
    t.cmd("EHLO [127.0.0.1]")
    t.cmd(f"MAIL FROM:<{sender}>")
    code, text = t.cmd(f"RCPT TO:<{rcpt}>")
    assert code // 100 == 5 and re.match(r"\d+ 5\.(7|1|6|5)\.\d", text), text
    assert t.cmd("DATA")[0] == 503
    t.close()
    assert sink.messages() == []


@pytest.mark.parametrize("name", ["a\tb", "a(by evil.example)", "a;b", 'a"b', "a\\b", "x" * 255, "[1.2.3.4]", "\u00e9vil", "a\u2028b",
                                  "by", "a>b<c", "%s%n", "a=b event=fake", "a,b:c@d"])
@pytest.mark.parametrize("verb", ["HELO", "EHLO"])
def test_hello_names_stay_inside_received_and_log(range_, verb, name):
    mark = len(range_.relay.text())
    t = range_.session(None)
    code, _ = t.cmd(f"{verb} {name}")
    assert code in (250, 501)
    if code != 250:
        return
    assert submit(t, HEAD + b"x\r\n")[0] == 250
    (got,) = range_.settle()
    trace, rest = split_trace(got)
    assert rest == HEAD + b"x\r\n" and trace.count(b"Received:") == 1
    assert trace.isascii() and len([ln for ln in trace.split(b"\r\n") if not ln.startswith((b"x-", b"Received:", b"\t"))]) == 0
    # outside quotes and comments of the field there is one «by» and one «;»: ours
    plain = re.sub(rb'"(\\.|[^"\\])*"', b"", trace)
    while (less := re.sub(rb"\((\\.|[^()\\])*\)", b"", plain)) != plain:
        plain = less
    assert plain.count(b" by relay.example.com") + plain.count(b"\tby relay.example.com") == 1 and plain.count(b";") == 1
    for line in range_.relay.text()[mark:].splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\S+ \w+ event=", line) and line.isprintable(), line
        assert len(re.findall(r"(?<!\S)event=", re.sub(r'"(\\.|[^"\\])*"', "", line))) == 1, line


@pytest.mark.parametrize("hello", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 999\r\n\r\n",
                                   b"SSH-2.0-OpenSSH_9.2\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                                   b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"OPTIONS * HTTP/1.0\r\n\r\n", b"PUT /x HTTP/1.1\r\n\r\n"],
                         ids=["GET", "POST", "SSH", "TLS", "HTTP2", "OPTIONS", "PUT"])
@pytest.mark.parametrize("greeted", [False, True], ids=["first", "after EHLO"])
def test_other_protocols(range_, hello, greeted):
    """The first line ends it: the SMTP lines in the body of a request are not served."""
    t = range_.session("EHLO x" if greeted else None)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        t.send(hello + b"EHLO x\r\n" + EVIL + b".\r\nQUIT\r\n")
    assert replies(t) == [521]
    assert range_.settle() == []


@pytest.mark.parametrize("first", [b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n",
                                   b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\1\0\x19"], ids=["v1", "v2"])
def test_proxy_header_is_not_believed(range_, first):
    t = range_.session(None)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        t.send(first + b"\r\nEHLO x\r\nMAIL FROM:<a@example.org>\r\nQUIT\r\n")
    codes = replies(t)
    assert codes[0] // 100 == 5
    assert "client=192.0.2.1" not in range_.relay.text()


def test_recipients_beyond_the_limit(tmp_path):
    r = Range(tmp_path)
    try:
        t = r.session()
        t.cmd("MAIL FROM:<a@example.org>")
        t.send(b"".join(b"RCPT TO:<r%d@example.net>\r\n" % i for i in range(1500)))
        assert [t.reply()[0] for _ in range(1500)] == [250] * 1000 + [452] * 500
        assert t.cmd("DATA")[0] == 354
        t.send(HEAD + b"x\r\n.\r\n")
        assert t.reply()[0] == 250
        r.relay.until_empty()
        got = [rcpt for m in r.sink.messages() for rcpt in re.findall(rb"x-receiver: (\S+)", m)]
        assert sorted(got) == sorted(b"r%d@example.net" % i for i in range(1000))
        assert not any(b"for <" in split_trace(m)[0] for m in r.sink.messages())
    finally:
        r.stop()


def test_many_received_fields(range_):
    trace = b"Received: from a by b; Tue, 24 Nov 2026 12:00:00 +0000\r\n"
    t = range_.session()
    assert submit(t, trace * 94 + HEAD + b"x\r\n")[0] == 250
    assert submit(t, trace * 100 + HEAD + b"x\r\n")[0] == 554
    assert submit(t, HEAD + trace * 200)[0] == 250
    assert len(range_.settle()) == 2


# --- resources ---

def test_error_flood(range_):
    t = range_.session()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        t.send(b"NONSENSE\r\n" * 20000 + b"NOOP\r\n")
    codes = replies(t)
    assert set(codes) <= {500, 421} and len(codes) <= 21
    assert range_.settle() == []


def test_clients_that_never_read(range_):
    """Commands by the megabyte, replies never taken: the relay stops reading instead of piling them up."""
    before = range_.rss()
    socks = []
    for _ in range(8):
        s = socket.create_connection(("127.0.0.1", range_.relay.port))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(0.3)
        with contextlib.suppress(socket.timeout, BrokenPipeError, ConnectionResetError):
            s.sendall(b"EHLO x\r\n" * 3_000_000)
            pytest.fail("24 MB of commands were read without a reply being taken")
        socks.append(s)
    assert range_.rss() - before < (200 if SANITIZED else 20)
    assert range_.settle() == []
    for s in socks:
        s.close()


def test_idle_connections_leave_room_for_others(range_):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n = 2000 if soft == resource.RLIM_INFINITY or soft > 2200 else soft - 200
    before = range_.rss()
    socks = [socket.create_connection(("127.0.0.1", range_.relay.port)) for _ in range(n)]
    started = time.monotonic()
    assert range_.settle() == []
    assert time.monotonic() - started < 5
    assert range_.rss() - before < n * (200 if SANITIZED else 20) / 1024
    for s in socks:         # half of them reset
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0" if s.fileno() % 2 else b"\0" * 8)
        s.close()
    assert range_.settle() == []


def test_connects_that_leave_at_once(range_):
    for i in range(300):
        s = socket.create_connection(("127.0.0.1", range_.relay.port))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if i % 3:
            s.send(b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nx"[:i % 60])
        s.close()
    assert range_.settle() == []


def test_limits_on_connections(tmp_path):
    r = Range(tmp_path, listen='127.0.0.1:0"\n    max-connections-per-address: "5', top="max-connections: 8\n")
    try:
        held = [r.session() for _ in range(5)]
        t = Talk(r.relay.port, greet=False)
        assert t.reply()[0] == 421 and t.reply()[0] == 0
        held.pop().close()
        until("room again", lambda: Talk(r.relay.port, greet=False).reply()[0] == 220)
        for h in held:
            assert h.cmd("NOOP")[0] == 250
            h.close()
    finally:
        r.stop()


def test_out_of_descriptors(tmp_path):
    """64 in all: it says 421 or makes wait, does not spin, keeps serving those who are in, and recovers."""
    r = Range(tmp_path, argv=["prlimit", "--nofile=64:64"])
    try:
        assert r.settle() == []         # a segment of the store is open now
        inside = r.session()
        socks = []
        for _ in range(150):
            s = socket.socket()
            s.settimeout(5)
            s.connect(("127.0.0.1", r.relay.port))
            socks.append(s)
        r.relay.wait_log("event=(net.exhausted|smtp.refused)")
        with open(f"/proc/{r.relay.pid}/stat") as f:
            cpu = sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))
        assert submit(inside, HEAD + b"inside\r\n")[0] == 250
        time.sleep(1)           # what it burns while it is full
        with open(f"/proc/{r.relay.pid}/stat") as f:
            assert sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13])) - cpu < (80 if SANITIZED else 30)
        until("what was acknowledged", lambda: any(b"inside" in m for m in r.sink.messages()))
        for s in socks:
            s.close()
        until("room again", lambda: Talk(r.relay.port, greet=False).reply()[0] == 220)
        assert len(r.settle()) == 1
    finally:
        r.stop()


def test_slow_clients_run_into_the_clock(tmp_path):
    """One byte at a time is no progress: the time-out counts from the last whole command or block of content."""
    r = Range(tmp_path, listen='127.0.0.1:0"\n    timeout-command: 1s\n    timeout-data: "1s')
    try:
        command, content = r.session(), r.session()
        for c in ("MAIL FROM:<a@example.org>", "RCPT TO:<b@example.net>", "DATA"):
            content.cmd(c)
        end = time.monotonic() + 10
        ended = set()
        while len(ended) < 2 and time.monotonic() < end:
            for t in (command, content):
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    t.send(b"x")
            time.sleep(0.1)
            ended = set(re.findall(r"event=smtp.closed.*sid=(\S+).*why=timeout", r.relay.text()))
        assert len(ended) == 2
        assert r.settle() == []
    finally:
        r.stop()


def test_sigterm_in_the_middle_of_everything(tmp_path):
    """Clients in each state and a stop: it ends in its grace, and what was acknowledged is there after the next start."""
    r = Range(tmp_path, top="shutdown-grace: 2s\n")
    try:
        states = [[], ["EHLO x"], ["EHLO x", "MAIL FROM:<a@example.org>"],
                  ["EHLO x", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.net>"],
                  ["EHLO x", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.net>", "DATA"]]
        talks = []
        for lines in states:
            t = Talk(r.relay.port)
            for line in lines:
                t.cmd(line)
            talks.append(t)
        talks[4].send(HEAD + b"half a line")
        never_reads = socket.create_connection(("127.0.0.1", r.relay.port))
        never_reads.settimeout(0.2)
        with contextlib.suppress(socket.timeout):
            never_reads.sendall(b"EHLO x\r\n" * 2_000_000)
        kept = [submit(r.session(), HEAD + b"kept %d\r\n" % i) for i in range(20)]
        assert all(k[0] == 250 for k in kept)
        began = time.monotonic()
        r.relay.signal(signal.SIGTERM)
        assert replies(talks[0]) in ([421], []) and replies(talks[1]) == [421]
        assert r.relay.wait(20) == 0 and time.monotonic() - began < 8
        never_reads.close()
        r.relay.start()
        assert len(r.settle()) == 20
    finally:
        r.stop()
