"""Mistakes of TLS and logins in a configuration: told by `posthouse check`, at their place, all of them at once, with what to write."""
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from conftest import PLUGINS, posthouse

EX_OK, EX_CONFIG = 0, 78
OAUTH = "auth-oauth2: { token-endpoint: \"https://localhost/t\", client-id: x, client-secret-file: SECRET, scope: smtp }"


@pytest.fixture
def check(tmp_path, certificates):
    """check(plugins, listen, top): the complaints, each as (severity, path, text, hint)."""
    secret = tmp_path / "secret"
    secret.write_text("a secret\n")
    secret.chmod(0o600)
    names = {"SECRET": secret, "CERT": certificates.server.chain, "KEY": certificates.server.key, "CA": certificates.ca.cert,
             "OTHERKEY": certificates.ca.key}

    def one(*plugins, listen="", top=""):
        text = f'hostname: relay.example.com\nspool: {tmp_path}/spool\n{top}listen:\n  - {{ address: "127.0.0.1:0"{listen} }}\nplugins:\n'
        text += "".join(f"  - {p}\n" for p in plugins)
        file = tmp_path / "posthouse.yaml"
        file.write_text(re.sub(r"\b(SECRET|CERT|KEY|CA|OTHERKEY)\b", lambda m: str(names[m[0]]), text))
        r = posthouse("check", "-c", file, "--plugin-dir", PLUGINS, check=False)
        said = re.findall(r"^\S+?:\d+:\d+: (error|warning): ([\w.-]+): (.*)\n(?:.*\|.*\n)*(?:  hint: (.*)\n)?", r.stderr, re.M)
        assert r.returncode == (EX_CONFIG if any(s[0] == "error" for s in said) else EX_OK), r.stderr
        assert "a secret" not in r.stderr
        return said

    one.folder, one.secret, one.names = tmp_path, secret, names
    return one


BASIC = "hosts: a.example.com, tls: verify, auth: basic, username: relay, password-file: SECRET"


def test_a_backslash_in_double_quotes(check):
    said = check("tls", "auth-basic: { default-domain: \"a\\nb\" }", "smarthost: { " + BASIC.replace("relay", '"LAB\\relay"') + " }")
    assert [(s[0], s[1]) for s in said] == [("error", "plugins.auth-basic.default-domain"), ("error", "plugins.smarthost.username")]
    assert r"\r means in double quotes" in said[1][2] and "single quotes" in said[1][3]
    assert check("tls", "auth-basic", "smarthost: { " + BASIC.replace("relay", "'LAB\\relay'") + " }") == []


@pytest.mark.parametrize("mechanisms, severity", [("[GSSAPI]", "error"), ("[PLAIN, SCRAM-SHA-512]", "warning")])
def test_a_login_that_the_plugin_does_not_know(check, mechanisms, severity):
    said = check("tls", "auth-basic", f"smarthost: {{ {BASIC}, mechanisms: {mechanisms} }}")
    assert [s[:2] for s in said] == [(severity, "plugins.smarthost.mechanisms")]
    assert "auth-basic does not log in with" in said[0][2] and "SCRAM-SHA-256, CRAM-MD5, PLAIN, LOGIN" in said[0][3]


def test_a_plugin_that_only_lets_clients_in(check):
    said = check("tls: { certificate: CERT, key: KEY }",
                 "auth-oauth2: { server: { introspection-endpoint: \"https://localhost/i\", client-id: x, client-secret-file: SECRET } }",
                 "smarthost: { hosts: a.example.com, tls: verify, auth: oauth2, username: relay@example.com }")
    assert [s[:2] for s in said] == [("error", "plugins.smarthost.auth")] and "nothing to log in with" in said[0][2], said


def test_a_token_in_the_clear(check):
    said = check("tls", OAUTH, "smarthost: { hosts: a.example.com, tls: off, auth: oauth2, username: relay@example.com }")
    assert [s[:2] for s in said] == [("error", "plugins.smarthost.tls")] and "tls: verify" in said[0][3]
    said = check("tls", "auth-basic", "smarthost: { " + BASIC.replace("verify", "off") + ", mechanisms: [PLAIN] }")
    assert ("error", "plugins.smarthost.tls", "is off, and PLAIN works inside TLS only", "write tls: verify") in said


def test_a_key_of_another_certificate(check):
    hop = "hosts: a.example.com, tls: verify, tls-certificate: CERT, tls-key:"
    said = check("tls", f"smarthost: {{ {hop} OTHERKEY }}")
    assert [s[:2] for s in said] == [("error", "plugins.smarthost.tls-key")] and "does not belong to" in said[0][2]
    assert check("tls", f"smarthost: {{ {hop} KEY }}") == []


def test_tokens_of_clients_without_what_checks_them(check):
    said = check("tls: { certificate: CERT, key: KEY }", "auth-anonymous", OAUTH, listen=", mechanisms: [OAUTHBEARER]")
    assert [s[:2] for s in said] == [("warning", "listen.mechanisms")]
    assert said[0][3].endswith("to let clients in by it, set its server"), said


def test_certificates_that_nobody_is_asked_for(check):
    rules = "relay-access: { certificates: [scanner.example.com] }"
    said = check("tls: { certificate: CERT, key: KEY }", rules)
    assert [s[:2] for s in said] == [("warning", "plugins.relay-access.certificates")]
    assert "client-certificates: request" in said[0][3]
    assert check("tls: { certificate: CERT, key: KEY, client-certificates: request, client-ca-file: CA }", rules) == []


def test_google_gives_no_device_code_for_mail(check):
    said = check("tls", "auth-oauth2: { provider: google, client-id: x, client-secret-file: SECRET }")
    assert [s[:2] for s in said] == [("warning", "plugins.auth-oauth2.provider")] and "no device code" in said[0][3]
    r = posthouse("oauth", "login", "-c", check.folder / "posthouse.yaml", "--plugin-dir", PLUGINS, check=False)
    assert r.returncode == EX_CONFIG and "refresh-token-file" in r.stderr and "with a browser open" not in r.stdout.lower()


def test_all_mistakes_at_once(check):
    """Of the core, of options, of what plugins find, and of what listeners and next hops miss."""
    said = check("tls: { ciphers: none-such, ciphersuites: none-such, groups: none-such }", "auth-anonymous: { strict: yes }",
                 "auth-basic", f"smarthost: {{ as: one, {BASIC}, mechanisms: [GSSAPI] }}",
                 "smarthost: { as: two, hosts: localhost }", listen=", auth: required", top="workers: many\n")
    assert [s[1] for s in said if s[0] == "error"] == [
        "workers", "plugins.tls.ciphers", "plugins.tls.ciphersuites", "plugins.tls.groups", "plugins.auth-anonymous.strict",
        "plugins.one.mechanisms", "plugins.two.hosts"], said


def test_what_follows_from_a_mistake_is_no_mistake(check):
    said = check("tls: { certificate: CERT, key: OTHERKEY }", "auth-basic: { users: relative }", "smarthost: { hosts: localhost }",
                 listen=", tls: required, auth: required")
    assert [s[1] for s in said] == ["plugins.tls.key", "plugins.auth-basic.users", "plugins.smarthost.hosts"], said
    said = check("auth-anonymous", "smarthost: { hosts: localhost }", listen=", tls: required, auth: required")
    assert [s[1] for s in said] == ["listen.tls", "listen.auth", "plugins.smarthost.hosts"], said


# --- what the running daemon cannot read ---

@pytest.fixture
def shared_folder():
    """One that every account may enter, other than pytest's."""
    with tempfile.TemporaryDirectory(prefix="posthouse-mistakes.") as d:
        os.chmod(d, 0o755)
        yield Path(d)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root goes on as another account")
def test_files_that_the_account_cannot_read(check, shared_folder):
    def file(name, text):
        f = shared_folder / name
        f.write_text(text)
        f.chmod(0o600)
        return f

    cert, key = (file(n.lower(), check.names[n].read_text()) for n in ("CERT", "KEY"))
    users, senders = file("users", ""), file("senders", "* @example.com\n")
    password = file("password", "hidden words\n")
    files = (cert, key, users, senders, password)
    plugins = [f"tls: {{ certificate: {cert}, key: {key}, ca-file: {cert}, certificates: {{ certificate: {cert}, key: {key} }} }}",
               f"auth-basic: {{ users: {users}, sender-login: map {senders} }}",
               f"smarthost: {{ hosts: a.example.com, tls: verify, auth: basic, username: relay, password-file: {password}, "
               f"tls-ca-file: {cert}, tls-certificate: {cert}, tls-key: {key} }}"]
    said = check(*plugins, top="user: nobody\n")
    assert [s[1].split(".", 1)[1] for s in said] == [
        "tls.certificate", "tls.key", "tls.ca-file", "tls.certificates.certificate", "tls.certificates.key", "auth-basic.users", "auth-basic.sender-login", "smarthost.password-file",
        "smarthost.tls-ca-file", "smarthost.tls-certificate", "smarthost.tls-key"], said
    for severity, path, text, hint in said:
        assert severity == "warning" and "cannot be read by the user nobody" in text and "chown nobody /" in hint
        assert ("reload would fail" in text) == (path == "plugins.smarthost.password-file")
    assert check(*plugins) == []        # it stays root
    for f in files:
        shutil.chown(f, "nobody")
    assert check(*plugins, top="user: nobody\n") == []


# --- posthouse user ---

def user(check, *args, **kw):
    return posthouse("user", *args, "-c", check.folder / "posthouse.yaml", "--plugin-dir", PLUGINS, check=False, **kw)


def test_users_are_kept_while_the_rest_is_wrong(check):
    users = check.folder / "users"
    basic = f"auth-basic: {{ users: {users}, default-domain: example.com }}"
    check(basic, "smarthost: { host: nowhere }", "nosuch", top="workers: many\n")
    r = user(check, "add", "bob", "--password-stdin", "--iterations", "4096", input="a password\n")
    assert r.returncode == EX_OK and users.read_text().startswith("bob@example.com:"), r.stderr
    assert re.search(r":3:10: warning: workers: not a number of threads", r.stderr) and "error" not in r.stderr
    check(basic.replace("default-domain", "default-domian"))
    r = user(check, "list")             # whose domain would it be?
    assert r.returncode == EX_CONFIG and "did you mean default-domain?" in r.stderr


@pytest.mark.parametrize("domain", ["a b", "'@example.com'", "a:b", "x" * 201, "|\n        example.com"])
def test_no_user_of_a_domain_that_is_none(check, domain):
    """The command sees options that no check has seen."""
    users = check.folder / "users"
    said = check(f"auth-basic:\n      users: {users}\n      default-domain: {domain}")
    said = [s for s in said if s[0] == "error"]
    assert [s[:2] for s in said] == [("error", "plugins.auth-basic.default-domain")], said
    assert said[0][2].endswith("is not a domain") and said[0][3] == "write example.com"     # a value's line end begins no hint
    r = user(check, "add", "bob", "--password-stdin", "--iterations", "4096", input="a password\n")
    assert r.returncode == EX_CONFIG and "is not a domain" in r.stderr and not users.exists(), r.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_new_users_file_is_the_accounts(check, shared_folder):
    users = shared_folder / "users"
    check(f"auth-basic: {{ users: {users} }}", top="user: nobody\n")
    add = ("--password-stdin", "--iterations", "4096")
    r = user(check, "add", "bob", *add, input="a password\n")
    assert (r.returncode, r.stderr, users.owner()) == (EX_OK, "", "nobody")
    shutil.chown(users, "root", "root")
    r = user(check, "add", "ann", *add, input="a password\n")
    assert r.returncode == EX_OK and users.owner() == "root" and users.stat().st_mode & 0o777 == 0o600
    assert "warning: plugins.auth-basic.users:" in r.stderr and "cannot be read by the user nobody" in r.stderr
