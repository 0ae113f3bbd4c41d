"""A client over aiosmtplib, used as its documentation shows it."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Any

import aiosmtplib
from library_protocol import Refused, category, context, results, reverse_path, serve, wire_form

FEATURES = [
    "send",
    "starttls",
    "implicit-tls",
    "opportunistic-tls",
    "client-cert",
    "auth-plain",
    "auth-login",
    "auth-cram-md5",
]
START_TLS = {"none": False, "starttls": True, "opportunistic": None, "implicit": False}


def kept_by(failure: Exception) -> Refused:
    """What aiosmtplib raises, as the contract's categories."""
    code = getattr(failure, "code", None)
    text = str(getattr(failure, "message", failure))
    match failure:
        case aiosmtplib.SMTPAuthenticationError():
            return Refused(category(code or 0, text, "auth"), text, code)
        case aiosmtplib.SMTPSenderRefused():
            return Refused(category(code or 0, text, "mail"), text, code)
        case aiosmtplib.SMTPDataError():
            return Refused(category(code or 0, text, "data"), text, code)
        case aiosmtplib.SMTPHeloError() if (code or -1) > 0:
            return Refused(category(code or 0, text, "ehlo"), text, code)
        case aiosmtplib.SMTPConnectResponseError():
            return Refused("temporary" if code and code < 500 else "connect", text, code)
        case aiosmtplib.SMTPResponseException():
            if code is not None and code < 0:
                return Refused("protocol", text)
            return Refused(
                "tls-required" if "TLS" in text.upper() else category(code or 0, text, "starttls"), text, code
            )
        case aiosmtplib.SMTPTimeoutError():
            return Refused("timeout", text)
        case aiosmtplib.SMTPConnectError() if "ertificate" in text or "ertificate" in str(failure.__cause__):
            return Refused("tls-certificate", text)
        case aiosmtplib.SMTPConnectError() if "SSL" in text.upper() or "SSL" in repr(failure.__cause__).upper():
            return Refused("tls-handshake", text)
        case aiosmtplib.SMTPConnectError():
            return Refused("disconnected" if "lost" in text else "connect", text)
        case aiosmtplib.SMTPServerDisconnected():
            return Refused("disconnected", text)
        case aiosmtplib.SMTPException() if "TLS" in text:
            return Refused("tls-required", text)
        case ssl.SSLCertVerificationError():
            return Refused("tls-certificate", text)
        case ssl.SSLError():
            return Refused("tls-handshake", text)
        case aiosmtplib.SMTPException() if "auth" in text.lower():
            return Refused("auth-mechanism", text)
        case UnicodeError():
            return Refused("config", text)
    return Refused("protocol", text)


async def connect(settings: dict[str, Any]) -> aiosmtplib.SMTP:
    session = aiosmtplib.SMTP(
        hostname=settings["host"],
        port=settings["port"],
        timeout=settings["timeout"],
        local_hostname=settings["ehlo_name"] or None,
        use_tls=settings["security"] == "implicit",
        start_tls=START_TLS[settings["security"]],
        tls_context=context(settings),
    )
    try:
        await session.connect()
    except (aiosmtplib.SMTPConnectResponseError, aiosmtplib.SMTPHeloError):
        raise
    except aiosmtplib.SMTPResponseException as failure:
        if failure.code < 0:
            raise
        raise Refused("tls-required", failure.message, failure.code) from None
    try:
        await log_in(session, settings)
    except BaseException:
        session.close()
        raise
    return session


async def log_in(session: aiosmtplib.SMTP, settings: dict[str, Any]) -> None:
    if settings["auth"] == "none" or not settings["username"]:
        return
    if session.is_ehlo_or_helo_needed:
        await session.ehlo()
    encrypted = session.get_transport_info("sslcontext") is not None
    if settings["auth"] == "auto":
        if not encrypted and not settings["allow_cleartext"]:
            raise Refused("tls-required", "no login in clear")
        if session.supports_extension("auth") and not session.supported_auth_methods:
            raise Refused("auth-mechanism", f"the server offers {session.server_auth_methods}")
        await session.login(settings["username"], settings["password"])
        return
    if not encrypted and settings["auth"] != "cram-md5" and not settings["allow_cleartext"]:
        raise Refused("tls-required", "no password in clear")
    if settings["auth"] not in session.supported_auth_methods:
        raise Refused("auth-mechanism", f"{settings['auth']} is not among {session.server_auth_methods}")
    way = getattr(session, "auth_" + settings["auth"].replace("-", ""))
    await way(settings["username"], settings["password"])


class Batch:
    """One connection for the messages of a request, made anew when it is lost."""

    def __init__(self, settings: dict[str, Any], loop: asyncio.AbstractEventLoop) -> None:
        self.settings = settings
        self.loop = loop
        self.session: aiosmtplib.SMTP | None = None

    def one(self, message: dict[str, Any]) -> dict[str, Refused]:
        try:
            return self.loop.run_until_complete(self._send(message))
        except (aiosmtplib.SMTPException, OSError, ValueError) as failure:
            raise kept_by(failure) from None

    async def _send(self, message: dict[str, Any]) -> dict[str, Refused]:
        if self.session is None or not self.session.is_connected:
            self.session = await connect(self.settings)
        sender = reverse_path(message, self.settings)
        try:
            failed, _ = await self.session.sendmail(sender, message["to"], wire_form(message, self.settings))
        except aiosmtplib.SMTPRecipientsRefused as failure:
            return {one.recipient: _rcpt(one.code, one.message) for one in failure.recipients}
        return {to: _rcpt(code, text) for to, (code, text) in failed.items()}

    def end(self) -> None:
        if self.session is not None and self.session.is_connected:
            with suppress(aiosmtplib.SMTPException, OSError):
                self.loop.run_until_complete(self.session.quit())


def _rcpt(code: int, text: str) -> Refused:
    return Refused(category(code, text, "rcpt"), text, code)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    loop = asyncio.new_event_loop()
    batch = Batch(request["settings"]["outgoing"], loop)
    try:
        reply = results(request["messages"], batch.one)
        batch.end()
    finally:
        loop.close()
    return reply


if __name__ == "__main__":
    serve("aiosmtplib", FEATURES, answer)
