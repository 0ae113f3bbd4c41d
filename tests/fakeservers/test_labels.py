"""Gmail's labels: new mail is put under them when somebody looks, and nobody can tell."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fakeservers.clock import Clock
from fakeservers.mailstore import Account, Mailbox, MailStore, Message

ALICE = "alice@example.test"
LAYOUT = [
    ("All", frozenset({"\\All"})), ("Starred", frozenset({"\\Flagged"})), ("Trash", frozenset({"\\Trash"})),
    ("Work", frozenset[str]()),
]  # fmt: skip


def gmail() -> tuple[MailStore, Account]:
    store = MailStore(Clock(1_700_000_000.0), mailboxes=LAYOUT, labels=True)
    return store, store.add_account(ALICE, "secret")


def deliver(store: MailStore, text: bytes) -> Message:
    (message,) = store.deliver(text, mail_from="", rcpt_to=(ALICE,))
    return message


def test_new_mail_waits_until_somebody_looks_at_the_mailboxes() -> None:
    store, account = gmail()
    message = deliver(store, b"one")
    assert account.boxes["All"].messages == []
    (copy,) = account.mailboxes["All"].messages
    assert copy.content is message.content
    assert copy.object_id == message.object_id != 0


def test_who_watches_a_mailbox_is_told_at_once() -> None:
    store, account = gmail()
    told: list[int] = []

    def watch(mailbox: Mailbox, what: str, messages: list[Message]) -> None:
        told.append(len(messages))

    account.mailboxes["All"].watchers.add(watch)
    deliver(store, b"one")
    assert told == [1]


def test_what_is_changed_before_anybody_has_looked() -> None:
    store, account = gmail()
    inbox = account.boxes["INBOX"]
    kept, gone = deliver(store, b"kept"), deliver(store, b"gone")
    inbox.set_flags([kept], lambda flags: flags | {"\\Flagged"})
    inbox.expunge([gone])
    assert [message.content for message in account.mailboxes["Starred"].messages] == [b"kept"]
    assert [message.content for message in account.mailboxes["All"].messages] == [b"kept", b"gone"]


def _state(account: Account) -> list[tuple[str, list[tuple[int, int, bytes, frozenset[str]]]]]:
    return [
        (name, [(each.uid, each.object_id, each.content, each.flags) for each in mailbox.messages])
        for name, mailbox in account.mailboxes.items()
    ]


@given(st.lists(st.sampled_from(["deliver", "star", "seen", "expunge", "trash", "label"]), max_size=12))
def test_waiting_makes_no_difference(steps: list[str]) -> None:
    (store, lazy), (other, eager) = gmail(), gmail()
    for number, step in enumerate(steps):
        for mail, account in ((store, lazy), (other, eager)):
            inbox = account.boxes["INBOX"]
            first = inbox.messages[:1]
            match step:
                case "deliver":
                    deliver(mail, b"%d" % number)
                case "star":
                    inbox.set_flags(first, lambda flags: flags | {"\\Flagged"})
                case "seen":
                    inbox.set_flags(first, lambda flags: flags | {"\\Seen"})
                case "expunge":
                    inbox.expunge(first)
                case _ if account.labels is not None:
                    place = account.boxes["Trash" if step == "trash" else "Work"]
                    account.labels.label(first[0], [place]) if first else None
        assert eager.mailboxes is eager.boxes, "looking at them"
    assert _state(lazy) == _state(eager)
