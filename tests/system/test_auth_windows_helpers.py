"""Integrated Windows authentication: helpers that are not there, and what the administrator hears of it; no domain."""
import os
import re

import pytest
from conftest import BUILD, PLUGINS, posthouse
from test_auth_windows import FAKE, TYPE1, Client, b64, config, fake, type3  # noqa: F401 the fixture

KERBEROS = bytes.fromhex("602806092a864886f71201020201000c") + bytes(26)        # RFC 2743 3.1, and a token of no worth
SPNEGO = bytes.fromhex("602a06062b0601050502") + bytes(34)


def installed():
    """Where the daemon looks for the program by default, as configure has it."""
    make = (BUILD / "Makefile").read_text()
    path = "${libexecdir}/posthouse/posthouse-gssapi"
    while m := re.search(r"\$\{(\w+)\}", path):
        path = path.replace(m[0], re.search(rf"^{m[1]} = (.*)$", make, re.M)[1])
    return path


def check(folder, **rows):
    path = folder / "check.yaml"
    path.write_text(config(folder, {k.replace("_", "-"): v for k, v in rows.items()}))
    r = posthouse("check", "-c", path, "--plugin-dir", PLUGINS, check=False)
    return r.returncode, "\n".join(line for line in (r.stdout + r.stderr).splitlines() if "gssapi-helper" in line)


def test_check_names_the_kerberos_program_that_is_not_there(start):
    both = {"ntlm_helper": f"[{FAKE}, .]", "spnego_helper": f"[{FAKE}, ., spnego]"}
    status, text = check(start.folder, gssapi_helper="[/nonexistent/posthouse-gssapi]", **both)
    assert status == 0 and "warning" in text and "no program /nonexistent/posthouse-gssapi" in text, text
    assert "try later" in text and "install posthouse-gssapi" in text and "SPNEGO, as Windows speaks it, works" in text, text
    status, text = check(start.folder, gssapi_helper="[/nonexistent/posthouse-gssapi]", spnego_helper="[]")
    assert status == 0 and "no program /nonexistent/posthouse-gssapi" in text and "SPNEGO" not in text, text
    # who only logs in to smart hosts needs it for Kerberos alone
    for rows, said in (({}, False), ({"client_gssapi": "rfc4752"}, True), ({"client_cache": "FILE:/none"}, True)):
        text = check(start.folder, server="no", gssapi_helper="[/nonexistent/posthouse-gssapi]", **rows)[1]
        assert ("logins to smart hosts by Kerberos will fail" in text) == said, (rows, text)
        assert said or text == "", text
    assert check(start.folder, gssapi_helper=f"[{FAKE}, .]", **both) == (0, "")


def test_bare_kerberos_without_its_program_is_told_to_try_later(start):
    if os.access(installed(), os.X_OK):
        pytest.skip(f"{installed()} is there")
    assert f"no program {installed()} that can be run" in check(start.folder)[1]
    (start.folder / "mode").write_text("ok")
    r = start.relay("", config=config(start.folder, {"ntlm-helper": f"[{FAKE}, {start.folder}]", "allow-cleartext-ntlm": "yes",
                                                     "spnego-helper": f"[{FAKE}, {start.folder}, spnego]"}))
    assert f"no program {installed()} that can be run" in r.text()
    c = Client(r.port)
    assert re.search(r"250[- ]AUTH .*GSSAPI", c.hello)
    assert c.cmd("AUTH GSSAPI " + b64(KERBEROS)).startswith("454 4.7.0")
    line = r.wait_log(r".*event=auth\.unavailable.*")[0]
    assert " warn " in line and "no gssapi-helper" in line and "posthouse-gssapi is not installed" in line, line
    assert c.cmd("AUTH GSSAPI " + b64(SPNEGO)).startswith("334"), "SPNEGO goes on"
    c.close()


def test_bare_kerberos_with_a_wrong_path_is_told_to_try_later(start):
    r = start.relay("", config=config(start.folder, {"spnego-helper": f"[{FAKE}, {start.folder}, spnego]",
                                                     "gssapi-helper": "[/nonexistent/posthouse-gssapi]"}))
    assert "no program /nonexistent/posthouse-gssapi that can be run" in r.text()
    c = Client(r.port)
    assert c.cmd("AUTH GSSAPI " + b64(KERBEROS)).startswith("454 4.7.0")
    assert "cannot be started" in r.wait_log(r"event=auth\.unavailable.*")[0]
    c.close()


@pytest.mark.parametrize("dialect,mechanism", [("ntlm", "NTLM"), ("spnego", "GSSAPI")])
def test_taking_a_helper_from_a_silent_client_is_logged_at_once(fake, dialect, mechanism):
    f = fake(dialect=dialect, client_wait="200ms")
    c = f.client()
    first = TYPE1 if dialect == "ntlm" else SPNEGO
    assert c.cmd(f"AUTH {mechanism} {b64(first)}").startswith("334")
    line = f.relay.wait_log(r".*event=plugin\.log.*client-wait.*")[0]      # the client has sent nothing more
    assert " warn " in line and "plugin=auth-windows" in line, line
    assert f"client {c.s.getsockname()[0]} kept its {dialect}-helper waiting" in line, line
    assert "auth.unavailable" not in f.relay.text()
    assert c.cmd(b64(type3())).startswith("454 4.7.0")
    f.relay.wait_log(r"event=auth\.unavailable.*client-wait")
    assert c.cmd("NOOP").startswith("250")
    c.close()
    f.relay.stop()
    assert len(re.findall("kept its", f.relay.text())) == 1


def test_a_client_in_time_keeps_its_helper_and_is_not_in_the_log(fake):
    f = fake(client_wait="20s")
    assert f.login().startswith("235")
    f.relay.stop()
    assert "kept its" not in f.relay.text()
