"""Placeholders and generated ids."""

from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakeservers.templates import DYNAMIC, generate, placeholders, render


def test_placeholders_are_filled_and_unknown_ones_stay() -> None:
    assert render("{host} {nobody} {count}", {"host": "h", "count": 3}) == "h {nobody} 3"
    assert placeholders("{a} {b_1} {1c} {a}") == ["a", "b_1", "a"]


def test_a_value_is_not_filled_again() -> None:
    assert render("{arg}", {"arg": "{host}", "host": "h"}) == "{host}"


@given(st.text())
def test_text_without_values_stays(text: str) -> None:
    assert render(text, {}) == text


@pytest.mark.parametrize(
    "pattern", ["[0-9a-f]{13}-sm[a-z]{3}", "[A-Z]", "plain", "[0-9]{2}.[abc]{4} - gsmtp", "[A-Za-z0-9]{20}"]
)
def test_generated_ids_have_the_form_of_their_pattern(pattern: str) -> None:
    first = [generate(pattern, Random(seed)) for seed in range(20)]
    assert all(re.fullmatch(pattern, made) for made in first)
    assert first == [generate(pattern, Random(seed)) for seed in range(20)], "the seed decides"


def test_every_dynamic_placeholder_is_explained() -> None:
    assert all(meaning for meaning in DYNAMIC.values())
    assert all(placeholders(f"{{{name}}}") == [name] for name in DYNAMIC)
