"""What an error means in plain words, who can fix it, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .errors import MailError

__all__ = ["Diagnosis", "diagnose"]


@dataclass(frozen=True)
class Diagnosis:
    """`fixed_by` is one of sender-settings, mailbox-owner, tenant-admin, recipient, provider-wait, network,
    client-software."""

    category: str
    cause: str
    fixed_by: str
    next_step: str


_PLAIN: Final = {
    "connect": (
        "The server cannot be reached at this host and port, or it refuses every session.",
        "network",
        "Check host and port; then that a firewall lets this machine connect.",
    ),
    "dns": (
        "The host name has no address.",
        "sender-settings",
        "Check the spelling of the host name; then the name service of this machine.",
    ),
    "timeout": (
        "The server did not answer in time.",
        "network",
        "Try again later; if it stays so, check the port and security setting, and the network between.",
    ),
    "tls-handshake": (
        "Encryption could not be agreed on with the server.",
        "sender-settings",
        "Check that security fits the port: implicit TLS for 465, 993 and 995, STARTTLS for 587, 143 and 110.",
    ),
    "tls-certificate": (
        "The server's certificate is not one that this account trusts, or not for this host name, or expired.",
        "sender-settings",
        "Use the host name that the certificate names; for an internal server set its CA file or pin.",
    ),
    "tls-required": (
        "The connection is not encrypted, and the server or the settings require that it is.",
        "sender-settings",
        "Set security to starttls or implicit.",
    ),
    "authentication": (
        "The server did not accept the user name with this password or token.",
        "mailbox-owner",
        "Check both; many providers want an app password or OAuth2, or an administrator's permission.",
    ),
    "auth-mechanism": (
        "Server and client have no way of logging in in common.",
        "sender-settings",
        "Choose auto, or one of the mechanisms that the server offers.",
    ),
    "sender-refused": (
        "The server does not take mail from this sender address.",
        "sender-settings",
        "Use an address that the account may send as.",
    ),
    "recipient-refused": (
        "The server does not take mail for this recipient.",
        "recipient",
        "Check the recipient's address.",
    ),
    "message-refused": (
        "The server does not take this message.",
        "sender-settings",
        "Read the server's words: content, attachments or missing authentication of the domain.",
    ),
    "size": (
        "The message is larger than the server takes.",
        "sender-settings",
        "Send less, or a link instead of the attachment.",
    ),
    "rate-limit": (
        "The account has sent, logged in or connected more than the provider allows for now.",
        "provider-wait",
        "Wait; sending goes on by itself.",
    ),
    "quota": (
        "The mailbox is full.",
        "recipient",
        "Its owner has to make room.",
    ),
    "temporary": (
        "The server has a passing problem.",
        "provider-wait",
        "Wait; it is tried again by itself.",
    ),
    "protocol": (
        "The server said something that does not fit the protocol.",
        "sender-settings",
        "Check that host and port are those of a mail server of this kind.",
    ),
    "disconnected": (
        "The server closed the connection in the middle.",
        "network",
        "It is tried again; if it stays so, look at what the server said last.",
    ),
    "unsupported": (
        "This needs something that the server or this client does not have.",
        "client-software",
        "Read the text: an address without special characters or another way of sending avoids it.",
    ),
    "config": (
        "The settings or the request are not right.",
        "sender-settings",
        "Correct what the text names.",
    ),
}  # fmt: skip

# The second and third part of an enhanced code that say more than the category does.
_BY_DETAIL: Final = {
    ("authentication", "7.9"): (
        "The provider wants an app password or OAuth2 for this account.",
        "mailbox-owner",
        "Create an app password, or use OAuth2.",
    ),
    ("authentication", "7.139"): (
        "Logging in with a password is switched off for this mailbox or its organisation.",
        "tenant-admin",
        "The administrator has to allow authenticated SMTP, or OAuth2 has to be used.",
    ),
    ("authentication", "7.57"): (
        "The server wants a login before it takes mail from here.",
        "sender-settings",
        "Set user name, password and auth.",
    ),
}


def diagnose(error: MailError) -> Diagnosis:
    """The diagnosis of an error; every category has one."""
    detail = error.enhanced.partition(".")[2] if error.enhanced else ""
    words = _BY_DETAIL.get((error.category, detail)) or _PLAIN[error.category]
    return Diagnosis(error.category, *words)
