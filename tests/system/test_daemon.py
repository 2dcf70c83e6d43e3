"""The process: privileges, locks, service manager, installation."""
import os
import re
import signal
import socket
import stat
from pathlib import Path

import pytest

from conftest import BUILD, PLUGINS, POSTHOUSE, SANITIZED, TOP, Talk, posthouse, run, until
from test_clients import BODY, arrived


def write(folder, more="", smarthost="127.0.0.1:1", spool=None):
    f = folder / "posthouse.yaml"
    f.write_text(f"""\
hostname: relay.example.com
listen:
  - address: 127.0.0.1:0
spool: {spool or folder / "spool"}
{more}plugins:
  - auth-anonymous
  - relay-access
  - smarthost:
      hosts: ["{smarthost}"]
""")
    return f


def test_one_daemon_per_spool(relay):
    r = posthouse("run", "-c", relay.config, "--plugin-dir", PLUGINS, check=False)
    assert r.returncode == 69 and "another" in r.stderr


def test_world_writable_spool_is_refused(tmp_path):
    f = write(tmp_path)
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool").chmod(0o777)
    r = posthouse("run", "-c", f, "--plugin-dir", PLUGINS, check=False)
    assert r.returncode == 69 and "writable" in r.stderr


def test_world_writable_plugin_is_refused(tmp_path):
    import shutil
    d = tmp_path / "plugins"
    d.mkdir(mode=0o755)
    found = [p for p in BUILD.rglob("*.so") if p.name in ("auth-anonymous.so", "relay-access.so", "smarthost.so")]
    if len(found) < 3:
        pytest.skip("plugins are linked in")
    for p in found:
        shutil.copy(p, d / p.name)
    (d / "smarthost.so").chmod(0o777)
    r = posthouse("check", "-c", write(tmp_path), "--plugin-dir", d, check=False)
    assert r.returncode == 78 and "smarthost.so" in r.stderr and "writable" in r.stderr


def test_control_socket_is_private(relay):
    assert stat.S_IMODE((relay.spool / "control").stat().st_mode) == 0o600
    assert stat.S_IMODE(relay.spool.stat().st_mode) == 0o700


def test_drops_privileges_after_binding(start):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    sink = start.sink()
    run("chmod", "755", start.folder)
    for d in start.folder.parents:
        if str(d).startswith("/tmp/"):
            d.chmod(d.stat().st_mode | 0o055)
    relay = start.relay(sink.address, top="user: nobody\n")
    status = Path(f"/proc/{relay.pid}/status").read_text()
    assert re.search(r"Uid:\s+65534\s+65534\s+65534", status)
    assert relay.spool.stat().st_uid == 65534
    with relay.smtp() as c:
        c.sendmail("a@example.org", ["b@example.net"], BODY.encode())
    arrived(sink)


def test_notify_and_socket_activation(start, tmp_path):
    sink = start.sink()
    note = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    note.bind(str(tmp_path / "notify"))
    note.settimeout(60)
    lsn = socket.create_server(("127.0.0.1", 0))
    port = lsn.getsockname()[1]
    conf = write(tmp_path, smarthost=sink.address)
    conf.write_text(conf.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
    pid = os.fork()
    if pid == 0:
        os.dup2(lsn.fileno(), 3)
        os.set_inheritable(3, True)
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", NOTIFY_SOCKET=str(tmp_path / "notify"))
        log = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY, 0o600)
        os.dup2(log, 2)
        os.execv(POSTHOUSE, [POSTHOUSE, "run", "-c", str(conf), "--plugin-dir", str(PLUGINS)])
    try:
        assert note.recv(4096) == b"READY=1"
        lsn.close()
        t = Talk(port)
        assert t.cmd("EHLO x")[0] == 250
        os.kill(pid, signal.SIGHUP)
        assert note.recv(4096) == b"RELOADING=1"
        assert note.recv(4096) == b"READY=1"
        os.kill(pid, signal.SIGTERM)
        assert note.recv(4096) == b"STOPPING=1"
    finally:
        os.kill(pid, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_port_in_use_is_told_at_its_place(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as s:
        f = write(tmp_path)
        f.write_text(f.read_text().replace("127.0.0.1:0", f"127.0.0.1:{s.getsockname()[1]}"))
        r = posthouse("run", "-c", f, "--plugin-dir", PLUGINS, check=False)
    assert r.returncode == 69 and re.search(r"posthouse.yaml:3:14: error: listen.address: cannot listen on", r.stderr)


def test_missing_plugin_is_named_with_what_there_is(tmp_path):
    f = write(tmp_path)
    f.write_text(f.read_text().replace("smarthost:", "smarthots:"))
    r = posthouse("check", "-c", f, "--plugin-dir", PLUGINS, check=False)
    assert r.returncode == 78 and "smarthots" in r.stderr and "did you mean smarthost" in r.stderr


def test_limits_of_connections(start):
    sink = start.sink(store=False)
    relay = start.relay(sink.address, top="max-connections: 5\n")
    talks = [Talk(relay.port) for _ in range(5)]
    t = Talk(relay.port, greet=False)
    code, text = t.reply()
    assert code == 421 and "4.3.2" in text
    talks[0].cmd("QUIT")
    talks[0].close()
    relay.wait_log("event=smtp.closed")

    def again():
        x = Talk(relay.port, greet=False)
        return x.reply()[0] == 220
    until("room for another", again)


def test_plugins_command(relay):
    text = posthouse("plugins", "-c", relay.config, "--plugin-dir", PLUGINS).stdout
    assert "relay-access" in text and re.search(r"rcpt\b.*relay-access", text)
    one = posthouse("plugins", "smarthost", "--plugin-dir", PLUGINS).stdout
    assert "hosts" in one and "connections" in one and "Default: " in one


def test_plugin_builds_outside_the_tree(tmp_path):
    """From an installed tree, by posthouse.pc alone, then loaded by the installed daemon."""
    if SANITIZED:
        pytest.skip("the plugin would need the same sanitizer")
    dest = tmp_path / "dest"
    run("make", "-C", BUILD, "-s", "install", f"DESTDIR={dest}")
    pc = next(dest.rglob("posthouse.pc"))
    prefix = re.search(r"^prefix=(.*)$", pc.read_text(), re.M).group(1)
    flags = run("pkg-config", "--cflags", "posthouse",
                env={**os.environ, "PKG_CONFIG_PATH": str(pc.parent), "PKG_CONFIG_SYSROOT_DIR": str(dest)}).stdout.split()
    if not any(str(dest) in f for f in flags):
        flags = [f"-I{dest}{prefix}/include"]
    run("gcc", "-std=c17", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", *flags, "-o", tmp_path / "example.so",
        *(TOP / "plugins" / "example").glob("[!r]*.c"))
    binary = next(p for p in dest.rglob("posthouse") if p.is_file() and os.access(p, os.X_OK))
    r = run(binary, "plugins", "example", "--plugin-dir", tmp_path)
    assert "example" in r.stdout and str(tmp_path / "example.so") in r.stdout
    config = next(dest.rglob("etc/posthouse/posthouse.yaml"))
    plugins = next(dest.rglob("smarthost.so")).parent
    r = run(binary, "check", "-c", config, "--plugin-dir", plugins, check=False)
    assert r.returncode == 0, r.stderr


def test_helps_and_exit_codes():
    assert posthouse("--help").stdout.startswith("usage: posthouse")
    for c in ("run", "check", "reload", "queue", "plugins", "send", "sink", "bench", "explain", "version"):
        assert posthouse(c, "--help").stdout
        assert posthouse(c, "--no-such-option", check=False).returncode == 64
    assert posthouse("nonsense", check=False).returncode == 64
    assert posthouse("check", "-c", "/nonexistent.yaml", check=False).returncode == 78
    assert posthouse("reload", "-c", "/nonexistent.yaml", check=False).returncode == 78
