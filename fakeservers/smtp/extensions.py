"""What EHLO offers and what follows from it: LIMITS (RFC 9422), FUTURERELEASE (RFC 4865), DELIVERBY (RFC 2852), and
Postfix's XCLIENT. A keyword's arguments are the policy: `LIMITS RCPTMAX=3` is what the server then keeps to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from fakeservers.smtp.replies import encode, is_auth

if TYPE_CHECKING:
    from fakeservers.smtp.paths import PathArgument

__all__ = ["NOTHING_OFFERED", "Offer", "domain_limit", "offer", "parse_xclient", "schedule_error"]

XCLIENT = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT")
_ATTRIBUTE = re.compile(r"([A-Za-z]+)=((?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2})+)")
_HEX = re.compile(r"\+([0-9A-Fa-f]{2})")


class Offer(NamedTuple):
    """An EHLO reply: its keywords, the arguments of each, the SASL mechanisms, the numbers of LIMITS, and the reply's
    lines but the first."""

    names: frozenset[str] = frozenset()
    arguments: Mapping[str, tuple[str, ...]] = {}
    mechanisms: tuple[str, ...] = ()
    limits: Mapping[str, int] = {}
    reply: bytes = b""


NOTHING_OFFERED = Offer()


@lru_cache(maxsize=256)
def offer(keywords: tuple[str, ...], known: tuple[str, ...]) -> Offer:
    """Read the keyword lines of an EHLO reply. A bare AUTH offers the mechanisms that are `known`."""
    lines = [" ".join(["AUTH", *known]) if keyword.upper() == "AUTH" else keyword for keyword in keywords]
    arguments: dict[str, tuple[str, ...]] = {}
    mechanisms: list[str] = []
    for line in lines:
        words = line.upper().replace("=", " ", 1).split() if is_auth(line) else line.upper().split()
        if words and words[0] == "AUTH":
            mechanisms += words[1:]
        if words:
            arguments[words[0]] = tuple(words[1:])
    limits = {}
    for word in arguments.get("LIMITS", ()):
        name, _, number = word.partition("=")
        if number.isascii() and number.isdecimal():
            limits[name] = int(number)
    reply = encode([*(f"250-{line}" for line in lines[:-1]), *(f"250 {line}" for line in lines[-1:])])
    return Offer(frozenset(arguments), arguments, tuple(dict.fromkeys(mechanisms)), limits, reply)


def domain_limit(limits: Mapping[str, int], recipients: Sequence[str], domain: str) -> bool:
    """One recipient more at `domain` would be of too many domains (RFC 9422 4.3)."""
    most = limits.get("RCPTDOMAINMAX")
    return most is not None and len({each.rpartition("@")[2].casefold() for each in (*recipients, f"@{domain}")}) > most


def schedule_error(mail: PathArgument, offered: Offer, now: float) -> str | None:
    """The reply key for a HOLDFOR, HOLDUNTIL or BY that is beyond what was offered, None if fine. `now` is seconds
    since 1970; the forms of the values are right."""
    if "HOLDFOR" in mail.values and "HOLDUNTIL" in mail.values:
        return "parameter.syntax"
    most = offered.arguments.get("FUTURERELEASE", ())
    if (hold := mail.values.get("HOLDFOR")) is not None and most and int(hold) > int(most[0]):
        return "mail.hold"
    if (until := mail.values.get("HOLDUNTIL")) is not None:
        moment = _moment(until)
        if moment is None:
            return "parameter.syntax"
        last = _moment(most[1]) if len(most) > 1 else None
        if (last is not None and moment > last) or (most and moment - now > int(most[0])):
            return "mail.hold"
    if (by := mail.values.get("BY")) is not None:
        seconds, _, mode = by.partition(";")
        least = offered.arguments.get("DELIVERBY", ())
        if mode[:1].upper() == "R":
            if int(seconds) <= 0:
                return "parameter.syntax"
            if least and int(seconds) < int(least[0]):
                return "mail.deliver-by"
    return None


def _moment(text: str) -> float | None:
    """Seconds since 1970 of an RFC 3339 date-time in UTC."""
    try:
        return datetime.fromisoformat(text.upper().replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


def parse_xclient(argument: str, known: Sequence[str]) -> dict[str, str | None] | None:
    """The attributes of an XCLIENT command, decoded, None for one that the proxy does not know; or None for an
    argument of a wrong form. `known` are the names that were offered; none means all."""
    attributes: dict[str, str | None] = {}
    for word in argument.split():
        match = _ATTRIBUTE.fullmatch(word)
        if match is None or (name := match[1].upper()) not in (known or XCLIENT):
            return None
        value = _HEX.sub(lambda octet: chr(int(octet[1], 16)), match[2])
        if name.endswith("ADDR") and value[:5].upper() == "IPV6:":
            value = value[5:]
        attributes[name] = None if value.upper() in ("[UNAVAILABLE]", "[TEMPUNAVAIL]") else value
    return attributes or None
