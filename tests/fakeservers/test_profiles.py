"""The shipped profiles: whole, well-formed, sourced, and true to the facts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from fakeservers.imap.capabilities import BUILT as IMAP_BUILT
from fakeservers.imap.options import OPTIONS as IMAP_OPTIONS
from fakeservers.imap.replies import REPLY_KEYS as IMAP_KEYS
from fakeservers.pop3.options import check_options
from fakeservers.pop3.replies import REPLY_KEYS as POP3_KEYS
from fakeservers.profile import PROFILES, Profile, Quirk, load_profile, profile_names
from fakeservers.rules import Act, Rule
from fakeservers.sasl import implemented
from fakeservers.smtp.replies import REPLY_KEYS as SMTP_KEYS
from fakeservers.templates import DYNAMIC, placeholders

FACTS = Path(__file__).parents[3] / "shared" / "facts"
FACTS_OF = {"gmail": "gmail.yaml", "google-relay": "gmail.yaml", "office365": "microsoft.yaml"}

CORE_PLACEHOLDERS = {"code", "reason", "capability", "capabilities", "number", "unique_id", "timestamp", "commands"}
"""What the cores fill in beside `DYNAMIC`."""


@cache
def profile(name: str) -> Profile:
    return load_profile(name)


NAMES = profile_names()
QUIRKS = [(name, quirk) for name in NAMES for quirk in profile(name).quirks]


def quirk_of(name: str, quirk: str) -> Quirk:
    return profile(name).quirks[quirk]


def all_rules(one: Profile) -> Iterator[Rule]:
    yield from one.rules
    for quirk in one.quirks.values():
        yield from quirk.rules


def said_by(rule: Rule) -> Iterator[tuple[str, str]]:
    """(protocol, text) of everything that a rule says."""
    protocol = rule.points[0].partition(".")[0]
    acts: list[Act] = [rule, *rule.in_turn]
    for act in acts:
        if act.reply:
            yield protocol, act.reply


def all_texts(one: Profile) -> Iterator[tuple[str, str, str]]:
    """(where, protocol, text) of everything that a profile makes a server say."""
    for protocol, texts in (("smtp", one.smtp.replies), ("imap", one.imap.replies), ("pop3", one.pop3.replies)):
        for key, text in texts.items():
            where = f"{protocol}.replies.{key}"
            yield where, protocol, f"250-{text}\n250 " if where == "smtp.replies.ehlo" else text
    for rule in all_rules(one):
        for protocol, text in said_by(rule):
            yield rule.name, protocol, text


# --- the files


def test_file_names_are_portable_and_name_the_profile() -> None:
    assert {"generic", "gmail", "google-relay", "office365"} <= set(NAMES)
    for path in PROFILES.iterdir():
        assert re.fullmatch(r"[a-z0-9-]+\.yaml", path.name)
        assert profile(path.stem).name == path.stem


def test_generic_has_no_quirks_and_lacks_nothing() -> None:
    generic = profile("generic")
    assert not generic.quirks
    assert not generic.rules
    assert not generic.unimplemented


def test_there_are_many_quirks() -> None:
    assert len(QUIRKS) >= 45


@pytest.mark.parametrize(("name", "quirk"), QUIRKS)
def test_every_quirk_is_explained(name: str, quirk: str) -> None:
    one = quirk_of(name, quirk)
    assert one.title
    assert one.explain.endswith(".")
    assert one.category is not None
    assert one.fixed_by is not None
    assert one.steps
    assert all(step.endswith((".", ")")) for step in one.steps)
    assert one.rules or one.options or one.accounts
    assert (one.source is None) == (one.confidence == "recalled")


@pytest.mark.parametrize("name", NAMES)
def test_rule_names_are_unique(name: str) -> None:
    names = [rule.name for rule in all_rules(profile(name))]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", NAMES)
def test_rules_that_are_always_on_have_a_source(name: str) -> None:
    assert [rule.name for rule in profile(name).rules if not rule.source] == []


# --- the texts


@pytest.mark.parametrize("name", NAMES)
def test_replies_are_well_formed(name: str) -> None:
    for where, protocol, text in all_texts(profile(name)):
        lines = text.splitlines()
        assert lines, where
        if protocol == "smtp":
            code = lines[0][:3]
            assert re.fullmatch(r"[2-5]\d\d", code), where
            assert all(line.startswith(f"{code}-") for line in lines[:-1]), where
            assert re.match(rf"{code}( |$)", lines[-1]), where
            enhanced = {found[0] for line in lines if (found := re.match(r"\d{3}[- ]\d\.\d{1,3}\.\d{1,3}", line))}
            assert len({one[4:] for one in enhanced}) <= 1, where
        elif protocol == "imap":
            assert all(re.match(r"(OK|NO|BAD|BYE|PREAUTH) \S|\* (OK|NO|BAD|BYE) \S|\+ ", line) for line in lines), where
        else:
            assert len(lines) == 1, where
            assert re.match(r"(\+OK|-ERR|\+)( |$)", text), where
        assert where == "smtp.replies.ehlo" or all(line == line.rstrip() for line in lines), where


@pytest.mark.parametrize("name", NAMES)
def test_placeholders_are_known(name: str) -> None:
    one = profile(name)
    known = {*DYNAMIC, *CORE_PLACEHOLDERS, *one.variables}
    for where, _, text in all_texts(one):
        assert set(placeholders(text)) <= known, where


@pytest.mark.parametrize("name", NAMES)
def test_reply_keys_and_options_are_known_to_the_cores(name: str) -> None:
    one = profile(name)
    assert set(one.smtp.replies) <= SMTP_KEYS
    assert set(one.imap.replies) <= IMAP_KEYS
    assert set(one.pop3.replies) <= POP3_KEYS
    assert set(one.imap.options) <= set(IMAP_OPTIONS)
    check_options(one.pop3.options)


@pytest.mark.parametrize("name", NAMES)
def test_mechanisms_are_built_or_said_to_be_lacking(name: str) -> None:
    one = profile(name)
    listed = {word[5:] for words in (one.imap.capabilities, one.imap.capabilities_tls or []) for word in words
              if word.startswith("AUTH=")}  # fmt: skip
    refused = {"XOAUTH"}  # by a rule with Google's own words
    for mechanism in {*one.smtp.mechanisms, *one.imap.mechanisms, *one.pop3.mechanisms, *listed}:
        assert mechanism in {*implemented(), *one.unimplemented, *refused}, mechanism


BUILT = {
    "smtp": "SIZE PIPELINING STARTTLS AUTH ENHANCEDSTATUSCODES 8BITMIME BINARYMIME CHUNKING SMTPUTF8 DSN HELP "
    "REQUIRETLS LIMITS FUTURERELEASE DELIVERBY ETRN XCLIENT",
    "imap": " ".join({"IMAP4rev1", "IMAP4rev2", *IMAP_BUILT}),
    "pop3": "TOP UIDL USER SASL PIPELINING RESP-CODES AUTH-RESP-CODE STLS IMPLEMENTATION EXPIRE LOGIN-DELAY",
}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_offered_is_built_or_said_to_be_lacking(name: str) -> None:
    one = profile(name)
    offered = {
        "smtp": one.smtp.ehlo,
        "imap": [*one.imap.capabilities, *(one.imap.capabilities_tls or []), *(one.imap.capabilities_login or [])],
        "pop3": [*one.pop3.capabilities, *(one.pop3.capabilities_tls or []), *(one.pop3.capabilities_login or [])],
    }
    for protocol, lines in offered.items():
        for line in lines:
            word = line.partition(" ")[0]
            built = {word, word.partition("=")[0]} & set(BUILT[protocol].split())
            assert built or word in one.unimplemented, f"{protocol}: {line}"


# --- the facts


def form(text: str) -> re.Pattern[str]:
    """What a text may look like in the facts: placeholders stand for anything."""
    parts = re.split(r"(\{\w+\})", text)
    return re.compile(
        "".join(_WILD.get(part, r"\S.{0,60}?") if part.startswith("{") else re.escape(part) for part in parts)
    )


_WILD = {"{code}": r"(?:\[[^\]\n]*\] )?", "{plt_2}": ".*", "{sp}": r"\{sp\}"}


@cache
def facts(file: str) -> str:
    """Every text of a facts file, lists of texts as lines of one, without IMAP tags."""
    found: list[str] = []

    def walk(node: object) -> None:
        if isinstance(node, dict):
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            if all(isinstance(one, str) for one in node):
                found.append("\n".join(node))
            else:
                for one in node:
                    walk(one)
        elif isinstance(node, str):
            found.append(node)

    walk(YAML(typ="safe", pure=True).load((FACTS / file).read_text(encoding="utf-8")))
    return re.sub(r"^\{tag\} ", "", "\n\0\n".join(found), flags=re.IGNORECASE | re.MULTILINE)


def in_facts(text: str, file: str) -> bool:
    """Whole, or line by line where the facts have put an older form on one line; the id at the end may be missing."""
    known = facts(file)
    if form(text).search(known):
        return True
    parts = [part for line in text.splitlines() for part in line.split(" Error: ")]
    return all(form(part).search(known) or form(_TAIL.sub("", part)).search(known) for part in parts)


_TAIL = re.compile(r" \{queue_id\} - gsmtp$| \[\{FE_FQDN\} \{iso_time\} \{SID\}\]$")


@pytest.mark.skipif(not FACTS.is_dir(), reason="the facts are not here")
@pytest.mark.parametrize("name", FACTS_OF)
def test_every_text_stands_in_the_facts(name: str) -> None:
    strange = {}
    for where, protocol, text in all_texts(profile(name)):
        if not in_facts(text, FACTS_OF[name]):
            strange[where] = (protocol, text)
    assert strange == {}
