"""What OpenSSL itself spends: on a handshake as its own server, and on AES-GCM."""
import re
import shutil
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


def handshake(folder, seconds):
    """CPU seconds of `openssl s_server` for each full handshake that `openssl s_time` makes with it (TLS 1.3).

    Not for resumed ones: s_time does not wait for TLS 1.3's tickets, so with -reuse it makes full ones, too.
    """
    cert, key = certificate(folder)
    port, cpu = free_port(), Cpu("openssl")
    server = subprocess.Popen(["openssl", "s_server", "-quiet", "-accept", f"127.0.0.1:{port}", "-cert", cert, "-key", key, "-tls1_3"],
                              stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=cpu.enter)
    try:
        until("s_server", lambda: listens(port) or server.poll() is not None, 10)
        before = cpu.seconds(server.pid)
        r = subprocess.run(["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-tls1_3", "-new", "-time", str(max(2, seconds))], capture_output=True, text=True, timeout=60 + seconds)
        used = cpu.seconds(server.pid) - before
        n = int(re.findall(r"(\d+) connections in [\d.]+ real seconds", r.stdout)[-1])
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
