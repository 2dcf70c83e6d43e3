"""Outages, retries, operators: what the queue does, seen from outside."""
import email
import email.policy
import signal
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
    m = until("the deferral", lambda: [x for x in relay.queue_json("show") if x["attempts"] == 1 and x["pending"] == 1
                                       and "delivered" in [r["state"] for r in x["recipients"]]])[0]
    assert m["state"] == "deferred" and m["next_attempt"] > time.time() * 1000 + 600_000
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


# --- the spool of a relay that is not running ---

@pytest.fixture
def stopped(start):
    """A relay that was stopped with mail in its queue: three messages, one of them held, one half done."""
    sink = start.sink("--tempfail-rcpt", "later@example.net")
    relay = start.relay(sink.address)
    send(relay, to=["now@example.net", "later@example.net"], subject="half")
    relay.wait_log("event=deliver.deferred")
    sink.stop()
    send(relay, to="b@example.net", sender="")
    send(relay, to="c@example.com", sender="held@example.org")
    until("all three", lambda: relay.count() == 3)
    assert "1 message" in relay.queue("hold", "--from", "held@example.org").stdout
    relay.stop()
    return relay


def test_a_stopped_spool_is_counted_and_listed(stopped):
    assert stopped.count() == 3
    text = stopped.queue("count").stdout
    assert dict(line.split(None, 1) for line in text.splitlines())["messages"].strip() == "3"
    rows = stopped.queue_json("list")
    assert [r["id"] for r in rows] == sorted(r["id"] for r in rows) and len(rows) == 3
    assert {r["from"] for r in rows} == {"a@example.org", "", "held@example.org"}
    lines = stopped.queue("list").stdout.splitlines()
    assert len(lines) == 3 and all(row["id"] in line for row, line in zip(rows, lines))
    assert "<>" in "".join(lines) and "<c@example.com>" in "".join(lines)


@pytest.mark.parametrize("options, n", [
    (["--held"], 1), (["--from", "held@example.org"], 1), (["--to", "later@example.net"], 1), (["--to", "@example.net"], 2),
    (["--limit", "2"], 2), (["--older", "1h"], 0), (["--to", "nobody@example.net"], 0), (["--to", "*@example.*"], 3),
    (["--from", "<>"], 1), (["--to", "example"], 0),
])
def test_filters_say_the_same_of_a_stopped_spool(stopped, options, n):
    offline = stopped.queue_json("list", *options)
    assert len(offline) == n
    stopped.start()
    until("the scan", lambda: stopped.count() == 3)
    assert {m["id"] for m in stopped.queue_json("list", *options)} == {m["id"] for m in offline}
    for _ in range(0 if "--limit" in options else 2):   # running, then stopped
        counted = stopped.queue_json("count", *options)[0]
        assert (counted["messages"], counted["bytes"]) == (n, sum(m["size"] for m in offline))
        stopped.stop()


def test_show_of_a_stopped_spool_keeps_the_remotes_words(stopped):
    half = next(m for m in stopped.queue_json("list") if len(m["recipients"]) == 2)
    [m] = stopped.queue_json("show", half["id"])
    by = {r["to"]: r for r in m["recipients"]}
    assert by["now@example.net"]["state"] == "delivered" and by["later@example.net"]["state"] == "pending"
    assert by["later@example.net"]["reply"].startswith("4") and m["attempts"] >= 1
    text = stopped.queue("show", half["id"]).stdout
    assert half["id"] in text and by["later@example.net"]["reply"].split("\n")[0] in text
    assert stopped.queue("show", "0" * 20, check=False).returncode == 65
    assert stopped.queue("show", "nonsense", check=False).returncode in (64, 65)


def test_what_only_a_running_relay_can_do_says_so(stopped):
    for verb in (["flush"], ["hold", "--all"], ["release", "--all"], ["remove", "--all"], ["sites"], ["status"]):
        r = stopped.queue(*verb, check=False)
        assert r.returncode == 69 and "no relay is running" in r.stderr, verb
    assert stopped.count() == 3


def test_an_empty_pattern_is_not_all(stopped):
    """A script whose variable is empty must not remove the queue."""
    stopped.start()
    until("the scan", lambda: stopped.count() == 3)
    for option in ("--from", "--to", "--site"):
        assert stopped.queue("remove", option, "", check=False).returncode == 64
    assert stopped.count() == 3


def test_filters_that_need_a_running_relay(stopped):
    for option in (["--site", "smarthost"], ["--deferred"], ["--active"]):
        r = stopped.queue("list", *option, check=False)
        assert r.returncode == 69 and "running" in r.stderr


def test_looking_at_a_stopped_spool_changes_nothing(stopped):
    def all_files():
        return {f: (f.read_bytes() if f.is_file() else None) for f in stopped.spool.rglob("*")}
    before = all_files()
    stopped.queue("list")
    stopped.queue("show")
    stopped.queue("count")
    assert all_files() == before


def test_offline_reads_the_spool_of_a_running_relay(start):
    relay = start.relay(f"127.0.0.1:{free_port()}")
    send(relay, 3)
    relay.wait_log("event=site.suspended")
    assert {m["id"] for m in relay.queue_json("list", "--offline")} == {m["id"] for m in relay.queue_json("list")}


def test_an_unreadable_spool_is_missing_input(stopped, tmp_path):
    for verb in ("list", "show", "count"):
        good = stopped.config.read_text()
        stopped.config.write_text(good.replace(str(stopped.spool), str(tmp_path / "nowhere")))
        r = stopped.queue(verb, check=False)
        assert r.returncode == 66 and "nowhere" in r.stderr, r.stderr
        assert not (tmp_path / "nowhere").exists()
        (tmp_path / "file").write_text("")
        stopped.config.write_text(good.replace(str(stopped.spool), str(tmp_path / "file")))
        r = stopped.queue(verb, check=False)
        assert r.returncode == 66 and "file" in r.stderr, r.stderr
        stopped.config.write_text(good)


def test_who_may_not_read_the_spool_is_told(stopped):
    import os
    if os.geteuid() != 0:
        pytest.skip("needs another account to be refused")
    for d in (stopped.folder, *stopped.folder.parents):
        if str(d).startswith("/tmp/"):
            d.chmod(d.stat().st_mode | 0o055)
    for options, status in ((["--offline"], 66), ([], 77)):
        r = posthouse("queue", "list", "-c", stopped.config, *options, check=False, user=65534, group=65534, extra_groups=[])
        assert r.returncode == status and "permitted" in r.stderr.lower() + " permitted" and str(stopped.spool) in r.stderr, r.stderr
