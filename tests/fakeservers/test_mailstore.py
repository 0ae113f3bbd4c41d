"""Accounts, mailboxes and delivery."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fakeservers.clock import Clock
from fakeservers.mailstore import Mailbox, MailStore, Message

ALICE = "alice@example.test"


def store() -> MailStore:
    made = MailStore(Clock(1000.0), mailboxes=[("Sent", frozenset({"\\Sent"}))])
    made.add_account(ALICE, "secret")
    return made


def test_an_account_is_found_in_any_case_and_has_its_layout() -> None:
    account = store().account("ALICE@Example.TEST")
    assert account is not None
    assert list(account.mailboxes) == ["INBOX", "Sent"]
    assert account.mailbox("inbox") is account.inbox
    assert account.mailbox("sent") is None
    assert account.mailboxes["Sent"].attributes == {"\\Sent"}


def test_delivery_reaches_each_recipient_once_and_keeps_mail_of_strangers() -> None:
    made = store()
    content = b"Subject: x\r\n\r\nx\r\n"
    copies = made.deliver(
        content, mail_from="", rcpt_to=(ALICE, ALICE.upper(), "Eve@elsewhere.test"), trace=b"Received: y\r\n"
    )
    assert len(copies) == 2
    (message,) = made.messages(ALICE)
    assert message.raw == b"Received: y\r\n" + content
    assert message.size == len(message.raw)
    assert message.content is content
    assert (message.mail_from, message.received, message.uid, message.mailbox) == ("", 1000.0, 1, "INBOX")
    assert [copy.raw for copy in made.messages("eve@elsewhere.test")] == [message.raw]
    assert made.strangers() == ["eve@elsewhere.test"]
    assert made.messages("nobody@elsewhere.test") == []
    assert made.domains == {"example.test"}


def test_messages_of_an_account_are_oldest_first_over_all_mailboxes() -> None:
    made = store()
    clock = made.clock
    account = made.accounts[ALICE]
    account.mailboxes["Sent"].add(Message(b"2", received=clock.now() + 1))
    account.inbox.add(Message(b"3", received=clock.now() + 2))
    account.inbox.add(Message(b"1", received=clock.now()))
    assert [message.content for message in made.messages(ALICE)] == [b"1", b"2", b"3"]


def test_uidvalidity_differs_between_mailboxes() -> None:
    account = store().accounts[ALICE]
    assert len({mailbox.uidvalidity for mailbox in account.mailboxes.values()}) == 2


def test_watchers_are_told_what_happened() -> None:
    mailbox = Mailbox("INBOX", 1)
    told: list[tuple[str, list[bytes]]] = []
    mailbox.watchers.add(lambda box, what, messages: told.append((what, [each.content for each in messages])))
    first, second = mailbox.add(Message(b"1")), mailbox.add(Message(b"2"))
    mailbox.set_flags([first, second], lambda flags: flags | {"\\Seen"})
    mailbox.set_flags([first], lambda flags: flags | {"\\Seen"})
    mailbox.expunge([first])
    mailbox.expunge([first])
    assert told == [("exists", [b"1"]), ("exists", [b"2"]), ("flags", [b"1", b"2"]), ("expunged", [b"1"])]


@given(st.lists(st.sampled_from(["add", "flag", "expunge"]), max_size=40))
def test_uids_only_grow_and_mod_sequences_too(steps: list[str]) -> None:
    mailbox = Mailbox("INBOX", 1)
    seen: set[int] = set()
    for step in steps:
        before = mailbox.highestmodseq
        match step:
            case "add":
                message = mailbox.add(Message(b"x"))
                assert message.uid not in seen
                seen.add(message.uid)
                assert message.uid < mailbox.uidnext
            case "flag" if mailbox.messages:
                changed = mailbox.set_flags(mailbox.messages[-1:], lambda flags: flags ^ {"\\Flagged"})
                assert changed[0].modseq == mailbox.highestmodseq > before
            case "expunge" if mailbox.messages:
                gone = mailbox.expunge(mailbox.messages[:1])
                assert mailbox.by_uid(gone[0].uid) is None
                assert mailbox.highestmodseq > before
        uids = [each.uid for each in mailbox.messages]
        assert uids == sorted(uids)
        assert all(mailbox.by_uid(each.uid) is each for each in mailbox.messages)


def test_what_vanished_is_not_remembered_for_ever() -> None:
    mailbox = Mailbox("INBOX", 1)
    for _ in range(30_000):
        mailbox.add(Message(b"x"))
    while mailbox.messages:
        mailbox.expunge(mailbox.messages[:500])
    assert len(mailbox.vanished) <= 20_000
    assert mailbox.remembers > 30_000
    assert mailbox.vanished_since(mailbox.remembers) == [uid for _, uid in mailbox.vanished]
