"""A reading client over bare sockets, IMAP and POP3, of its own code: `python own_reader.py [STYLE...]`.

Every style is a way of doing right what the RFCs leave open; the suite must find fault with none.

    listing          FETCH 1:* (UID FLAGS), or LIST and UIDL for all, in place of SEARCH, or UIDL one by one
    numbers          message sequence numbers in place of UIDs while nothing is expunged
    pieces           BODY.PEEK[]<from.octets> until the end
    sections         BODY.PEEK[HEADER] and BODY.PEEK[TEXT]
    together         all messages in one FETCH; RETR and DELE in one segment where POP3 offers PIPELINING
    literals         every string as a literal
    utf8             ENABLE UTF8=ACCEPT where it is offered
    small-letters    commands in lower case
    looks-first      STATUS, EXAMINE, NOOP, LIST before SELECT; STAT, LIST, NOOP and TOP before RETR
    copy             COPY, \\Deleted and UID EXPUNGE though MOVE is offered
    each             every message is filed before the next is fetched
    leaves           CLOSE or UNSELECT before LOGOUT
    eager            STARTTLS or STLS where it is required, offered or not; challenges without padding are answered
    plain            `auto` is the weakest mechanism that does not show a password in clear; no initial response
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from own_wire import STYLES, Connection, Trouble

FEATURES = [
    "fetch", "imap", "pop3", "starttls", "implicit-tls", "opportunistic-tls", "client-cert", "auth-plain", "auth-login",
    "auth-cram-md5", "complete", "clock", "dial", "test-connection",
]  # fmt: skip
PORTS = {"imap": (143, 993), "pop3": (110, 995)}
PIECE = 3000


def b64(text: str) -> bytes:
    return base64.b64encode(text.encode())


def login_category(text: str) -> str:
    code = re.match(r"\[([^ \]]+)", text)
    word = code[1].upper() if code else ""
    if word in ("LIMIT", "THROTTLED") or re.search(r"too many|rate limit", text, re.I):
        return "rate-limit"
    if word in ("UNAVAILABLE", "SYS/TEMP", "IN-USE", "INUSE", "LOGIN-DELAY", "SERVERBUG"):
        return "temporary"
    return "temporary" if re.search("unavailable|temporar|again later", text, re.I) else "authentication"


def refusal(text: str, otherwise: str) -> str:
    if "OVERQUOTA" in text:
        return "quota"
    return "temporary" if re.search("temp|unavailable|throttled|not connected|in-?use", text, re.I) else otherwise


class Wire(Connection):
    """What IMAP and POP3 share."""

    def __init__(self, settings: dict[str, Any], dial: dict[str, str]) -> None:
        plain, implicit = PORTS[settings["protocol"]]
        port = settings["port"] or (implicit if settings["security"] == "implicit" else plain)
        super().__init__(settings, dial, settings["host"], port)

    def line(self) -> bytes:
        """Up to CRLF; a lone LF or CR belongs to the line."""
        until, searched = time.monotonic() + self.settings["timeout"], 0
        while (end := self.buffer.find(b"\r\n", searched)) < 0:
            searched = max(len(self.buffer) - 1, 0)
            if searched > 50_000_000 or time.monotonic() > until:
                raise Trouble("timeout", "a line without end")
            self.more()
        line, self.buffer = self.buffer[:end], self.buffer[end + 2 :]
        return line

    def octets(self, number: int) -> bytes:
        while len(self.buffer) < number:
            self.more()
        taken, self.buffer = self.buffer[:number], self.buffer[number:]
        return taken

    def mechanisms(self, offered: set[str], others: dict[str, bool]) -> str:
        """The mechanism to take: from the SASL offer, or one of the `others` that the protocol has beside it."""
        proofs, words = ["CRAM-MD5"], ["PLAIN", "LOGIN"]
        has = [one for one in [*proofs, *words] if one in offered] + [one for one, there in others.items() if there]
        wanted = self.settings["auth"].upper()
        if wanted == "LOGIN":
            has = [one for one in has if one in ("LOGIN", "USER", "login")]
        elif wanted != "AUTO":
            has = [one for one in has if one == wanted]
        if not has:
            raise Trouble("auth-mechanism", f"offered: {' '.join(sorted(offered))}")
        if not self.secure and not self.settings["allow_cleartext"]:
            has = [one for one in has if one in ("CRAM-MD5", "APOP")]
        if not has:
            raise Trouble("config", "a password would go out in clear")
        strongest = next((one for one in ("CRAM-MD5", "APOP") if one in has), has[0])
        return has[-1] if "plain" in STYLES and wanted == "AUTO" else strongest

    def answers(self, mechanism: str) -> Iterator[Callable[[bytes], bytes]]:
        user, password = self.settings["username"], self.settings["password"]
        if mechanism == "PLAIN":
            yield lambda said: b64(f"\0{user}\0{password}")
        elif mechanism == "LOGIN":
            yield lambda said: b64(user)
            yield lambda said: b64(password)
        elif mechanism == "CRAM-MD5":
            yield self.proof

    def proof(self, said: bytes) -> bytes:
        try:
            padding = b"=" * (-len(said) % 4) if "eager" in STYLES else b""
            challenge = base64.b64decode(said + padding, validate=True)
        except ValueError:
            return b"*"
        digest = hmac.new(self.settings["password"].encode(), challenge, "md5").hexdigest()
        return b64(f"{self.settings['username']} {digest}") if challenge else b"*"


# --- IMAP

Item = Any
"""None, bytes (a string), str (an atom), or a list."""


TOKEN = re.compile(rb'[()]|"((?:[^"\\]|\\.)*)"|((?:BODY|BINARY)\[[^\]]*\](?:<\d+>)?|[^\s()"]+)', re.I)


def items(parts: list[bytes]) -> list[Item]:
    """A response; `parts` are text and literals in turn."""
    stack: list[list[Item]] = [[]]
    for number, part in enumerate(parts):
        if number % 2:
            stack[-1].append(part)
            continue
        for found in TOKEN.finditer(part):
            if found[0] == b"(":
                stack.append([])
            elif found[0] == b")":
                if len(stack) > 1:
                    done = stack.pop()
                    stack[-1].append(done)
            elif found[1] is not None:
                stack[-1].append(re.sub(rb"\\(.)", rb"\1", found[1]))
            else:
                atom = found[0].decode("utf-8", "replace")
                stack[-1].append(None if atom.upper() == "NIL" else atom)
    while len(stack) > 1:
        done = stack.pop()
        stack[-1].append(done)
    return stack[0]


def modified_utf7(name: str) -> bytes:
    def shifted(found: re.Match[str]) -> str:
        coded = base64.b64encode(found[0].encode("utf-16-be")).decode().rstrip("=").replace("/", ",")
        return f"&{coded}-"

    return re.sub(r"[^\x20-\x7e]+", shifted, name.replace("&", "&-")).encode()


class Imap(Wire):
    def __init__(self, settings: dict[str, Any], dial: dict[str, str]) -> None:
        self.tag = 0
        self.utf8 = False
        self.capabilities: set[str] = set()
        self.said: list[list[bytes]] = []
        self.bye = ""
        super().__init__(settings, dial)

    def begin(self) -> None:
        parts = self.response()
        word = parts[0].split(b" ")[1:2]
        kind = word[0].upper() if parts[0].startswith(b"* ") and word else b""
        if kind == b"BYE":
            raise Trouble("connect", self.bye)
        if kind not in (b"OK", b"PREAUTH"):
            raise Trouble("protocol", parts[0].decode("utf-8", "replace")[:200])
        security = self.settings["security"]
        if kind == b"PREAUTH" and security == "starttls":
            raise Trouble("tls-required", "PREAUTH leaves no room for STARTTLS")
        self.ask_capabilities()
        if security in ("starttls", "opportunistic") and kind == b"OK":
            tried = "STARTTLS" in self.capabilities or ("eager" in STYLES and security == "starttls")
            kind_of, text = self.command(b"STARTTLS") if tried else ("NO", "STARTTLS is not offered")
            if kind_of == "OK":
                self.start_tls()
                self.ask_capabilities()
            elif security == "starttls":
                raise Trouble("tls-required", text)
        if kind != b"PREAUTH":
            self.log_in()
            self.ask_capabilities()
        wanted = {"UTF8=ACCEPT"} if "utf8" in STYLES else set()
        if (wanted | {"UTF8=ONLY"}) & self.capabilities:
            self.utf8 = self.command(b"ENABLE UTF8=ACCEPT")[0] == "OK"
        elif "IMAP4REV1" not in self.capabilities:
            self.utf8 = True

    def response(self) -> list[bytes]:
        parts = [self.line()]
        while match := re.search(rb"~?\{(\d+)\+?\}$", parts[-1]):
            parts[-1] = parts[-1][: match.start()]
            parts.append(self.octets(int(match[1])))
            parts.append(self.line())
        if parts[0][:5].upper() == b"* BYE":
            self.bye = parts[0][6:].decode("utf-8", "replace")
        return parts

    def command(
        self, *pieces: bytes | str, answers: Iterator[Callable[[bytes], bytes]] | None = None
    ) -> tuple[str, str]:
        """Bytes are sent as they are, text as a string. The untagged responses are in `said`."""
        self.tag += 1
        tag = f"t{self.tag:03}".encode()
        self.said = []
        try:
            line = tag
            for piece in pieces:
                if isinstance(piece, bytes):
                    word = re.match(rb"(UID )?[A-Z]+", piece)
                    small = "small-letters" in STYLES and line == tag and word is not None
                    line += b" " + (word[0].lower() + piece[word.end() :] if small and word is not None else piece)
                    continue
                raw = piece.encode()
                quotable = re.fullmatch(rb"[\x20-\x7e]*", raw) or (self.utf8 and not re.search(rb"[\r\n\0]", raw))
                if quotable and "literals" not in STYLES:
                    line += b' "' + re.sub(rb'(["\\])', rb"\\\1", raw) + b'"'
                    continue
                self.put(line + b" {%d}\r\n" % len(raw))
                refused = self.wait(tag, None, go_on=True)
                if refused is not None:
                    return refused
                line = raw
            self.put(line + b"\r\n")
            done = self.wait(tag, answers)
            assert done is not None
            return done
        except Trouble as trouble:
            if trouble.category == "disconnected" and self.bye:
                raise Trouble("disconnected", self.bye) from None
            raise

    def wait(
        self, tag: bytes, answers: Iterator[Callable[[bytes], bytes]] | None, *, go_on: bool = False
    ) -> tuple[str, str] | None:
        until = time.monotonic() + self.settings["timeout"]
        while True:
            if time.monotonic() > until:
                raise Trouble("timeout", "no tagged response")
            parts = self.response()
            if parts[0][:1] == b"+":
                if go_on:
                    return None
                answer = next(answers, None) if answers is not None else None
                self.put((answer(parts[0][1:].strip()) if answer else b"*") + b"\r\n")
            elif parts[0].split(b" ")[0] == tag:
                words = [*parts[0].decode("utf-8", "replace").split(" ", 2), "", ""]
                return words[1].upper(), words[2]
            elif parts[0].startswith(b"*"):
                self.said.append(parts)
            else:
                raise Trouble("protocol", parts[0].decode("utf-8", "replace")[:200])

    def must(self, *pieces: bytes | str, otherwise: str = "protocol") -> None:
        kind, text = self.command(*pieces)
        if kind != "OK":
            raise Trouble(refusal(text, otherwise), text)

    def ask_capabilities(self) -> None:
        self.capabilities = set()
        self.must(b"CAPABILITY")
        for parts in self.said:
            if parts[0].upper().startswith(b"* CAPABILITY"):
                self.capabilities |= set(parts[0].decode("utf-8", "replace").upper().split()[2:])

    def log_in(self) -> None:
        offered = {one[5:] for one in self.capabilities if one.startswith("AUTH=")}
        way = self.mechanisms(offered, {"login": "LOGINDISABLED" not in self.capabilities})
        if way == "login":
            kind, text = self.command(b"LOGIN", self.settings["username"], self.settings["password"])
        elif way == "PLAIN" and "SASL-IR" in self.capabilities and "plain" not in STYLES:
            first = next(self.answers(way))(b"")
            kind, text = self.command(b"AUTHENTICATE PLAIN " + first)
        else:
            kind, text = self.command(b"AUTHENTICATE " + way.encode(), answers=self.answers(way))
        if kind != "OK":
            raise Trouble(login_category(text), text)

    def mailbox(self, name: str) -> str:
        return name if self.utf8 else modified_utf7(name).decode()

    def fetched(self) -> Iterator[dict[str, Item]]:
        for parts in self.said:
            if re.match(rb"\* \d+ FETCH ", parts[0], re.I):
                found = items(parts)
                if len(found) > 3 and isinstance(found[3], list):
                    pairs = zip(found[3][::2], found[3][1::2], strict=False)
                    yield {"number": int(found[1]), **{str(key).upper(): value for key, value in pairs}}

    # --- reading

    def select(self, *, read_only: bool = False) -> str:
        box = self.mailbox(self.settings["inbox"] or "INBOX")
        if "looks-first" in STYLES:
            self.must(b"STATUS", box, b"(MESSAGES UNSEEN)", otherwise="config")
            self.command(b"LIST", "", b'"*"')
            self.must(b"EXAMINE", box, otherwise="config")
            self.must(b"NOOP")
        self.must(b"EXAMINE" if read_only else b"SELECT", box, otherwise="config")
        for parts in self.said:
            if match := re.search(rb"\[UIDVALIDITY (\d+)\]", parts[0], re.I):
                return match[1].decode()
        return "none"

    def waiting(self) -> dict[int, int]:
        """UID and message sequence number of what is to be read."""
        unseen = self.settings["unseen_only"]
        if "listing" in STYLES or "numbers" in STYLES:
            self.must(b"FETCH 1:* (UID FLAGS)") if self.exists() else None
            return {
                int(one["UID"]): one["number"]
                for one in self.fetched()
                if "UID" in one and not (unseen and "\\SEEN" in [str(flag).upper() for flag in one.get("FLAGS") or []])
            }
        self.must(b"UID SEARCH " + (b"UNSEEN" if unseen else b"ALL"))
        found: set[int] = set()
        for parts in self.said:
            if re.match(rb"\* SEARCH\b", parts[0], re.I):
                found |= {int(word) for word in parts[0].split()[2:] if word.isdigit()}
            elif match := re.match(rb"\* ESEARCH\b.* ALL ([\d:,]+)", parts[0], re.I):
                for span in match[1].decode().split(","):
                    ends = [int(end) for end in span.split(":")]
                    found |= set(range(min(ends), max(ends) + 1))
        return dict.fromkeys(sorted(found), 0)

    def exists(self) -> bool:
        self.must(b"NOOP")
        kind, _ = self.command(b"UID SEARCH ALL")
        there = rb"\* (SEARCH \d|ESEARCH\b.* ALL \d)"
        return kind == "OK" and any(re.match(there, parts[0], re.I) for parts in self.said)

    def content(self, uid: int, number: int) -> bytes:
        which = b"FETCH %d " % number if number and "numbers" in STYLES else b"UID FETCH %d " % uid
        if "pieces" in STYLES:
            whole = b""
            while True:
                what = b"(UID BODY.PEEK[]<%d.%d>)" % (len(whole), PIECE)
                piece = self.asked(which + what, uid, f"BODY[]<{len(whole)}>")
                whole += piece
                if len(piece) < PIECE:
                    return whole
        if "sections" in STYLES:
            head = self.asked(which + b"(UID BODY.PEEK[HEADER])", uid, "BODY[HEADER]")
            return head + self.asked(which + b"(UID BODY.PEEK[TEXT])", uid, "BODY[TEXT]")
        return self.asked(which + b"(UID BODY.PEEK[])", uid, "BODY[]")

    def asked(self, command: bytes, uid: int, item: str) -> bytes:
        kind, text = self.command(command)
        for one in self.fetched():
            content = one.get(item)
            if int(one.get("UID") or 0) == uid and isinstance(content, bytes):
                return content
        raise Trouble(refusal(text, "temporary") if kind != "OK" else "temporary", text)

    def file(self, uids: list[int]) -> None:
        """Mark as read, and move where that is wanted."""
        if not uids:
            return
        them = ",".join(map(str, uids)).encode()
        self.must(b"UID STORE " + them + b" +FLAGS (\\Seen)")
        if self.settings["completed"] is None:
            return
        there = self.in_namespace(self.settings["completed"] or "Completed")
        can_move = bool({"MOVE", "IMAP4REV2"} & self.capabilities)
        verb = b"UID MOVE" if can_move and "copy" not in STYLES else b"UID COPY"
        kind, text = self.command(verb, them, self.mailbox(there))
        if kind != "OK":
            made, why = self.command(b"CREATE", self.mailbox(there))
            kind, text = self.command(verb, them, self.mailbox(there))
            if kind != "OK":
                raise Trouble(refusal(text, "config"), text if made == "OK" else why)
        if verb == b"UID COPY":
            self.must(b"UID STORE " + them + b" +FLAGS.SILENT (\\Deleted)")
            if "UIDPLUS" in self.capabilities or "IMAP4REV2" in self.capabilities:
                self.must(b"UID EXPUNGE " + them)

    def in_namespace(self, name: str) -> str:
        if "NAMESPACE" in self.capabilities and self.command(b"NAMESPACE")[0] == "OK":
            for parts in self.said:
                found = items(parts)
                if len(found) > 2 and str(found[1]).upper() == "NAMESPACE" and found[2]:
                    prefix = (found[2][0][0] or b"").decode()
                    return name if name.startswith(prefix) else prefix + name
        return name

    def end(self) -> None:
        with suppress(Trouble):
            if "leaves" in STYLES and "UNSELECT" in self.capabilities:
                self.command(b"UNSELECT")
            self.command(b"LOGOUT")
        self.close()


def fetch_imap(session: Imap, memory: Memory) -> None:
    valid = session.select()
    memory.mailbox(f"imap {session.settings['inbox'] or 'INBOX'}", valid)
    waiting = {**dict.fromkeys(memory.unfiled(), 0), **session.waiting()}
    trouble: Trouble | None = None
    done: list[int] = []
    if "together" in STYLES:
        new = [uid for uid in waiting if not memory.knows(str(uid))]
        if new:
            session.command(b"UID FETCH " + ",".join(map(str, new)).encode() + b" (UID BODY.PEEK[])")
            for one in session.fetched():
                if isinstance(one.get("BODY[]"), bytes) and int(one.get("UID") or 0) in new:
                    memory.keep(one["UID"], one["BODY[]"])
    for uid, number in waiting.items():
        if not memory.knows(str(uid)):
            try:
                memory.keep(str(uid), session.content(uid, number))
            except Trouble as failure:
                if failure.category in ("disconnected", "timeout", "protocol"):
                    raise
                trouble = trouble or failure
                continue
        if "each" in STYLES and "numbers" not in STYLES:
            try:
                session.file([uid])
                memory.filed([uid])
            except Trouble as failure:
                if failure.category in ("disconnected", "timeout"):
                    raise
                trouble = trouble or failure
        else:
            done.append(uid)
    session.file(done)
    memory.filed(done)
    if trouble is not None:
        raise trouble


# --- POP3


class Pop3(Wire):
    def begin(self) -> None:
        good, text = self.status()
        if not good:
            raise Trouble("connect", text)
        stamp = re.search(r"<[^<>@\s]+@[^<>\s]+>", text)
        security = self.settings["security"]
        if security in ("starttls", "opportunistic"):
            tried = any(line.upper() == b"STLS" for line in self.capa()) or (
                "eager" in STYLES and security == "starttls"
            )
            good, text = self.command(b"STLS") if tried else (False, "STLS is not offered")
            if good:
                self.start_tls()
            elif security == "starttls":
                raise Trouble("tls-required", text)
        lines = [line.decode("utf-8", "replace").upper().split() for line in self.capa()]
        self.capabilities = {line[0] for line in lines if line}
        offered_here = {word for line in lines if line and line[0] == "SASL" for word in line[1:]}
        user = "USER" in self.capabilities or not self.capabilities or not offered_here
        self.log_in(self.mechanisms(offered_here, {"APOP": stamp is not None, "USER": user}), stamp[0] if stamp else "")

    def capa(self) -> list[bytes]:
        good, _ = self.command(b"CAPA")
        return self.multi_line() if good else []

    def log_in(self, way: str, stamp: str) -> None:
        user, password = self.settings["username"], self.settings["password"]
        if way == "USER":
            good, text = self.command(b"USER " + user.encode())
            if good:
                good, text = self.command(b"PASS " + password.encode())
        elif way == "APOP":
            digest = hashlib.md5((stamp + password).encode()).hexdigest()
            good, text = self.command(f"APOP {user} {digest}".encode())
        else:
            answers = self.answers(way)
            first = b" " + next(answers)(b"") if way == "PLAIN" and "plain" not in STYLES else b""
            self.put(b"AUTH " + way.encode() + first + b"\r\n")
            while (line := self.line())[:2] == b"+ " or line == b"+":
                answer = next(answers, None)
                self.put((answer(line[1:].strip()) if answer else b"*") + b"\r\n")
            good, text = self.judged(line)
        if not good:
            raise Trouble(login_category(text), text)

    def status(self) -> tuple[bool, str]:
        return self.judged(self.line())

    def judged(self, line: bytes) -> tuple[bool, str]:
        text = line.partition(b" ")[2].decode("utf-8", "replace").strip()
        if line[:3].upper() == b"+OK":
            return True, text
        if line[:4].upper() == b"-ERR":
            return False, text
        raise Trouble("protocol", line.decode("utf-8", "replace")[:200])

    def command(self, line: bytes) -> tuple[bool, str]:
        word, space, argument = line.partition(b" ")
        self.put((word.lower() if "small-letters" in STYLES else word) + space + argument + b"\r\n")
        return self.status()

    def multi_line(self) -> list[bytes]:
        lines = []
        while (line := self.line()) != b".":
            lines.append(line[1:] if line.startswith(b".") else line)
        return lines

    def must(self, line: bytes) -> str:
        good, text = self.command(line)
        if not good:
            raise Trouble(refusal(text, "protocol"), text)
        return text

    def unique_ids(self, count: int) -> dict[int, str | None]:
        """Of every message; None where the server has none."""
        if "listing" in STYLES:
            good, text = self.command(b"UIDL")
            if good:
                pairs = [line.decode("utf-8", "replace").split() for line in self.multi_line()]
                return {int(pair[0]): pair[1] for pair in pairs if len(pair) > 1}
            if refusal(text, "") == "temporary":
                raise Trouble("temporary", text)
            return dict.fromkeys(range(1, count + 1))
        found: dict[int, str | None] = {}
        for number in range(1, count + 1):
            good, text = self.command(b"UIDL %d" % number)
            if not good and refusal(text, "") == "temporary":
                raise Trouble("temporary", text)
            found[number] = text.split()[1] if good and len(text.split()) > 1 else None
        return found

    def end(self) -> None:
        with suppress(Trouble):
            self.command(b"QUIT")
        self.close()


def fetch_pop3(session: Pop3, memory: Memory) -> None:
    count = int(session.must(b"STAT").split()[0])
    if "looks-first" in STYLES:
        session.must(b"LIST")
        session.multi_line()
        session.must(b"NOOP")
    memory.mailbox("pop3", "")
    known = session.unique_ids(count) if count else {}
    trouble: Trouble | None = None
    done: list[int] = []
    for number, unique_id in known.items():
        if unique_id is not None and memory.knows(unique_id):
            done.append(number)
            continue
        if "looks-first" in STYLES and "TOP" in session.capabilities and session.command(b"TOP %d 0" % number)[0]:
            session.multi_line()
        good, text = session.command(b"RETR %d" % number)
        if not good:
            trouble = trouble or Trouble("temporary", text)
            continue
        memory.keep(unique_id, b"".join(line + b"\r\n" for line in session.multi_line()))
        done.append(number)
    if session.settings["completed"] is not None and done:
        if "together" in STYLES and "PIPELINING" in session.capabilities:
            session.put(b"".join(b"DELE %d\r\n" % number for number in done))
            replies = [session.status() for _ in done]
        else:
            replies = [session.command(b"DELE %d" % number) for number in done]
        refused = [Trouble(refusal(text, "protocol"), text) for good, text in replies if not good]
        trouble = trouble or next(iter(refused), None)
        good, text = session.command(b"QUIT")
        if not good:
            raise Trouble(refusal(text, "temporary"), text)
    if trouble is not None:
        raise trouble


# --- what has been handed over


class Memory:
    """What was read, and what is read and not yet handed over, in one file that is replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "read.json"
        self.kept: dict[str, Any] = {"boxes": {}, "out": []}
        if self.file.exists():
            self.kept = json.loads(self.file.read_text("ascii"))

    def save(self) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(self.kept), "ascii")
        new.replace(self.file)

    def mailbox(self, name: str, valid: str) -> None:
        box = self.kept["boxes"].setdefault(name, {"valid": valid, "ids": {}, "old": [], "unfiled": []})
        if box["valid"] != valid:
            # The ids mean nothing any more: what was read is known by its content, once for each time it was read.
            box.update(valid=valid, ids={}, unfiled=[], old=[*box["old"], *box["ids"].values()])
        self.box = box
        self.here = Counter(box["old"])

    def knows(self, id: str) -> bool:
        return id in self.box["ids"]

    def keep(self, id: str | None, raw: bytes) -> None:
        digest = hashlib.sha256(raw).hexdigest()
        if self.here[digest]:
            self.here[digest] -= 1
            if id is None:
                return
            self.box["old"].remove(digest)
        else:
            self.kept["out"].append(base64.b64encode(raw).decode())
            if id is None:
                self.box["old"].append(digest)
        if id is not None:
            self.box["ids"][id] = digest
            self.box["unfiled"].append(id)
        self.save()

    def unfiled(self) -> list[int]:
        return [int(id) for id in self.box["unfiled"]]

    def filed(self, uids: list[int]) -> None:
        self.box["unfiled"] = [id for id in self.box["unfiled"] if int(id) not in uids]
        self.save()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    if request["action"] == "hello":
        return {"protocol": 1, "name": " ".join(["own-reader", *sorted(STYLES)]), "version": "1", "features": FEATURES}
    settings, dial = request["settings"]["incoming"], request.get("dial") or {}
    memory = Memory(Path(request["state_dir"]))
    trouble: Trouble | None = None
    session: Imap | Pop3 | None = None
    try:
        if settings["protocol"] == "imap":
            session = Imap(settings, dial)
            if request["action"] == "fetch":
                fetch_imap(session, memory)
            else:
                session.select(read_only=True)
        else:
            session = Pop3(settings, dial)
            if request["action"] == "fetch":
                fetch_pop3(session, memory)
            else:
                session.must(b"STAT")
    except Trouble as failure:
        trouble = failure
    if session is not None:
        if trouble is None or trouble.category not in ("disconnected", "timeout", "protocol"):
            session.end()
        session.close()
    if request["action"] != "fetch":
        return {"ok": trouble is None, "error": trouble.told() if trouble is not None else None}
    out, memory.kept["out"] = memory.kept["out"], []
    handed_over.append(memory)
    messages = [{"eml_base64": one} for one in out]
    return {"messages": messages, "error": trouble.told() if trouble is not None else None}


handed_over: list[Memory] = []
"""Saved once the reply is out."""

for text in sys.stdin:
    asked = json.loads(text)
    sys.stdout.write(json.dumps({"id": asked["id"], **answer(asked)}) + "\n")
    sys.stdout.flush()
    while handed_over:
        with suppress(FileNotFoundError):
            handed_over.pop().save()
