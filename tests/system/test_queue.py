"""Outages, retries, operators: what the queue does, seen from outside."""
import email
import email.policy
import json
import signal
import subprocess
import time

import pytest

from conftest import Talk, free_port, posthouse, until
from test_clients import BODY, arrived, split_trace


def send(relay, n=1, to="b@example.net", sender="a@example.org", subject="Test", options=(), rcpt_options=()):
    with relay.smtp() as c:
        for i in range(n):
            c.sendmail(sender, [to] if isinstance(to, str) else to, BODY.replace("Test", f"{subject}{i}").encode(),
                       mail_options=list(options), rcpt_options=list(rcpt_options))


def test_mail_waits_for_a_smart_host_that_is_down(start):
    port = free_port()
    relay = start.relay(f"127.0.0.1:{port}")
    send(relay, 50)
    relay.wait_log("event=site.suspended")
    assert relay.count() == 50
    sites = relay.queue_json("sites")
    assert sites[0]["state"] == "suspended" and "refused" in sites[0]["why"]
    sink = start.sink(port=port)
    relay.queue("flush")
    arrived(sink, 50)
    relay.until_empty()


def test_restart_keeps_the_queue(start):
    port = free_port()
    relay = start.relay(f"127.0.0.1:{port}")
    send(relay, 20)
    relay.wait_log("event=site.suspended")
    ids = {m["id"] for m in relay.queue_json("list")}
    assert relay.stop() == 0
    offline = relay.queue_json("list")
    assert {m["id"] for m in offline} == ids and offline[0]["recipients"][0]["to"] == "b@example.net"
    relay.start()
    until("the scan", lambda: relay.count() == 20)
    assert {m["id"] for m in relay.queue_json("list")} == ids
    sink = start.sink(port=port)
    relay.queue("flush")
    arrived(sink, 20)


def test_show_tells_the_remotes_words(start):
    sink = start.sink("--tempfail-rcpt", "later@example.net")
    relay = start.relay(sink.address)
    send(relay, to=["now@example.net", "later@example.net"])
    relay.wait_log("event=deliver.deferred")
    m = until("the deferral", lambda: [x for x in relay.queue_json("show") if x["attempts"] == 1])[0]
    assert m["state"] == "deferred" and m["pending"] == 1 and m["next_attempt"] > time.time() * 1000 + 600_000
    by = {r["to"]: r for r in m["recipients"]}
    assert by["now@example.net"]["state"] == "delivered" and by["later@example.net"]["state"] == "pending"
    assert by["later@example.net"]["code"] in (450, 451) and by["later@example.net"]["reply"].startswith("4")
    assert str(sink.port) in by["later@example.net"]["remote"]
    text = relay.queue("show", m["id"]).stdout
    assert by["later@example.net"]["reply"].split("\n")[0] in text


def test_refused_recipient_is_bounced_to_the_sender(start):
    sink = start.sink("--permfail-rcpt", "no@example.net")
    relay = start.relay(sink.address)
    send(relay, to="no@example.net")
    report = email.message_from_bytes(split_trace(arrived(sink)[0])[1], policy=email.policy.default)
    assert report.get_content_type() == "multipart/report" and report.get_param("report-type") == "delivery-status"
    assert report["To"] == "a@example.org" and report["Auto-Submitted"].startswith("auto-")
    text, status, original = report.get_payload()
    fields = status.get_payload()
    assert fields[0]["Reporting-MTA"] == "dns; relay.example.com"
    assert fields[1]["Final-Recipient"] == "rfc822; no@example.net" and fields[1]["Action"] == "failed"
    assert fields[1]["Status"].startswith("5.") and fields[1]["Diagnostic-Code"].startswith("smtp; 5")
    assert "Subject: Test0" in original.as_string()
    assert sink.messages()[0].startswith(b"x-sender: \r\n") or b"x-sender: <>" in sink.messages()[0]
    relay.until_empty()


def test_no_bounce_for_a_null_sender(start):
    sink = start.sink("--permfail-rcpt", "no@example.net")
    relay = start.relay(sink.address)
    send(relay, to="no@example.net", sender="")
    relay.until_empty()
    assert sink.messages() == []
    assert until("badmail", lambda: list((relay.spool / "badmail").glob("*")))


def test_notify_never_gets_no_bounce(start):
    sink = start.sink("--permfail-rcpt", "no@example.net")
    relay = start.relay(sink.address)
    send(relay, to="no@example.net", rcpt_options=["NOTIFY=NEVER"])
    relay.wait_log("event=deliver.failed")
    relay.until_empty()
    assert sink.messages() == []


def test_expiry_sends_a_report(start):
    sink = start.sink("--tempfail-rcpt", "b@example.net")
    relay = start.relay(sink.address, more="queue:\n  retry: [1s]\n  expire: 3s\n  delay-notice: 0s\n")
    send(relay)
    report = split_trace(arrived(sink)[0])[1]
    assert b"Action: failed" in report and b"b@example.net" in report
    relay.until_empty()


def test_delay_notice(start):
    sink = start.sink("--tempfail-rcpt", "b@example.net")
    relay = start.relay(sink.address, more="queue:\n  retry: [1h]\n  expire: 2d\n  delay-notice: 2s\n")
    send(relay)
    assert b"Action: delayed" in split_trace(arrived(sink)[0])[1]
    assert relay.count() == 1


def test_hold_release_remove(start):
    port = free_port()
    relay = start.relay(f"127.0.0.1:{port}")
    send(relay, 3)
    send(relay, 1, to="other@example.com")
    relay.wait_log("event=site.suspended")
    assert "3 messages" in relay.queue("hold", "--to", "b@example.net").stdout
    sink = start.sink(port=port)
    relay.queue("flush")
    assert b"other@example.com" in arrived(sink)[0]
    assert {m["state"] for m in relay.queue_json("list")} == {"held"}
    one = relay.queue_json("list")[0]["id"]
    assert "1 message" in relay.queue("remove", one).stdout
    assert "2 messages" in relay.queue("release", "--all").stdout
    arrived(sink, 3)
    relay.until_empty()
    r = relay.queue("show", one, check=False)
    assert r.returncode == 65
    assert relay.queue("remove", check=False).returncode == 64


def test_held_mail_stays_held_over_a_restart(start):
    sink = start.sink()
    port = free_port()
    relay = start.relay(f"127.0.0.1:{port}")
    send(relay, 2)
    relay.wait_log("event=site.suspended")
    relay.queue("hold", "--all")
    relay.stop()
    assert {m["state"] for m in relay.queue_json("list")} == {"held"}
    relay.start()
    until("the scan", lambda: relay.count() == 2)
    assert {m["state"] for m in relay.queue_json("list")} == {"held"}


def test_next_host_when_the_first_is_down_or_greets_with_4xx(start):
    dead = free_port()
    busy = start.sink("--greeting-code", "421", store=False)
    sink = start.sink()
    relay = start.relay(sink.address, plugins=f"""\
  - auth-anonymous
  - relay-access
  - smarthost:
      hosts: ["127.0.0.1:{dead}", "{busy.address}", "{sink.address}"]
""")
    send(relay, 5)
    arrived(sink, 5)
    assert "site.suspended" not in relay.text()


def test_queued_mail_follows_a_reload(start):
    port = free_port()
    relay = start.relay(f"127.0.0.1:{port}")
    send(relay, 30)
    relay.wait_log("event=site.suspended")
    sink = start.sink()
    relay.config.write_text(relay.config.read_text().replace(f"127.0.0.1:{port}", sink.address))
    assert "in force" in posthouse("reload", "-c", relay.config).stdout
    arrived(sink, 30)
    relay.until_empty()


def test_reload_with_a_mistake_changes_nothing(relay, sink):
    good = relay.config.read_text()
    relay.config.write_text(good.replace("connections: 20", "conections: 20"))
    r = posthouse("reload", "-c", relay.config, check=False)
    assert r.returncode == 78 and "did you mean connections?" in r.stderr and "posthouse.yaml:" in r.stderr
    relay.signal(signal.SIGHUP)
    relay.wait_log("event=config.refused")
    send(relay)
    arrived(sink)
    relay.config.write_text(good)
    relay.signal(signal.SIGHUP)
    relay.wait_log("event=config.reloaded")


def test_old_sessions_finish_on_their_generation(relay, sink):
    t = Talk(relay.port)
    t.cmd("EHLO client.example")
    t.cmd("MAIL FROM:<a@example.org>")
    relay.config.write_text(relay.config.read_text().replace('allow: [127.0.0.0/8, "::1"]', "allow: [192.0.2.1/32]"))
    posthouse("reload", "-c", relay.config)
    assert t.cmd("RCPT TO:<b@example.net>")[0] == 250
    new = Talk(relay.port)
    new.cmd("EHLO client.example")
    new.cmd("MAIL FROM:<a@example.org>")
    assert new.cmd("RCPT TO:<b@example.net>")[0] == 550
    assert t.cmd("DATA")[0] == 354
    t.send("Subject: old\r\n\r\n.\r\n")
    assert t.reply()[0] == 250
    arrived(sink)


def test_stop_with_a_session_open_answers_421(relay):
    t = Talk(relay.port)
    t.cmd("EHLO client.example")
    relay.signal(signal.SIGTERM)
    code, text = t.reply()
    assert code == 421 and "4.3.2" in text
    assert relay.wait() == 0
