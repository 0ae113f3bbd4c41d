"""Sequence sets (RFC 3501 9): reading them, writing them, and finding what they name."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter

from fakeservers.mailstore import Message

__all__ = ["SAVED", "SequenceSet", "Span", "compact", "merge", "parse", "ranges", "seq_spans", "uid_spans"]

SequenceSet = tuple[tuple[int, int], ...]
"""Ranges as they were written; 0 stands for `*`."""
SAVED: SequenceSet = ((-1, -1),)
"""Stands for `$`, the messages of the last SEARCH RETURN (SAVE) (RFC 5182)."""
Span = tuple[int, int]
"""Places in a list of messages: from the first up to, not including, the second."""

_SET = re.compile(rb"(?:[1-9]\d{0,9}|\*)(?::(?:[1-9]\d{0,9}|\*))?(?:,(?:[1-9]\d{0,9}|\*)(?::(?:[1-9]\d{0,9}|\*))?)*\Z")
_LARGEST = 2**32 - 1
_uid = attrgetter("uid")


def parse(text: bytes) -> SequenceSet:
    """sequence-set = (seq-number / seq-range) *("," sequence-set). Raises ValueError."""
    if not _SET.match(text):
        raise ValueError("not a sequence set")
    ranges = []
    for part in text.split(b","):
        first, colon, last = part.partition(b":")
        low = _number(first)
        ranges.append((low, _number(last) if colon else low))
    return tuple(ranges)


def _number(text: bytes) -> int:
    if text == b"*":
        return 0
    number = int(text)
    if number > _LARGEST:
        raise ValueError("a number over 32 bits")
    return number


def merge(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, overlapping and adjacent ones joined."""
    merged: list[Span] = []
    for start, stop in sorted(span for span in spans if span[0] < span[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def seq_spans(wanted: SequenceSet, exists: int) -> list[Span]:
    """Places of message sequence numbers. Raises ValueError for a number that no message has."""
    spans = []
    for low, high in wanted:
        if 0 not in (low, high) and max(low, high) > exists:
            raise ValueError("no such message sequence number")
        first, last = sorted((low or exists, high or exists))
        spans.append((max(first, 1) - 1, min(last, exists)))
    return merge(spans)


def uid_spans(wanted: SequenceSet, messages: Sequence[Message], exists: int) -> list[Span]:
    """Places of UIDs among the first `exists` messages; a UID that does not exist is passed over (RFC 3501 6.4.8)."""
    largest = messages[exists - 1].uid if exists else 0
    spans = []
    for low, high in wanted:
        first, last = sorted((low or largest, high or largest))
        if first > largest:
            continue
        start = 0 if first <= 1 else bisect_left(messages, first, 0, exists, key=_uid)
        stop = exists if last >= largest else bisect_right(messages, last, start, exists, key=_uid)
        spans.append((start, stop))
    return merge(spans)


def compact(numbers: Iterable[int]) -> bytes:
    """The shortest sequence set that names these ascending numbers in this order: `1:3,7`."""
    return ",".join([f"{first}:{last}" if last > first else str(first) for first, last in ranges(numbers)]).encode()


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Runs of numbers that follow one another: the first and the last of each."""
    found: list[tuple[int, int]] = []
    start = end = 0
    for number in numbers:
        if start and number == end + 1:
            end = number
            continue
        if start:
            found.append((start, end))
        start = end = number
    if start:
        found.append((start, end))
    return found
