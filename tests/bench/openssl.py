"""What OpenSSL itself spends: on a handshake as its own server, and on AES-GCM."""
import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

from meter import Cpu, until
from peers import free_port


def there():
    return shutil.which("openssl") is not None


KEYS = {"rsa": ["rsa:2048"], "ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]}


def certificate(folder, kind="rsa"):
    """One for all who take part; made at the first use."""
    cert, key = Path(folder) / "cert.pem", Path(folder) / "key.pem"
    if not cert.exists():
        subprocess.run(["openssl", "req", "-x509", "-newkey", *KEYS[kind], "-nodes", "-days", "30", "-subj", "/CN=localhost",
                        "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def listens(port):
    """Without connecting, which the server would count."""
    want = f":{port:04X}"
    return any(f[1].endswith(want) and f[3] == "0A" for f in (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]))


def new_ones(port, seconds):
    r = subprocess.run(["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-tls1_3", "-new", "-time", str(max(2, seconds))],
                       capture_output=True, text=True, timeout=60 + seconds)
    return int(re.findall(r"(\d+) connections in [\d.]+ real seconds", r.stdout)[-1])


def resumed_ones(port, seconds):
    """Python's, since s_time does not wait for TLS 1.3's tickets: one ticket, used for all."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3

    def connect(session=None):
        s = socket.create_connection(("127.0.0.1", port), 10)
        return context.wrap_socket(s, session=session)
    with connect() as first:
        first.settimeout(0.3)
        try:
            first.recv(1)           # the tickets come before anything else
        except TimeoutError:
            pass
        session = first.session
    n, end = 0, time.monotonic() + max(2, seconds)
    while time.monotonic() < end:
        with connect(session) as s:
            if not s.session_reused:
                raise RuntimeError("s_server did not go on with a session")
        n += 1
    return n


def handshake(folder, seconds, resumed=False):
    """CPU seconds of `openssl s_server` for each handshake of TLS 1.3, full or resumed."""
    cert, key = certificate(folder)
    port, cpu = free_port(), Cpu("openssl")
    server = subprocess.Popen(["openssl", "s_server", "-quiet", "-accept", f"127.0.0.1:{port}", "-cert", cert, "-key", key, "-tls1_3"],
                              stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=cpu.enter)
    try:
        until("s_server", lambda: listens(port) or server.poll() is not None, 10)
        before = cpu.seconds(server.pid)
        n = (resumed_ones if resumed else new_ones)(port, seconds)
        used = cpu.seconds(server.pid) - before
        return {"cpu": used / n, "rate": n / max(2, seconds), "messages": n, "meter": cpu.kind}
    finally:
        server.kill()
        server.wait()
        time.sleep(0.1)
        cpu.close()


def aes_gcm(seconds):
    """Bytes that one core seals in a second, in pieces as large as a TLS record."""
    r = subprocess.run(["openssl", "speed", "-mr", "-seconds", str(max(1, min(3, seconds))), "-bytes", "16384", "-evp", "aes-256-gcm"],
                       capture_output=True, text=True, timeout=120)
    return float(re.findall(r"\+F:\d+:[^:]+:([\d.]+)", r.stdout)[-1])
