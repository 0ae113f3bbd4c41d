"""Reads values of a settings object, each with its type. A wrong one is a MailError `config` that names it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .errors import MailError
from .sasl import Credentials
from .tls import Trust

__all__ = ["Section", "split_host"]


class Section:
    """Values of one section of the settings, each read with its type; a message about one names it."""

    def __init__(self, name: str, data: object) -> None:
        if not isinstance(data, Mapping):
            raise MailError("config", f"{name} has to be an object")
        self.name = name
        self._data = data

    def raw(self, key: str) -> Any:
        return self._data.get(key)

    def wrong(self, key: str, wanted: str) -> MailError:
        return MailError("config", f"{self.name}.{key} has to be {wanted}")

    def text(self, key: str, default: str = "") -> str:
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong(key, "text")
        return value

    def line(self, key: str) -> str:
        value = self.text(key)
        if re.search(r"[\r\n\0]", value):
            raise self.wrong(key, "one line of text")
        return value

    def optional(self, key: str) -> str | None:
        return self.text(key) or None

    def choice(self, key: str, values: tuple[str, ...], default: str) -> str:
        value = self.text(key, default)
        if value not in values:
            raise self.wrong(key, f"one of {', '.join(values)}, not {value!r}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def seconds(self, key: str, default: float, longest: float = 3600.0) -> float:
        value = self.raw(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= longest:
            raise self.wrong(key, f"a number of seconds from 0 to {longest:g}")
        return float(value)

    def count(self, key: str, default: int) -> int:
        value = self.raw(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.wrong(key, "a whole number, 1 or more")
        return value

    def address(self, key: str) -> str:
        """A bare e-mail address; the empty text where there is none."""
        value = self.line(key).strip()
        if value and ("@" not in value or not _is_address(value)):
            raise self.wrong(key, f"an e-mail address, not {value!r}")
        return value

    @property
    def keys(self) -> list[str]:
        return [str(key) for key in self._data]

    def inner(self, key: str, name: str | None = None) -> Section:
        """A section within this one, empty where it is absent; `name` is what messages call it."""
        value = self.raw(key)
        return Section(name or f"{self.name}.{key}", {} if value is None else value)

    def with_defaults(self, defaults: Mapping[str, Any]) -> Section:
        """The same section, where `defaults` stand for what it does not say."""
        return Section(self.name, {**defaults, **self._data})

    def host_and_port(self, defaults: Mapping[str, int], security: str) -> tuple[str, int]:
        try:
            host, port = split_host(self.text("host"))
        except MailError as error:
            raise MailError("config", f"{self.name}.{error.text}") from None
        if port is not None:
            return host, port
        value = self.raw("port")
        if value is None:
            return host, defaults[security]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
            raise self.wrong("port", "a number from 1 to 65535, or null for the default")
        return host, value

    def credentials(self) -> Credentials:
        token = self.text("access_token")
        return Credentials(
            username=self.line("username"),
            password=self.line("password"),
            access_token=token or None,
            certificate=bool(self.optional("client_cert")),
        )

    def trust(self) -> Trust:
        return Trust(
            ca_file=self.optional("ca_file"),
            client_cert=self.optional("client_cert"),
            client_key=self.optional("client_key"),
            pinned_sha256=self.optional("pinned_sha256"),
        )


def split_host(text: str) -> tuple[str, int | None]:
    """`host`, `host,port` or `[::1],25` as host and port (None when not given).

    Raises MailError `config`.
    """
    host, comma, number = text.strip().partition(",")
    host = host.strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    port: int | None = None
    if comma:
        number = number.strip()
        if not (number.isascii() and number.isdigit() and 0 < int(number) < 65536):
            raise MailError("config", f"host: {number!r} after the comma is not a port from 1 to 65535")
        port = int(number)
    if host.count(":") == 1:
        better = host.replace(":", ",")
        raise MailError("config", f"host: {host!r} has a colon: write {better}, or the port as a setting of its own")
    if not host or re.search(r"[\s/@\[\]<>\"\x00-\x1f]", host):
        raise MailError("config", f"host: {host!r} is not a host name or address")
    return host, port


def _is_address(text: str) -> bool:
    from .compose import parse_address

    try:
        parse_address(text)
    except MailError:
        return False
    return True
