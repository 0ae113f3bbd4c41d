"""Typed settings of an outgoing and an incoming account, from the JSON of the client command protocol.

A wrong value is a MailError `config` that names the setting, what is wrong with it, and what would be right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from .errors import MailError
from .redaction import Redactor
from .sasl import Credentials
from .section import Section
from .setaside import Bounds
from .tls import Trust

if TYPE_CHECKING:
    from .business import Business

__all__ = ["INNER_KEYS", "KNOWN_KEYS", "Graph", "Incoming", "Outgoing", "Settings", "read_outgoing"]

SECURITY: Final = ("none", "starttls", "opportunistic", "implicit")
OUTGOING_AUTH: Final = (
    "none", "auto", "plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256", "xoauth2", "oauthbearer", "external",
)  # fmt: skip
INCOMING_AUTH: Final = (*OUTGOING_AUTH[1:], "apop")
PROTOCOLS: Final = ("none", "pop3", "imap")

_OUTGOING_PORTS: Final = {"none": 25, "opportunistic": 25, "starttls": 587, "implicit": 465}
_IMAP_PORTS: Final = {"none": 143, "opportunistic": 143, "starttls": 143, "implicit": 993}
_POP3_PORTS: Final = {"none": 110, "opportunistic": 110, "starttls": 110, "implicit": 995}
_ACCOUNT: Final[Mapping[str, type]] = {
    "host": str, "port": int, "security": str, "auth": str, "username": str, "password": str, "access_token": str,
    "allow_cleartext": bool, "timeout": float, "ca_file": str, "client_cert": str, "client_key": str,
    "pinned_sha256": str, "debug_file": str,
}  # fmt: skip
KNOWN_KEYS: Final[Mapping[str, Mapping[str, type]]] = {
    "outgoing": {
        **_ACCOUNT, "ehlo_name": str, "smtputf8": bool, "from_address": str, "from_name": str, "reply_to": str,
        "bounce_address": str,
    },
    "incoming": {**_ACCOUNT, "protocol": str, "inbox": str, "completed": str, "unseen_only": bool},
    "graph": dict.fromkeys(("tenant_id", "client_id", "client_secret", "authority", "base_url", "ca_file"), str),
    "business": {
        "synchronous": str, "debug_file": str, "mail_enabled": bool, "product": str, "version": str, "licence": str,
        "platform": str, "base_url": str, "use_system_reply": bool, "use_display_name": bool, "alert_from": str,
        "system_notification": str, "bounced_alerts": str, "support": dict, "error_log": dict, "invitations": str,
        "users": dict, "tenants": dict, "bounds": dict,
    },
}  # fmt: skip
"""Section: setting: what its value is. Requests may hold more; files may not."""
INNER_KEYS: Final[Mapping[str, Mapping[str, type]]] = {
    "support": {"address": str, "tenant_may_override": bool, "attach_system_information": bool},
    "error_log": {"to": str, "limit": int, "window": float},
    "bounds": dict.fromkeys(asdict(Bounds()), int),
    "users": {"first_name": str, "last_name": str, "address": str, "notify": object},
    "tenants": {"outgoing": dict, "support_address": str},
}
"""The same of the sections within `business`; of `users` and `tenants` for each one."""

_EHLO_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?|\[[0-9A-Fa-f.:IPv]+\]")


@dataclass(frozen=True)
class Outgoing:
    """An account to send from. `timeout` in seconds; `port` is never None here."""

    host: str
    port: int
    security: str = "opportunistic"
    auth: str = "none"
    credentials: Credentials = field(default_factory=Credentials)
    allow_cleartext: bool = False
    ehlo_name: str | None = None
    timeout: float = 10.0
    smtputf8: bool = False
    from_address: str = ""
    from_name: str = ""
    reply_to: str | None = None
    bounce_address: str | None = None
    trust: Trust = field(default_factory=Trust)
    debug_file: str | None = None

    @property
    def account(self) -> str:
        """What a rate limit belongs to: the server and the user, whichever port is used."""
        return f"smtp://{self.credentials.username}@{self.host.lower()}"


@dataclass(frozen=True)
class Incoming:
    """An account to read from. `completed`: None leaves mail where it is, a name files it there."""

    protocol: str
    host: str = ""
    port: int = 0
    security: str = "opportunistic"
    auth: str = "auto"
    credentials: Credentials = field(default_factory=Credentials)
    allow_cleartext: bool = False
    inbox: str = "INBOX"
    completed: str | None = None
    unseen_only: bool = True
    timeout: float = 10.0
    trust: Trust = field(default_factory=Trust)
    debug_file: str | None = None
    bounds: Bounds = field(default_factory=Bounds)

    @property
    def account(self) -> str:
        """What a ledger entry belongs to: one mailbox or maildrop, whichever port is used."""
        place = f"/{self.inbox}" if self.protocol == "imap" else ""
        return f"{self.protocol}://{self.credentials.username}@{self.host.lower()}{place}"


@dataclass(frozen=True)
class Graph:
    """Microsoft 365 instead of SMTP. No transport for it is part of this client yet."""

    tenant_id: str
    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True)
class Settings:
    """All sections; absent ones are None."""

    outgoing: Outgoing | None = None
    incoming: Incoming | None = None
    graph: Graph | None = None
    durability: str = "NORMAL"
    business: Business | None = None

    @classmethod
    def from_json(cls, data: object) -> Settings:
        """Reads the `settings` object. Raises MailError `config`."""
        section = Section("settings", data)
        business = section.inner("business", "business")
        debug = {"debug_file": business.raw("debug_file")}
        outgoing, incoming = section.raw("outgoing"), section.raw("incoming")
        return cls(
            outgoing=read_outgoing(section.inner("outgoing", "outgoing").with_defaults(debug))
            if outgoing is not None
            else None,
            incoming=_incoming(section.inner("incoming", "incoming").with_defaults(debug), business.inner("bounds"))
            if incoming is not None
            else None,
            graph=_graph(section.raw("graph")) if section.raw("graph") is not None else None,
            durability=business.choice("synchronous", ("NORMAL", "FULL"), "NORMAL"),
            business=_business(business, outgoing) if section.raw("business") is not None else None,
        )

    def require_outgoing(self) -> Outgoing:
        if self.outgoing is None:
            raise MailError("config", "settings.outgoing is missing: no server is set to send through")
        return self.outgoing

    def require_incoming(self) -> Incoming:
        if self.incoming is None:
            raise MailError("config", "settings.incoming is missing: no server is set to read from")
        return self.incoming


def secrets_in(data: object) -> Redactor:
    """A redactor for whatever looks like a secret in a `settings` object, valid or not."""
    secrets: list[str] = []
    names: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if isinstance(inner, str) and key in ("password", "access_token", "client_secret"):
                    secrets.append(inner)
                elif isinstance(inner, str) and key == "username":
                    names.append(inner)
                else:
                    walk(inner)

    walk(data)
    return Redactor(secrets, names)


def redactor_of(credentials: Credentials) -> Redactor:
    """The redactor of one account."""
    secrets: Iterable[str] = filter(None, (credentials.password, credentials.access_token))
    return Redactor(secrets, [credentials.username] if credentials.username else [])


def read_outgoing(section: Section) -> Outgoing:
    """An outgoing account. Raises MailError `config`."""
    security = section.choice("security", SECURITY, "opportunistic")
    host, port = section.host_and_port(_OUTGOING_PORTS, security)
    return Outgoing(
        host=host,
        port=port,
        security=security,
        auth=section.choice("auth", OUTGOING_AUTH, "none"),
        credentials=section.credentials(),
        allow_cleartext=section.flag("allow_cleartext", False),
        ehlo_name=_ehlo_name(section),
        timeout=section.seconds("timeout", 10.0),
        smtputf8=section.flag("smtputf8", False),
        from_address=section.line("from_address"),
        from_name=section.line("from_name"),
        reply_to=section.line("reply_to") or None,
        bounce_address=section.line("bounce_address") or None,
        trust=section.trust(),
        debug_file=section.optional("debug_file"),
    )


def _business(section: Section, outgoing: object) -> Business:
    from .business import read_business

    return read_business(section, outgoing)


def _incoming(section: Section, bounds: Section) -> Incoming:
    protocol = section.choice("protocol", PROTOCOLS, "none")
    if protocol == "none":
        return Incoming(protocol="none")
    security = section.choice("security", SECURITY, "opportunistic")
    host, port = section.host_and_port(_IMAP_PORTS if protocol == "imap" else _POP3_PORTS, security)
    auth = section.choice("auth", INCOMING_AUTH, "auto")
    if auth == "apop" and protocol != "pop3":
        raise section.wrong("auth", "another one: apop exists in POP3 only")
    completed = section.raw("completed")
    return Incoming(
        protocol=protocol,
        host=host,
        port=port,
        security=security,
        auth=auth,
        credentials=section.credentials(),
        allow_cleartext=section.flag("allow_cleartext", False),
        inbox=section.line("inbox") or "INBOX",
        completed=None if completed is None else (section.line("completed") or "Completed"),
        unseen_only=section.flag("unseen_only", True),
        timeout=section.seconds("timeout", 10.0),
        trust=section.trust(),
        debug_file=section.optional("debug_file"),
        bounds=Bounds(**{key: bounds.count(key, most) for key, most in asdict(Bounds()).items()}),
    )


def _graph(data: object) -> Graph:
    section = Section("graph", data)
    return Graph(section.line("tenant_id"), section.line("client_id"), section.line("client_secret"))


def _ehlo_name(section: Section) -> str | None:
    """A name for EHLO; anything that would break the command line is refused (RFC 5321 4.1.1.1)."""
    name = section.line("ehlo_name").strip()
    if not name:
        return None
    if not name.isascii():
        from .wire import ascii_host

        name = ascii_host(name)
    if not _EHLO_NAME.fullmatch(name):
        raise section.wrong("ehlo_name", "a host name or an address literal such as [192.0.2.1]")
    return name
