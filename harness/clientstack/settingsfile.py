"""Settings from a TOML or JSON file in the shape of the `settings` object, secrets by reference."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from .errors import MailError
from .settings import Settings

__all__ = ["load_settings", "read_settings_file"]

_SECRETS: Final = ("password", "access_token", "client_secret")


def load_settings(path: str | Path) -> Settings:
    """The settings of a file. Raises MailError `config`."""
    return Settings.from_json(read_settings_file(path))


def read_settings_file(path: str | Path) -> dict[str, Any]:
    """The `settings` object of a file: JSON when its name ends in .json, else TOML.

    `password_env = "NAME"` takes a secret from the environment, `password_file = "path"` the first line of a
    file (relative to the settings file); the same for access_token and client_secret. Raises MailError `config`.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MailError("config", f"the settings file {path} cannot be read: {error}") from None
    data = _parsed(path, text)
    return {
        name: _resolved(name, section, path.parent) if isinstance(section, Mapping) else section
        for name, section in data.items()
    }


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


def _resolved(name: str, section: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    values = dict(section)
    for secret in _SECRETS:
        variable, file = values.pop(f"{secret}_env", None), values.pop(f"{secret}_file", None)
        if sum(source is not None for source in (variable, file, values.get(secret) or None)) > 1:
            raise MailError("config", f"{name}.{secret} is given twice: choose one of it, _env and _file")
        if variable is not None:
            if str(variable) not in os.environ:
                raise MailError("config", f"{name}.{secret}_env: the environment has no {variable}")
            values[secret] = os.environ[str(variable)]
        elif file is not None:
            try:
                lines = (folder / str(file)).read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise MailError("config", f"{name}.{secret}_file cannot be read: {error}") from None
            values[secret] = lines[0] if lines else ""
    return values
