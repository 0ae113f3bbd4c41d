"""Which server mail goes out through: a pure decision from settings and tenant."""

from __future__ import annotations

from .errors import MailError
from .settings import Outgoing, Settings

__all__ = ["account_of", "held_back", "route"]


def route(settings: Settings, tenant: str) -> Outgoing | MailError:
    """The account that mail of `tenant` ("": nobody's in particular) goes out through, or why none may leave now.

    The global mail server decides whether mail leaves at all; a tenant's own server only replaces it.
    """
    return held_back(settings) or account_of(settings, tenant) or settings.require_outgoing()


def account_of(settings: Settings, tenant: str) -> Outgoing | None:
    """The account that mail of `tenant` belongs to, whether or not it may leave now; None where there is none."""
    business = settings.business
    own = business.tenants.get(tenant) if business is not None and tenant else None
    return own.outgoing if own is not None and own.outgoing is not None else settings.outgoing


def held_back(settings: Settings) -> MailError | None:
    """Why no mail leaves this system at present, None when it may."""
    if settings.business is None:
        return None
    if not settings.business.mail_enabled:
        return MailError("temporary", "the global mail server is switched off: no mail leaves the system")
    if settings.outgoing is None:
        return MailError("temporary", "no global mail server is set: no mail leaves the system")
    return None
