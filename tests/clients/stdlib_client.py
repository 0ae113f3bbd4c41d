"""A client over smtplib, imaplib and poplib, used as their documentation shows it."""

from __future__ import annotations

import base64
import imaplib
import poplib
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from library_protocol import Refused, category, context, error, results, serve, wire_form

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
        known = "disconnected" if "EOF" in text else "authentication" if "AUTH" in text else "protocol"
        raise Refused("tls-required" if "STLS" in text else known, text) from None
    except OSError as failure:
        raise Refused("disconnected", str(failure)) from None


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
    name = settings["ehlo_name"]
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
            sender = settings["bounce_address"] or message["from"] or ""
            try:
                failed = session[0].sendmail(sender, message["to"], wire_form(message))
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


def fetch(request: dict[str, Any]) -> dict[str, Any]:
    settings = request["settings"]["incoming"]
    got: list[bytes] = []
    kept: Refused | None = None
    try:
        with told_apart():
            if settings["protocol"] == "imap":
                imap(settings, got)
            else:
                pop3(settings, got, Path(request["state_dir"]) / "read")
    except Refused as failure:
        kept = failure
    messages = [{"eml_base64": base64.b64encode(raw).decode()} for raw in got]
    return {"messages": messages, "error": error(kept) if kept is not None else None}


def imap(settings: dict[str, Any], got: list[bytes]) -> None:
    where = {"host": settings["host"], "port": settings["port"], "timeout": settings["timeout"]}
    if settings["security"] == "implicit":
        session: imaplib.IMAP4 = imaplib.IMAP4_SSL(**where, ssl_context=context(settings))
    else:
        session = imaplib.IMAP4(**where)
    try:
        if settings["security"] == "starttls":
            session.starttls(context(settings))
        elif settings["security"] == "none" and not settings["allow_cleartext"]:
            raise Refused("tls-required", "no password in clear")
        if session.state != "AUTH":
            try:
                if settings["auth"] == "cram-md5":
                    session.login_cram_md5(settings["username"], settings["password"])
                else:
                    session.login(settings["username"], settings["password"])
            except imaplib.IMAP4.abort:
                raise
            except imaplib.IMAP4.error as failure:
                raise Refused("authentication", words(failure.args[0])) from None
        kind, said = session.select(settings["inbox"] or "INBOX")
        if kind != "OK":
            raise Refused("config", words(said[0]))
        _, found = session.uid("SEARCH", "UNSEEN" if settings["unseen_only"] else "ALL")
        for uid in (found[0] or b"").split():
            _, data = session.uid("FETCH", uid.decode(), "(BODY.PEEK[])")
            got += [part[1] for part in data if isinstance(part, tuple)]
            session.uid("STORE", uid.decode(), "+FLAGS", "(\\Seen)")
        session.logout()
    finally:
        with suppress(OSError):
            session.shutdown()


def pop3(settings: dict[str, Any], got: list[bytes], read: Path) -> None:
    where = {"host": settings["host"], "port": settings["port"], "timeout": settings["timeout"]}
    if settings["security"] == "implicit":
        session: poplib.POP3 = poplib.POP3_SSL(**where, context=context(settings))
    else:
        session = poplib.POP3(**where)
    try:
        if settings["security"] == "starttls":
            session.stls(context(settings))
        elif settings["security"] == "none" and not settings["allow_cleartext"]:
            raise Refused("tls-required", "no password in clear")
        session.user(settings["username"])
        session.pass_(settings["password"])
        known = read.read_text("ascii").split() if read.exists() else []
        for line in session.uidl()[1]:
            number, unique_id = line.decode("ascii").split()
            if unique_id not in known:
                got.append(LINE.join(session.retr(int(number))[1]) + LINE)
                known.append(unique_id)
                read.write_text("\n".join(known), "ascii")
        session.quit()
    finally:
        with suppress(OSError):
            session.close()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    return send(request) if request["action"] == "send" else fetch(request)


if __name__ == "__main__":
    serve("stdlib", FEATURES, answer)
