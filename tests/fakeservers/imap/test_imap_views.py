"""Several sessions on one mailbox: what each client can work out from what it is told is what the server means."""

from __future__ import annotations

import re

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from imap_dialogue import Dialogue, Server, with_imap

SESSIONS = st.integers(0, 2)
NUMBERS = st.integers(1, 12)
FLAGS = st.sampled_from(["\\Seen", "\\Deleted", "\\Flagged", "work"])


class Client:
    """Keeps UIDs and flags by sequence number as a client would: from untagged responses alone."""

    def __init__(self, dialogue: Dialogue, *, resync: bool = False) -> None:
        self.dialogue = dialogue
        self.uids: list[int | None] = []
        self.idling = False
        self.resync = resync
        if resync:
            dialogue.command("ENABLE QRESYNC")
        self.tell("SELECT INBOX")
        self.tell("FETCH 1:* (UID)")

    def tell(self, command: str, *, expunges: bool = True) -> str:
        answer = self.dialogue.command(command)
        for line in answer:
            self.hear(line, expunges=expunges)
        return answer[-1]

    def hear(self, line: str, *, expunges: bool = True) -> None:
        if match := re.match(r"\* (\d+) EXISTS", line):
            count = int(match[1])
            assert count >= len(self.uids), "EXISTS must not shrink the mailbox"
            self.uids += [None] * (count - len(self.uids))
        elif match := re.match(r"\* VANISHED ([\d:,]+)", line):
            assert expunges, "VANISHED during FETCH, STORE or SEARCH"
            for first, _, last in (part.partition(":") for part in match[1].split(",")):
                for uid in range(int(first), int(last or first) + 1):
                    del self.uids[self.place(uid)]
        elif match := re.match(r"\* (\d+) EXPUNGE", line):
            assert not self.resync, "EXPUNGE after ENABLE QRESYNC"
            assert expunges, "EXPUNGE during FETCH, STORE or SEARCH"
            del self.uids[int(match[1]) - 1]
        elif match := re.match(r"\* (\d+) FETCH \(UID (\d+)", line):
            place, uid = int(match[1]) - 1, int(match[2])
            assert self.uids[place] in (None, uid), "a sequence number changed its message"
            self.uids[place] = uid
        elif match := re.match(r"\* (\d+) FETCH", line):
            assert int(match[1]) <= len(self.uids)

    def place(self, uid: int) -> int:
        """Where a UID stands, or must stand as UIDs ascend: before the first known one that is greater."""
        if uid in self.uids:
            return self.uids.index(uid)
        place = next((place for place, known in enumerate(self.uids) if (known or 0) > uid), len(self.uids)) - 1
        assert self.uids[place] is None, "VANISHED of a UID that this client was never told of"
        return place


class Views(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.server = Server(with_imap(bad_commands=None))
        self.server.fill(*(b"x" * size for size in range(8)))
        self.clients = [Client(self.server.login(), resync=number == 2) for number in range(3)]

    def ready(self, which: int) -> Client:
        client = self.clients[which]
        if client.idling:
            self.stop_idling(which)
        return client

    @rule(which=SESSIONS)
    def append(self, which: int) -> None:
        assert self.ready(which).tell("APPEND INBOX {1+}\r\nx").startswith("OK")

    @rule(which=SESSIONS, number=NUMBERS, flag=FLAGS, sign=st.sampled_from("+-"), silent=st.booleans())
    def store(self, which: int, number: int, flag: str, sign: str, silent: bool) -> None:
        item = "FLAGS.SILENT" if silent else "FLAGS"
        client = self.ready(which)
        uid = client.uids[number - 1] if number <= len(client.uids) else 0
        answer = client.tell(f"STORE {number} {sign}{item} ({flag})", expunges=False).split(" ")
        if uid == 0:
            assert answer[0] == "BAD"
        elif uid is None:
            assert answer[0] in ("OK", "NO")
        else:
            there = any(message.uid == uid for message in self.server.mailbox().messages)
            assert answer[0] == ("OK" if there or silent else "NO"), "RFC 2180 4.2"
            assert there or answer[1] == "[EXPUNGEISSUED]"

    @rule(which=SESSIONS, uids=st.sets(NUMBERS, min_size=2))
    def delete(self, which: int, uids: set[int]) -> None:
        wanted = ",".join(map(str, uids))
        self.ready(which).tell(f"UID STORE {wanted} +FLAGS.SILENT (\\Deleted)", expunges=False)

    @rule(which=SESSIONS)
    def fetch(self, which: int) -> None:
        self.ready(which).tell("FETCH 1:* (UID)", expunges=False)

    @rule(which=SESSIONS, number=NUMBERS)
    def search(self, which: int, number: int) -> None:
        self.ready(which).tell(f"SEARCH OR DELETED {number}", expunges=False)

    @rule(which=SESSIONS)
    def expunge(self, which: int) -> None:
        self.ready(which).tell("EXPUNGE")

    @rule(which=SESSIONS, number=NUMBERS)
    def uid_expunge(self, which: int, number: int) -> None:
        self.ready(which).tell(f"UID EXPUNGE {number}:{number + 2}")

    @rule(which=SESSIONS, number=NUMBERS)
    def move(self, which: int, number: int) -> None:
        self.ready(which).tell(f"UID MOVE {number} INBOX")

    @rule(which=SESSIONS)
    def idle(self, which: int) -> None:
        client = self.ready(which)
        client.dialogue.woken = 0
        for line in client.dialogue.command("IDLE")[:-1]:
            client.hear(line)
        client.idling = True

    def stop_idling(self, which: int) -> None:
        client = self.clients[which]
        said = client.dialogue.send("DONE\r\n").decode().split("\r\n")
        client.idling = False
        for line in said:
            client.hear(line)

    @rule(which=SESSIONS)
    def noop(self, which: int) -> None:
        client = self.ready(which)
        client.tell("NOOP")
        client.tell("FETCH 1:* (UID)", expunges=False)
        assert client.uids == [message.uid for message in self.server.mailbox().messages]

    @invariant()
    def idlers_know_everything(self) -> None:
        for client in self.clients:
            for line in client.dialogue.stirred() if client.idling else []:
                client.hear(line)
            if client.idling:
                assert len(client.uids) == len(self.server.mailbox().messages)

    @invariant()
    def counts_are_right(self) -> None:
        mailbox = self.server.mailbox()
        messages = mailbox.messages
        assert mailbox.unseen == sum("\\Seen" not in message.flags for message in messages)
        assert mailbox.deleted == sum("\\Deleted" in message.flags for message in messages)
        assert mailbox.octets == sum(message.size for message in messages)
        first = next((place for place, message in enumerate(messages) if "\\Seen" not in message.flags), None)
        assert mailbox.first_unseen() == first


TestViews = Views.TestCase
TestViews.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
