"""A smart host that does as it is told: each verb's reply, STARTTLS or TLS from the first byte, logins, client certificates.

  with Host(replies={"RCPT": "550 5.7.1 Relaying denied"}) as h: ... h.address, h.seen, h.mail
"""
import base64
import socket
import ssl
import threading


class Host:
    """replies: verb to reply ("GREETING", "EHLO", "MAIL", ..., "." for the end of data). certificate: offers STARTTLS.
    login: (mechanism line, user, password). client_ca: the file of those who may have signed clients' certificates."""

    def __init__(self, replies=None, certificate=None, implicit=False, login=None, client_ca=None, name="mx.example.net",
                 login_only_in_tls=True, oldest=None, family=socket.AF_INET, address="127.0.0.1", listen=True):
        self.replies, self.implicit, self.login, self.name = replies or {}, implicit, login, name
        self.login_only_in_tls = login_only_in_tls
        self.seen, self.mail, self.peers, self.handshakes = [], [], [], 0
        self.open, self.lock = 0, threading.Lock()      # connections now
        self.context = None
        if certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate.chain, certificate.key)
            if oldest is not None:
                self.context.minimum_version = self.context.maximum_version = oldest
                self.context.set_ciphers("ALL:@SECLEVEL=0")
            if client_ca is not None:
                self.context.verify_mode = ssl.CERT_REQUIRED
                self.context.load_verify_locations(client_ca)
        self.s = socket.create_server((address, 0), family=family, backlog=16)
        self.port = self.s.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        # a close alone would not wake the thread that accepts
        try:
            self.s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.s.close()
        self.thread.join(10)

    def accept(self):
        while True:
            try:
                s, _ = self.s.accept()
            except OSError:
                return
            self.count(1)
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def count(self, n):
        with self.lock:
            self.open += n

    def serve(self, s):
        s.settimeout(60)
        try:
            self.talk(s)
        except (OSError, EOFError, ValueError):
            pass
        finally:
            s.close()
            self.count(-1)

    def secure(self, s):
        s = self.context.wrap_socket(s, server_side=True)
        self.handshakes += 1
        self.peers.append(s.getpeercert())
        return s, s.makefile("rb")

    def talk(self, s):
        f, secure = s.makefile("rb"), False
        if self.implicit:
            (s, f), secure = self.secure(s), True

        def say(text):
            s.sendall(text.replace("\n", "\r\n").encode() + b"\r\n")

        def hear():
            line = f.readline(65536)
            if not line.endswith(b"\n"):
                raise EOFError
            line = line.rstrip(b"\r\n").decode("latin-1")
            self.seen.append(line)
            return line

        say(self.replies.get("GREETING", f"220 {self.name} ESMTP"))
        while True:
            line = hear()
            verb = line.split(" ")[0].upper()
            if verb == "EHLO" and verb not in self.replies:
                lines = [self.name, "SIZE 1000000", "8BITMIME", "ENHANCEDSTATUSCODES"]
                if self.context is not None and not secure:
                    lines.append("STARTTLS")
                if self.login is not None and (secure or not self.login_only_in_tls):
                    lines.append(f"AUTH {self.login[0]}")
                say("\n".join(f"250{'-' if x is not lines[-1] else ' '}{x}" for x in lines))
            elif verb == "STARTTLS" and self.context is not None and verb not in self.replies:
                say("220 2.0.0 Go ahead")
                (s, f), secure = self.secure(s), True
            elif verb == "AUTH" and verb not in self.replies:
                say(self.auth(line, say, hear))
            elif verb == "DATA" and verb not in self.replies:
                say("354 Go ahead")
                lines = []
                while (part := f.readline(1 << 20)) != b".\r\n":
                    if not part:
                        raise EOFError
                    lines.append(part)
                self.mail.append(b"".join(lines).decode("utf-8", "replace"))
                say(self.replies.get(".", "250 2.0.0 Queued"))
            elif verb == "HANGUP":
                return
            else:
                reply = self.replies.get(verb, {"QUIT": "221 2.0.0 Bye", "MAIL": "250 2.1.0 Sender ok", "RCPT": "250 2.1.5 Recipient ok",
                                                "RSET": "250 2.0.0 Ok"}.get(verb, "502 5.5.2 Not here"))
                if reply is None:
                    return
                say(reply)
                if verb == "QUIT":
                    return

    def auth(self, line, say, hear):
        parts = line.split(" ")
        decode = base64.b64decode
        if parts[1] == "PLAIN":
            if len(parts) < 3:
                say("334 ")
                parts.append(hear())
            _, user, password = decode(parts[2]).decode().split("\0")
        elif parts[1] == "LOGIN":
            say("334 VXNlcm5hbWU6")
            user = decode(hear()).decode()
            say("334 UGFzc3dvcmQ6")
            password = decode(hear()).decode()
        else:
            return "504 5.5.4 No such mechanism"
        return "235 2.7.0 Accepted" if (user, password) == self.login[1:] else "535 5.7.8 Wrong user name or password"
