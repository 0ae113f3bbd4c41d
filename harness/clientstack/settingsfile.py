"""Settings from a TOML or JSON file, or from the environment, in the shape of the `settings` object.

Secrets may stand elsewhere: `password_env = "NAME"` takes one from the environment, `password_file = "path"` the first
line of a file (relative to the settings file), `password_keyring = "service/user"` the system's keyring; the same for
access_token and client_secret. The words of older products are understood (see ALIASES).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from .errors import MailError
from .settings import INNER_KEYS, KNOWN_KEYS, Settings

__all__ = ["ALIASES", "environment_settings", "load_settings", "read_settings_file"]

PREFIX: Final = "MAILRIG_CLIENT_"

_SECRETS: Final = ("password", "access_token", "client_secret")
_SOURCES: Final = ("_env", "_file", "_keyring")

ALIASES: Final[Mapping[str, Mapping[str, str]]] = {
    "outgoing": {
        "email_address": "from_address",
        "sender_name": "from_name",
        "reply_to_address": "reply_to",
        "smtp_server": "host",
        "server": "host",
        "smtp_port": "port",
        "ehlo_host_name": "ehlo_name",
        "user_id": "username",
        "user": "username",
        "needs_authentication": "auth",
        "authentication": "auth",
        "use_smtps": "security",
        "server_supports_utf_8_headers": "smtputf8",
        "supports_utf8_headers": "smtputf8",
        "debug_file_path": "debug_file",
        "bounced_mailbox": "bounce_address",
        "client_certificate": "client_cert",
    },
    "incoming": {
        "server_type": "protocol",
        "server": "host",
        "user_id": "username",
        "user": "username",
        "authentication": "auth",
        "use_ssl": "security",
        "inbox_name": "inbox",
        "unread_only": "unseen_only",
        "completion_mailbox": "completed",
        "debug_file_path": "debug_file",
        "client_certificate": "client_cert",
    },
    "business": {
        "global_mail_server": "mail_enabled",
        "product_name": "product",
        "product_base_url": "base_url",
        "alert_from_mailbox": "alert_from",
        "system_notification_mailbox": "system_notification",
        "bounced_alerts_mailbox": "bounced_alerts",
        "default_acceptance_status": "invitations",
    },
}
"""Section: an older product's word: ours. Case, blanks and hyphens do not matter."""

_AUTH_WORDS: Final[Mapping[str, str]] = {
    "cleartext": "auto",
    "cram_md5": "cram-md5",
    "scram_sha_1": "scram-sha-1",
    "scram_sha_256": "scram-sha-256",
}


def load_settings(path: str | Path | None = None) -> Settings:
    """The settings of a file, or of the environment where there is none. Raises MailError `config`."""
    return Settings.from_json(read_settings_file(path) if path is not None else environment_settings(os.environ))


def read_settings_file(path: str | Path) -> dict[str, Any]:
    """The `settings` object of a file: JSON when its name ends in .json, else TOML. Raises MailError `config`."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MailError("config", f"the settings file {path} cannot be read: {error}") from None
    return _settings(_parsed(path, text), path.parent)


def environment_settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """The `settings` object of variables such as MAILRIG_CLIENT_OUTGOING_HOST and
    MAILRIG_CLIENT_BUSINESS_SUPPORT__ADDRESS (two underscores lead into an inner section). Raises MailError `config`."""
    data: dict[str, Any] = {}
    for name, text in environment.items():
        section, _, key = name.removeprefix(PREFIX).lower().partition("_")
        if not name.startswith(PREFIX) or not key:
            continue
        place = data.setdefault(section, {})
        *inner, last = key.split("__")
        for step in inner:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                raise MailError("config", f"the variable {name} stands beside one that is no section")
        place[last] = text
    return _settings(data, Path.cwd(), as_text=True)


def _parsed(path: Path, text: str) -> dict[str, Any]:
    if path.suffix == ".json":
        import json

        try:
            data = json.loads(text)
        except ValueError as error:
            raise MailError("config", f"{path} is not valid JSON: {error}") from None
    else:
        import tomllib

        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise MailError("config", f"{path} is not valid TOML: {error}") from None
    if not isinstance(data, dict):
        raise MailError("config", f"{path} has to hold an object with outgoing and incoming")
    return data


def _settings(data: Mapping[str, Any], folder: Path, *, as_text: bool = False) -> dict[str, Any]:
    _check("the section", data, KNOWN_KEYS)
    return {name: _section(name, value, folder, as_text) for name, value in data.items()}


def _section(name: str, section: Any, folder: Path, as_text: bool) -> Any:
    if not isinstance(section, Mapping):
        return section
    values: dict[str, Any] = {}
    for key, value in section.items():
        ours = _our_word(name, str(key))
        if ours in values:
            raise MailError("config", f"{name}.{key} is given twice: {ours} means the same")
        values[ours] = value
    values = _resolved(name, values, folder)
    _check(f"{name} has no key", values, KNOWN_KEYS[name])
    if as_text:
        values = {key: _typed(name, key, value) for key, value in values.items()}
    _translate(name, values)
    if name == "business":
        _check_inner(values)
        for tenant in (values.get("tenants") or {}).values():
            if isinstance(tenant, dict) and "outgoing" in tenant:
                tenant["outgoing"] = _section("outgoing", tenant["outgoing"], folder, as_text)
    return values


def _check_inner(business: Mapping[str, Any]) -> None:
    for name, known in INNER_KEYS.items():
        section = business.get(name)
        named = {name: section} if name not in ("users", "tenants") else {}
        if not named and isinstance(section, dict):
            named = {f"{name}.{key}": each for key, each in section.items()}
        for where, each in named.items():
            if isinstance(each, dict):
                _check(f"business.{where} has no key", each, known)


def _check(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raises MailError `config` that names the first unknown word, and one that may have been meant."""
    unknown = next((word for word in given if word not in known), None)
    if unknown is not None:
        raise MailError("config", _suggestion(what, unknown, known))


def _our_word(section: str, key: str) -> str:
    word = re.sub(r"[^a-z0-9]+", "_", key.strip().lower()).strip("_")
    return ALIASES.get(section, {}).get(word, word)


def _suggestion(what: str, given: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(given, list(known), 1)
    return f"{what} {given!r}" + (f": did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(known))}")


def _typed(section: str, key: str, value: Any) -> Any:
    """A value from the environment, where all is text, as what the setting wants."""
    if isinstance(value, dict):
        return {inner: _typed(section, inner, each) for inner, each in value.items()}
    kind = KNOWN_KEYS[section].get(key) or _INNER.get(key, str)
    if kind is bool and value.strip().lower() in ("true", "yes", "on", "1", "false", "no", "off", "0"):
        return value.strip().lower() in ("true", "yes", "on", "1")
    if kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            return value
    return value


_INNER: Final[Mapping[str, type]] = {key: kind for keys in INNER_KEYS.values() for key, kind in keys.items()}


def _translate(name: str, values: dict[str, Any]) -> None:
    """Values in the words of older products."""
    auth = values.get("auth")
    if isinstance(auth, str):
        word = re.sub(r"[^a-z0-9]+", "_", auth.strip().lower())
        if word == "cleartext":
            # LOGIN and PLAIN also without TLS: whoever chose this word asked for it.
            values.setdefault("allow_cleartext", True)
        values["auth"] = _AUTH_WORDS.get(word, auth.strip().lower())
    elif name == "outgoing" and (values.get("username") or values.get("access_token")):
        # Whoever names a user wants to log in as one.
        values["auth"] = "auto"
    security = values.get("security")
    if isinstance(security, str) and security.strip().lower() in ("yes", "true", "on", "no", "false", "off"):
        security = security.strip().lower() in ("yes", "true", "on")
    if isinstance(security, bool):
        values["security"] = "implicit" if security else "opportunistic"
    for key in ("security", "protocol", "invitations"):
        if isinstance(values.get(key), str):
            values[key] = re.sub(r"[\s_]+", "-", values[key].strip().lower())
    if name == "business" and values.get("invitations") in ("never-invite", "do-not-invite"):
        values["invitations"] = "never"


def _resolved(name: str, values: dict[str, Any], folder: Path) -> dict[str, Any]:
    for secret in _SECRETS:
        given = {kind: values.pop(f"{secret}{kind}", None) for kind in _SOURCES}
        used = [kind for kind, source in given.items() if source is not None]
        if len(used) + bool(values.get(secret)) > 1:
            raise MailError("config", f"{name}.{secret} is given twice: choose one of it, {', '.join(_SOURCES)}")
        if used:
            values[secret] = _fetched(f"{name}.{secret}{used[0]}", used[0], str(given[used[0]]), folder)
    return values


def _fetched(what: str, kind: str, source: str, folder: Path) -> str:
    if kind == "_env":
        if source not in os.environ:
            raise MailError("config", f"{what}: the environment has no {source}")
        return os.environ[source]
    if kind == "_keyring":
        return _from_keyring(what, source)
    try:
        lines = (folder / source).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MailError("config", f"{what} cannot be read: {error}") from None
    return lines[0] if lines else ""


def _from_keyring(what: str, source: str) -> str:
    import importlib

    service, _, user = source.partition("/")
    try:
        keyring = importlib.import_module("keyring")
    except ImportError:
        raise MailError("config", f"{what}: the package keyring is not installed") from None
    try:
        secret = keyring.get_password(service, user)
    except Exception as error:  # noqa: BLE001
        # Backends of a keyring raise what they like; its text may hold anything.
        raise MailError("config", f"{what}: the keyring cannot be read ({type(error).__name__})") from None
    if secret is None:
        raise MailError("config", f"{what}: the keyring has nothing for {service} and {user}")
    return str(secret)
