"""Nothing is advertised that is not proved: by a dialogue, and by a client that we did not write or a property."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from fakeservers import FakeMailHost
from fakeservers.actions import Send, TlsFacts
from fakeservers.connection import Connection
from fakeservers.imap.session import ImapSession
from fakeservers.pop3.session import Pop3Session
from fakeservers.profile import load_profile

TESTS = Path(__file__).parents[1]
PROOFS: dict[str, dict[str, dict[str, str]]] = YAML(typ="safe").load(
    (TESTS / "fakeservers" / "capabilities.yaml").read_text(encoding="utf-8")
)
EACH = [(protocol, capability) for protocol, proofs in PROOFS.items() for capability in proofs]
LOGIN = {"imap": "b LOGIN alice@example.test secret\r\n", "pop3": "USER alice@example.test\r\nPASS secret\r\n"}
ASKED = {"imap": "a CAPABILITY\r\n", "pop3": "CAPA\r\n"}


def advertised(protocol: str, *, tls: bool, login: bool) -> set[str]:
    """What a session is told in this state."""
    host = FakeMailHost("generic")
    connection = Connection(host.site, 1, protocol, protocol, "127.0.0.1")
    if tls:
        connection.tls = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")
    session: Any = ImapSession(connection) if protocol == "imap" else Pop3Session(connection)
    session.connect()
    if login:
        session.receive(LOGIN[protocol].encode())
        assert connection.account is not None
    said = b"".join(action.data for action in session.receive(ASKED[protocol].encode()) if isinstance(action, Send))
    if protocol == "pop3":
        return {line.split()[0] for line in said.decode().splitlines()[1:-1]}
    words = said.decode().splitlines()[0].split()[2:]
    return {word if PROOFS["imap"].get(word.upper()) else word.partition("=")[0] for word in words}


@pytest.mark.parametrize("protocol", PROOFS)
def test_every_capability_has_its_proof_and_nothing_else(protocol: str) -> None:
    states = [{"tls": tls, "login": login} for tls in (False, True) for login in (False, True)]
    told = {word.upper() for state in states for word in advertised(protocol, **state)}
    assert told == set(PROOFS[protocol])


def test_before_tls_under_tls_and_after_login_other_things_are_offered() -> None:
    for protocol, upgrade in (("imap", "STARTTLS"), ("pop3", "STLS")):
        assert upgrade in advertised(protocol, tls=False, login=False)
        assert upgrade not in advertised(protocol, tls=True, login=False) | advertised(protocol, tls=True, login=True)
    assert not any(word.startswith("AUTH=") for word in advertised("imap", tls=True, login=True))


@pytest.mark.parametrize(("protocol", "capability"), EACH)
def test_a_dialogue_uses_it(protocol: str, capability: str) -> None:
    covering = [
        text
        for path in (TESTS / "traces" / protocol).glob("*.trace")
        if capability in _settings(text := path.read_text(encoding="utf-8"), "covers")
    ]
    assert covering, f'no trace says "covers: {capability}"'
    said = re.compile(PROOFS[protocol][capability]["said"], re.IGNORECASE)
    assert any(said.match(line) for text in covering for line in text.splitlines()), f"none of them says {said.pattern}"


def _settings(text: str, name: str) -> list[str]:
    return [word for line in text.splitlines() if line.startswith(f"{name}:") for word in line.split()[1:]]


@pytest.mark.parametrize(("protocol", "capability"), EACH)
def test_a_client_or_a_property_uses_it(protocol: str, capability: str) -> None:
    proof = PROOFS[protocol][capability]
    file, _, name = proof["test"].partition("::")
    source = (TESTS / file).read_text(encoding="utf-8")
    found = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name
    ]
    assert found, f"{file} has no {name}"
    code = source.splitlines()[min(node.lineno for node in found[0].decorator_list or found) - 1 : found[0].end_lineno]
    assert re.search(proof["by"], "\n".join(code)), f"{proof['test']} does not say {proof['by']}"


@pytest.mark.parametrize("protocol", PROOFS)
def test_the_profile_names_what_sessions_are_told(protocol: str) -> None:
    """`mailrig list providers` shows the profile's list; AUTH and SASL stand in it for the mechanisms beside it."""
    profile = load_profile("generic")
    part = profile.imap if protocol == "imap" else profile.pop3
    listed = {line.split()[0].upper() for line in part.capabilities}
    listed = {word if word in PROOFS[protocol] else word.partition("=")[0] for word in listed}
    if protocol == "imap":
        listed = (listed - {"AUTH"}) | {f"AUTH={mechanism}" for mechanism in part.mechanisms}
    assert listed == set(PROOFS[protocol])
