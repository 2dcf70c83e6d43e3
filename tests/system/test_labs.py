"""The surroundings of the login tests hold what labs.py promises, before a relay is tested against them."""
import smtplib
import ssl

from conftest import need, run
from labs import HELPER_DIALOGUE, LABS


def trusting(ca):
    return ssl.create_default_context(cafile=str(ca))


def verdict(certificates, which):
    return run("openssl", "verify", "-purpose", "sslserver", "-verify_hostname", "relay.example.com",
               "-CAfile", certificates.ca.cert, which.cert, check=False)


def test_certificates_are_what_they_are_called(certificates):
    assert verdict(certificates, certificates.server).returncode == 0
    assert verdict(certificates, certificates.rsa).returncode == 0
    for which, why in ((certificates.expired, "has expired"), (certificates.future, "not yet valid"),
                       (certificates.mismatched, "hostname mismatch"), (certificates.stranger, "unable to get local issuer"),
                       (certificates.client, "unsuitable certificate purpose")):
        r = verdict(certificates, which)
        assert r.returncode != 0 and why in (r.stdout + r.stderr).lower(), (which.cert, r.stdout + r.stderr)
    below = certificates.authority("Below", issuer=certificates.ca)
    leaf = certificates.make("leaf", ["leaf.example.com"], issuer=below)
    assert leaf.chain.read_text().count("BEGIN CERTIFICATE") == 2
    r = run("openssl", "verify", "-CAfile", certificates.ca.cert, "-untrusted", leaf.chain, leaf.cert)
    assert "OK" in r.stdout
    assert 29 < certificates.future.days_left() < 31


def test_the_domain_knows_its_users(domain):
    assert domain.works()
    assert run(HELPER_DIALOGUE, "local", domain.dir, "ntlm").returncode == 0
    assert run(HELPER_DIALOGUE, "local", domain.dir, "ntlm", "LAB\\alice", "wrong", check=False).returncode == 1


def test_the_smart_hosts_take_logins_and_mail(postfix_dovecot, oauth_peer, certificates):
    p = postfix_dovecot(mechs="plain", certificate=certificates.server)
    with smtplib.SMTP("localhost", p.port) as s:
        s.starttls(context=trusting(certificates.ca.cert))
        s.login("alice", "password")
        s.sendmail("a@example.org", ["b@example.net"], "Subject: in the labs\r\n\r\nhello\r\n")
    assert "(Authenticated sender: alice)" in p.until_mail("Subject: in the labs")
    assert postfix_dovecot(mechs="plain", certificate=certificates.server) is p
    o = oauth_peer("--tls", certificate=certificates.server)
    need("curl")
    text = o.dir / "m.eml"
    text.write_text("Subject: by token\r\n\r\nhello\r\n")
    run("curl", "-sS", f"smtp://{o.address}", "--ssl-reqd", "--cacert", certificates.ca.cert, "-u", "alice@lab.test:",
        "--oauth2-bearer", o.token(), "--mail-from", "alice@lab.test", "--mail-rcpt", "b@example.net", "-T", text)
    assert "X-Lab-TLS: yes" in o.until_mail("Subject: by token")
    assert o.stats()["smtp_ok"] == 1


def test_the_exchange_like_smart_host_takes_a_domain_login(exchange_peer, domain):
    p = exchange_peer("--tls")
    r = run(HELPER_DIALOGUE, "smtp", domain.dir, p.address, "NTLM")
    assert "235" in r.stdout, r.stdout


def test_each_script_explains_itself():
    for script in ("windows-auth-lab", "smtp-auth-peer", "exchange-peer", "oauth-peer", "helper-dialogue"):
        r = run(LABS / script, check=False)
        assert r.returncode != 0 and script in r.stdout + r.stderr
