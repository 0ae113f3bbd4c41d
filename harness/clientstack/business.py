"""What only business software sets: product, identities, mailboxes with a purpose, tenants, users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from .errors import MailError

if TYPE_CHECKING:
    from .section import Section
    from .settings import Outgoing

__all__ = ["Business", "ErrorLog", "Support", "Tenant", "User", "read_business"]

_INHERITED: Final = ("ca_file", "timeout", "ehlo_name", "debug_file", "smtputf8")


@dataclass(frozen=True)
class User:
    """A user of the product. `notify`: which kinds of notifications they want; None means all."""

    id: str
    first_name: str = ""
    last_name: str = ""
    address: str = ""
    notify: frozenset[str] | None = None

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()

    def wants(self, kind: str) -> bool:
        return self.notify is None or kind in self.notify


@dataclass(frozen=True)
class Tenant:
    """A customer of the product: its own server, its own address for support requests, where it has them."""

    id: str
    outgoing: Outgoing | None = None
    support_address: str = ""


@dataclass(frozen=True)
class Support:
    """Where support requests go, and what goes with them."""

    address: str = ""
    tenant_may_override: bool = False
    attach_system_information: bool = True


@dataclass(frozen=True)
class ErrorLog:
    """Where errors of the product are mailed to. More than `limit` within `window` seconds become one digest."""

    to: str = ""
    limit: int = 5
    window: float = 3600.0


@dataclass(frozen=True)
class Business:
    """The `business` section. `invites`: whether invitations are mailed by default at all."""

    mail_enabled: bool = True
    product: str = ""
    version: str = ""
    licence: str = ""
    platform: str = ""
    base_url: str = ""
    use_system_reply: bool = True
    use_display_name: bool = True
    alert_from: str = ""
    system_notification: str = ""
    bounced_alerts: str = ""
    support: Support = field(default_factory=Support)
    error_log: ErrorLog = field(default_factory=ErrorLog)
    invites: bool = True
    users: Mapping[str, User] = field(default_factory=dict)
    tenants: Mapping[str, Tenant] = field(default_factory=dict)

    def user(self, key: str) -> User:
        """A user by id, or a stranger by address. Raises MailError `config` for neither."""
        if key in self.users:
            return self.users[key]
        for user in self.users.values():
            if user.address and user.address.casefold() == key.casefold():
                return user
        if "@" in key:
            return User(key, address=key)
        raise MailError("config", f"there is no user {key!r} in business.users")

    def link(self, path: str) -> str:
        """The URL of a page of the product. Raises MailError `config` without a base URL, or for a path that
        leads out of the product."""
        if not self.base_url:
            raise MailError("config", "business.base_url is needed for links, and none is set")
        parts = urlsplit(path)
        if parts.scheme or parts.netloc or any(ord(char) <= 32 for char in path):
            raise MailError("config", f"{path!r} is not a path below business.base_url")
        return f"{self.base_url.rstrip('/')}/{path.lstrip('/')}"


def read_business(section: Section, outgoing: Any) -> Business:
    """The section as typed settings. `outgoing` is the raw global one, whose technical settings a tenant's own
    server takes over where it says nothing else. Raises MailError `config`."""
    support = section.inner("support")
    errors = section.inner("error_log")
    tenants, users = section.inner("tenants"), section.inner("users")
    return Business(
        mail_enabled=section.flag("mail_enabled", True),
        product=section.line("product"),
        version=section.line("version"),
        licence=section.line("licence"),
        platform=section.line("platform"),
        base_url=_base_url(section),
        use_system_reply=section.flag("use_system_reply", True),
        use_display_name=section.flag("use_display_name", True),
        alert_from=section.address("alert_from"),
        system_notification=section.address("system_notification"),
        bounced_alerts=section.address("bounced_alerts"),
        support=Support(
            support.address("address"),
            support.flag("tenant_may_override", False),
            support.flag("attach_system_information", True),
        ),
        error_log=ErrorLog(errors.address("to"), errors.count("limit", 5), errors.seconds("window", 3600.0, 86400.0)),
        invites=section.choice("invitations", ("needs-invitation", "never"), "needs-invitation") != "never",
        users={key: _user(key, users.inner(key)) for key in users.keys},
        tenants={key: _tenant(key, tenants.inner(key), outgoing) for key in tenants.keys},
    )


def _base_url(section: Section) -> str:
    url = section.line("base_url").strip()
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment):
        raise section.wrong("base_url", "an address such as https://shop.example.com/app")
    return url


def _user(key: str, section: Section) -> User:
    wanted = section.raw("notify")
    if wanted is None or wanted is True:
        notify = None
    elif wanted is False:
        notify = frozenset[str]()
    elif isinstance(wanted, list) and all(isinstance(kind, str) for kind in wanted):
        notify = frozenset(wanted)
    else:
        raise section.wrong("notify", "true, false, or a list of kinds of notifications")
    return User(key, section.line("first_name"), section.line("last_name"), section.address("address"), notify)


def _tenant(key: str, section: Section, outgoing: Any) -> Tenant:
    from .settings import read_outgoing

    own = section.raw("outgoing")
    server = None
    if own is not None:
        shared = {name: outgoing[name] for name in _INHERITED if isinstance(outgoing, Mapping) and name in outgoing}
        server = read_outgoing(section.inner("outgoing").with_defaults(shared))
    return Tenant(key, server, section.address("support_address"))
