"""The points of a dialogue at which rules can act."""

from __future__ import annotations

from fnmatch import fnmatchcase

from fakeservers.nearest import unknown

__all__ = [
    "CERTIFICATE_DEFECTS", "HANDSHAKE_FAULTS", "POINTS", "STRICT", "STRICTNESS", "known_point", "known_strictness",
]  # fmt: skip

_COMMON = {
    "accept": "a TCP connection was accepted: nothing is said yet, and no TLS",
    "connect": "the client has connected (and, on implicit TLS, shaken hands): the greeting",
    "tls": "a TLS handshake is about to begin",
    "auth": "an AUTH, AUTHENTICATE, LOGIN or USER/PASS/APOP exchange begins",
    "auth-step": "the client's next answer in a SASL exchange",
    "credentials": "credentials were checked; the answer is not said yet",
    "unknown": "a command that the server does not know",
}
_COMMANDS = {
    "smtp": "helo ehlo lhlo starttls mail rcpt data bdat rset noop quit vrfy expn help etrn xclient",
    "imap": "capability noop logout starttls select examine create delete rename subscribe unsubscribe list lsub "
    "status append check close expunge search fetch store copy move uid idle namespace id enable unselect getquota "
    "getquotaroot setquota getacl setacl deleteacl myrights listrights getmetadata setmetadata sort thread notify "
    "compress xlist rlist rlsub done",
    "pop3": "user pass apop stat list retr dele noop rset quit top uidl capa stls utf8 lang",
}
_EXTRA = {
    "imap.literal": "a client announces a literal (`size`) or waits for the go-ahead; a reply comes before its octets",
    "smtp.message": "the final dot (or BDAT LAST) has come; nothing is stored or answered yet",
    "http.request": "a request to the OAuth2 or Graph endpoints",
}

POINTS: dict[str, str] = {
    **{f"{protocol}.{point}": text for protocol in _COMMANDS for point, text in _COMMON.items()},
    **{
        f"{protocol}.{command}": f"the {command.upper()} command"
        for protocol, commands in _COMMANDS.items()
        for command in commands.split()
    },
    **_EXTRA,
}

HANDSHAKE_FAULTS: dict[str, str] = {
    "stall": "no answer to the ClientHello, and the connection stays open",
    "close": "the connection is closed before the handshake",
    "reset": "the connection is reset before the handshake",
    "alert": "the fatal alert handshake_failure is sent",
    "cut": "the server's first flight breaks off in its middle, and the connection is closed",
    "stall-midway": "the server's first flight stops in its middle, and the connection stays open",
    "skipped": "after the go-ahead the server goes on in clear, as if there had been none",
    "plaintext": "an HTTP answer in clear comes in place of a ServerHello",
}
"""What a rule's `handshake` may be at a `tls` point."""
CERTIFICATE_DEFECTS: dict[str, str] = {
    "expired": "ran out yesterday",
    "not-yet-valid": "is valid from tomorrow on",
    "wrong-host": "names another host",
    "unknown-ca": "is of a CA that nobody trusts",
    "self-signed": "has no CA at all",
    "cn-only": "has the right names as common names and no subjectAltName",
    "wildcard-too-deep": "has a wildcard that would have to stand for two labels",
    "address-against-name": "has the address 127.0.0.1 as a dNSName, not as an iPAddress",
    "missing-intermediate": "is of a CA under the trusted one, and that CA's certificate is not sent",
    "revoked": "stands in the CA's revocation list (`crl_file` in the endpoints)",
    "renewed": "is right, and another one than the host has shown so far",
    "wrong-key-usage": "may be used by clients only (extended key usage)",
    "rsa-1024": "has an RSA key of 1024 bits",
    "sha1-signature": "is signed with SHA-1",
}
"""What a rule's `certificate` may be at a `tls` point."""


STRICTNESS: dict[str, str] = {
    "bare-lf": "a command that ends in LF without CR is refused",
    "line-length": "a command line over the profile's `line_limit` is refused",
    "eight-bit": "octets over 127 are refused in commands that hold no address",
    "ehlo": "MAIL, RCPT and DATA are refused before EHLO or HELO",
    "order": "commands out of their order are refused",
    "pipelining": "octets behind a command that must be the last of its group (RFC 2920 3.1), or behind any where "
    "PIPELINING was not offered, make the server refuse it",
    "data-bare-lf": "a message with LF without CR is refused",
    "data-bare-cr": "a message with CR without LF is refused",
    "data-long-line": "a message with a line over 1,000 octets is refused",
    "data-eight-bit": "a message with octets over 127 that nobody declared is refused",
}
"""What an SMTP server may mind: names in a profile's `smtp.strict`, and in a rule's `strict` and `lenient`."""
STRICT = ("bare-lf", "line-length", "ehlo", "order")
"""What it minds unless told otherwise."""


def known_strictness(names: list[str]) -> list[str]:
    """`names`. Raises ValueError, naming what there is, for one that does not exist."""
    for name in names:
        if name not in STRICTNESS:
            raise ValueError(unknown("strictness", name, STRICTNESS))
    return names


def known_point(point: str) -> None:
    """Raises ValueError, naming what there is, for a point (or a pattern like `smtp.*`) that matches none."""
    if not any(fnmatchcase(each, point) for each in POINTS):
        raise ValueError(unknown("point", point, POINTS))
