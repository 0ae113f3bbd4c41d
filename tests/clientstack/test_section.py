"""Settings are read with their types and bounds, and what business software sets has its own rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.clientstack import MailError
from harness.clientstack.business import Business, read_business
from harness.clientstack.section import Section, split_host

DEFAULTS = {"none": 25}
READERS: dict[str, Callable[[Section], Any]] = {
    "seconds": lambda section: section.seconds("key", 10.0),
    "count": lambda section: section.count("key", 3),
    "flag": lambda section: section.flag("key", True),
    "choice": lambda section: section.choice("key", ("one", "two"), "one"),
    "text": lambda section: section.text("key", "absent"),
    "line": lambda section: section.line("key"),
    "optional": lambda section: section.optional("key"),
    "address": lambda section: section.address("key"),
    "port": lambda section: Section("account", {"host": "h.test", "port": section.raw("key")}).host_and_port(
        DEFAULTS, "none"
    )[1],
}


@pytest.mark.parametrize(
    ("reader", "given", "read"),
    [
        ("seconds", None, 10.0), ("seconds", 3600, 3600.0), ("seconds", 0.5, 0.5),
        ("count", None, 3), ("count", 1, 1),
        ("flag", None, True), ("flag", False, False),
        ("choice", None, "one"), ("choice", "two", "two"),
        ("text", None, "absent"), ("text", "", ""),
        ("line", "a b", "a b"), ("optional", "", None), ("optional", "x", "x"),
        ("address", "", ""), ("address", " a@example.test ", "a@example.test"),
        ("port", None, 25), ("port", 1, 1), ("port", 65535, 65535),
    ],
)  # fmt: skip
def test_what_a_setting_may_be(reader: str, given: object, read: object) -> None:
    found = READERS[reader](Section("account", {"key": given}))
    assert (found, type(found)) == (read, type(read))


@pytest.mark.parametrize(
    ("reader", "given"),
    [
        ("seconds", 0), ("seconds", -1), ("seconds", 3601), ("seconds", True), ("seconds", "10"),
        ("count", 0), ("count", True), ("count", 1.0), ("count", "1"),
        ("flag", 0), ("flag", "yes"),
        ("choice", "three"), ("choice", 1),
        ("text", 1),
        ("line", "a\nb"), ("line", "a\rb"), ("line", "a\0b"),
        ("address", "nobody"), ("address", "a@b@"), ("address", "Alice <a@example.test>"),
        ("port", 0), ("port", 65536), ("port", True), ("port", "25"), ("port", 25.0),
    ],
)  # fmt: skip
def test_what_a_setting_may_not_be(reader: str, given: object) -> None:
    with pytest.raises(MailError, match=r"account\.(key|port) has to be ") as caught:
        READERS[reader](Section("account", {"key": given}))
    assert caught.value.category == "config"


@pytest.mark.parametrize("number", ["0", "65536", "x", "", "-1", "²"])
def test_a_port_after_the_comma_has_bounds(number: str) -> None:
    assert split_host("mail.test,1") == ("mail.test", 1)
    assert split_host("mail.test,65535") == ("mail.test", 65535)
    with pytest.raises(MailError, match="is not a port from 1 to 65535"):
        split_host(f"mail.test,{number}")


# -- business ---------------------------------------------------------------------------------


def business(**values: Any) -> Business:
    return read_business(Section("business", values), {})


def test_what_is_not_set_has_the_documented_defaults() -> None:
    found = business()
    assert (found.error_log.limit, found.error_log.window) == (5, 3600.0)
    assert (found.mail_enabled, found.use_system_reply, found.use_display_name, found.invites) == (True,) * 4
    assert (found.support.tenant_may_override, found.support.attach_system_information) == (False, True)


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("https://shop.test/app", "orders/7", "https://shop.test/app/orders/7"),
        ("https://shop.test/app/", "/orders/7", "https://shop.test/app/orders/7"),
        (" http://shop.test ", "orders?id=7", "http://shop.test/orders?id=7"),
    ],
)
def test_links_lead_into_the_product(base: str, path: str, url: str) -> None:
    assert business(base_url=base).link(path) == url


@pytest.mark.parametrize("path", ["https://evil.test/", "//evil.test/x", "mailto:a@b", "a b", "a\nb", "a\x1fb"])
def test_a_path_that_leads_out_of_the_product_is_refused(path: str) -> None:
    with pytest.raises(MailError, match=r"is not a path below business\.base_url"):
        business(base_url="https://shop.test").link(path)


def test_without_a_base_url_there_is_no_link() -> None:
    with pytest.raises(MailError, match=r"business\.base_url is needed"):
        business().link("orders/7")


@pytest.mark.parametrize(
    "url", ["shop.test", "ftp://shop.test", "https://", "https://shop.test?a=1", "https://shop.test#top"]
)
def test_a_base_url_that_is_none(url: str) -> None:
    with pytest.raises(MailError, match=r"business\.base_url has to be an address such as"):
        business(base_url=url)


@pytest.mark.parametrize(
    ("notify", "orders", "alerts"),
    [(None, True, True), (True, True, True), (False, False, False), (["orders"], True, False), ([], False, False)],
)
def test_which_notifications_a_user_wants(notify: object, orders: bool, alerts: bool) -> None:
    user = business(users={"u1": {"address": "Ann@example.test", "notify": notify}}).user("u1")
    assert (user.wants("orders"), user.wants("alerts")) == (orders, alerts)


@pytest.mark.parametrize("notify", ["orders", 1, [1], {}])
def test_what_no_choice_of_notifications_is(notify: object) -> None:
    with pytest.raises(MailError, match="notify has to be true, false, or a list"):
        business(users={"u1": {"notify": notify}})


def test_users_are_found_by_id_by_address_and_as_strangers() -> None:
    found = business(users={"u1": {"address": "Ann@example.test", "first_name": "Ann"}, "u2": {}})
    assert found.user("u1").id == "u1"
    assert found.user("ann@EXAMPLE.test").id == "u1"
    assert found.user("someone@else.test").name == ""
    with pytest.raises(MailError, match="no user 'u3'"):
        found.user("u3")


def test_a_tenants_server_takes_over_what_it_does_not_set_itself() -> None:
    shared = {"host": "global.test", "timeout": 7, "ehlo_name": "app.test", "username": "global", "password": "x"}
    tenants = {"a": {"outgoing": {"host": "own.test", "timeout": 9, "from_address": "a@own.test"}}, "b": {}}
    found = read_business(Section("business", {"tenants": tenants}), shared).tenants
    own = found["a"].outgoing
    assert own is not None
    assert (own.host, own.timeout, own.ehlo_name, own.credentials.username) == ("own.test", 9.0, "app.test", "")
    assert found["b"].outgoing is None
