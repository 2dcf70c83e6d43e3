"""Integrated Windows authentication: helpers that misbehave, without any domain; then a real domain, both ways."""
import base64
import itertools
import os
import re
import signal
import socket
import struct
import subprocess
import threading

import pytest
from conftest import BUILD, PATIENCE, TOP, need, posthouse, run, until
from labs import HELPER_DIALOGUE

FAKE = TOP / "tests" / "system" / "fake_ntlm_auth"
GSSAPI = BUILD / "posthouse-gssapi"
sources = itertools.count(2)


# --- messages and sessions by hand ---

def b64(data):
    return base64.b64encode(data).decode()


TYPE1 = struct.pack("<8sII16s", b"NTLMSSP\0", 1, 0x201, bytes(16))


def type3(user="alice", domain="LAB", nt=b"n" * 24):
    """As MS-NLMP 2.2.1.3 lays it out, with flags and in UTF-16."""
    parts = [b"l" * 24, nt, domain.encode("utf-16-le"), user.encode("utf-16-le"), "PC".encode("utf-16-le"), b""]
    at, head, body = 64, struct.pack("<8sI", b"NTLMSSP\0", 3), b""
    for p in parts:
        head += struct.pack("<HHI", len(p), len(p), at + len(body))
        body += p
    return head + struct.pack("<I", 0x201) + body


class Client:
    """Each from an address of its own: failures of one do not slow down the next."""

    def __init__(self, port):
        n = next(sources)
        self.s = socket.create_connection(("127.0.0.1", port), PATIENCE, (f"127.9.{n // 250}.{n % 250 + 1}", 0))
        self.f = self.s.makefile("rb")
        assert self.reply().startswith("220")
        self.hello = self.cmd("EHLO client.example")

    def reply(self):
        lines = []
        while True:
            line = self.f.readline().decode().rstrip("\r\n")
            lines.append(line)
            if line[3:4] != "-":
                return "\n".join(lines)

    def send(self, line):
        self.s.sendall(line.encode() + b"\r\n")

    def cmd(self, line):
        self.send(line)
        return self.reply()

    def ntlm(self, user="alice", domain="LAB"):
        r = self.cmd("AUTH NTLM " + b64(TYPE1))
        return self.cmd(b64(type3(user, domain))) if r.startswith("334") else r

    def close(self):
        self.f.close()
        self.s.close()


def config(tmp, plugin, listen="", more="", smarthost="127.0.0.1:1", top=""):
    rows = "".join(f"      {k}: {v}\n" for k, v in plugin.items())
    return f"""\
hostname: relay.example.com
{top}listen:
  - address: "127.0.0.1:0"
{listen}spool: {tmp}/spool
plugins:
  - auth-windows:
{rows}{more}  - relay-access: {{ allow: [10.0.0.0/8], authenticated: true }}
  - smarthost: {{ hosts: ["{smarthost}"] }}
"""


class Fake:
    """A relay whose helpers are fake_ntlm_auth."""

    def __init__(self, start, dialect="ntlm", top="workers: 1\n", **options):
        self.folder = start.folder / "fake"
        self.folder.mkdir()
        self.mode("ok")
        command = f"[{FAKE}, {self.folder}, {dialect}]"
        options = {"ntlm-helper" if dialect == "ntlm" else "spnego-helper": command, "allow-cleartext-ntlm": "yes", "helpers": 1,
                   "helper-timeout": "1s", "helper-wait": "300ms", **{k.replace("_", "-"): v for k, v in options.items()}}
        self.relay = start.relay("", config=config(start.folder, options, top=top))

    def mode(self, text):
        (self.folder / "new").write_text(text)
        (self.folder / "new").rename(self.folder / "mode")

    def lines(self):
        return (self.folder / "lines").read_text().splitlines()

    def pids(self):
        return [int(line.split()[0]) for line in self.lines()]

    def client(self):
        return Client(self.relay.port)

    def login(self, **who):
        c = self.client()
        r = c.ntlm(**who)
        c.close()
        return r

    def logged_in(self, user="alice"):
        self.mode("ok")
        mark = len(self.relay.text())
        until(f"a login of {user}", lambda: self.login(user=user).startswith("235"), every=0.1)
        name = self.relay.wait_log(r'event=auth.ok.* user="?([^ "\n]+)"? ', after=mark)[1]
        return name.replace("\\\\", "\\")


@pytest.fixture
def fake(start):
    return lambda **kw: Fake(start, **kw)


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):      # also between open and read
        return True


# --- without a domain ---

def test_ntlm_with_and_without_an_initial_response(fake):
    f = fake()
    c = f.client()
    assert re.search(r"250[- ]AUTH .*NTLM", c.hello)
    assert c.cmd("AUTH NTLM") == "334 NTLM supported"
    r = c.cmd(b64(TYPE1))
    assert r.startswith("334 ") and base64.b64decode(r[4:])[:12] == b"NTLMSSP\0\2\0\0\0"
    assert c.cmd(b64(type3("bob", "OTHER"))).startswith("235 2.7.0")
    assert c.cmd("AUTH NTLM " + b64(TYPE1)).startswith("503")
    c.close()
    # the helper says LAB\bob, whatever domain the client claims
    f.relay.wait_log(r'event=auth.ok .*user="?LAB\\\\?\\?bob"?.* mechanism=NTLM')
    assert f.login().startswith("235")
    assert len(set(f.pids())) == 1, "one helper serves one login after the other"
    assert [line.split()[1] for line in f.lines()] == ["YR", "KK", "YR", "KK"]


def test_messages_that_are_none_never_reach_a_helper(fake):
    f = fake()
    good = type3()
    beyond = good[:20] + struct.pack("<HHI", 24, 24, 0xFFFFFFF0) + good[28:]        # offset + length wraps in 32 bit
    inside = good[:36] + struct.pack("<HHI", 10, 10, 8) + good[44:]                 # a name out of the header
    past = good[:12] + struct.pack("<HHI", 24, 24, len(good) - 23) + good[20:]      # one octet too far
    for text in ("!!!!", "=", b64(b"rubbish"), b64(b"NTLMSSP\0"), b64(TYPE1[:15]), b64(b"NTLMSSP\0\x04\0\0\0" + bytes(40)),
                 b64(struct.pack("<8sII", b"NTLMSSP\0", 2, 0) + bytes(40)), b64(bytes(9000))):
        c = f.client()
        assert c.cmd("AUTH NTLM").startswith("334")
        assert c.cmd(text)[:3] == "501", text
        assert c.cmd("NOOP")[:3] == "250"
        c.close()
    assert not (f.folder / "lines").exists()
    for message, code in ((beyond, "501"), (inside, "501"), (past, "501"), (good[:40], "501"), (TYPE1, "501"), (b"", "501"),
                          (type3(user=""), "535")):
        c = f.client()
        assert c.cmd("AUTH NTLM " + b64(TYPE1))[:3] == "334"
        assert c.cmd(b64(message))[:3] == code, message
        c.close()
    c = f.client()
    assert c.cmd("AUTH NTLM")[:3] == "334"
    assert c.cmd(b64(good))[:3] == "535", "a type 3 first"
    c.close()
    assert {line.split()[1] for line in f.lines()} == {"YR"}
    c = f.client()
    assert c.cmd("AUTH NTLM")[:3] == "334"
    assert c.cmd("A" * 12400)[:3] == "500"
    assert c.cmd("AUTH NTLM " + b64(TYPE1))[:3] == "334"
    assert c.cmd("*")[:3] == "501"
    assert c.cmd("NOOP")[:3] == "250"
    c.close()
    assert f.logged_in() == "LAB\\alice"


@pytest.mark.parametrize("mode,what", [
    ("die", "the helper has ended"),
    ("stopped", "no answer in time"),
    ("say", "none of its protocol"),
    ("say hello world", "none of its protocol"),
    ("say TT not*base64", "none of its protocol"),
    ("say AF", "none of its protocol"),
    ("challenge 13000", "not to be used"),
    ("say BH out of memory", "out of memory"),
    ("say NA NT_STATUS_NO_LOGON_SERVERS", "no domain controller"),
    ("say NA NT_STATUS_SOMETHING_NEW", "NT_STATUS_SOMETHING_NEW"),
    ("say NA", "the helper says no"),
    ("say AF LAB\\alice\\nAF LAB\\mallory", "does not keep to its protocol"),
    ("chatter", "does not keep to its protocol"),
    ("long 100000", "does not keep to its protocol"),
])
def test_a_helper_that_fails_costs_454_and_no_more(fake, mode, what):
    f = fake()
    f.mode(mode)
    c = f.client()
    r = c.cmd("AUTH NTLM " + b64(TYPE1))
    assert r.startswith("454 4.7.0"), r
    assert "NT_STATUS" not in r and c.cmd("NOOP")[:3] == "250"
    c.close()
    assert what in f.relay.wait_log(r"event=auth.unavailable.*")[0]
    assert f.logged_in("bob") == "LAB\\bob"
    if not mode.startswith(("say NA", "say BH")):
        until("the end of the one that failed", lambda: gone(f.pids()[0]))
        assert f.pids()[-1] != f.pids()[0]


def test_names_and_statuses_that_refuse(fake):
    f = fake()
    answers = ["AF LAB\\ali\tce", "AF LAB\\", "AF LAB\\" + "a" * 300, "AF LAB\\ali\\0ce", "AF LAB\\ali\x7fce",
               "NA NT_STATUS_LOGON_FAILURE", "NA NT_STATUS_WRONG_PASSWORD", "NA NT_STATUS_ACCOUNT_DISABLED"]
    for i, answer in enumerate(answers):
        f.mode("ok")
        c = f.client()
        assert c.cmd("AUTH NTLM " + b64(TYPE1))[:3] == "334"
        f.mode("say " + answer)
        assert c.cmd(b64(type3(f"Jürgen{i} 😀"))) == "535 5.7.8 Authentication credentials invalid", answer
        c.close()
        assert "Jürgen" in f.relay.wait_log(rf"event=auth.failed.*rgen{i}.*")[0]
    f.relay.stop()
    assert "auth.ok" not in f.relay.text()


def test_a_late_answer_is_for_nobody(fake):
    """winbindd hangs, and goes on: the answer for alice comes when bob has asked."""
    f = fake()
    c = f.client()
    assert c.cmd("AUTH NTLM " + b64(TYPE1))[:3] == "334"
    f.mode("frozen")
    assert c.cmd(b64(type3("alice")))[:3] == "454"
    assert (f.folder / "frozen").exists()
    assert c.cmd("NOOP")[:3] == "250"
    until("its end", lambda: gone(f.pids()[0]))
    (f.folder / "thaw").touch()
    assert f.logged_in("bob") == "LAB\\bob"
    c.close()
    f.relay.stop()
    assert "alice" not in "".join(re.findall(r"event=auth.ok.*", f.relay.text()))


def test_a_stopped_helper_that_goes_on_answers_nobody(fake):
    f = fake(helpers=2)
    c = f.client()
    assert c.cmd("AUTH NTLM " + b64(TYPE1))[:3] == "334"
    pid = f.pids()[0]
    os.kill(pid, signal.SIGSTOP)
    other = f.client()                      # the other helper goes on serving meanwhile
    answers = []
    t = threading.Thread(target=lambda: answers.append(c.cmd(b64(type3("alice")))))
    t.start()
    assert other.ntlm("bob")[:3] == "235"
    t.join()
    assert answers[0][:3] == "454"
    until("its end", lambda: gone(pid))
    assert f.logged_in("bob") == "LAB\\bob"
    c.close()
    other.close()


@pytest.mark.parametrize("when", ["between two messages", "at work"])
def test_a_helper_that_is_killed(fake, when):
    f = fake()
    c = f.client()
    assert c.cmd("AUTH NTLM " + b64(TYPE1))[:3] == "334"
    pid = f.pids()[0]
    if when == "at work":
        f.mode("frozen")
        c.send(b64(type3("alice")))
        until("the helper at work", (f.folder / "frozen").exists)
        os.kill(pid, signal.SIGKILL)
        answer = c.reply()
    else:
        os.kill(pid, signal.SIGKILL)
        until("its end", lambda: gone(pid))
        answer = c.cmd(b64(type3("alice")))
    assert answer.startswith("454 4.7.0"), answer
    assert c.cmd("NOOP")[:3] == "250"
    c.close()
    assert f.logged_in("bob") == "LAB\\bob"
    assert f.pids()[-1] != pid


def test_an_account_is_not_taken_for_a_sid(start, fake):
    """Who is named like the SID of a member is looked up by that name, and is no member."""
    asked, tool = start.folder / "asked", start.folder / "wbinfo"
    member, group = "S-1-5-21-1-2-3-500", "S-1-5-21-1-2-3-512"
    tool.write_text(f"""#!/bin/sh
echo "$1" >> {asked}
case $1 in
--name-to-sid={member}) echo 'S-1-5-21-1-2-3-1104 SID_USER (1)';;
--name-to-sid=LAB?alice) echo '{member} SID_USER (1)';;
--user-sids={member}) echo '{group}';;
--user-sids=*) echo S-1-5-21-1-2-3-513;;
*) echo "failed to call wbcLookupName"; exit 1;;
esac
""")
    tool.chmod(0o755)
    f = fake(dialect="spnego", require_membership=group, membership_helper=f"[{tool}]", helper_timeout="20s")
    spnego = bytes.fromhex("602a06062b0601050502") + bytes(34)
    for name, code in ((member, "535"), ("LAB\\alice", "235")):
        f.mode(f"say AF oQcwBaADCgEA {name}")       # at once, as with Kerberos
        c = f.client()
        r = c.cmd("AUTH GSSAPI " + b64(spnego))
        while r.startswith("334"):
            r = c.cmd("")
        assert r[:3] == code, (name, r)
        c.close()
    assert f"--name-to-sid={member}" in asked.read_text().splitlines()
    # the group alone may be written as a SID
    assert f"--name-to-sid={group}" not in asked.read_text().splitlines()


def test_who_hangs_up_frees_the_helper(fake):
    f = fake(helper_timeout="20s", helper_wait="15s")
    c = f.client()                          # after the challenge: the helper has answered all and stays
    assert c.cmd("AUTH NTLM " + b64(TYPE1))[:3] == "334"
    c.close()
    assert f.login().startswith("235") and len(set(f.pids())) == 1
    f.mode("frozen")
    c = f.client()                          # while it works: it is killed
    c.s.sendall(b"AUTH NTLM " + b64(TYPE1).encode() + b"\r\n")
    until("the helper at work", (f.folder / "frozen").exists)
    pid = f.pids()[-1]
    c.close()
    until("its end", lambda: gone(pid))
    f.mode("ok")
    assert f.login(user="bob").startswith("235")
    assert f.pids()[-1] != pid


def test_who_keeps_a_helper_waiting_loses_it(fake):
    f = fake(client_wait="300ms", helper_wait="10s")
    slow = f.client()
    assert slow.cmd("AUTH NTLM " + b64(TYPE1))[:3] == "334"
    assert f.login(user="bob").startswith("235")
    assert slow.cmd(b64(type3()))[:3] == "454"
    assert "client-wait" in f.relay.wait_log(r"event=auth.unavailable.*")[0]
    assert slow.ntlm()[:3] == "235"
    slow.close()
    assert len(set(f.pids())) == 1


def test_more_clients_than_helpers(fake):
    f = fake(helpers=2, helper_wait="300ms", client_wait="20s")
    held = [f.client() for _ in range(2)]
    for c in held:
        assert c.cmd("AUTH NTLM " + b64(TYPE1))[:3] == "334"
    late = f.client()
    assert late.cmd("AUTH NTLM " + b64(TYPE1)).startswith("454 4.7.0")
    assert "no helper was free" in f.relay.wait_log(r"event=auth.unavailable.*")[0]
    for i, c in enumerate(held):            # each still with its own helper
        assert c.cmd(b64(type3(f"user{i}")))[:3] == "235"
    assert late.ntlm()[:3] == "235"
    assert len(set(f.pids())) == 2
    for c in [*held, late]:
        c.close()


def test_a_crowd_shares_few_helpers(fake):
    f = fake(helpers=2, helper_wait="30s")
    answers = []

    def one(i):
        answers.append((i, f.login(user=f"user{i}")))
    crowd = [threading.Thread(target=one, args=(i,)) for i in range(24)]
    for t in crowd:
        t.start()
    for t in crowd:
        t.join()
    assert len(answers) == 24 and all(r[:3] == "235" for _, r in answers), answers
    assert len(set(f.pids())) == 2
    def names():
        return re.findall(r'event=auth.ok.*user="?LAB\\+(user\d+)', f.relay.text())
    until("all in the log", lambda: len(names()) >= 24)
    assert sorted(names()) == sorted(f"user{i}" for i in range(24))


def test_a_helper_that_cannot_run_is_not_started_again_and_again(fake):
    f = fake(ntlm_helper="[/nonexistent/ntlm_auth]")
    for _ in range(5):
        assert f.login().startswith("454")
    assert "cannot be started" in f.relay.wait_log(r"event=plugin.helper.*")[0]
    f.relay.stop()
    assert len(re.findall("event=plugin.helper.*cannot be started", f.relay.text())) < 4


def test_identities_have_one_form(start, fake):
    f = fake(identity="upn", domains="[LAB=lab.test, OTHER=other.test]")
    assert f.logged_in("alice") == "alice@lab.test"
    assert f.logged_in("other\\bob") == "bob@other.test"
    assert f.logged_in("dave@LAB.TEST") == "dave@lab.test"
    assert f.logged_in("EVIL\\alice") == "EVIL\\alice"
    f.relay.wait_log("not in domains")


def test_nothing_of_a_token_is_logged(fake):
    f = fake(top="workers: 1\nlog-level: trace\n")
    one, three = b64(TYPE1), b64(type3(nt=b"secret-of-alice-24-octet"))
    c = f.client()
    c.cmd("AUTH NTLM " + one)
    assert c.cmd(three)[:3] == "235"
    f.mode("say NA " + three)
    d = f.client()
    assert d.cmd("AUTH NTLM " + one)[:3] == "454"
    c.close()
    d.close()
    f.relay.stop()
    text = f.relay.text()
    assert "event=auth.ok" in text and "event=auth.unavailable" in text
    for i in range(0, len(three) - 24, 8):
        assert three[i:i + 24] not in text
    assert "TlRMTVNTUAAC" not in text


def test_ntlm_is_for_tls_unless_allowed(start, certificates):
    folder = start.folder
    r = start.relay("", config=config(folder, {"ntlm-helper": f"[{FAKE}, {folder}]", "spnego-helper": f"[{FAKE}, {folder}, spnego]"},
                                      more=f"  - tls: {{ certificate: {certificates.server.cert}, key: {certificates.server.key} }}\n"))
    (folder / "mode").write_text("ok")
    c = Client(r.port)
    assert "NTLM" not in c.hello and "GSSAPI" in c.hello
    assert c.cmd("AUTH NTLM " + b64(TYPE1))[:3] == "538"
    assert c.cmd("AUTH GSSAPI " + b64(TYPE1))[:3] == "501"         # nor in other clothes
    spnego = bytes.fromhex("602a06062b0601050502") + bytes(4) + TYPE1
    assert c.cmd("AUTH GSSAPI " + b64(spnego))[:3] == "501"
    assert "outside TLS" in r.wait_log(r"event=auth.malformed.*")[0]
    c.close()
    import smtplib
    import ssl
    with smtplib.SMTP("localhost", r.port, source_address=("127.9.200.1", 0)) as s:
        s.starttls(context=ssl.create_default_context(cafile=str(certificates.ca.cert)))
        s.ehlo()
        assert "NTLM" in s.esmtp_features["auth"]
        assert s.docmd("AUTH", "NTLM " + b64(TYPE1))[0] == 334
        assert s.docmd(b64(type3()))[0] == 235


def test_reload_ends_the_helpers_of_before(fake):
    f = fake()
    assert f.logged_in() == "LAB\\alice"
    pid = f.pids()[-1]
    held = f.client()
    assert held.cmd("AUTH NTLM " + b64(TYPE1))[:3] == "334"
    f.relay.config.write_text(f.relay.config.read_text().replace("helpers: 1", "helpers: 2"))
    f.relay.signal(signal.SIGHUP)
    f.relay.wait_log(r"event=config.(applied|reloaded)|generation=2")
    assert f.login(user="bob").startswith("235")
    assert held.cmd(b64(type3()))[:3] == "235", "a handshake goes on over a reload"
    held.close()
    until("the end of the helper of before", lambda: gone(pid))


def test_the_configuration_is_checked(start):
    for rows, what in (({"domains": "[LAB]"}, "not SHORT=LONG"), ({"identity": "upn"}, "needs domains"),
                       ({"client-keytab": "/a", "client-cache": "FILE:/b"}, "together with client-keytab"),
                       ({"ntlm-helper": '[ntlm_auth, ""]'}, "empty word"), ({"client-service": "a/b"}, "first part of the principal"),
                       ({"require-membership": '""'}, "not a group")):
        path = start.folder / "x.yaml"
        path.write_text(config(start.folder, rows))
        r = posthouse("check", "-c", path, "--plugin-dir", BUILD / "plugins" / ".libs", check=False)
        assert r.returncode == 78 and what in r.stdout + r.stderr, r.stdout + r.stderr


def test_the_real_helper_without_a_domain(start):
    """ntlm_auth --password: any name, one password; no winbindd, no root."""
    need("ntlm_auth")
    helper = "[ntlm_auth, --configfile=/dev/null, --helper-protocol=squid-2.5-ntlmssp, --password=secret]"
    r = start.relay("", config=config(start.folder, {"ntlm-helper": helper, "allow-cleartext-ntlm": "yes"}))
    for password, code in (("secret", "235"), ("wrong", "535")):
        h = subprocess.Popen(["ntlm_auth", "--configfile=/dev/null", "--helper-protocol=ntlmssp-client-1", "--username=someone",
                              "--domain=ANY"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

        def ask(line):
            h.stdin.write(line + "\n")
            h.stdin.flush()
            return h.stdout.readline().split()
        assert ask("PW " + b64(password.encode())) == ["OK"]
        c = Client(r.port)
        challenge = c.cmd("AUTH NTLM " + ask("YR")[1])
        assert c.cmd(ask("TT " + challenge[4:])[1])[:3] == code
        c.close()
        h.stdin.close()
        h.wait()
    assert re.search(r'event=auth.ok .*user="?ANY\\+someone', r.text())


# --- a real domain, clients ---

@pytest.fixture
def lab_relay(start, domain):
    """A relay whose clients log in with accounts of the domain."""
    def get(smarthost="127.0.0.1:1", more="", **options):
        options = {"ntlm-helper": f"[{domain.ntlm_auth}, --helper-protocol=squid-2.5-ntlmssp]",
                   "spnego-helper": f"[{domain.ntlm_auth}, --helper-protocol=gss-spnego]", "gssapi-helper": f"[{GSSAPI}]",
                   "keytab": domain.keytab, "allow-cleartext-ntlm": "yes", "domains": "[LAB=lab.test]", "helpers": 2,
                   "membership-helper": f"[{domain.env['LAB_WBINFO']}]",
                   **{k.replace("_", "-"): v for k, v in options.items()}}
        return start.relay("", config=config(start.folder, options, smarthost=smarthost, more=more),
                           env={"KRB5_CONFIG": domain.krb5_config})
    return get


def dialogue(domain, relay, mechanism, user="LAB\\alice", password="password", env=None):
    return run(HELPER_DIALOGUE, "smtp", domain.dir, f"localhost:{relay.port}", mechanism, user, password, check=False,
               env={**os.environ, **(env or {})})


def logins(relay):
    return [m.replace("\\\\", "\\") for m in re.findall(r'event=auth.ok.* user="?([^ "\n]+)"? ', relay.text())]


@pytest.mark.parametrize("mechanism", ["NTLM", "GSSAPI-SPNEGO", "GSS-SPNEGO", "GSSAPI"])
def test_domain_users_log_in(lab_relay, domain, mechanism):
    r = lab_relay()
    d = dialogue(domain, r, mechanism)
    assert d.returncode == 0, d.stdout + d.stderr
    r.wait_log(r"event=auth.ok")
    assert logins(r) == ["LAB\\alice"]


def test_what_the_domain_says_decides(lab_relay, domain):
    """The first rows of the failure table in tests/labs/README.md."""
    r = lab_relay(identity="upn")
    for user, password, code in (("LAB\\ALICE", "password", "235"), ("\\alice@lab.test", "password", "235"), ("\\bob", "password", "235"),
                                 ("LAB\\carol", "pässwörd 1", "235"), ("LAB\\nosuch", "password", "535"),
                                 ("LAB\\dave", "password", "535"), ("OTHER\\alice", "password", "535")):
        d = dialogue(domain, r, "NTLM", user, password)
        assert re.findall(r"^S: ([245]35.*)", d.stdout, re.M)[-1][:3] == code, d.stdout
        assert "NT_STATUS" not in d.stdout
    r.stop()
    assert logins(r) == ["alice@lab.test", "alice@lab.test", "bob@lab.test", "carol@lab.test"]
    assert "NT_STATUS_ACCOUNT_DISABLED: the account is disabled" in r.text()
    assert re.search(r'event=auth.failed .*user="LAB\\+nosuch".*NT_STATUS_LOGON_FAILURE', r.text())


def test_only_members_of_the_group(lab_relay, domain):
    r = lab_relay(require_membership="LAB\\mailsenders")
    domain.ctl("kinit", "bob", "password")
    for mechanism in ("NTLM", "GSSAPI-SPNEGO", "GSSAPI"):
        assert dialogue(domain, r, mechanism).returncode == 0, mechanism
    for mechanism in ("NTLM", "GSSAPI-SPNEGO", "GSSAPI"):       # last: each failure slows down the next
        d = dialogue(domain, r, mechanism, "LAB\\bob")
        assert d.returncode == 1 and "535" in d.stdout, d.stdout
    r.stop()
    assert logins(r) == ["LAB\\alice"] * 3
    assert "not in the group LAB\\\\mailsenders" in r.text()


def test_kerberos_by_spnego(lab_relay, domain):
    """Our own client helper as the client: MIT's SPNEGO, with a ticket; the reply that proves who we are is sent."""
    need("kinit")
    r = lab_relay(identity="plain")
    h = subprocess.Popen([GSSAPI, "--client", "--spnego", "--target=smtp@localhost"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         text=True, env={**os.environ, **domain.kerberos})

    def ask(line):
        h.stdin.write(line + "\n")
        h.stdin.flush()
        return h.stdout.readline().split()
    c = Client(r.port)
    assert c.cmd("AUTH GSSAPI")[:3] == "334"
    answer = c.cmd(ask("YR")[1])
    while answer[:3] == "334":
        verb, token = ask("TT " + answer[4:])
        answer = c.cmd("" if token == "*" else token)
    assert answer[:3] == "235" and verb == "AF", answer
    c.close()
    h.stdin.close()
    assert h.wait() == 0
    r.wait_log(r"event=auth.ok .*user=alice .*mechanism=GSSAPI")


def test_curl_and_msmtp(lab_relay, domain, sink):
    need("curl", "msmtp")
    r = lab_relay(smarthost=sink.address)
    mail = r.folder / "m.eml"
    mail.write_text("Subject: by curl\r\n\r\nhello\r\n")
    base = ["curl", "-sS", f"smtp://localhost:{r.port}", "--mail-from", "alice@lab.test", "--mail-rcpt", "b@example.net", "-T", mail]
    run(*base, "-u", "LAB\\alice:password", "--login-options", "AUTH=NTLM")
    run(*base, "-u", "alice@LAB.TEST:", "--login-options", "AUTH=GSSAPI", env={**os.environ, **domain.kerberos})
    bad = run(*base, "-u", "LAB\\curlwrong:password", "--login-options", "AUTH=NTLM", check=False)
    assert bad.returncode == 67, bad.stderr
    run("msmtp", "--host=localhost", f"--port={r.port}", "--auth=gssapi", "--user=alice@LAB.TEST", "--from=alice@lab.test", "--tls=off",
        "--passwordeval=echo none", "b@example.net", input="Subject: by msmtp\n\nhello\n", env={**os.environ, **domain.kerberos})
    until("three messages", lambda: len(sink.messages()) == 3)
    until("three logins", lambda: logins(r) == ["LAB\\alice"] * 3)    # the log is written within some milliseconds
    assert all(b"ESMTPA" in m for m in sink.messages())
    # of NTLM msmtp knows version 1 alone, which the domain refuses, and so do we
    rc = r.folder / "msmtprc"
    rc.write_text(f"account default\nhost localhost\nport {r.port}\nfrom alice@lab.test\ntls off\nauth ntlm\nntlmdomain LAB\n"
                  "user alice\npasswordeval echo password\n")
    rc.chmod(0o600)
    old = run("msmtp", "-C", rc, "b@example.net", input="Subject: NTLMv1\n\nno\n", check=False)
    assert old.returncode == 77 and "535" in old.stderr, old.stderr
    r.wait_log("event=auth.failed .*mechanism=NTLM.*NT_STATUS_LOGON_FAILURE")


@pytest.mark.slow
def test_winbindd_and_the_controller_fail(lab_relay, domain):
    """The rest of the table: each is 454 while it lasts, and over when it is over."""
    r = lab_relay(helper_timeout="3s")
    with domain.without_winbindd():
        d = dialogue(domain, r, "NTLM")
        assert "S: 454 4.7.0" in d.stdout, d.stdout
        assert "winbindd does not run" in r.wait_log(r"event=auth.unavailable.*")[0]
    assert dialogue(domain, r, "NTLM").returncode == 0, "the same helper, when winbindd is back"
    with domain.frozen():
        d = dialogue(domain, r, "NTLM", "LAB\\bob")
        assert "S: 454 4.7.0" in d.stdout, d.stdout
        assert "no answer in time" in r.wait_log(r"event=auth.unavailable.*no answer.*")[0]
    until("a login after the thaw", lambda: dialogue(domain, r, "NTLM").returncode == 0)
    assert "bob" not in "".join(logins(r))
    domain.ctl("dc-freeze")
    try:
        d = dialogue(domain, r, "NTLM")
        assert "S: 454 4.7.0" in d.stdout, d.stdout
        assert dialogue(domain, r, "GSSAPI").returncode == 0, "a ticket and the keytab are enough"
    finally:
        domain.ctl("dc-thaw")
    until("the controller", domain.works, 60, 0.5)
    until("a login after it", lambda: dialogue(domain, r, "NTLM").returncode == 0)


@pytest.mark.slow
def test_the_controller_is_down(lab_relay, domain):
    """Not hanging but gone: the helper says so, and the login is for later. Tickets are good meanwhile."""
    r = lab_relay(helper_timeout="40s")
    for mechanism in ("NTLM", "GSSAPI"):        # which puts the ticket for this service into the cache
        assert dialogue(domain, r, mechanism).returncode == 0, mechanism
    with domain.without_controller():
        d = dialogue(domain, r, "NTLM")
        assert "S: 454 4.7.0" in d.stdout and "NT_STATUS" not in d.stdout, d.stdout
        assert "NT_STATUS_NO_LOGON_SERVERS" in r.wait_log(r"event=auth.unavailable.*")[0]
        assert dialogue(domain, r, "GSSAPI").returncode == 0
    d = dialogue(domain, r, "NTLM")
    assert d.returncode == 0 and "S: 235" in d.stdout, d.stdout
    assert "auth.failed" not in r.text()


def test_rfc4752_last_step(lab_relay, domain):
    """posthouse-gssapi by hand: another identity, a layer that was not offered, rubbish, out of turn."""
    env = {**os.environ, **domain.kerberos, "KRB5_KTNAME": domain.keytab}
    script = """
import base64, gssapi, subprocess, sys
h = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
def ask(l):
    h.stdin.write(l + "\\n"); h.stdin.flush(); return h.stdout.readline().strip()
def b(x): return base64.b64encode(x).decode()
def shake():
    c = gssapi.SecurityContext(name=gssapi.Name("smtp@localhost", gssapi.NameType.hostbased_service), mech=gssapi.MechType.kerberos,
        usage="initiate", flags=[gssapi.RequirementFlag.mutual_authentication, gssapi.RequirementFlag.integrity])
    r = ask("YR " + b(c.step()))
    assert r.startswith("TT ") and r.endswith(" *"), r
    c.step(base64.b64decode(r.split()[1]))
    r = ask("KK *")
    assert c.unwrap(base64.b64decode(r.split()[1])).message == bytes([1, 0, 0, 0])
    return c
def last(plain):
    return ask("KK " + b(shake().wrap(plain, False).message))
for plain in (b"\\1\\0\\0\\0", b"\\1\\0\\0\\0alice", b"\\1\\0\\0\\0alice@LAB.TEST"):
    assert last(plain) == "AF * alice@LAB.TEST", plain
for plain in (b"\\1\\0\\0\\0bob", b"\\1\\0\\0\\0ali", b"\\1\\0\\0\\0alice\\0", b"\\2\\0\\0\\0", b"\\1\\0\\0", b""):
    assert last(plain).startswith("NA * NT_STATUS_"), plain
shake()
assert ask("KK " + b(b"rubbish")).startswith("NA * NT_STATUS_"), "unwrap"
assert ask("KK " + b(b"rubbish")).startswith("BH "), "out of turn"
for l in ("", "XX", "KK", "KK *", "YR", "YR !", "YR AAAA", "YR " + b(bytes(3000)), "YR AA=A", "YR AB=="):
    assert ask(l)[:2] in ("BH", "NA"), l
assert last(b"\\1\\0\\0\\0").startswith("AF"), "and it still works"
shake(); assert last(b"\\1\\0\\0\\0").startswith("AF"), "a second YR starts anew"
try:
    h.stdin.write("A" * 200000); h.stdin.close()
except BrokenPipeError:
    pass
assert h.wait() == 1
"""
    run("/usr/bin/python3", "-c", script, GSSAPI, env=env)
    assert "--target" in run(GSSAPI, "--help").stdout
    assert run(GSSAPI, "--client", check=False).returncode == 64


# --- a real domain, smart hosts ---

@pytest.fixture
def via(start, domain):
    """Sends one message through a relay that logs in to a smart host; the relay."""
    def send(peer, subject, login=("LAB\\smarthost", "relaypass"), tls="", mechanisms=None, **options):
        secret = start.folder / "secret"
        secret.write_text((login[1] or "") + "\n")
        secret.chmod(0o600)
        options = {"ntlm-client-helper": f"[{domain.ntlm_auth}, --helper-protocol=ntlmssp-client-1]",
                   "spnego-client-helper": f"[{domain.ntlm_auth}, --helper-protocol=gss-spnego-client]", "gssapi-helper": f"[{GSSAPI}]",
                   "allow-cleartext-ntlm": "yes", "domains": "[LAB=LAB.TEST]",
                   **{k.replace("_", "-"): v for k, v in options.items()}}
        rows = "".join(f"      {k}: {v}\n" for k, v in options.items())
        who = (f"      username: {login[0]}\n" if login[0] else "") + (f"      password-file: {secret}\n" if login[1] else "")
        r = start.relay("", config=f"""\
hostname: relay.example.com
listen:
  - address: "127.0.0.1:0"
spool: {start.folder}/spool
queue: {{ retry: [1s], probe: [1s] }}
plugins:
  - auth-anonymous
  - auth-windows:
{rows}  - relay-access: {{ allow: [127.0.0.0/8] }}
{tls}  - smarthost:
      hosts: ["{peer.address}"]
      allow-loopback: yes
      tls: {'verify' if tls else 'off'}
      auth: windows
{f"      mechanisms: {mechanisms}" if mechanisms else ""}
{who}""", env={"KRB5_CONFIG": domain.krb5_config})
        with r.smtp() as s:
            s.sendmail("a@example.org", ["b@example.net"], f"Subject: {subject}\r\n\r\nhello\r\n")
        return r
    return send


@pytest.mark.parametrize("final", ["bare 235", "--final-334"])
@pytest.mark.parametrize("kind", ["NTLM", "SPNEGO", "Kerberos by keytab", "Kerberos by cache"])
def test_log_in_to_exchange(via, exchange_peer, domain, kind, final):
    peer = exchange_peer(*([final] if final.startswith("--") else []))
    subject = f"to Exchange {kind} {final}"
    how = {"NTLM": {"mechanisms": "[NTLM]"}, "SPNEGO": {"mechanisms": "[GSSAPI]"},
           "Kerberos by keytab": {"login": ("svc-relay@LAB.TEST", None), "client_keytab": "KEYTAB"},
           "Kerberos by cache": {"login": ("", None), "client_cache": domain.env["LAB_SMARTHOST_CCACHE"]}}[kind]
    if "client_keytab" in how:
        how["client_keytab"] = keytab_of(domain, "smarthost")
        how["login"] = ("LAB\\smarthost", None)
    r = via(peer, subject, **how)
    peer.until_mail(subject)
    r.until_empty()
    log = r.text()
    assert "relaypass" not in log and b64(b"relaypass") not in log


def keytab_of(domain, user):
    path = domain.dir / f"{user}.keytab"
    if not path.exists():
        run("samba-tool", "domain", "exportkeytab", path, f"--principal={user}@LAB.TEST", f"--configfile={domain.dir}/etc/smb.conf")
        path.chmod(0o600)
    return path


@pytest.mark.parametrize("kind", ["NTLM", "password", "keytab"])
def test_log_in_to_postfix_and_dovecot(via, postfix_dovecot, domain, kind):
    peer = postfix_dovecot(domain=domain)
    subject = f"to Dovecot by {kind}"
    how = {"NTLM": {"mechanisms": "[NTLM]"}, "password": {"mechanisms": "[GSSAPI]"},
           "keytab": {"mechanisms": "[GSSAPI]", "login": ("smarthost@lab.test", None), "client_keytab": "x"}}[kind]
    if kind == "keytab":
        how["client_keytab"] = keytab_of(domain, "smarthost")
    r = via(peer, subject, client_gssapi="rfc4752", **how)
    assert "smarthost" in re.search(r"Authenticated sender: (\S+)\)", peer.until_mail(subject))[1]
    r.until_empty()


def test_a_login_that_fails_keeps_the_mail(via, exchange_peer):
    peer = exchange_peer("--mechs", "NTLM")
    r = via(peer, "never", login=("LAB\\smarthost", "not-the-word"))
    r.wait_log(r"event=site.login-refused.*")
    assert r.count() == 1
    assert not any("never" in m for m in peer.mail())
    r.stop()
    assert "not-the-word" not in r.text() and b64(b"not-the-word") not in r.text()


def test_client_helpers_that_fail_keep_the_mail(via, exchange_peer, start):
    peer = exchange_peer("--mechs", "NTLM")
    folder = start.folder
    (folder / "mode").write_text("die")
    r = via(peer, "kept", ntlm_client_helper=f"[{FAKE}, {folder}, client]")
    r.wait_log("the helper has ended")
    tried = len((folder / "lines").read_text().splitlines())
    (folder / "mode").write_text("say PW")
    until("more attempts", lambda: len((folder / "lines").read_text().splitlines()) > tried + 1)
    assert r.count() == 1
    r.stop()
    assert "relaypass" not in r.text() and b64(b"relaypass") not in r.text()
