"""Who business mail is from: a pure decision from settings and the acting user."""

from __future__ import annotations

from dataclasses import dataclass

from .business import Business, User
from .errors import MailError

__all__ = ["Identity", "identity_of"]


@dataclass(frozen=True)
class Identity:
    """From (a display name, "" for none, and an address) and Reply-To."""

    name: str
    address: str
    reply_to: str


def identity_of(business: Business, reply_to: str, user: User | None) -> Identity:
    """The identity of mail that `user` causes, of automatic mail where it is None.

    system reply, display name: `Product <reply-to>`; own reply, display name: `First Last (Product) <own>`; without
    display names the bare address. `own` is the user's address; where one of the two addresses is missing the other
    one serves. Raises MailError `config` where there is none at all.
    """
    own = user.address if user is not None else ""
    if not own and not reply_to:
        who = "the acting user has no address" if user is not None else "the mail is automatic"
        raise MailError("config", f"outgoing.reply_to is empty and {who}: there is nobody that mail could be from")
    system = business.use_system_reply or user is None
    address = (reply_to or own) if system else (own or reply_to)
    name = ""
    if business.use_display_name:
        person = user.name if user is not None and not system else ""
        name = f"{person} ({business.product})" if person and business.product else person or business.product
    return Identity(name, address, address)
