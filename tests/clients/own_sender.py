"""A sending client over bare sockets, of its own code: `python own_sender.py [STYLE...]`.

Every style is a way of doing right what RFC 5321 and its extensions leave open; the suite must find fault with none.

    per-message      a connection for each message (else one for all)
    per-recipient    a transaction for each recipient
    pipelining       MAIL, RCPT and DATA in one segment, where it is offered
    bdat             BDAT in chunks, where it is offered
    parameters       SIZE, BODY, RET, ENVID and NOTIFY, where they are offered
    small-letters    commands in lower case
    dribble          every command octet by octet
    plain            mechanisms without an initial response
    polite           NOOP, EHLO once more, RSET before every message
    curt             no QUIT
    eager            STARTTLS where it is required, offered or not; challenges without their padding are answered
    reconnect        what a lost connection left unsent goes out over one new connection
    queue            keeps what was deferred, and when it may send again
    terse            errors as the reply's lines in one, no enhanced code, refused recipients only
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import sys
import time
import unicodedata
from contextlib import suppress
from datetime import datetime, timedelta
from email.header import Header
from email.utils import formataddr, formatdate
from pathlib import Path
from typing import Any, NoReturn

from own_wire import STYLES, Connection, Trouble

FEATURES = [
    "send", "starttls", "implicit-tls", "opportunistic-tls", "client-cert", "auth-plain", "auth-login", "auth-cram-md5",
    "auth-xoauth2", "auth-oauthbearer", "auth-scram", "auth-external", "smtputf8", "test-connection", "clock", "dial",
    "host-comma-port",
]  # fmt: skip
DEFAULT_PORTS = {"starttls": 587, "implicit": 465}
BY_COMMAND = {"MAIL": "sender-refused", "RCPT": "recipient-refused", "DATA": "message-refused"}
LIMIT = re.compile(
    r"(daily|sending|hourly|message|relay|thread|login|connection|submission|rate|recipient) ?(user|rate|sending)? "
    r"?(limit|quota)|submission (rate|quota)|submissionquota|login attempts|throttl|concurrent conn|"
    r"too many (concurrent )?(connections|messages|logins)",
    re.I,
)
NO_LIMIT = re.compile(r"too quickly|greylist|user you are trying|recipients? (thread|rate)|(message )?size", re.I)
STRONGEST = [
    "SCRAM-SHA-256", "SCRAM-SHA-1", "OAUTHBEARER", "XOAUTH2", "CRAM-MD5", "PLAIN", "LOGIN",
]  # fmt: skip
PROOFS = ("SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "EXTERNAL")


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def meaning(code: int, text: str, command: str) -> str:
    enhanced = re.match(r"\s*([245]\.(\d+\.\d+))", text)
    detail = enhanced[2] if enhanced else ""
    if LIMIT.search(text) and not NO_LIMIT.search(text):
        return "rate-limit"
    if detail == "3.4" or (code in (452, 552) and re.search("size|too large|too big", text, re.I)):
        return "size"
    if detail == "2.2":
        return "quota"
    if code == 538 or (code == 530 and "TLS" in text.upper()):
        return "tls-required"
    if code < 500:
        return "temporary" if code >= 400 else "protocol"
    if command == "AUTH":
        return "auth-mechanism" if code == 504 else "authentication"
    return "authentication" if code == 530 else BY_COMMAND.get(command, "protocol")


# --- the connection


class Session(Connection):
    def __init__(self, settings: dict[str, Any], dial: dict[str, str]) -> None:
        host, comma, number = settings["host"].rpartition(",")
        port = int(number) if comma else settings["port"] or DEFAULT_PORTS.get(settings["security"], 25)
        super().__init__(settings, dial, host if comma else settings["host"], port)

    def begin(self) -> None:
        security = self.settings["security"]
        code, text = self.reply()
        if code != 220:
            raise Trouble("connect" if code >= 500 else "temporary" if code >= 400 else "protocol", text, code)
        self.hello()
        if security in ("starttls", "opportunistic"):
            tried = "STARTTLS" in self.offers or ("eager" in STYLES and security == "starttls")
            code, text = self.command("STARTTLS") if tried else (0, "STARTTLS is not offered")
            if code == 220:
                self.start_tls()
                self.hello()
            elif code == 421:
                raise Trouble("temporary", text, code)
            elif security == "starttls":
                raise Trouble("tls-required", text, code or None)
            elif tried and code < 400:
                raise Trouble("protocol", text, code)
        if "polite" in STYLES:
            self.hello()
        if self.settings["auth"] != "none":
            self.log_in()

    def put(self, data: bytes) -> None:
        pieces = [data[i : i + 1] for i in range(len(data))] if "dribble" in STYLES and len(data) < 40 else [data]
        for piece in pieces:
            super().put(piece)

    def reply(self) -> tuple[int, str]:
        until = time.monotonic() + self.settings["timeout"]
        lines: list[str] = []
        while True:
            line = self.line(until)
            match = re.fullmatch(r"([2-5]\d\d)(?:([ -])(.*))?", line.decode("utf-8", "replace"), re.S)
            if match is None:
                raise Trouble("protocol", f"not a reply: {line[:200]!r}")
            lines.append(match[3] or "")
            if match[2] != "-":
                return int(match[1]), "\n".join(lines)

    def line(self, until: float) -> bytes:
        while b"\n" not in self.buffer:
            if len(self.buffer) > 1_000_000:
                raise Trouble("protocol", "a line without end")
            self.socket.settimeout(max(until - time.monotonic(), 0.001))
            self.more()
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.removesuffix(b"\r")

    def command(self, line: str) -> tuple[int, str]:
        self.put(spelled(line) + b"\r\n")
        return self.reply()

    def hello(self) -> None:
        name = self.settings["ehlo_name"] or "[127.0.0.1]"
        code, text = self.command(f"EHLO {name}")
        if code >= 500:
            code, _ = self.command(f"HELO {name}")
            text = ""
        if not 200 <= code < 300:
            raise Trouble("temporary" if 400 <= code < 500 else "protocol", text, code)
        self.offers: dict[str, list[str]] = {}
        for line in text.upper().split("\n")[1:]:
            word, *values = line.replace("AUTH=", "AUTH ").split() or [""]
            self.offers.setdefault(word, []).extend(values)

    def quit(self, *, always: bool = False) -> None:
        if always or "curt" not in STYLES:
            with suppress(Trouble):
                self.command("QUIT")
        self.close()

    # --- logging in

    def log_in(self) -> None:
        wanted = self.settings["auth"]
        if wanted == "auto" and not self.settings["username"]:
            return
        offered = self.offers.get("AUTH", [])
        can = [wanted.upper()] if wanted != "auto" else STRONGEST
        has = [one for one in can if one in offered and (wanted != "auto" or self.has_secret(one))]
        if not has:
            raise Trouble("auth-mechanism", f"offered: {' '.join(offered)}; wanted: {' '.join(can)}")
        safe = [one for one in has if one in PROOFS or self.secure or self.settings["allow_cleartext"]]
        if not safe:
            raise Trouble("config", "a password would go out in clear")
        mechanism = safe[0]
        answers = Answers(mechanism, self.settings)
        first = answers.first()
        # RFC 4954 4: a line stays within 512 octets, the initial response included.
        if "plain" in STYLES or first is None or mechanism == "LOGIN" or len(first) > 480:
            code, text = self.command(f"AUTH {mechanism}")
            pending = first if mechanism != "LOGIN" else None
        else:
            code, text = self.command(f"AUTH {mechanism} {first or '='}")
            pending = None
        while code == 334:
            if pending is not None:
                answer: str | None = pending
                pending = None
            else:
                answer = answers.next(text)
            code, text = self.command(answer if answer is not None else "*")
            if answer is None:
                raise Trouble("authentication", text, code if code >= 400 else None)
        if code != 235:
            raise Trouble(meaning(code, text, "AUTH"), text, code)
        if not answers.content:
            raise Trouble("authentication", "the server did not prove that it knows the password")

    def has_secret(self, mechanism: str) -> bool:
        token = self.settings.get("access_token")
        return bool(token) if mechanism in ("XOAUTH2", "OAUTHBEARER") else bool(self.settings["password"])


class Answers:
    """What one SASL mechanism says, step by step; None where the challenge makes no sense."""

    def __init__(self, mechanism: str, settings: dict[str, Any]) -> None:
        self.mechanism, self.user = mechanism, settings["username"]
        self.password, self.token = settings["password"], settings.get("access_token") or ""
        self.step = 0
        self.content = not mechanism.startswith("SCRAM")
        self.nonce = secrets.token_hex(12)
        self.proof_of_server = ""

    def first(self) -> str | None:
        name = self.user.replace("=", "=3D").replace(",", "=2C")
        words = {
            "PLAIN": f"\0{self.user}\0{self.password}",
            "XOAUTH2": f"user={self.user}\x01auth=Bearer {self.token}\x01\x01",
            "OAUTHBEARER": f"n,a={name},\x01auth=Bearer {self.token}\x01\x01",
            "EXTERNAL": "",
        }
        if self.mechanism.startswith("SCRAM"):
            self.bare = f"n={name},r={self.nonce}"
            return b64("n,," + self.bare)
        return b64(words[self.mechanism]) if self.mechanism in words else None

    def next(self, challenge: str) -> str | None:
        self.step += 1
        try:
            padding = "=" * (-len(challenge.strip()) % 4) if "eager" in STYLES else ""
            said = base64.b64decode(challenge.strip() + padding, validate=True)
        except ValueError:
            return None
        if self.mechanism == "LOGIN":
            return b64((self.user, self.password)[self.step - 1]) if self.step <= 2 else None
        if self.step == 1 and self.mechanism == "CRAM-MD5":
            return b64(f"{self.user} {hmac.new(self.password.encode(), said, 'md5').hexdigest()}") if said else None
        if self.step == 1 and self.mechanism in ("XOAUTH2", "OAUTHBEARER"):
            return "" if self.mechanism == "XOAUTH2" else b64("\x01")
        if self.mechanism.startswith("SCRAM") and self.step <= 2:
            return self.scram(said.decode("utf-8", "replace"))
        return None

    def scram(self, said: str) -> str | None:
        parts = dict(part.split("=", 1) for part in said.split(",") if "=" in part)
        if self.step == 2:
            self.content = hmac.compare_digest(parts.get("v", ""), self.proof_of_server)
            return "" if self.content else None
        digest = "sha256" if self.mechanism.endswith("256") else "sha1"
        rounds = parts.get("i", "")
        good = parts.get("r", "").startswith(self.nonce) and rounds.isdigit() and 0 < int(rounds) < 1_000_000
        if not good or "s" not in parts or "m" in parts:
            return None
        salted = hashlib.pbkdf2_hmac(digest, self.password.encode(), base64.b64decode(parts["s"]), int(rounds))
        final = f"c=biws,r={parts['r']}"
        everything = f"{self.bare},{said},{final}".encode()
        key = hmac.digest(salted, b"Client Key", digest)
        signature = hmac.digest(hashlib.new(digest, key).digest(), everything, digest)
        self.proof_of_server = b64(hmac.digest(hmac.digest(salted, b"Server Key", digest), everything, digest))
        return b64(f"{final},p={b64(bytes(a ^ b for a, b in zip(key, signature, strict=True)))}")


def spelled(line: str) -> bytes:
    """A command, in lower case up to its argument where that is the style."""
    if "small-letters" in STYLES:
        words = r"^(AUTH \S+|MAIL FROM|RCPT TO|(EHLO|HELO|STARTTLS|DATA|BDAT|RSET|NOOP|QUIT)(?= |$))"
        line = re.sub(words, lambda found: found[0].lower(), line)
    return line.encode()


# --- the message


def wire_form(message: dict[str, Any], settings: dict[str, Any]) -> bytes:
    raw = re.sub(rb"\r\n|\r|\n", b"\r\n", base64.b64decode(message["eml_base64"]))
    head, _, body = raw.partition(b"\r\n\r\n")
    fields = [field for field in re.split(rb"\r\n(?![ \t])", head.removesuffix(b"\r\n")) if field]
    fields = [field for field in fields if not re.match(rb"(resent-)?bcc[ \t]*:", field, re.I)]
    names = {field.partition(b":")[0].strip().lower() for field in fields}
    if b"from" not in names:
        address = settings["from_address"] or message.get("from") or ""
        name = settings["from_name"] or ""
        shown = formataddr((name, address)) if name.isascii() else f"{Header(name, 'utf-8').encode()} <{address}>"
        fields.append(f"From: {shown}".encode())
    if b"date" not in names:
        fields.append(f"Date: {formatdate()}".encode())
    if b"message-id" not in names:
        fields.append(f"Message-ID: <{secrets.token_hex(16)}@client.example.test>".encode())
    return b"\r\n".join(fields) + b"\r\n\r\n" + body


def in_ascii(address: str) -> str:
    local, at, domain = address.rpartition("@")
    if domain.isascii():
        return address
    labels = [unicodedata.normalize("NFC", label.lower()) for label in domain.split(".")]
    # IDNA2008: the codec "idna" is of 2003 and makes another domain of a sharp s.
    return local + at + ".".join(one if one.isascii() else "xn--" + one.encode("punycode").decode() for one in labels)


class Sender:
    def __init__(self, request: dict[str, Any]) -> None:
        self.settings = request["settings"]["outgoing"]
        self.dial = request.get("dial") or {}
        self.open: Session | None = None

    def send(self, message: dict[str, Any]) -> dict[str, Trouble]:
        """The refused recipients of one message."""
        refused: dict[str, Trouble] = {}
        groups = [[to] for to in message["to"]] if "per-recipient" in STYLES else [message["to"]]
        for group in groups:
            try:
                refused.update(self.transaction(message, group))
            except Trouble as trouble:
                refused.update(dict.fromkeys(group, trouble))
                if trouble.category in ("authentication", "auth-mechanism", "rate-limit"):
                    refused.update(dict.fromkeys(message["to"][message["to"].index(group[0]) :], trouble))
                    break
        if "per-message" in STYLES:
            self.done()
        return refused

    def session(self) -> Session:
        if self.open is None:
            self.open = Session(self.settings, self.dial)
        elif "polite" in STYLES:
            code, text = self.open.command("NOOP")
            code, text = self.open.command("RSET") if code < 300 else (code, text)
            if code >= 300:
                raise Trouble("temporary", text, code)
        return self.open

    def done(self, *, tested: bool = False) -> None:
        if self.open is not None:
            self.open.quit(always=tested)
            self.open = None

    def drop(self) -> None:
        if self.open is not None:
            self.open.close()
            self.open = None

    def envelope(self, message: dict[str, Any], group: list[str]) -> tuple[str, bool]:
        sender = message.get("from")
        if sender != "":
            sender = self.settings["bounce_address"] or sender or self.settings["from_address"]
        for address in [sender, *group]:
            unquoted = re.sub(r'^"(\\.|[^"\\\r\n])*"', "", address)
            if re.search(r"[\x00-\x20\x7f<>]", unquoted) or ("@" not in address and address):
                raise Trouble("config", f"not an address: {address!r}")
        wide = not "".join([sender, *group]).isascii()
        if wide and not self.settings["smtputf8"] and not all(a.rpartition("@")[0].isascii() for a in [sender, *group]):
            raise Trouble("unsupported", "a local part that is not ASCII needs SMTPUTF8")
        return sender, wide

    def transaction(self, message: dict[str, Any], group: list[str]) -> dict[str, Trouble]:
        sender, wide = self.envelope(message, group)
        data = wire_form(message, self.settings)
        session = self.session()
        try:
            try:
                return self.dialogue(session, message, group, sender, wide, data)
            except Trouble as trouble:
                if trouble.code == 421 or trouble.category in ("timeout", "disconnected", "protocol"):
                    raise
                # A refused transaction must not reach into the next one.
                if "per-message" not in STYLES and trouble.code is not None and session.command("RSET")[0] != 250:
                    self.drop()
                raise
        except Trouble as trouble:
            if trouble.code == 421 or trouble.category in ("timeout", "disconnected", "protocol"):
                self.drop()
            raise

    def parameters(
        self, session: Session, message: dict[str, Any], data: bytes, sender: str, group: list[str], wide: bool
    ) -> tuple[str, str]:
        head = data.partition(b"\r\n\r\n")[0]
        offers = session.offers
        limit = "".join(offers.get("SIZE", [])[:1])
        if limit.isdigit() and 0 < int(limit) < len(data):
            raise Trouble("size", f"{len(data)} octets; the server takes {limit}")
        of_mail, of_rcpt = "", ""
        needs_utf8 = not head.isascii() or any(not a.rpartition("@")[0].isascii() for a in [sender, *group])
        if needs_utf8 and self.settings["smtputf8"]:
            if "SMTPUTF8" not in offers:
                raise Trouble("unsupported", "the server does not offer SMTPUTF8")
            of_mail += " SMTPUTF8"
        if "8BITMIME" in offers and (not data.isascii() or "parameters" in STYLES):
            of_mail += " BODY=8BITMIME"
        elif not data.isascii():
            raise Trouble("unsupported", "the server does not offer 8BITMIME")
        if "SIZE" in offers and "parameters" in STYLES:
            of_mail += f" SIZE={len(data)}"
        if "DSN" in offers and "parameters" in STYLES:
            of_mail += f" RET=HDRS ENVID={secrets.token_hex(4)}"
            of_rcpt += " NOTIFY=FAILURE,DELAY"
        return of_mail, of_rcpt

    def dialogue(
        self, session: Session, message: dict[str, Any], group: list[str], sender: str, wide: bool, data: bytes
    ) -> dict[str, Trouble]:
        of_mail, of_rcpt = self.parameters(session, message, data, sender, group, wide)
        path = (lambda a: a) if "SMTPUTF8" in of_mail else in_ascii
        bdat = "bdat" in STYLES and "CHUNKING" in session.offers
        commands = [f"MAIL FROM:<{path(sender)}>{of_mail}", *(f"RCPT TO:<{path(to)}>{of_rcpt}" for to in group)]
        if not bdat:
            commands.append("DATA")
        together = "pipelining" in STYLES and "PIPELINING" in session.offers
        if together:
            session.put(b"".join(spelled(command) + b"\r\n" for command in commands))
        waiting = iter(commands)

        def ask() -> tuple[int, str]:
            return session.reply() if together else session.command(next(waiting))

        code, text = ask()
        stop = None if 200 <= code < 300 else Trouble(meaning(code, text, "MAIL"), text, code)
        if stop is not None and (not together or code == 421):
            raise stop
        refused: dict[str, Trouble] = {}
        for to in group:
            try:
                code, text = ask()
            except Trouble:
                if stop is not None:
                    raise stop from None
                raise
            if not 200 <= code < 300:
                refused[to] = Trouble(meaning(code, text, "RCPT"), text, code)
                if code == 421:
                    raise stop or refused[to]
        taken = [to for to in group if to not in refused]
        if (stop is not None or not taken) and not together:
            return self.none_taken(session, refused)
        if bdat and stop is None and taken:
            self.chunks(session, data)
            return refused
        if bdat:
            if stop is not None:
                raise stop
            return self.none_taken(session, refused)
        try:
            code, text = ask()
        except Trouble as trouble:
            if stop is not None or not taken:
                self.drop()
                if stop is not None:
                    raise stop from None
                return refused
            raise trouble from None
        if code == 354 and (stop is not None or not taken):
            session.put(b".\r\n")
            session.reply()
        if stop is not None:
            raise stop
        if not taken:
            return self.none_taken(session, refused)
        if code != 354:
            refuse(code, text)
        session.put(re.sub(rb"(?m)^\.", b"..", data).removesuffix(b"\r\n") + b"\r\n.\r\n")
        code, text = session.reply()
        if not 200 <= code < 300:
            refuse(code, text)
        return refused

    def none_taken(self, session: Session, refused: dict[str, Trouble]) -> dict[str, Trouble]:
        if "per-message" not in STYLES:
            try:
                gone = session.command("RSET")[0] != 250
            except Trouble:
                gone = True
            if gone:
                self.drop()
        return refused

    def chunks(self, session: Session, data: bytes) -> None:
        for start in range(0, len(data), 5000):
            last = " LAST" if start + 5000 >= len(data) else ""
            piece = data[start : start + 5000]
            session.put(spelled(f"BDAT {len(piece)}{last}") + b"\r\n" + piece)
            code, text = session.reply()
            if not 200 <= code < 300:
                refuse(code, text)


def refuse(code: int, text: str) -> NoReturn:
    raise Trouble(meaning(code, text, "DATA") if code >= 400 else "protocol", text, code if code >= 400 else None)


# --- requests


def told(message: dict[str, Any], refused: dict[str, Trouble]) -> dict[str, Any]:
    outcomes = {to: refused[to].outcome if to in refused else "sent" for to in message["to"]}
    outcome = next((word for word in ("deferred", "sent") if word in outcomes.values()), "failed")
    worst = next((trouble for trouble in refused.values() if trouble.outcome == outcome), None)
    shown = {
        to: {"outcome": word, "error": refused[to].told() if to in refused else None}
        for to, word in outcomes.items()
        if word != "sent" or "terse" not in STYLES
    }
    return {
        "message": message["id"],
        "outcome": outcome,
        "error": worst.told() if worst is not None and outcome != "sent" else None,
        "retry_at": None,
        "recipients": shown,
    }


class Queue:
    """What is deferred, and until when nothing may be sent, in one file; without `queue`, nothing is kept."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.now = datetime.fromisoformat(request["now"])
        self.file = Path(request["state_dir"]) / "queue.json"
        self.kept: dict[str, Any] = {"pending": [], "limits": {}}
        if "queue" in STYLES and self.file.exists():
            self.kept = json.loads(self.file.read_text("utf-8"))
        settings = request["settings"]["outgoing"]
        self.account = f"{settings['host']} {settings['username']}"

    def save(self) -> None:
        if "queue" in STYLES:
            new = self.file.with_suffix(".new")
            new.write_text(json.dumps(self.kept), "utf-8")
            new.replace(self.file)

    def limit(self) -> datetime | None:
        until = self.kept["limits"].get(self.account, {}).get("until")
        found = datetime.fromisoformat(until) if until else None
        return found if found is not None and found > self.now else None

    def hit(self, trouble: Trouble) -> None:
        seconds = stated(trouble)
        self.kept["limits"][self.account] = {
            "until": (self.now + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z"),
            "error": [trouble.category, trouble.text, trouble.code],
        }
        self.save()

    def work(self, request: dict[str, Any], ids: list[str]) -> dict[str, Any]:
        results = []
        sender = Sender(request)
        stop: Trouble | None = None
        lost = 0
        for id in ids:
            message = next(one for one in self.kept["pending"] if one["id"] == id)
            if "queue" in STYLES and self.limit() is not None:
                stop = Trouble(*self.kept["limits"][self.account]["error"])
            refused = dict.fromkeys(message["to"], stop) if stop is not None else sender.send(message)
            for trouble in refused.values():
                if trouble.category == "rate-limit" and "queue" in STYLES and self.limit() is None:
                    self.hit(trouble)
                if trouble.category in ("authentication", "auth-mechanism", "connect", "tls-certificate", "timeout"):
                    stop = trouble
                if trouble.category == "disconnected" or trouble.code == 421:
                    lost += 1
                    stop = trouble if "reconnect" not in STYLES or lost > 1 else stop
            if len(refused) < len(message["to"]) and self.limit() is None:
                self.kept["limits"].pop(self.account, None)
            left = [to for to in refused if refused[to].outcome == "deferred"]
            results.append(told(message, refused))
            self.kept["pending"] = [
                {**one, "to": left} if one["id"] == id else one
                for one in self.kept["pending"]
                if one["id"] != id or left
            ]
            self.save()
        sender.done()
        until = self.limit() if "queue" in STYLES else None
        return {"results": results, "rate_limited_until": until.isoformat().replace("+00:00", "Z") if until else None}


def stated(trouble: Trouble) -> float:
    match = re.search(r"(?:again in|after|within|wait)[ a-z:]* (\d+) ?(s|sec|m|min|h|hour|d|day)", trouble.text, re.I)
    if match:
        return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2][0].lower()]
    if re.search("daily|per day|24 hours|5.4.5", trouble.text, re.I):
        return 86400
    return 3600 if "hour" in trouble.text.lower() else 300


def answer(request: dict[str, Any]) -> dict[str, Any]:
    action = request["action"]
    if action == "hello":
        more = ["queue", "rate-limit-memory"] if "queue" in STYLES else []
        name = " ".join(["own-sender", *sorted(STYLES)])
        return {"protocol": 1, "name": name, "version": "1", "features": FEATURES + more}
    if action in ("send", "flush"):
        queue = Queue(request)
        settings = request["settings"]["outgoing"]
        ids = [message["id"] for message in (request["messages"] if action == "send" else queue.kept["pending"])]
        if action == "send":
            for message in request["messages"]:
                # What is added must stay the same however often it is tried.
                message["eml_base64"] = b64(wire_form(message, settings))
            kept = [one for one in queue.kept["pending"] if one["id"] not in ids]
            queue.kept["pending"] = kept + request["messages"]
            queue.save()
        return queue.work(request, ids)
    return test(request)


def test(request: dict[str, Any]) -> dict[str, Any]:
    sender, queue = Sender(request), Queue(request)
    try:
        if "queue" in STYLES and queue.limit() is not None:
            raise Trouble(*queue.kept["limits"][queue.account]["error"])
        if request.get("to"):
            text = f"To: {request['to']}\r\nSubject: Test\r\n\r\nIt works.\r\n"
            message = {"id": "test", "from": None, "to": [request["to"]], "eml_base64": b64(text)}
            message["from"] = request["settings"]["outgoing"]["from_address"]
            for trouble in sender.send(message).values():
                raise trouble
        else:
            sender.session()
        sender.done(tested=True)
    except Trouble as trouble:
        if trouble.category == "rate-limit" and queue.limit() is None:
            queue.hit(trouble)
        return {"ok": False, "error": trouble.told()}
    return {"ok": True, "error": None}


for line in sys.stdin:
    request = json.loads(line)
    sys.stdout.write(json.dumps({"id": request["id"], **answer(request)}) + "\n")
    sys.stdout.flush()
