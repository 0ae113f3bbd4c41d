"""A client over smtplib, imaplib and poplib, used as their documentation shows it."""

from __future__ import annotations

import base64
import hashlib
import imaplib
import poplib
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from library_protocol import Refused, category, context, error, incoming, results, reverse_path, serve, wire_form

FEATURES = [
    "send", "fetch", "imap", "pop3", "starttls", "implicit-tls", "client-cert", "auth-plain", "auth-login",
    "auth-cram-md5",
]  # fmt: skip
LINE = b"\r\n"


@contextmanager
def told_apart() -> Iterator[None]:
    """What Python raises, as the contract's categories."""
    try:
        yield
    except ssl.SSLCertVerificationError as failure:
        raise Refused("tls-certificate", failure.verify_message) from None
    except ssl.SSLEOFError as failure:
        raise Refused("disconnected", str(failure)) from None
    except ssl.SSLError as failure:
        raise Refused("tls-handshake", str(failure)) from None
    except UnicodeError as failure:
        raise Refused("config", str(failure)) from None
    except TimeoutError as failure:
        raise Refused("timeout", str(failure)) from None
    except socket.gaierror as failure:
        raise Refused("dns", str(failure)) from None
    except (ConnectionRefusedError, smtplib.SMTPConnectError) as failure:
        code = getattr(failure, "smtp_code", None)
        text = words(getattr(failure, "smtp_error", str(failure)))
        raise Refused(
            "temporary" if code and 400 <= code < 500 else "connect", text, code if code != -1 else None
        ) from None
    except (smtplib.SMTPServerDisconnected, ConnectionError) as failure:
        raise Refused("timeout" if "timed out" in str(failure) else "disconnected", str(failure)) from None
    except smtplib.SMTPNotSupportedError as failure:
        raise Refused("tls-required" if "STARTTLS" in str(failure) else "auth-mechanism", str(failure)) from None
    except smtplib.SMTPAuthenticationError as failure:
        raise refused(failure, "auth") from None
    except smtplib.SMTPSenderRefused as failure:
        raise refused(failure, "mail") from None
    except smtplib.SMTPDataError as failure:
        raise refused(failure, "data") from None
    except smtplib.SMTPHeloError as failure:
        raise refused(failure, "ehlo") from None
    except smtplib.SMTPResponseException as failure:
        raise refused(failure, "starttls") from None
    except smtplib.SMTPException as failure:
        raise Refused(
            "auth-mechanism" if "authentication method" in str(failure) else "protocol", str(failure)
        ) from None
    except (imaplib.IMAP4.abort, EOFError) as failure:
        raise Refused("tls-required" if "TLS not" in str(failure) else "disconnected", str(failure)) from None
    except imaplib.IMAP4.error as failure:
        raise Refused("authentication" if "AUTH" in str(failure).upper() else "protocol", str(failure)) from None
    except poplib.error_proto as failure:
        text = words(failure.args[0])
        known = "disconnected" if "EOF" in text else incoming(text, "protocol")
        raise Refused("tls-required" if "STLS" in text else known, text) from None
    except OSError as failure:
        raise Refused("disconnected", str(failure)) from None
    except ValueError as failure:
        raise Refused("protocol", str(failure)) from None


def words(text: Any) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def refused(failure: smtplib.SMTPResponseException, command: str) -> Refused:
    code, text = failure.smtp_code, words(failure.smtp_error)
    if command == "starttls" and code >= 400:
        return Refused("tls-required", text, code)
    if code < 0:
        return Refused("protocol", text)
    return Refused(category(code, text, command), text, code)


# --- sending


def connect(settings: dict[str, Any]) -> smtplib.SMTP:
    where = {"host": settings["host"], "port": settings["port"], "timeout": settings["timeout"]}
    name = settings["ehlo_name"] or None
    if settings["security"] == "implicit":
        session: smtplib.SMTP = smtplib.SMTP_SSL(**where, local_hostname=name, context=context(settings))
    else:
        session = smtplib.SMTP(**where, local_hostname=name)
    try:
        if settings["security"] == "starttls":
            code, text = session.starttls(context=context(settings))
            if code != 220:
                raise Refused("tls-required", words(text), code)
        log_in(session, settings)
    except BaseException:
        session.close()
        raise
    return session


def log_in(session: smtplib.SMTP, settings: dict[str, Any]) -> None:
    if settings["auth"] == "none" or not settings["username"]:
        return
    encrypted = isinstance(session.sock, ssl.SSLSocket)
    if settings["auth"] == "auto":
        session.ehlo_or_helo_if_needed()
        offered = session.esmtp_features.get("auth", "").split()
        if not encrypted and not settings["allow_cleartext"] and "CRAM-MD5" not in offered:
            raise Refused("tls-required" if offered else "auth-mechanism", "no login in clear")
        try:
            session.login(settings["username"], settings["password"])
        except smtplib.SMTPException as failure:
            if "No suitable" not in str(failure):
                raise
            raise Refused("auth-mechanism", f"{failure} The server offers {offered}") from None
        return
    if not encrypted and settings["auth"] != "cram-md5" and not settings["allow_cleartext"]:
        raise Refused("tls-required", "no password in clear")
    session.ehlo_or_helo_if_needed()
    session.user, session.password = settings["username"], settings["password"]
    mechanism = settings["auth"].upper()
    offered = session.esmtp_features.get("auth", "").upper().split()
    if mechanism not in offered:
        raise Refused("auth-mechanism", f"{mechanism} is not among {offered}")
    session.auth(mechanism, getattr(session, "auth_" + settings["auth"].replace("-", "_")))


def send(request: dict[str, Any]) -> dict[str, Any]:
    settings = request["settings"]["outgoing"]
    session: list[smtplib.SMTP] = []

    def one(message: dict[str, Any]) -> dict[str, Refused]:
        with told_apart():
            if not session:
                session.append(connect(settings))
            sender = reverse_path(message, settings)
            try:
                failed = session[0].sendmail(sender, message["to"], wire_form(message, settings))
            except smtplib.SMTPRecipientsRefused as failure:
                failed = failure.recipients
            except BaseException:
                if session[0].sock is None:
                    session.clear()
                raise
            if session[0].sock is None:
                session.clear()
            return {
                to: Refused(category(code, words(text), "rcpt"), words(text), code)
                for to, (code, text) in failed.items()
            }

    reply = results(request["messages"], one)
    for open_session in session:
        with suppress(smtplib.SMTPException, OSError):
            open_session.quit()
    return reply


# --- fetching


class Read:
    """What has been handed over, in the state directory."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lines = file.read_text("ascii").splitlines() if file.exists() else []

    def knows(self, beginning: str) -> bool:
        return any(line.startswith(beginning) for line in self.lines)

    def add(self, line: str) -> None:
        self.lines.append(line)
        self.file.write_text("\n".join(self.lines), "ascii")


def fetch(request: dict[str, Any]) -> dict[str, Any]:
    settings = request["settings"]["incoming"]
    got: list[bytes] = []
    kept: Refused | None = None
    try:
        with told_apart():
            way = imap if settings["protocol"] == "imap" else pop3
            way(settings, got, Read(Path(request["state_dir"]) / "read"))
    except Refused as failure:
        kept = failure
    messages = [{"eml_base64": base64.b64encode(raw).decode()} for raw in got]
    return {"messages": messages, "error": error(kept) if kept is not None else None}


def digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def in_clear(session: imaplib.IMAP4 | poplib.POP3, settings: dict[str, Any]) -> bool:
    """No password may go out."""
    return not isinstance(session.sock, ssl.SSLSocket) and not settings["allow_cleartext"]


@contextmanager
def refused_as(known: str) -> Iterator[None]:
    """Inside, what the server refuses is of this category; a lost connection stays one."""
    try:
        yield
    except imaplib.IMAP4.abort:
        raise
    except (imaplib.IMAP4.error, poplib.error_proto) as failure:
        text = words(failure.args[0])
        if "EOF" in text or "line too long" in text:
            raise
        raise Refused(known if known == "tls-required" else incoming(text, known), text) from None


# --- IMAP


def imap(settings: dict[str, Any], got: list[bytes], read: Read) -> None:
    where = {"host": settings["host"], "port": settings["port"], "timeout": settings["timeout"]}
    with refused_as("connect"):
        if settings["security"] == "implicit":
            session: imaplib.IMAP4 = imaplib.IMAP4_SSL(**where, ssl_context=context(settings))
        else:
            session = imaplib.IMAP4(**where)
    try:
        if settings["security"] == "starttls":
            with refused_as("tls-required"):
                session.starttls(context(settings))
        if session.state != "AUTH":
            imap_log_in(session, settings)
        done("config", session.select(settings["inbox"] or "INBOX"))
        validity = words(session.response("UIDVALIDITY")[1][0])
        found = done("protocol", session.uid("SEARCH", "UNSEEN" if settings["unseen_only"] else "ALL"))
        uids = words(found[0] or b"").split()
        trouble: list[Refused] = []
        for uid in uids:
            try:
                imap_message(session, f"{validity} {uid} ", got, read)
            except Refused as kept:
                trouble.append(kept)
        # In a second pass: a mailbox that has become read-only must not keep the rest from being fetched.
        for uid in uids:
            if read.knows(f"{validity} {uid} "):
                session.uid("STORE", uid, "+FLAGS", "(\\Seen)")
        with suppress(imaplib.IMAP4.error, OSError):
            session.logout()
        if trouble:
            raise trouble[0]
    finally:
        with suppress(OSError):
            session.shutdown()


def done(known: str, answer: tuple[str, list[Any]]) -> list[Any]:
    kind, data = answer
    if kind != "OK":
        raise Refused(incoming(words(data[0]), known), words(data[0]))
    return data


def imap_log_in(session: imaplib.IMAP4, settings: dict[str, Any]) -> None:
    way, user, password = settings["auth"], settings["username"], settings["password"]
    if way == "auto":
        way = "cram-md5" if in_clear(session, settings) and "AUTH=CRAM-MD5" in session.capabilities else "login"
    if way != "cram-md5" and in_clear(session, settings):
        raise Refused("tls-required", "no password in clear")
    if way != "login" and f"AUTH={way.upper()}" not in session.capabilities:
        raise Refused("auth-mechanism", f"{way} is not among {session.capabilities}")
    with refused_as("authentication"):
        if way == "cram-md5":
            session.login_cram_md5(user, password)
        elif way == "plain":
            session.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode())
        else:
            session.login(user, password)


def imap_message(session: imaplib.IMAP4, name: str, got: list[bytes], read: Read) -> None:
    """`name` is UIDVALIDITY and UID; under a new UIDVALIDITY the content tells what is known."""
    if read.knows(name):
        return
    validity, uid = name.split()
    data = done("protocol", session.uid("FETCH", uid, "(BODY.PEEK[])"))
    for raw in [part[1] for part in data if isinstance(part, tuple) and b"BODY[]" in part[0].upper()]:
        before = [line for line in read.lines if not line.startswith(validity + " ")]
        if not any(line.endswith(digest(raw)) for line in before):
            got.append(raw)
        read.add(name + digest(raw))


# --- POP3


def pop3(settings: dict[str, Any], got: list[bytes], read: Read) -> None:
    where = {"host": settings["host"], "port": settings["port"], "timeout": settings["timeout"]}
    with refused_as("connect"):
        if settings["security"] == "implicit":
            session: poplib.POP3 = poplib.POP3_SSL(**where, context=context(settings))
        else:
            session = poplib.POP3(**where)
    try:
        if settings["security"] == "starttls":
            with refused_as("tls-required"):
                session.stls(context(settings))
        pop3_log_in(session, settings)
        for number, unique_id in pop3_listing(session):
            if unique_id and unique_id in read.lines:
                continue
            raw = LINE.join(session.retr(number)[1]) + LINE
            key = unique_id or digest(raw)
            if key not in read.lines:
                got.append(raw)
                read.add(key)
        with suppress(poplib.error_proto, OSError):
            session.quit()
    finally:
        with suppress(OSError):
            session.close()


def pop3_log_in(session: poplib.POP3, settings: dict[str, Any]) -> None:
    way = settings["auth"]
    if way == "auto":
        way = "apop" if in_clear(session, settings) and b"<" in session.getwelcome() else "login"
    if way not in ("login", "apop"):
        raise Refused("auth-mechanism", f"poplib has no {way}")
    if way == "login" and in_clear(session, settings):
        raise Refused("tls-required", "no password in clear")
    with refused_as("authentication"):
        if way == "apop":
            session.apop(settings["username"], settings["password"])
        else:
            session.user(settings["username"])
            session.pass_(settings["password"])


def pop3_listing(session: poplib.POP3) -> list[tuple[int, str]]:
    """Number and unique-id; where the server has no UIDL, the numbers alone."""
    try:
        lines = session.uidl()[1]
    except poplib.error_proto as failure:
        if "EOF" in words(failure.args[0]) or "[SYS/" in words(failure.args[0]):
            raise
        return [(number, "") for number in range(1, session.stat()[0] + 1)]
    return [(int(number), unique_id) for number, unique_id in (line.decode("ascii").split() for line in lines)]


def answer(request: dict[str, Any]) -> dict[str, Any]:
    return send(request) if request["action"] == "send" else fetch(request)


if __name__ == "__main__":
    serve("stdlib", FEATURES, answer)
