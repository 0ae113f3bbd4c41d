"""Keeps secrets out of every text: errors, dialogues, debug files, standard error."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

__all__ = ["MASK", "Redactor"]

MASK: Final = "********"


class Redactor:
    """Replaces every known form of the given secrets by MASK.

    Forms: raw, URL-quoted, base64, and the base64 of the usual SASL responses with that user name.
    """

    def __init__(self, secrets: Iterable[str] = (), usernames: Iterable[str] = ()) -> None:
        forms: set[str] = set()
        names = ["", *usernames]
        for secret in secrets:
            if secret:
                forms.update(_forms(secret, names))
        # The longest first, so that a form that holds another one is not cut in two.
        ordered = sorted(forms, key=len, reverse=True)
        parts = [
            # A very short secret would mask half the alphabet: only where it stands alone.
            rf"(?<![A-Za-z0-9]){re.escape(form)}(?![A-Za-z0-9])" if len(form) < 4 else re.escape(form)
            for form in ordered
        ]
        self._pattern = re.compile("|".join(parts)) if parts else None

    def __call__(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern else text


def _forms(secret: str, usernames: Iterable[str]) -> Iterable[str]:
    yield secret
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield secret.replace("\\", "\\\\").replace('"', '\\"')
    plain = [secret]
    for name in usernames:
        plain += [
            f"\0{name}\0{secret}",
            f"{name}\0{name}\0{secret}",
            f"user={name}\x01auth=Bearer {secret}\x01\x01",
        ]
    for text in plain:
        encoded = base64.b64encode(text.encode()).decode()
        yield encoded
        # Servers and proxies echo blobs without their padding, too.
        if len(encoded.rstrip("=")) >= 4:
            yield encoded.rstrip("=")
