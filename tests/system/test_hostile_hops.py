"""What next hops and the DNS may do to a relay: nothing is lost, nothing is believed, nothing hangs.

A hop is a thread per connection that behaves until one step of its script. All of them stand behind one relay, each with
a recipient domain of its own, so that a stuck one would be seen to hold up others.
"""
import contextlib
import email
import email.policy
import re
import shutil
import socket
import struct
import threading
import time

import pytest

from conftest import Relay, Sink, Talk, until
from test_clients import arrived, split_trace

BODY = b"From: a@example.org\r\nSubject: hostile\r\n\r\nbody\r\n"
STEPS = ["banner", "ehlo", "mail", "rcpt", "data", "dot"]
DEEDS = {
    "garbage": b"\xff\xfe\0garbage\r\n",
    "text": b"what do you mean?\r\n",
    "endless line": b"250 " + b"x" * 200_000,
    "endless lines": b"250-x\r\n" * 100_000,
    "mixed codes": b"250-a\r\n550 b\r\n",
    "421": b"421 4.3.2 going away\r\n",
    "451": b"451 4.3.0 later\r\n",
    "closes": b"",
    "half a reply": b"25",
    "silence": None,
    "code 999": b"999 no\r\n", "code 199": b"199 no\r\n",
}


class Hop:
    """A server that does deed (bytes, then the end; None: nothing for ever) at a step, and is nice otherwise."""

    def __init__(self, step=None, deed=b"", keep=False):
        self.step, self.deed, self.keep = step, deed, keep
        self.s = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.port = self.s.getsockname()[1]
        self.content, self.open, self.connections = [], [], 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                c, _ = self.s.accept()
                self.open.append(c)
                self.connections += 1
                threading.Thread(target=self.talk, args=(c,), daemon=True).start()

    def do(self, c, step, nice):
        if step != self.step:
            c.sendall(nice)
            return True
        if self.deed is not None:
            c.sendall(self.deed)
            if not self.keep:
                c.shutdown(socket.SHUT_RDWR)
        return self.keep

    def talk(self, c):
        with contextlib.suppress(OSError):
            f = c.makefile("rb")
            go = self.do(c, "banner", b"220 hop.example ESMTP\r\n")
            while go and (line := f.readline()):
                verb = line[:4].upper()
                if verb == b"EHLO":
                    go = self.do(c, "ehlo", b"250-hop.example\r\n250-DSN\r\n250 8BITMIME\r\n")
                elif verb == b"MAIL":
                    go = self.do(c, "mail", b"250 2.1.0 ok\r\n")
                elif verb == b"RCPT":
                    go = self.do(c, "rcpt", b"250 2.1.5 ok\r\n")
                elif verb == b"DATA":
                    go = self.do(c, "data", b"354 go\r\n")
                    content = b""
                    while go and (line := f.readline()) and line != b".\r\n":
                        content += line
                    if go:
                        self.content.append(content)
                        go = self.do(c, "dot", b"250 2.0.0 ok\r\n")
                elif verb == b"QUIT":
                    go = False
                    c.sendall(b"221 bye\r\n")
                else:
                    c.sendall(b"250 ok\r\n")
            if self.step is None or self.deed is not None:
                c.close()

    def stop(self):
        self.s.close()
        for c in self.open:
            with contextlib.suppress(OSError):
                c.close()


def routes(hops, more=""):
    text = "  - auth-anonymous\n  - relay-access:\n      allow: [127.0.0.0/8]\n"
    for name, port in hops.items():
        text += f'  - smarthost:\n      as: {name}\n      domains: [{name}.example.net]\n      hosts: ["127.0.0.1:{port}"]\n{more}'
    return text


def submit(port, rcpts, sender="a@example.org", mail="", rcpt="", body=BODY):
    t = Talk(port)
    t.cmd("EHLO client.example")
    assert t.cmd(f"MAIL FROM:<{sender}>{mail}")[0] == 250
    for r in rcpts:
        code, text = t.cmd(f"RCPT TO:<{r}>{rcpt}")
        assert code == 250, text
    t.cmd("DATA")
    t.send(body + b".\r\n")
    code, text = t.reply()
    assert code == 250, text
    t.close()
    return text.split()[-1]


def test_hops_that_misbehave_at_each_step(tmp_path, started):
    """Each message is deferred and kept over a restart; the good hop beside them gets its mail at once."""
    hops = {f"h{i}": (Hop(step, deed), step, what)
            for i, ((what, deed), step) in enumerate((d, s) for d in DEEDS.items() for s in STEPS)}
    sink = Sink(tmp_path, "--store", tmp_path / "arrived")
    relay = Relay(tmp_path, "", top="workers: 2\nshutdown-grace: 1s\n",
                  plugins=routes({**{n: h[0].port for n, h in hops.items()}, "good": sink.port}))
    started += [sink, relay]
    ids = {submit(relay.port, [f"r@{name}.example.net"]): name for name in hops}
    began = time.monotonic()
    submit(relay.port, ["r@good.example.net"])
    until("mail at the good hop", sink.messages)
    assert time.monotonic() - began < 5
    quiet = {n for n, h in hops.items() if h[1:] == (h[1], "silence")}

    def tried():
        rows = {ids[m["id"]]: m for m in relay.queue_json("show") if m["id"] in ids}
        return rows if all(rows.get(n, {}).get("attempts") or n in quiet or hops[n][0].connections > 0
                           for n in hops) else None
    rows = until("an attempt at each hop", tried, every=0.2)
    time.sleep(1)
    rows = {ids[m["id"]]: m for m in relay.queue_json("show") if m["id"] in ids}
    lost = {hops[n][1:] for n in hops if n not in rows}
    # a final 550 in the last line of a reply, or codes that are none: temporary; nothing else ends a message
    assert lost == set()
    assert relay.stop(limit=20) == 0
    relay.start()
    until("the scan", lambda: len(relay.queue_json("list")) >= len(hops))
    assert {m["id"] for m in relay.queue_json("list")} >= set(ids)
    for h, _, _ in hops.values():
        h.stop()


def test_long_replies(tmp_path, started):
    """20 kB of a right reply at each step: the mail arrives all the same."""
    long = {s: b"".join(b"%d-%s\r\n" % (c, b"w" * 500) for _ in range(40)) + b"%d end\r\n" % c
            for s in STEPS for c in [220 if s == "banner" else 354 if s == "data" else 250]}
    hops = {f"l{i}": Hop(s, long[s], keep=True) for i, s in enumerate(STEPS)}
    relay = Relay(tmp_path, "", plugins=routes({n: h.port for n, h in hops.items()}))
    started.append(relay)
    for n in hops:
        submit(relay.port, [f"r@{n}.example.net"])
    relay.until_empty()
    assert all(len(h.content) == 1 for h in hops.values())
    for h in hops.values():
        h.stop()


INJECT = (b"550-5.1.1 no\tsuch\x1b[31m user\r\n550-5.1.1 --boundary\x85\xe2\x80\xa8Bcc: x@evil.example\r\n"
          b"550 5.1.1 event=fake level=\"x\" \\n" + b"w" * 800 + b"\r\n")


def test_words_of_a_hop_stay_words(tmp_path, started):
    """In the report: one field, ASCII, short lines, no new part; in the log: one line."""
    hop, sink = Hop("rcpt", INJECT, keep=True), Sink(tmp_path, "--store", tmp_path / "arrived")
    relay = Relay(tmp_path, "", plugins=routes({"bad": hop.port}) + f'  - smarthost:\n      as: rest\n      hosts: ["{sink.address}"]\n')
    started += [sink, relay]
    submit(relay.port, ["r@bad.example.net"], mail=" ENVID=a+2BX-Evil:+20yes RET=HDRS", rcpt=" ORCPT=rfc822;r+2BX:y@bad.example.net",
           body=b"Subject: --x\r\nX-Odd: \xff\xfe\r\n\r\n" + b"secret\r\n" * 10)
    raw = split_trace(arrived(sink)[0])[1]
    assert raw.isascii() and max(map(len, raw.split(b"\r\n"))) <= 998
    assert re.search(rb"\r(?!\n)|(?<!\r)\n|[\0-\x08\x0b\x0c\x0e-\x1f\x7f]", raw) is None
    m = email.message_from_bytes(raw, policy=email.policy.default)
    assert m["To"] == "a@example.org" or m["To"].addresses[0].addr_spec == "a@example.org"
    assert m.get_content_type() == "multipart/report" and len(m.get_payload()) == 3
    assert m["Bcc"] is None and m["Auto-Submitted"] and b"secret" not in raw
    report = m.get_payload()[1].get_payload()
    assert len(report) == 2 and report[0]["X-Evil"] is None and report[1]["Bcc"] is None
    assert report[1]["Status"] == "5.1.1" and report[1]["Action"] == "failed"
    assert "x-sender: <>" in split_trace(arrived(sink)[0])[0].decode() or b"x-sender: \r" in arrived(sink)[0]
    for line in relay.text().splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\S+ \w+ event=\w", line) and line.isprintable(), line
    hop.stop()


def test_null_senders_get_no_report(tmp_path, started):
    hop, sink = Hop("rcpt", b"550 5.1.1 no\r\n", keep=True), Sink(tmp_path, "--store", tmp_path / "arrived")
    relay = Relay(tmp_path, "", plugins=routes({"bad": hop.port}) + f'  - smarthost:\n      as: rest\n      hosts: ["{sink.address}"]\n')
    started += [sink, relay]
    submit(relay.port, ["r@bad.example.net"], sender="")
    relay.wait_log("event=queue.badmail")
    relay.until_empty()
    assert sink.messages() == [] and list((relay.spool / "badmail").iterdir())
    # nor does a report that cannot be delivered: its sender is the null sender
    submit(relay.port, ["r@bad.example.net"], sender="s@bad.example.net")
    until("two in badmail", lambda: relay.text().count("event=queue.badmail") == 2)
    relay.until_empty()
    assert sink.messages() == []
    hop.stop()


def test_lost_reply_after_the_dot_is_tried_again(tmp_path, started):
    """RFC 1047: the hop has it, we cannot know; a second copy is right, silence would not be."""
    hop = Hop("dot", b"")
    relay = Relay(tmp_path, "", top="queue:\n  retry: [1s]\n  probe: [1s]\n", plugins=routes({"h": hop.port}))
    started.append(relay)
    submit(relay.port, ["r@h.example.net"])
    until("the first copy", lambda: hop.content)
    hop.step = None
    until("the second", lambda: len(hop.content) >= 2)
    relay.until_empty()
    assert len(set(c.split(b"\r\nFrom:")[1] for c in hop.content)) == 1
    hop.stop()


# --- names ---

class Dns:
    """Answers over UDP from a table of {(name, type): [data]}; NODATA for the rest."""

    def __init__(self, table):
        self.table, self.asked = table, set()
        self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.bind(("127.0.0.1", 0))
        self.port = self.s.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    @staticmethod
    def name(text):
        return b"".join(bytes([len(p)]) + p.encode() for p in text.split(".") if p) + b"\0"

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                q, peer = self.s.recvfrom(2048)
                at, labels = 12, []
                while q[at]:
                    labels.append(q[at + 1:at + 1 + q[at]].decode().lower())
                    at += q[at] + 1
                kind, = struct.unpack(">H", q[at + 1:at + 3])
                question, name = q[12:at + 5], ".".join(labels)
                self.asked.add((name, kind))
                rows = [(kind, d) for d in self.table.get((name, kind), [])] or [(5, d) for d in self.table.get((name, 5), [])]
                out = b"".join(question[:-4] + struct.pack(">HHIH", k, 1, 60, len(d)) + d for k, d in rows)
                self.s.sendto(q[:2] + b"\x81\x80" + struct.pack(">HHHH", 1, len(rows), 0, 0) + question + out, peer)

    def stop(self):
        self.s.close()


A, CNAME, MX, AAAA = 1, 5, 15, 28


def mx(pref, name):
    return struct.pack(">H", pref) + Dns.name(name)


EVIL_NAMES = {
    "a-loopback": ({(A,): [b"\x7f\0\0\1"]}, "loopback"),
    "a-loopback2": ({(A,): [b"\x7f\x12\x34\x56"]}, "loopback"),
    "a-zero": ({(A,): [b"\0\0\0\0"]}, "unspecified"),
    "aaaa-loopback": ({(AAAA,): [b"\0" * 15 + b"\1"]}, "loopback"),
    "aaaa-any": ({(AAAA,): [b"\0" * 16]}, "unspecified"),
    "aaaa-mapped": ({(AAAA,): [b"\0" * 10 + b"\xff\xff\x7f\0\0\1"]}, "loopback"),
    "linklocal": ({(A,): [b"\xa9\xfe\xa9\xfe"]}, "link-local"),
    "multicast": ({(A,): [b"\xe0\0\0\1"]}, "multicast"), "broadcast": ({(A,): [b"\xff\xff\xff\xff"]}, "reserved"),
    "mx-loopback": ({(MX,): [mx(10, "a-loopback.test")]}, "loopback"),
    "mx-literal": ({(MX,): [mx(10, "127.0.0.1")]}, "no such name"),
    "null-mx": ({(MX,): [mx(0, "")]}, "null MX"),
    "null-mx-and-more": ({(MX,): [mx(0, ""), mx(10, "a-loopback.test")]}, "loopback"),
    "cname-loop": ({(CNAME,): [Dns.name("cname-loop.test")]}, "failure"),
    "cname-ring": ({(CNAME,): [Dns.name("cname-ring2.test")]}, "failure"), "cname-ring2": ({(CNAME,): [Dns.name("cname-ring.test")]}, "failure"),
    "mx-many": ({(MX,): [mx(i, "a-loopback.test") for i in range(20)]}, "loopback"),
    "short-a": ({(A,): [b"\x7f\0"]}, "no address"), "short-mx": ({(MX,): [b"\0"]}, "failure"),
    "mx-control": ({(MX,): [struct.pack(">H", 1) + b"\x06a\r\nb\0c\4test\0"]}, "no usable MX"),
    "nothing": ({}, "no address"),
}


def test_names_that_lead_to_this_machine_are_not_followed(tmp_path, started):
    """The DNS of others never makes the relay talk to itself or to a service beside it."""
    dns = Dns({(f"{n}.test", t[0]): d for n, (rows, _) in EVIL_NAMES.items() for t, d in rows.items()})
    trap = Hop()
    plugins = "  - auth-anonymous\n  - relay-access:\n      allow: [127.0.0.0/8]\n" + "".join(
        f"  - smarthost:\n      as: {n}\n      domains: [{n}.example.net]\n      hosts: [{n}.test]\n      port: {trap.port}\n"
        f"      connect-timeout: 2s\n" for n in EVIL_NAMES)
    relay = Relay(tmp_path, "", top=f'dns:\n  servers: ["127.0.0.1@{dns.port}"]\n  limit: 5s\n', plugins=plugins)
    started.append(relay)
    for n in EVIL_NAMES:
        submit(relay.port, [f"r@{n}.example.net"])
    for n, (_, why) in EVIL_NAMES.items():
        relay.wait_log(rf'event=site.suspended site={n} .*why="[^"]*{why}')
    assert trap.connections == 0
    # a smart host is the operator's choice: while it leads nowhere mail waits, and the log tells why
    assert relay.count() == len(EVIL_NAMES)
    assert all(line.isprintable() for line in relay.text().splitlines())
    assert relay.stop() == 0
    dns.stop()
    trap.stop()


def test_clock_jumps(tmp_path, started):
    """A clock a year ahead or behind at the next start: mail is neither bounced at once nor kept for a year."""
    lib = next((p for p in ("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/"
                            "libfaketimeMT.so.1") if shutil.os.path.exists(p)), None)
    if lib is None:
        pytest.skip("libfaketime is not installed")
    hop = Hop("mail", b"451 4.3.0 later\r\n", keep=True)
    relay = Relay(tmp_path, "", plugins=routes({"h": hop.port}))
    started.append(relay)
    submit(relay.port, ["r@h.example.net"])
    relay.wait_log("event=deliver.deferred")
    relay.stop()
    relay.env = {"LD_PRELOAD": lib, "FAKETIME": "-365d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    hop.step = None
    relay.start()
    relay.queue("flush")
    relay.until_empty()
    assert len(hop.content) == 1
    hop.stop()
