"""Settings from files and the environment: old words, secrets elsewhere, mistakes named."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.clientstack import MailError, Settings, load_settings
from harness.clientstack.settings import KNOWN_KEYS
from harness.clientstack.settingsfile import ALIASES, environment_settings, read_settings_file


def read(tmp_path: Path, text: str) -> dict[str, Any]:
    path = tmp_path / "s.toml"
    path.write_text(text, encoding="utf-8")
    return read_settings_file(path)


def test_the_words_of_older_products(tmp_path: Path) -> None:
    data = read(
        tmp_path,
        """
        [outgoing]
        "Email address" = "service@shop.example"
        "Sender name" = "Acme"
        "SMTP server" = "mail.example.test,2525"
        "User ID" = "service"
        password = "sesame"
        "Needs authentication" = "CLEARTEXT"
        "Use SMTPS" = false
        "Debug file path" = "smtp.log"
        "Server supports UTF-8 headers" = true
        [incoming]
        "Server type" = "IMAP"
        server = "mail.example.test"
        "Inbox name" = "Orders"
        "Unread only" = false
        "Completion mailbox" = ""
        "Use SSL" = true
        authentication = "CRAM-MD5"
        """,
    )
    settings = Settings.from_json(data)
    outgoing, incoming = settings.require_outgoing(), settings.require_incoming()
    assert (outgoing.host, outgoing.port, outgoing.security) == ("mail.example.test", 2525, "opportunistic")
    assert (outgoing.auth, outgoing.allow_cleartext, outgoing.smtputf8) == ("auto", True, True)
    assert (outgoing.from_address, outgoing.from_name) == ("service@shop.example", "Acme")
    assert (incoming.protocol, incoming.security, incoming.port, incoming.auth) == ("imap", "implicit", 993, "cram-md5")
    assert (incoming.inbox, incoming.unseen_only, incoming.completed) == ("Orders", False, "Completed")


def test_every_alias_leads_to_a_setting() -> None:
    for section, words in ALIASES.items():
        assert set(words.values()) <= KNOWN_KEYS[section].keys()
        assert not words.keys() & KNOWN_KEYS[section].keys()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[outgoing]\nhots = 'a'", "did you mean 'host'"),
        ("[outgoin]\nhost = 'a'", "did you mean 'outgoing'"),
        ("[outgoing]\nhost = 'a'\nserver = 'b'", "given twice"),
        ("[outgoing]\nhost = 'a'\npassword = 'x'\npassword_env = 'Y'", "given twice"),
        ("[outgoing]\npassword_file = 'nowhere'", "cannot be read"),
        ("[outgoing]\npassword_keyring = 'shop/service'", "keyring is not installed"),
        ("outgoing", "not valid TOML"),
        ("[business]\nbase_url = 'shop'", "business.base_url"),
        ("[business]\nalert_from = 'nobody'", "business.alert_from"),
        ("[business.users.a]\nnotify = 3", "business.users.a.notify"),
        ("[business.error_log]\nlimit = 0", "business.error_log.limit"),
        ("[business.tenants.acme.outgoing]\nhost = 'a b'", "business.tenants.acme.outgoing.host"),
        ("[business.tenants.acme.outgoing]\nhots = 'a'", "did you mean 'host'"),
    ],
)
def test_mistakes_are_named(text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(MailError, match=words):
        Settings.from_json(read(tmp_path, text))


def test_a_secret_from_the_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = ModuleType("keyring")
    known = {("shop", "service"): "sesame"}
    keyring.get_password = lambda service, user: known.get((service, user))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    text = "[outgoing]\nhost = 'a'\npassword_keyring = 'shop/{}'"
    assert read(tmp_path, text.format("service"))["outgoing"]["password"] == "sesame"
    with pytest.raises(MailError, match="nothing for shop and other"):
        read(tmp_path, text.format("other"))


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILRIG_CLIENT_OUTGOING_HOST", "mail.example.test")
    monkeypatch.setenv("MAILRIG_CLIENT_OUTGOING_PORT", "2525")
    monkeypatch.setenv("MAILRIG_CLIENT_OUTGOING_TIMEOUT", "2.5")
    monkeypatch.setenv("MAILRIG_CLIENT_OUTGOING_PASSWORD_ENV", "SHOP_PASSWORD")
    monkeypatch.setenv("SHOP_PASSWORD", "sesame")
    monkeypatch.setenv("MAILRIG_CLIENT_BUSINESS_USE_DISPLAY_NAME", "no")
    monkeypatch.setenv("MAILRIG_CLIENT_BUSINESS_ERROR_LOG__LIMIT", "9")
    settings = load_settings()
    outgoing = settings.require_outgoing()
    assert (outgoing.port, outgoing.timeout, outgoing.credentials.password) == (2525, 2.5, "sesame")
    assert settings.business is not None
    assert not settings.business.use_display_name
    assert settings.business.error_log.limit == 9
    wrong = {"MAILRIG_CLIENT_OUTGOING_HOST": "a", "MAILRIG_CLIENT_OUTGOING_PORT": "x"}
    with pytest.raises(MailError, match=r"outgoing\.port"):
        Settings.from_json(environment_settings(wrong))


def test_no_repr_of_a_tenant_shows_a_secret(tmp_path: Path) -> None:
    text = "[business.tenants.acme.outgoing]\nhost = 'a'\nusername = 'u'\npassword = 'sesame'"
    assert "sesame" not in repr(Settings.from_json(read(tmp_path, text)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[business.support]\nadress = "a@b.test"', "business.support has no key 'adress': did you mean 'address'?"),
        ("[business.error_log]\nlimits = 3", "business.error_log has no key 'limits': did you mean 'limit'?"),
        ("[business.bounds]\nmost_part = 3", "business.bounds has no key 'most_part': did you mean 'most_parts'?"),
        ('[business.users.u]\nfirstname = "x"', "business.users.u has no key 'firstname'"),
        ('[business.tenants.t]\nsupport = "x"', "business.tenants.t has no key 'support'"),
        ('[business.tenants.t.outgoing]\nhots = "x"', "outgoing has no key 'hots': did you mean 'host'?"),
    ],
)
def test_a_slip_in_an_inner_section_is_named(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(MailError) as wrong:
        read(tmp_path, text)
    assert words in wrong.value.text


def test_inner_values_of_the_environment_have_types() -> None:
    data = environment_settings(
        {"MAILRIG_CLIENT_BUSINESS_BOUNDS__MOST_PARTS": "9", "MAILRIG_CLIENT_BUSINESS_ERROR_LOG__WINDOW": "60"}
    )
    assert data == {"business": {"bounds": {"most_parts": 9}, "error_log": {"window": 60.0}}}


def test_who_names_a_user_logs_in(tmp_path: Path) -> None:
    assert read(tmp_path, '[outgoing]\nhost = "h.test"\nusername = "u"\npassword = "p"')["outgoing"]["auth"] == "auto"
    assert "auth" not in read(tmp_path, '[outgoing]\nhost = "h.test"')["outgoing"]
    assert read(tmp_path, '[outgoing]\nusername = "u"\nauth = "none"')["outgoing"]["auth"] == "none"


def test_a_colon_before_the_port_is_named(tmp_path: Path) -> None:
    with pytest.raises(MailError, match=r"write h\.test,25"):
        Settings.from_json({"outgoing": {"host": "h.test:25"}})
    for address in ("::1", "[::1]", "2001:db8::1"):
        assert Settings.from_json({"outgoing": {"host": address}}).require_outgoing().port == 25
