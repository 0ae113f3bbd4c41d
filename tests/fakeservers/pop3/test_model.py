"""Whole sessions against a model of the maildrop: two clients that want it, mail that comes meanwhile, lost lines."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from .dialogue import ALICE, Dialogue, deliver, fake_host

CONTENTS = st.lists(
    st.sampled_from([b".", b"..", b"\r\n", b"\n", b"\r", b"Subject: a", b"\0", b"\xff", b"+OK", b"-ERR no"]), max_size=8
).map(b"".join)
CLIENTS = st.integers(0, 1)
NUMBERS = st.integers(0, 7)


def as_sent(content: bytes) -> bytes:
    """A message as a multi-line response has to give it back: its octets, ended by CRLF."""
    return content if content.endswith(b"\r\n") or not content else content + b"\r\n"


def multi_line(content: bytes, body: int | None) -> bytes:
    """The lines of a message, of its body so many, byte-stuffed and ended."""
    *lines, last = content.split(b"\r\n")
    lines += [last] if last else []
    if body is not None and b"" in lines:
        del lines[lines.index(b"") + 1 + body :]
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines) + b".\r\n"


class Client:
    def __init__(self, dialogue: Dialogue) -> None:
        self.dialogue = dialogue
        self.drop: list[bytes] | None = None
        """The messages of the session, in the order of their numbers; None before login."""
        self.deleted: set[int] = set()

    def live(self) -> dict[int, bytes]:
        return {n: content for n, content in enumerate(self.drop or [], 1) if n not in self.deleted}


class Maildrops(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.host = fake_host(bad_commands=None)
        self.clients = [Client(Dialogue(self.host)) for _ in range(2)]
        self.mail: list[bytes] = []
        self.cuts: list[int] = []

    @initialize(cuts=st.lists(st.integers(1, 9), max_size=4))
    def choose_cuts(self, cuts: list[int]) -> None:
        self.cuts = cuts

    def say(self, client: Client, command: str) -> bytes:
        data = command.encode() + b"\r\n"
        places = [0, *(cut for cut in sorted(set(self.cuts)) if cut < len(data)), len(data)]
        return b"".join(client.dialogue.give(data[start:end]) for start, end in pairwise(places))

    def transaction(self, which: int) -> Client | None:
        client = self.clients[which]
        if client.drop is None:
            assert self.say(client, "STAT").startswith(b"-ERR")
            return None
        return client

    # --- what happens

    @rule(content=CONTENTS)
    def mail_comes(self, content: bytes) -> None:
        deliver(self.host, content)
        self.mail.append(content)

    @rule(which=CLIENTS, right=st.booleans())
    def log_in(self, which: int, right: bool) -> None:
        client = self.clients[which]
        if client.drop is not None:
            assert self.say(client, f"USER {ALICE}").startswith(b"-ERR")
            return
        assert self.say(client, f"USER {ALICE}").startswith(b"+OK")
        said = self.say(client, f"PASS {'secret' if right else 'wrong'}")
        if not right:
            assert said.startswith(b"-ERR [AUTH]")
        elif any(each.drop is not None for each in self.clients):
            assert said.startswith(b"-ERR [IN-USE]")
        else:
            assert said.startswith(b"+OK")
            client.drop, client.deleted = list(self.mail), set()

    @rule(which=CLIENTS)
    def stat_and_list(self, which: int) -> None:
        if (client := self.transaction(which)) is None:
            return
        live = {number: len(as_sent(content)) for number, content in client.live().items()}
        assert self.say(client, "STAT").split(b"\r\n")[0].split()[:3] == [
            b"+OK", b"%d" % len(live), b"%d" % sum(live.values()),
        ]  # fmt: skip
        _, *listed, dot, end = self.say(client, "LIST").split(b"\r\n")
        assert (dot, end) == (b".", b"")
        assert listed == [b"%d %d" % entry for entry in live.items()]

    @rule(which=CLIENTS)
    def unique_ids(self, which: int) -> None:
        if (client := self.transaction(which)) is None:
            return
        _, *listed, _, _ = self.say(client, "UIDL").split(b"\r\n")
        assert [int(line.split()[0]) for line in listed] == list(client.live())
        ids = [line.split()[1] for line in listed]
        assert len(set(ids)) == len(ids)
        assert all(1 <= len(each) <= 70 and all(0x21 <= octet <= 0x7E for octet in each) for each in ids)

    @rule(which=CLIENTS, number=NUMBERS, lines=st.none() | st.integers(0, 3))
    def retrieve(self, which: int, number: int, lines: int | None) -> None:
        if (client := self.transaction(which)) is None:
            return
        said = self.say(client, f"RETR {number}" if lines is None else f"TOP {number} {lines}")
        content = client.live().get(number)
        if content is None:
            assert said.startswith(b"-ERR")
            return
        status, _, data = said.partition(b"\r\n")
        assert status.startswith(b"+OK")
        assert data == multi_line(content, lines)

    @rule(which=CLIENTS, number=NUMBERS)
    def delete(self, which: int, number: int) -> None:
        if (client := self.transaction(which)) is None:
            return
        known = number in client.live()
        assert self.say(client, f"DELE {number}").startswith(b"+OK" if known else b"-ERR")
        if known:
            client.deleted.add(number)

    @rule(which=CLIENTS)
    def reset(self, which: int) -> None:
        if (client := self.transaction(which)) is not None:
            assert self.say(client, "RSET").startswith(b"+OK")
            client.deleted = set()

    @rule(which=CLIENTS, junk=st.binary(max_size=30).filter(lambda octets: b"\n" not in octets))
    def junk(self, which: int, junk: bytes) -> None:
        assert self.clients[which].dialogue.give(b"XNONE" + junk + b"\r\n").startswith(b"-ERR")

    @rule(which=CLIENTS, lost=st.booleans())
    def leave(self, which: int, lost: bool) -> None:
        """QUIT makes deletions real; a connection that is lost does not."""
        client = self.clients[which]
        if not lost:
            assert self.say(client, "QUIT").startswith(b"+OK")
            assert client.dialogue.ended()
            kept = client.live()
            if client.drop is not None:
                self.mail = [*kept.values(), *self.mail[len(client.drop) :]]
        client.dialogue.drop()
        self.clients[which] = Client(Dialogue(self.host))

    # --- what holds

    @invariant()
    def the_mailbox_is_as_the_model_says(self) -> None:
        assert [message.content for message in self.host.messages(ALICE)] == self.mail

    @invariant()
    def one_session_holds_the_maildrop(self) -> None:
        account = self.host.store.account(ALICE)
        assert account is not None
        assert account.maildrop_locked == any(client.drop is not None for client in self.clients)


BOUNDED = settings(max_examples=50, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TestMaildrops = Maildrops.TestCase
TestMaildrops.settings = BOUNDED


class LongMaildrops(Maildrops):
    pass


TestLongMaildrops = pytest.mark.full(pytest.mark.timeout(900)(LongMaildrops.TestCase))
TestLongMaildrops.settings = settings(BOUNDED, max_examples=2000, stateful_step_count=60)
