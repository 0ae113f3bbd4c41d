"""The arguments of MAIL and RCPT: path and parameters (RFC 5321 4.1.1.2, 4.1.1.3, 4.1.2; RFC 6531 3.3).

aiosmtpd reads addresses with the `email` package, which takes a third of a message's time and takes what RFC 5322
allows; a path is smaller than that, and one regular expression holds it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

__all__ = ["PathArgument", "parameter_error", "parse_mail", "parse_rcpt", "split_address"]

_ATOM = r'[^\s"(),:;<>@\[\\\].\x00-\x1f\x7f]+'
_LOCAL_PART = rf'(?:{_ATOM}(?:\.{_ATOM})*|"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*")'
_LABEL = r"[^\W_](?:[\w-]*[^\W_])?"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[!-Z^-~]+\])"
_SOURCE_ROUTE = rf"(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?"
_DOT_STRING = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_MAILBOX = re.compile(rf"{_LOCAL_PART}@{_DOMAIN}")
_MAIL = re.compile(rf"FROM:<(?:{_SOURCE_ROUTE}({_LOCAL_PART}@({_DOMAIN})))?>(?: +(\S.*))?", re.IGNORECASE)
_RCPT = re.compile(rf"TO:<(?:{_SOURCE_ROUTE}({_LOCAL_PART}@({_DOMAIN}))|(postmaster))>(?: +(\S.*))?", re.IGNORECASE)
_PATH_OF = re.compile(r"(FROM|TO):<[^>]*>(?: |$)", re.IGNORECASE)
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20=\x7f]+))?")

_XTEXT = r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})"
_MAIL_PARAMETERS: Mapping[str, tuple[str, re.Pattern[str] | None]] = {
    "SIZE": ("SIZE", re.compile(r"\d{1,20}")),
    "BODY": ("8BITMIME", re.compile(r"7BIT|8BITMIME|BINARYMIME", re.IGNORECASE)),
    "SMTPUTF8": ("SMTPUTF8", None),
    "AUTH": ("AUTH", re.compile(rf"<>|{_XTEXT}+")),
    "RET": ("DSN", re.compile(r"FULL|HDRS", re.IGNORECASE)),
    "ENVID": ("DSN", re.compile(rf"{_XTEXT}{{1,100}}")),
    "REQUIRETLS": ("REQUIRETLS", None),
    "HOLDFOR": ("FUTURERELEASE", re.compile(r"[1-9]\d{0,8}")),
    "HOLDUNTIL": ("FUTURERELEASE", re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.I)),
    "BY": ("DELIVERBY", re.compile(r"[+-]?\d{1,9};[NR]T?", re.IGNORECASE)),
}
_EVENT = r"(?:SUCCESS|FAILURE|DELAY)"
_RCPT_PARAMETERS: Mapping[str, tuple[str, re.Pattern[str] | None]] = {
    "NOTIFY": ("DSN", re.compile(rf"NEVER|{_EVENT}(?:,{_EVENT})*", re.IGNORECASE)),
    # An address in UTF-8 is spelled otherwise than the rest (RFC 6533 3).
    "ORCPT": (
        "DSN",
        re.compile(rf"(?i:utf-8);[^\x00-\x20=\x7f]{{1,500}}|(?!(?i:utf-8);)[A-Za-z0-9-]+;{_XTEXT}{{1,500}}"),
    ),
}
"""Parameter: the EHLO keyword that allows it, and the form of its value; None where it takes none."""


@dataclass(frozen=True, slots=True)
class PathArgument:
    """A read argument. `address` is empty for the null reverse-path; `parameters` as they came, `values` by their
    name in upper case; `error` is the reply key that refuses the argument, or None."""

    address: str = ""
    domain: str = ""
    parameters: tuple[str, ...] = ()
    values: Mapping[str, str | None] = field(default_factory=dict)
    error: str | None = None

    @property
    def size(self) -> int | None:
        """Octets declared by SIZE=."""
        value = self.values.get("SIZE")
        return int(value) if value is not None and value.isdecimal() and value.isascii() else None


@lru_cache(maxsize=1024)
def parse_mail(argument: str) -> PathArgument:
    """`FROM:<reverse-path> [SP parameters]`."""
    match = _MAIL.fullmatch(argument)
    if match is None:
        return PathArgument(error="mail.address" if _has_path("FROM", argument) else "mail.syntax")
    address, domain, parameters = match.groups()
    return _argument(address or "", domain or "", parameters, "mail.address")


@lru_cache(maxsize=1024)
def parse_rcpt(argument: str) -> PathArgument:
    """`TO:<forward-path> [SP parameters]`; the bare `<Postmaster>` of RFC 5321 4.5.1 is one."""
    match = _RCPT.fullmatch(argument)
    if match is None:
        return PathArgument(error="rcpt.address" if _has_path("TO", argument) else "rcpt.syntax")
    address, domain, postmaster, parameters = match.groups()
    return _argument(address or postmaster, domain or "", parameters, "rcpt.address")


def _has_path(keyword: str, argument: str) -> bool:
    """The argument has the right form but for the mailbox in the brackets."""
    match = _PATH_OF.match(argument)
    return match is not None and match[1].upper() == keyword


def _plain(address: str) -> str:
    """The mailbox without quotes and backslashes that its local-part does not need: they change nothing (RFC 5321
    4.1.2)."""
    quoted, _, domain = address.rpartition("@")
    local_part = re.sub(r"\\(.)", r"\1", quoted[1:-1])
    return f"{local_part}@{domain}" if _DOT_STRING.fullmatch(local_part) else address


def _argument(address: str, domain: str, text: str | None, malformed: str) -> PathArgument:
    if address.startswith('"'):
        address = _plain(address)
    try:
        address.encode()
    except UnicodeEncodeError:
        return PathArgument(error=malformed)
    if not text:
        return PathArgument(address, domain)
    values: dict[str, str | None] = {}
    parameters = tuple(text.split())
    for parameter in parameters:
        match = _PARAMETER.fullmatch(parameter)
        if match is None or match[1].upper() in values:
            return PathArgument(address, domain, parameters, values, "parameter.syntax")
        values[match[1].upper()] = match[2]
    return PathArgument(address, domain, parameters, values)


def parameter_error(verb: str, argument: PathArgument, offered: frozenset[str]) -> str | None:
    """The reply key for the first parameter that is unknown, not offered by EHLO, or of a wrong form; None if fine."""
    table = _MAIL_PARAMETERS if verb == "MAIL" else _RCPT_PARAMETERS
    for name, value in argument.values.items():
        extension, form = table.get(name, ("", None))
        if extension not in offered:
            return "parameter.unknown"
        if (form is None) != (value is None) or (form is not None and not form.fullmatch(value or "")):
            return "parameter.syntax"
        if name == "BODY" and value is not None and value.upper() == "BINARYMIME" and "BINARYMIME" not in offered:
            return "parameter.syntax"
    return None


def split_address(text: str) -> str | None:
    """The mailbox in `text`, in brackets behind a name or alone, as VRFY takes it; None if there is none."""
    text = text.strip()
    if text.endswith(">"):
        text = text[text.rfind("<") + 1 : -1]
    return text if _MAILBOX.fullmatch(text) else None
