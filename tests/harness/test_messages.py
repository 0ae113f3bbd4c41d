from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from harness.messages import incoming_mail
from harness.scenario import Mail

NOW = datetime(2026, 11, 22, tzinfo=UTC)
EVERY_OCTET = bytes(octet for octet in range(256) if octet not in (0x0A, 0x0D))


def test_latin_1_gives_each_octet_that_a_message_may_hold() -> None:
    mail = Mail(eml="Subject: {n}\n\n" + EVERY_OCTET.decode("latin-1") + "\n", charset="latin-1")
    assert incoming_mail(mail, 2, NOW) == b"Subject: 2\r\n\r\n" + EVERY_OCTET + b"\r\n"


def test_without_a_charset_a_message_is_utf_8() -> None:
    assert incoming_mail(Mail(eml="Subject: ö\n\n"), 1, NOW) == b"Subject: \xc3\xb6\r\n\r\n"


@pytest.mark.parametrize(
    ("given", "words"), [({"eml": "Subject: 10 €\n"}, "no '€' .U.20AC"), ({"body": "Grüße"}, "for `eml`")]
)
def test_what_latin_1_cannot_hold_is_refused(given: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Mail.model_validate({"charset": "latin-1", **given})
