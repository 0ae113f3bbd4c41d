from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from fakeservers.clock import Clock
from fakeservers.maildata import MailData, MailDataError
from fakeservers.mailstore import Account, MailStore, Message

ALICE = "alice@example.test"


def store(*addresses: str) -> MailStore:
    made = MailStore(Clock(1_700_000_000), mailboxes=[("Sent", frozenset({"\\Sent"}))])
    for address in addresses or (ALICE,):
        made.add_account(address, "secret")
    return made


def account(mail: MailStore) -> Account:
    found = mail.account(ALICE)
    assert found is not None
    return found


def reloaded(folder: Path, *addresses: str) -> MailStore:
    fresh = store(*addresses)
    with MailData(folder) as data:
        data.load(fresh)
    return fresh


def test_everything_of_a_message_comes_back(tmp_path: Path) -> None:
    mail = store()
    alice = account(mail)
    content = b"Subject: \xff\0\r\n\r\nbare\nlf\r\n"
    mail.deliver(content, mail_from="x@y.test", rcpt_to=(ALICE,), trace=b"Received: z\r\n", parameters=("SMTPUTF8",))
    mail.deliver(b"two", mail_from=None, rcpt_to=(ALICE,))
    gone, kept = mail.deliver(b"three", mail_from="", rcpt_to=(ALICE,))[0], alice.inbox.messages[0]
    alice.inbox.set_flags([kept], lambda flags: flags | {"\\Seen", "$Label"})
    alice.inbox.expunge([gone])
    alice.inbox.annotations["/private/comment"] = b"\xff\0"
    mail.create(alice, "Projects/New", frozenset({"\\Flagged"}), subscribe=False)
    alice.mailboxes["Sent"].add(Message(b"draft", zone=120, received=5.5))
    with MailData(tmp_path) as data:
        data.save(data.snapshot(mail))
    again = account(reloaded(tmp_path))
    for name in ("INBOX", "Sent", "Projects/New"):
        before, after = alice.mailboxes[name], again.mailboxes[name]
        for part in (
            "uidvalidity",
            "uidnext",
            "highestmodseq",
            "unseen",
            "octets",
            "attributes",
            "recent_uid",
            "annotations",
        ):
            assert getattr(after, part) == getattr(before, part), (name, part)
        parts = ("content", "trace", "mail_from", "rcpt_to", "uid", "flags", "received", "modseq", "parameters", "zone")
        rows = [[[getattr(one, part) for part in parts] for one in box.messages] for box in (before, after)]
        assert rows[0] == rows[1]
    assert set(again.subscriptions) == set(alice.subscriptions)


def test_only_what_changed_is_written_again_and_what_is_gone_goes(tmp_path: Path) -> None:
    mail = store()
    alice = account(mail)
    with MailData(tmp_path) as data:
        data.load(mail)
        data.save(data.snapshot(mail))
        assert data.snapshot(mail) == []
        mail.create(alice, "Old")
        mail.deliver(b"one", mail_from=None, rcpt_to=(ALICE,))
        assert [one.name for one in data.snapshot(mail)] == ["INBOX", "Old"]
        data.save(data.snapshot(mail))
        del alice.mailboxes["Old"]
        data.save(data.snapshot(mail))
        assert data.snapshot(mail) == []
    assert set(account(reloaded(tmp_path)).mailboxes) == {"INBOX", "Sent"}


def test_a_new_mailbox_never_gets_an_old_uidvalidity(tmp_path: Path) -> None:
    mail = store()
    for _ in range(5):
        mail.next_uidvalidity()
    last = mail.create(account(mail), "Last").uidvalidity
    with MailData(tmp_path) as data:
        data.save(data.snapshot(mail))
    again = reloaded(tmp_path)
    assert again.create(account(again), "Newer").uidvalidity > last


def test_an_account_that_this_run_lacks_keeps_its_mail(tmp_path: Path) -> None:
    mail = store(ALICE, "bob@example.test")
    mail.deliver(b"for bob", mail_from=None, rcpt_to=("bob@example.test",))
    with MailData(tmp_path) as data:
        data.save(data.snapshot(mail))
    alone = store(ALICE)
    with MailData(tmp_path) as data:
        data.load(alone)
        alone.deliver(b"for alice", mail_from=None, rcpt_to=(ALICE,))
        data.save(data.snapshot(alone))
    both = reloaded(tmp_path, ALICE, "bob@example.test")
    assert [message.raw for message in both.messages("bob@example.test")] == [b"for bob"]
    assert [message.raw for message in both.messages(ALICE)] == [b"for alice"]


def test_a_folder_serves_one_at_a_time(tmp_path: Path) -> None:
    with MailData(tmp_path), pytest.raises(MailDataError, match="another server is using it"):
        MailData(tmp_path)
    with MailData(tmp_path):
        pass


def test_what_is_no_such_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(MailDataError, match="cannot be used"):
        MailData(tmp_path / "file")
    (tmp_path / "mail.sqlite3").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(MailDataError, match="not a database"):
        MailData(tmp_path)


def test_a_later_format_is_left_alone(tmp_path: Path) -> None:
    with MailData(tmp_path):
        pass
    database = sqlite3.connect(tmp_path / "mail.sqlite3")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(MailDataError, match=r"another version of mailrig \(format 99\)"):
        MailData(tmp_path)


def test_the_file_is_its_owners_alone_and_holds_no_password(tmp_path: Path) -> None:
    mail = store()
    account(mail).password = "a-very-secret-one"
    with MailData(tmp_path) as data:
        data.save(data.snapshot(mail))
    file = tmp_path / "mail.sqlite3"
    assert file.stat().st_mode & 0o077 == 0
    assert b"a-very-secret-one" not in file.read_bytes()


def labelled() -> MailStore:
    made = MailStore(Clock(1_700_000_000), mailboxes=[("All", frozenset({"\\All"}))], labels=True)
    made.add_account(ALICE, "secret")
    return made


def test_labels_come_back_without_doubling_anything(tmp_path: Path) -> None:
    mail = labelled()
    alice = account(mail)
    work = mail.create(alice, "Work")
    for _ in range(2):
        mail.deliver(b"the same", mail_from=None, rcpt_to=(ALICE,))
    assert alice.labels is not None
    alice.labels.label(alice.inbox.messages[1], [work])
    with MailData(tmp_path) as data:
        data.save(data.snapshot(mail))
    fresh = labelled()
    with MailData(tmp_path) as data:
        data.load(fresh)
    again = account(fresh)
    assert {name: len(box.messages) for name, box in again.mailboxes.items()} == {"INBOX": 2, "All": 2, "Work": 1}
    assert again.labels is not None
    first, second = again.inbox.messages
    assert len(again.labels.having(second)) + len(again.labels.having(first)) == 5
    again.inbox.set_flags([first, second], lambda flags: flags | {"\\Seen"})
    assert all("\\Seen" in each.flags for each in again.mailboxes["All"].messages)
    assert all("\\Seen" in each.flags for each in again.mailboxes["Work"].messages)
    assert len(fresh.messages(ALICE)) == 3
