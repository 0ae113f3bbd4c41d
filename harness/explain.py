"""What a server's error means: its text matched against the replies of every profile, then by code, then by class."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from fakeservers.profile import Profile, Quirk, load_profile, profile_names
from fakeservers.rules import Rule
from harness.clientstack.diagnosis import diagnose
from harness.clientstack.errors import MailError
from harness.clientstack.replies import Reply, login_error, smtp_error

__all__ = ["Explanation", "explain"]

Confidence = Literal["exact", "pattern", "class"]
EXACT, SIMILAR, SAME_CODES, SAME_RARE_CODE = 0.95, 0.6, 0.45, 0.3
"""Shares of words: a whole text; a similar one; enough where both codes agree too, if they are common or rare."""
COMMON_DETAILS = {"0.0", "1.0", "1.1", "2.0", "3.0", "3.2", "4.2", "5.0", "5.1", "5.2", "5.4", "7.0", "7.1", "7.8"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """As CONTRACTS section 1 has it. `quirk` is `provider/quirk`, `scenario` the id of a shipped one that has it."""

    category: str
    fixed_by: str
    meaning: str
    steps: list[str]
    confidence: Confidence
    code: int | None = None
    enhanced: str | None = None
    provider: str | None = None
    source: str | None = None
    quirk: str | None = None
    scenario: str | None = None

    def to_json(self) -> dict[str, Any]:
        names = ("category", "provider", "code", "enhanced", "fixed_by", "meaning", "steps", "source", "quirk")
        return {
            "known": True,
            **{name: getattr(self, name) for name in (*names, "scenario", "confidence")},
        }


@dataclass(frozen=True, slots=True)
class Said:
    """A server's answer, taken apart: code and enhanced code if it has them, its words, and the kind of server."""

    code: int | None
    enhanced: str | None
    words: tuple[str, ...]
    protocol: Literal["smtp", "imap", "pop3", "http"] | None
    text: str


@dataclass(frozen=True, slots=True)
class _Known:
    """One text that a profile's server may say, its varying parts left out of `words`."""

    profile: Profile
    name: str | None
    quirk: Quirk | None
    command: str
    code: int | None
    enhanced: str | None
    words: tuple[str, ...] = field(repr=False)


def explain(text: str) -> Explanation | None:
    """The explanation of what a server (or a program that quotes one) said; None when nothing is known about it."""
    said = take_apart(text)
    if said.code is not None and not 400 <= said.code < 600:
        return None
    found = _best(said)
    if found is not None:
        return _from_known(said, *found)
    error = _classified(said, "")
    return _from_class(said, error) if error is not None else None


# --- reading what was said

_ESCAPED = re.compile(r"\\r\\n|\\n|\\r|\r\n?")
_CODE = (
    re.compile(r"(?<![\d.])([2-5]\d\d)[ -][2-5]\.\d{1,3}\.\d{1,3}\b"),
    re.compile(r"(?m)^\W*(?:[A-Za-z<>:~-]{1,12}[:\s]\s*)?([2-5]\d\d)(?:[ -]|$)"),
    re.compile(r"\(?(?<![\d.])([2-5]\d\d)(?:, ?b?['\"]|\)?: )"),
    re.compile(r"(?i)(?:code|error|status|said|replied|server|response)\W{1,4}(?:\w+\W{1,3})?([45]\d\d)\b"),
)
_ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)")
_IMAP = re.compile(r"(?mi)^\W*(?:\w+[: ]\W*)?(?:\S+ )?(NO|BAD|BYE) (\[[^\]]+\]|\S)")
_POP3 = re.compile(r"(?m)-ERR\b")
_VARYING = re.compile(r"\d")
_WORD = re.compile(r"[^\s\"'<>()\[\]{},;]+")


def take_apart(text: str) -> Said:
    """Codes, words and protocol of a text as people paste it: raw lines, folded lines, an exception, a log's line."""
    text = _ESCAPED.sub("\n", text).strip()
    code = next((int(match[1]) for pattern in _CODE if (match := pattern.search(text))), None)
    enhanced = next(
        (match[1] for match in _ENHANCED.finditer(text) if code is None or match[1][0] == str(code)[0]), None
    )
    protocol: Literal["smtp", "imap", "pop3", "http"] | None = "smtp" if code is not None else None
    if code is None and _POP3.search(text):
        protocol = "pop3"
    elif code is None and _IMAP.search(text):
        protocol = "imap"
    return Said(code, enhanced, words_of(text, code, enhanced), protocol, text)


def words_of(text: str, code: int | None, enhanced: str | None) -> tuple[str, ...]:
    """Lower-case words without codes, and without what varies from one time to the next (ids, dates, addresses)."""
    if code is not None:
        text = re.sub(rf"(?<!\d){code}(?:[- ]|(?=\n)|$)", " ", text)
    if enhanced is not None:
        text = text.replace(enhanced, " ")
    words = (word.strip(".:!?*-=").lower() for word in _WORD.findall(text))
    return tuple(word for word in words if word and (not _VARYING.search(word) or "://" in word))


# --- what the profiles say


def _best(said: Said) -> tuple[_Known, Confidence] | None:
    """The known text that fits best: by all of its words, else by codes and many words."""
    best: tuple[tuple[float, ...], _Known, Confidence] | None = None
    for known in _all_known():
        if said.code is not None and known.code is not None and said.code != known.code:
            continue
        if said.code is None and known.code is not None and said.protocol is not None:
            continue
        common = _common(said.words, known.words)
        if not common:
            continue
        confidence = _confidence(said, known, common)
        if confidence is None:
            continue
        share = 2 * common / (len(said.words) + len(known.words))
        named = any(_domain(host) in said.text.lower() for host in known.profile.hosts)
        # Of two quirks that say the same, the one that says nothing else.
        only = -len(known.quirk.rules) if known.quirk is not None else -1000
        rank = (confidence == "exact", share + 0.1 * named, said.enhanced == known.enhanced, only)
        if best is None or rank > best[0]:
            best = rank, known, confidence
    return best[1:] if best else None


def _confidence(said: Said, known: _Known, common: int) -> Confidence | None:
    whole, quoted = common / len(known.words), common / len(said.words)
    same_enhanced = said.enhanced == known.enhanced
    telling = len(known.words) >= 4 or (quoted >= SIMILAR and said.protocol is not None)
    if whole >= EXACT and telling and (same_enhanced or said.enhanced is None or known.enhanced is None):
        return "exact"
    if quoted >= EXACT and common >= 3 and same_enhanced and said.code == known.code:
        return "exact"
    share = 2 * common / (len(said.words) + len(known.words))
    if share >= SIMILAR and common >= 3:
        return "pattern"
    if said.enhanced is None or not same_enhanced or said.code != known.code or common < 2:
        return None
    rare = said.enhanced.partition(".")[2] not in COMMON_DETAILS
    return "pattern" if share >= (SAME_RARE_CODE if rare else SAME_CODES) else None


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many words stand in both in the same order (the longest common subsequence)."""
    if not set(one) & set(other):
        return 0
    row = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for index, each in enumerate(other, 1):
            before, row[index] = row[index], before + 1 if word == each else max(row[index], row[index - 1])
    return row[-1]


def _domain(host: str) -> str:
    return ".".join(host.split(".")[-2:])


@cache
def _all_known() -> tuple[_Known, ...]:
    return tuple(known for name in profile_names() for known in _known_of(load_profile(name)))


def _known_of(profile: Profile) -> Iterator[_Known]:
    for name, quirk in profile.quirks.items():
        yield from _of_rules(profile, quirk.rules, f"{profile.name}/{name}", quirk)
    yield from _of_rules(profile, profile.rules, None, None)
    for protocol in ("smtp", "imap", "pop3"):
        for key, reply in getattr(profile, protocol).replies.items():
            yield from _of_reply(profile, reply, f"{protocol}.{key.partition('.')[0]}", None, None)


def _of_rules(profile: Profile, rules: Iterable[Rule], name: str | None, quirk: Quirk | None) -> Iterator[_Known]:
    for rule in rules:
        for act in (rule, *rule.in_turn):
            for text in (act.reply, act.untagged):
                if text:
                    yield from _of_reply(profile, text, rule.points[0], name, quirk)


def _of_reply(profile: Profile, text: str, point: str, name: str | None, quirk: Quirk | None) -> Iterator[_Known]:
    plain = re.sub(r"\S*\{[A-Za-z_][A-Za-z0-9_]*\}\S*", " ", text)
    said = take_apart(plain)
    refuses = said.code is None or 400 <= said.code < 600
    if said.words and refuses and (said.code is not None or said.protocol is not None or quirk is not None):
        yield _Known(profile, name, quirk, _command(point), said.code, said.enhanced, said.words)


_COMMANDS = {
    "connect": "greeting", "greeting": "greeting", "ehlo": "EHLO", "helo": "EHLO", "starttls": "STARTTLS",
    "auth": "AUTH", "auth-step": "AUTH", "credentials": "AUTH", "mail": "MAIL", "rcpt": "RCPT", "data": "DATA",
    "message": "message",
}  # fmt: skip


def _command(point: str) -> str:
    """The command that a point, or the key of a reply, is about, as the classification knows it."""
    return _COMMANDS.get(point.partition(".")[2], "")


# --- by class

_FAULTS: tuple[tuple[str, str], ...] = (
    (r"certificate|self.signed|CERT_|hostname mismatch|x509", "tls-certificate"),
    (r"name or service not known|getaddrinfo|nodename nor servname|could not resolve|no such host|NXDOMAIN", "dns"),
    (r"wrong version number|handshake|SSL23|unexpected eof|tlsv1 alert|ssl_error|TLS negotiation", "tls-handshake"),
    (r"timed out|timeout|time-out", "timeout"),
    (r"connection refused|no route to host|network is unreachable|ECONNREFUSED|could not connect", "connect"),
    (r"connection (?:unexpectedly )?(?:closed|reset|lost|aborted)|broken pipe|ECONNRESET", "disconnected"),
)
_BY_WORDS: tuple[tuple[str, str], ...] = (
    (r"password|credential|log.?in\b|log.?on\b|\bauth (?:command|login|plain)", "AUTH"),
    (r"authentication (?:failed|failure|unsuccessful|rejected)", "AUTH"),
    (r"starttls|must use tls|encryption required", "STARTTLS"),
    (r"sender (?:address )?(?:rejected|denied|refused|not)|send ?as\b|sendasdenied|mail from command", "MAIL"),
    (r"recipient|user unknown|no such user|mailbox (?:not found|unavailable)|rcpt|unknown user|relay", "RCPT"),
    (r"greeting|banner|no smtp service", "greeting"),
)
_DOMAIN_CHECKS = re.compile(r"\bSPF\b|\bDKIM\b|\bDMARC\b", re.IGNORECASE)
_LOGIN = re.compile(r"auth|log.?in|log.?on|passw|credential|\buser|account", re.IGNORECASE)


def _classified(said: Said, command: str) -> MailError | None:
    """The error as the rulings class it, from codes and words alone; None where there is nothing to go by."""
    if said.code is not None:
        lines = tuple(re.sub(rf"^\W*{said.code}[ -]", "", line) for line in said.text.splitlines())
        return smtp_error(Reply(said.code, lines), command or _guessed(said))
    if said.protocol in ("imap", "pop3"):
        text = re.sub(r"(?s)^.*?(?:-ERR|\b(?:NO|BAD|BYE))\s+", "", said.text)
        error = login_error(text)
        # Only a login's refusal has a class of its own; other commands fail for reasons that the words alone tell.
        return error if error.category != "authentication" or _LOGIN.search(text) else None
    if said.enhanced is not None and said.enhanced[0] in "45":
        code = 450 if said.enhanced[0] == "4" else 550
        error = smtp_error(Reply(code, (f"{said.enhanced} {said.text}",)), command or _guessed(said))
        return MailError(error.category, said.text, code=None, enhanced=said.enhanced)
    for pattern, category in _FAULTS:
        if re.search(pattern, said.text, re.IGNORECASE):
            return MailError(category, said.text)
    return None


def _guessed(said: Said) -> str:
    """The command that was refused, as far as the codes and words tell."""
    detail = said.enhanced.partition(".")[2] if said.enhanced else ""
    if said.code in (432, 454, 504, 530, 534, 535, 538) or detail in ("7.8", "7.9", "7.139", "7.57"):
        return "AUTH"
    if detail in ("1.7", "1.8", "1.20", "1.90", "7.60"):
        return "MAIL"
    if detail.startswith(("1.", "2.")):
        return "RCPT"
    if said.code in (500, 501, 502, 503):
        return "HELP"
    if _DOMAIN_CHECKS.search(said.text):
        return "message"
    for pattern, command in _BY_WORDS:
        if re.search(pattern, said.text, re.IGNORECASE):
            return command
    return "message"


# --- answers


def _from_known(said: Said, known: _Known, confidence: Confidence) -> Explanation:
    quirk = known.quirk
    error = _classified(said, known.command) or MailError("protocol", said.text)
    category = quirk.category if quirk is not None and quirk.category is not None else error.category
    plain = diagnose(MailError(category, said.text, code=said.code, enhanced=said.enhanced))
    return Explanation(
        category=category,
        fixed_by=quirk.fixed_by if quirk is not None and quirk.fixed_by is not None else plain.fixed_by,
        meaning=quirk.explain.strip() if quirk is not None else plain.cause,
        steps=list(quirk.steps) if quirk is not None and quirk.steps else [plain.next_step],
        confidence=confidence,
        code=said.code,
        enhanced=said.enhanced,
        provider=known.profile.name,
        source=quirk.source if quirk is not None else None,
        quirk=known.name,
        scenario=_scenario(known) if quirk is not None else None,
    )


def _from_class(said: Said, error: MailError) -> Explanation:
    plain = diagnose(error)
    return Explanation(
        category=error.category,
        fixed_by=plain.fixed_by,
        meaning=plain.cause,
        steps=[plain.next_step],
        confidence="class",
        code=said.code,
        enhanced=said.enhanced,
    )


def _scenario(known: _Known) -> str | None:
    """The id of a shipped scenario in which the quirk is on; the one of the same name first."""
    from fakeservers.yamlfile import FileError
    from harness.casefile import load_cases, scenario_files, shipped_folder

    assert known.name is not None
    provider, _, short = known.name.partition("/")
    files = scenario_files(shipped_folder())
    for file in sorted(files, key=lambda file: (file.stem != short, file.parent.name != provider)):
        try:
            if short not in file.read_text(encoding="utf-8"):
                continue
            for case in load_cases(file):
                quirks = {name.removeprefix(f"{provider}/") for name in case.scenario.given.quirks}
                if case.scenario.provider == provider and short in quirks:
                    return case.id
        except (FileError, OSError, ValueError):
            continue
    return None
