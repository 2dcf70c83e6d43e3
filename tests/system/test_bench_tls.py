"""`posthouse bench` over TLS, against posthouse and against Postfix."""
import json

import pytest
from conftest import PLUGINS, posthouse, until

TLS = ("--tls", "--plugin-dir", PLUGINS)


def bench(port, *args, check=True):
    r = posthouse("bench", "--to", f"127.0.0.1:{port}", "--json", *args, check=False, timeout=60)
    assert r.returncode == 0 or not check, r.stdout + r.stderr
    return json.loads(r.stdout) if r.stdout else r


@pytest.fixture
def relays(start, sink, certificates):
    def make(tls="offered"):
        return start.relay(sink.address, config=f"""\
hostname: relay.example.com
listen:
  - address: 127.0.0.1:0
    tls: {tls}
spool: {start.folder / "spool"}
plugins:
  - tls:
      certificate: {certificates.server.cert}
      key: {certificates.server.key}
  - auth-anonymous
  - relay-access:
      allow: [127.0.0.0/8]
  - smarthost:
      hosts: ["{sink.address}"]
      tls: off
""")
    return make


@pytest.mark.parametrize("kind", ["starttls", "implicit"])
def test_messages_arrive_whole(kind, relays, sink):
    relay = relays("implicit" if kind == "implicit" else "required")
    args = TLS if kind == "starttls" else ("--tls-implicit", *TLS[1:])
    got = bench(relay.port, *args, "--messages", 200, "--sessions", 5, "--size", "20K", "--per-session", 20)
    assert (got["messages"], got["refused"], got["lost"]) == (200, 0, 0)
    assert got["handshakes"] >= 10 and got["tls"].startswith("TLSv1.3 ")
    until("all messages", lambda: len(sink.messages()) == 200)
    assert all(b"ESMTPS " in m.partition(b"\r\n\r\n")[0] for m in sink.messages())


def test_a_big_message_passes(relays, sink):
    relay = relays()
    assert bench(relay.port, *TLS, "--messages", 2, "--sessions", 1, "--size", "10M")["messages"] == 2
    until("both messages", lambda: len(sink.messages()) == 2)
    assert all(len(m) > 10 << 20 for m in sink.messages())


def test_greetings_alone_resumed_and_full(relays):
    relay = relays("required")
    full = bench(relay.port, *TLS, "--greet-only", "--no-resumption", "--messages", 60, "--sessions", 3)
    assert (full["messages"], full["handshakes"], full["resumed"]) == (60, 60, 0)
    assert full["connections"] == 60
    again = bench(relay.port, *TLS, "--greet-only", "--messages", 60, "--sessions", 3)
    assert again["handshakes"] == 60 and again["resumed"] >= 50
    text = posthouse("bench", "--to", relay.address, *TLS, "--greet-only", "--messages", 5).stdout
    assert "5 connections in" in text and "5 handshakes" in text


def test_greetings_alone_in_the_clear(relays):
    relay = relays()
    got = bench(relay.port, "--greet-only", "--messages", 30, "--sessions", 3)
    assert (got["messages"], got["connections"], got["handshakes"]) == (30, 30, 0)
    got = bench(relay.port, "--greet-only", "--duration", "300ms", "--sessions", 3)
    assert got["messages"] == got["connections"] > 5


@pytest.mark.figures
def test_idle_sessions_are_past_the_handshake(relays):
    got = bench(relays().port, *TLS, "--sessions", 0, "--connections-idle", 70, "--duration", "2s")
    assert (got["handshakes"], got["idle"], got["idle_lost"]) == (70, 70, 0)


def test_postfix_is_driven_equally(postfix_dovecot, certificates):
    peer = postfix_dovecot(mechs="plain", certificate=certificates.server)
    full = bench(peer.port, *TLS, "--greet-only", "--no-resumption", "--messages", 20, "--sessions", 2)
    assert (full["handshakes"], full["resumed"], full["refused"]) == (20, 0, 0)


def test_what_goes_wrong_is_said(relays, sink, tmp_path):
    plain = bench(sink.port, *TLS, "--messages", 3, "--sessions", 1, check=False)
    assert plain["messages"] == 0 and plain["handshakes"] == 0
    r = posthouse("bench", "--to", sink.address, *TLS, "--messages", 3, "--sessions", 1, check=False)
    assert r.returncode == 69 and "STARTTLS is not offered" in r.stdout
    r = posthouse("bench", "--to", sink.address, "--tls-implicit", *TLS[1:], "--messages", 3, "--sessions", 1, check=False)
    assert r.returncode != 0 and "TLS: " in r.stdout + r.stderr
    r = posthouse("bench", "--to", sink.address, "--tls", "--plugin-dir", tmp_path, check=False)
    assert r.returncode == 78 and "tls" in r.stderr
