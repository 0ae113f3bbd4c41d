"""Fixtures for anybody's tests. Nothing heavy is imported before a fixture is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fakeservers.host import FakeMailHost

__all__ = ["fake_mail_host", "start_mail_host"]


@pytest.fixture
def start_mail_host() -> Iterator[Callable[..., FakeMailHost]]:
    """`start_mail_host(provider, ...)` gives a running host, with the arguments of `FakeMailHost`; all are stopped
    when the test ends."""
    from fakeservers.host import FakeMailHost

    with ExitStack() as hosts:

        def start(provider: Any = "generic", **options: Any) -> FakeMailHost:
            return hosts.enter_context(FakeMailHost(provider, **options))

        yield start


@pytest.fixture
def fake_mail_host(start_mail_host: Callable[..., FakeMailHost]) -> FakeMailHost:
    """A running `generic` host with the users alice and bob at example.test, password `secret`."""
    return start_mail_host()
