"""send, bench and sink against each other and against peers by hand: exit codes, misbehaviours, verifying."""
import json
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from conftest import PATIENCE, POSTHOUSE, TOP, Talk, free_port, posthouse, until

EX_OK, EX_USAGE, EX_DATAERR, EX_NOINPUT, EX_NOHOST, EX_UNAVAILABLE, EX_TEMPFAIL = 0, 64, 65, 66, 68, 69, 75
HASTE = 5       # seconds that a trial without waits takes at most, times ten


def send(sink, *args, text="Hello\n", check=False, rcpt="b@example.net"):
    return posthouse("send", "--to", sink.address, "--from", "a@example.com", "--rcpt", rcpt, *args, input=text,
                     check=check, timeout=PATIENCE)


def bench(sink, *args, check=False):
    r = posthouse("bench", "--to", sink.address, "--json", *args, check=check, timeout=PATIENCE)
    return r.returncode, json.loads(r.stdout) if r.stdout else None


def statistics(sink):
    """Stops a sink that was started with --json."""
    sink.stop()
    return json.loads(sink.text().splitlines()[-1])


# --- send ---

def test_a_message_arrives_with_a_header_and_crlf(start):
    sink = start.sink()
    r = send(sink, "--subject", "Trial", text="first\n.second\nlast without end", check=True)
    assert re.fullmatch(r"[0-9A-V]{20}\n", r.stdout)
    [message] = sink.messages()
    envelope, rest = message.split(b"Date: ", 1)
    assert envelope == b"x-sender: a@example.com\r\nx-receiver: b@example.net\r\n"
    header, body = rest.split(b"\r\n\r\n", 1)
    assert b"\r\nSubject: Trial" in header and b"\r\nTo: <b@example.net>\r\n" in header and b"Message-ID: <" in header
    assert body == b"first\r\n.second\r\nlast without end\r\n"


@pytest.mark.parametrize("extra", [(), ("--no-chunking",), ("--no-chunking", "--no-pipelining"), ("--no-pipelining",)])
def test_a_file_with_a_header_arrives_unchanged(start, tmp_path, extra):
    sink = start.sink()
    text = b"Subject: one\r\nX-Own: two\r\n\r\n..dots\r\n.\r\n\xc3\xa9\r\n" + b"x" * 5000 + b"\r\n"
    (tmp_path / "mail").write_bytes(text)
    send(sink, *extra, tmp_path / "mail", check=True)
    assert sink.messages()[0].split(b"\r\n", 2)[2] == text


def test_several_files_and_recipients(start, tmp_path):
    sink = start.sink()
    for i in range(3):
        (tmp_path / f"m{i}").write_text(f"Subject: {i}\n\nbody {i}\n")
    r = send(sink, "--rcpt", "postmaster", "--rcpt", "c@example.org", *(tmp_path / f"m{i}" for i in range(3)), check=True)
    assert len(r.stdout.split()) == 3
    assert len(sink.messages()) == 3
    assert all(m.count(b"x-receiver: ") == 3 for m in sink.messages())


def test_verbose_shows_the_dialogue(start):
    r = send(start.sink(), "-v", "--no-chunking", check=True)
    for line in ("< 220 ", "> EHLO ", "> MAIL FROM:<a@example.com>", "> RCPT TO:<b@example.net>", "> DATA", "< 354 ", "> .",
                 "> QUIT", "< 221 "):
        assert f"\n{line}" in r.stderr
    assert "Hello" not in r.stderr and "octets of content]" in r.stderr
    assert "\n> Hello\n" in send(start.sink(), "-vv", "--no-chunking", check=True).stderr


@pytest.mark.parametrize("misbehave, rcpt, status, said", [
    (("--tempfail-rcpt", "b@example.net"), "b@example.net", EX_TEMPFAIL, "451 4.3.0"),
    (("--tempfail-rcpt", "@EXAMPLE.net"), "b@example.net", EX_TEMPFAIL, "451 4.3.0"),
    (("--tempfail-rcpt", "b@example.net"), "c@example.net", EX_OK, ""),
    (("--permfail-rcpt", "b@example.net"), "b@example.net", EX_UNAVAILABLE, "550 5.1.1"),
    (("--tempfail", "100"), "b@example.net", EX_TEMPFAIL, "451 4.3.0"),
    (("--permfail", "100"), "b@example.net", EX_UNAVAILABLE, "554 5.7.1"),
    (("--greeting-code", "421"), "b@example.net", EX_TEMPFAIL, "421 4.3.2"),
    (("--greeting-code", "554"), "b@example.net", EX_UNAVAILABLE, "554 5.7.1"),
    (("--max-size", "100"), "b@example.net", EX_UNAVAILABLE, "5.3.4"),
    (("--hangup-at", "connect"), "b@example.net", EX_TEMPFAIL, "closed"),
    (("--hangup-at", "mail"), "b@example.net", EX_TEMPFAIL, "closed"),
    (("--hangup-at", "rcpt"), "b@example.net", EX_TEMPFAIL, "closed"),
    (("--hangup-at", "data"), "b@example.net", EX_TEMPFAIL, "closed"),
    (("--hangup-at", "dot"), "b@example.net", EX_TEMPFAIL, "closed"),
    (("--hangup-at", "reply"), "b@example.net", EX_TEMPFAIL, "outcome"),
    (("--no-pipelining", "--no-chunking", "--no-8bitmime", "--no-dsn", "--no-smtputf8"), "b@example.net", EX_OK, ""),
])
@pytest.mark.parametrize("how", [(), ("--no-chunking",)])
def test_exit_status_tells_what_the_server_did(start, misbehave, rcpt, status, said, how):
    sink = start.sink(*misbehave, "--json", store=False)
    r = send(sink, *how, rcpt=rcpt)
    assert (r.returncode, said in r.stderr) == (status, True), r.stderr
    counted = statistics(sink)["messages"]
    assert counted == (1 if status == EX_OK or "reply" in misbehave else 0)


def test_one_refused_recipient_does_not_stop_the_other(start):
    sink = start.sink("--permfail-rcpt", "b@example.net")
    r = send(sink, "--rcpt", "c@example.net")
    assert r.returncode == EX_UNAVAILABLE and "<b@example.net>: 550" in r.stderr
    assert re.fullmatch(r"[0-9A-V]{20}\n", r.stdout)
    assert b"x-receiver: c@example.net" in sink.messages()[0] and b"x-receiver: b@" not in sink.messages()[0]


def test_nobody_there():
    r = posthouse("send", "--to", f"127.0.0.1:{free_port()}", "--from", "a@b.c", "--rcpt", "b@c.d", input="x\n", check=False)
    assert r.returncode == EX_NOHOST and "refused" in r.stderr
    r = posthouse("bench", "--to", f"127.0.0.1:{free_port()}", "--messages", "5", check=False)
    assert r.returncode == EX_NOHOST


@pytest.mark.parametrize("args, status, said", [
    (["send", "--to", "x"], EX_USAGE, "--rcpt is missing"),
    (["send", "--rcpt", "a b@c"], EX_USAGE, "--rcpt"),
    (["send", "--rcpt", "a@b.c", "--to", "host:port"], EX_USAGE, "HOST:PORT"),
    (["send", "--rcpt", "a@b.c", "--notify", "often"], EX_USAGE, "--notify"),
    (["send", "--rcpt", "a@b.c", "--to", "127.0.0.1:9", "/nonexistent"], EX_NOINPUT, "No such file"),
    (["send", "--rcpts", "a@b.c"], EX_USAGE, "did you mean --rcpt?"),
    (["sink", "--hangup-at", "noon"], EX_USAGE, "connect, mail, rcpt"),
    (["sink", "--listen", "127.0.0.1:99999"], EX_USAGE, "HOST:PORT"),
    (["sink", "--ids", "/tmp/x"], EX_USAGE, "--verify"),
    (["bench", "--messages", "1", "--duration", "1s"], EX_USAGE, "exclude each other"),
    (["bench", "--size", "4Q"], EX_USAGE, "--size"),
])
def test_wrong_usage(args, status, said):
    r = posthouse(*args, check=False, input="")
    assert (r.returncode, said in r.stderr) == (status, True), r.stderr


def test_a_bare_carriage_return_is_wrong_input(start):
    r = send(start.sink(), text="one\ntwo\rthree\n")
    assert r.returncode == EX_DATAERR and ":2: " in r.stderr


# --- bench and sink ---

@pytest.mark.parametrize("how", [(), ("--no-pipelining",), ("--chunking",), ("--chunking", "--no-pipelining"), ("--rcpts", "7"),
                                 ("--per-session", "3"), ("--threads", "2"), ("--size", "70K"), ("--rate", "500")])
def test_all_that_was_sent_arrives_unchanged(start, how):
    sink = start.sink("--verify", "--json", "--expect", "200", "--threads", "2", store=False)
    status, result = bench(sink, "--sessions", "5", "--messages", "200", *how)
    assert (status, result["messages"], result["refused"], result["lost"]) == (EX_OK, 200, 0, 0)
    got = statistics(sink)
    assert sink.p.returncode == EX_OK
    assert {k: got[k] for k in ("messages", "distinct", "duplicates", "missing", "changed", "foreign")} == {
        "messages": 200, "distinct": 200, "duplicates": 0, "missing": 0, "changed": 0, "foreign": 0}
    assert got["recipients"] == 200 * result["recipients"] and got["bytes"] == 200 * result["size"]
    assert result["latency_us"]["p50"] <= result["latency_us"]["p99"] <= result["latency_us"]["max"]


def test_generated_messages_of_send_verify_too(start):
    sink = start.sink("--verify", "--json", store=False)
    send(sink, "--generate", "100", "--size", "9K", "--sessions", "4", check=True)
    assert {"distinct": 100, "missing": 0, "changed": 0}.items() <= statistics(sink).items()


def generated(start):
    """The bytes of one generated message, dots doubled, and the sink that keeps no statistics of it."""
    keeper = start.sink()
    send(keeper, "--generate", "1", "--size", "2K", check=True)
    return keeper.messages()[0].split(b"\r\n", 2)[2].replace(b"\r\n.", b"\r\n..")


def test_the_sink_sees_changes_duplicates_and_gaps(start):
    message = generated(start)
    sink = start.sink("--verify", "--json", "--expect", "3", store=False)
    t = Talk(sink.port)
    t.cmd("EHLO x")
    for content in (b"Received: by a relay\r\n" + message, message, message.replace(b"fox", b"cat", 1), b"Subject: mine\r\n\r\nx\r\n"):
        assert t.cmd("MAIL FROM:<a@b.c>")[0] == 250 and t.cmd("RCPT TO:<b@c.d>")[0] == 250 and t.cmd("DATA")[0] == 354
        t.send(content + b".\r\n")
        assert t.reply()[0] == 250
    t.close()
    got = statistics(sink)
    assert {"messages": 4, "distinct": 1, "duplicates": 2, "changed": 1, "foreign": 1, "missing": 2}.items() <= got.items()
    assert sink.p.returncode == EX_DATAERR


def test_ids_of_both_sides_agree(start, tmp_path):
    sink = start.sink("--verify", "--ids", tmp_path / "arrived.ids", "--tempfail", "20", "--json", store=False)
    status, result = bench(sink, "--messages", "300", "--ids", tmp_path / "taken.ids")
    assert status == EX_UNAVAILABLE and result["errors"].keys() == {"451"}
    assert result["messages"] + result["refused"] == 300 and 10 < result["refused"] < 150
    sink.stop()
    taken, arrived = ((tmp_path / f).read_text().split() for f in ("taken.ids", "arrived.ids"))
    assert sorted(taken) == sorted(arrived) and len(taken) == result["messages"]


def test_tolerated_refusals_are_no_failure(start):
    sink = start.sink("--permfail", "50", store=False)
    status, result = bench(sink, "--messages", "50", "--tolerate")
    assert status == EX_OK and result["refused"] > 0


def test_hang_ups_are_counted_and_survived(start):
    sink = start.sink("--hangup", "10", "--verify", "--json", store=False)
    status, result = bench(sink, "--messages", "100", "--sessions", "4")
    assert status == EX_UNAVAILABLE and result["messages"] + result["lost"] == 100 and result["lost"] > 0
    got = statistics(sink)
    assert got["hangups"] == result["lost"] and got["messages"] == result["messages"]


def test_once_ends_the_sink(start):
    sink = start.sink("--once", "3", "--json", store=False)
    send(sink, "--generate", "3", check=True)
    assert sink.wait() == EX_OK
    assert json.loads(sink.text().splitlines()[-1])["messages"] == 3


def test_delay_is_latency_and_not_slowness(start):
    """Replies come late, each by as much, but pipelined input does not add up."""
    sink = start.sink("--delay", "100ms", store=False)
    t = Talk(sink.port)
    began = time.monotonic()
    t.cmd("EHLO x")
    assert time.monotonic() - began >= 0.099
    began = time.monotonic()
    t.send("NOOP\r\n" * 50)
    for _ in range(50):
        assert t.reply()[0] == 250
    took = time.monotonic() - began
    assert 0.099 <= took < 50 * 0.1 / 2
    t.close()


def test_idle_connections_are_held(start):
    sink = start.sink("--json", store=False)
    p = subprocess.Popen([POSTHOUSE, "bench", "--to", sink.address, "--sessions", "0", "--connections-idle", "300", "--json"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert p.stderr.readline() == "300 idle connections are open\n"
        sink.signal(signal.SIGUSR1)
        until("statistics", lambda: '"open":300' in sink.text())
    finally:
        p.send_signal(signal.SIGTERM)
        out = p.communicate(timeout=PATIENCE)[0]
    assert p.returncode == EX_OK and json.loads(out)["idle_lost"] == 0


def test_duration_ends_the_bench(start):
    began = time.monotonic()
    status, result = bench(start.sink(store=False), "--duration", "500ms")
    assert status == EX_OK and result["messages"] > 0 and 0.5 <= time.monotonic() - began < 10 * HASTE


def test_print_shows_the_message(start):
    sink = start.sink("--print", store=False)
    send(sink, "--subject", "Shown", check=True)
    until("the message", lambda: "\nSubject: Shown\n\nHello\n" in sink.text())
    assert "x-sender: a@example.com\nx-receiver: b@example.net\n" in sink.text()


def test_numbering_goes_on(start, tmp_path):
    for n in range(2):
        sink = start.sink()
        send(sink, check=True)
        sink.stop()
    assert sorted(f.name for f in (tmp_path / "arrived").iterdir()) == ["1.eml", "2.eml"]


@pytest.mark.parametrize("option, keyword", [("--no-chunking", "CHUNKING"), ("--no-pipelining", "PIPELINING"), ("--no-dsn", "DSN"),
                                             ("--no-8bitmime", "8BITMIME"), ("--no-smtputf8", "SMTPUTF8")])
def test_what_is_not_offered(start, option, keyword):
    for args, offered in (((), True), ((option,), False)):
        t = Talk(start.sink(*args, store=False).port)
        code, lines = t.cmd("EHLO x")
        assert code == 250 and (keyword in [line[4:].split()[0] for line in lines.splitlines()]) is offered
        assert lines.splitlines()[-1][3] == " "
        t.close()


def scripted(replies):
    """A peer by hand: says each of replies in turn, one per line of input (the first at once)."""
    listener = socket.create_server(("127.0.0.1", 0))

    def talk():
        conn, _ = listener.accept()
        with conn, conn.makefile("rb") as f:
            for i, reply in enumerate(replies):
                if i > 0 and not f.readline():
                    return
                conn.sendall(reply)
            while f.readline():
                pass

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    return listener, f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("replies", [
    [b"hello\r\n"], [b"220 x\r\n", b"999 what\r\n"], [b"220 x\r\n", b"250 x\r\n250 x\r\n250 x\r\n250 x\r\n250 x\r\n"],
    [b"220 " + b"x" * 10000], [b"220 x\r\n", b"25", b"0"], [b""],
])
def test_servers_that_speak_nonsense_are_no_trap(replies):
    listener, address = scripted(replies)
    with listener:
        r = posthouse("bench", "--to", address, "--sessions", "1", "--duration", "300ms", "--timeout", "200ms", check=False,
                      timeout=PATIENCE)
    assert r.returncode in (EX_NOHOST, EX_UNAVAILABLE), (r.stdout, r.stderr)


def test_a_sink_is_no_trap_for_nonsense(start):
    sink = start.sink(store=False)
    for data in (b"\0" * 100000, b"A" * 200000, b"MAIL FROM:<" + b"<" * 9000 + b"\r\n", b"EHLO x\r\nBDAT 99999999999999999999\r\n"):
        with socket.create_connection(("127.0.0.1", sink.port), PATIENCE) as s:
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except OSError:
                pass
    send(sink, check=True)


# --- documents ---

@pytest.mark.parametrize("command", ["send", "sink", "bench"])
def test_the_manual_page_has_every_option(command):
    text = posthouse(command, "--help").stdout
    options = set(re.findall(r"^(?:  -\w, |      )--([a-z0-9-]+)", text, re.M))
    page = (TOP / "doc" / f"posthouse-{command}.1").read_text()
    documented = set(re.findall(r"^\.It .*?Fl -([a-z0-9-]+)", page, re.M))
    assert options - {"help"} <= documented and documented <= options, options ^ documented
