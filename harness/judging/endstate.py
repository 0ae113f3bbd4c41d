"""Expectations of the end: what was handed over, what is stored, what the mailboxes hold."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.expectations import HandedOverExpect, MailboxExpect, Number, StoredExpect
from harness.judging.failure import Failure, Path, number_shown, subject_of
from harness.observations import Observations, SeenMailbox, SeenMessage

__all__ = ["handed_over", "mailbox", "stored"]


def handed_over(expect: HandedOverExpect, seen: Observations, path: Path) -> Iterator[Failure]:
    replies = [step.reply for step in seen.steps if step.action == "fetch" and step.reply is not None]
    subjects = sorted(subject_of(raw) for reply in replies for raw in reply["messages"])
    if expect.messages is not None and not expect.messages.holds(len(subjects)):
        yield Failure("handed-over", number_shown(expect.messages), len(subjects), [*path, "messages"], expect.ref)
    if expect.subjects is not None and subjects != sorted(expect.subjects):
        yield Failure("handed-over", sorted(expect.subjects), subjects, [*path, "subjects"], expect.ref)
    if any(subjects.count(subject) != 1 for subject in expect.once):
        yield Failure("handed-over", {"each once": expect.once}, subjects, [*path, "once"], expect.ref)


def stored(expect: StoredExpect, seen: Observations, path: Path) -> Iterator[Failure]:
    name = expect.name or "stored"
    boxes = _boxes(seen, expect.to)
    messages = [
        message
        for box in boxes
        if expect.mailbox is None or _same_name(box.name, expect.mailbox)
        for message in box.messages
        if expect.subject is None or re.search(expect.subject, subject_of(message.raw))
    ]
    if expect.mailbox is None:
        messages = _each_once(messages)
    if not expect.count.holds(len(messages)):
        yield Failure(name, {expect.to: number_shown(expect.count)}, len(messages), [*path, "count"], expect.ref)
    for message in messages:
        text = message.raw.decode("utf-8", "replace").replace("\r\n", "\n")
        if expect.content is not None and not re.search(expect.content, text, re.DOTALL | re.MULTILINE):
            yield Failure(name, {"content": expect.content}, text[:400], [*path, "content"], expect.ref)
        if expect.lacks is not None and (match := re.search(expect.lacks, text, re.DOTALL | re.MULTILINE)):
            yield Failure(name, {"lacks": expect.lacks}, match[0][:200], [*path, "lacks"], expect.ref)
        if expect.mail_from is not None and message.mail_from != expect.mail_from:
            yield Failure(name, {"mail_from": expect.mail_from}, message.mail_from, [*path, "mail_from"], expect.ref)
        parameters = " ".join(message.parameters)
        if expect.parameters is not None and not re.search(expect.parameters, parameters, re.IGNORECASE):
            yield Failure(name, {"parameters": expect.parameters}, parameters, [*path, "parameters"], expect.ref)
        if expect.same_as is not None:
            yield from _same(expect, message, seen, path, name)


def _each_once(messages: list[SeenMessage]) -> list[SeenMessage]:
    """A message with several labels lies in several mailboxes, and is one."""
    kept = {message.labelled or -place: message for place, message in enumerate(messages, 1)}
    return list(kept.values())


def _same(expect: StoredExpect, message: SeenMessage, seen: Observations, path: Path, name: str) -> Iterator[Failure]:
    given = next((step.sent[expect.same_as] for step in seen.steps if expect.same_as in step.sent), None)
    if given is None:
        yield Failure(name, {"same_as": expect.same_as}, "no such message was sent", [*path, "same_as"], expect.ref)
        return
    head, _, body = _crlf(given).partition(b"\r\n\r\n")
    stored_head, _, stored_body = message.content.partition(b"\r\n\r\n")
    if body != stored_body:
        at = next(
            (i for i, (a, b) in enumerate(zip(body, stored_body, strict=False)) if a != b),
            min(len(body), len(stored_body)),
        )
        around = slice(max(0, at - 30), at + 30)
        observed = {"octets": len(stored_body), "differs_at": at, "stored": repr(stored_body[around])}
        yield Failure(
            name, {"octets": len(body), "given": repr(body[around])}, observed, [*path, "same_as"], expect.ref
        )
    stored_fields = _fields(stored_head)
    for one in _fields(head):
        if not one.lower().startswith(b"bcc:") and one not in stored_fields:
            missing = one.decode("utf-8", "replace")
            yield Failure(name, {"header field": missing}, "not there as given", [*path, "same_as"], expect.ref)


def _crlf(raw: bytes) -> bytes:
    return re.sub(rb"\r\n|\r|\n", b"\r\n", raw)


def _fields(head: bytes) -> list[bytes]:
    """Header fields, unfolded to single spaces."""
    return [re.sub(rb"\s+", b" ", one).strip() for one in re.split(rb"\r\n(?![ \t])", head) if one]


def mailbox(expect: MailboxExpect, address: str, name: str, seen: Observations, path: Path) -> Iterator[Failure]:
    box = next((box for box in _boxes(seen, address) if _same_name(box.name, name)), None)
    if expect.exists is not None and (box is not None) != expect.exists:
        yield Failure("mailboxes", {name: {"exists": expect.exists}}, box is not None, [*path, "exists"], expect.ref)
    messages = box.messages if box else []
    counts: list[tuple[str, Number | None, int]] = [
        ("messages", expect.messages, len(messages)),
        ("unseen", expect.unseen, sum("\\Seen" not in message.flags for message in messages)),
        ("deleted", expect.deleted, sum("\\Deleted" in message.flags for message in messages)),
    ]
    for key, wanted, count in counts:
        if wanted is not None and not wanted.holds(count):
            yield Failure("mailboxes", {name: {key: number_shown(wanted)}}, count, [*path, key], expect.ref)
    for flag in expect.all_have:
        if any(flag not in message.flags for message in messages):
            yield Failure(
                "mailboxes", {name: {"all_have": flag}}, [m.flags for m in messages], [*path, "all_have"], expect.ref
            )
    for flag in expect.none_has:
        if any(flag in message.flags for message in messages):
            yield Failure(
                "mailboxes", {name: {"none_has": flag}}, [m.flags for m in messages], [*path, "none_has"], expect.ref
            )


def _boxes(seen: Observations, address: str) -> list[SeenMailbox]:
    return next((boxes for known, boxes in seen.mailboxes.items() if known.casefold() == address.casefold()), [])


def _same_name(one: str, other: str) -> bool:
    return one == other or (one.upper() == other.upper() == "INBOX")
