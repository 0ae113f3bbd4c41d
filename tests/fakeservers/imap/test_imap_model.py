"""Whole sessions against a model of the mailboxes: two clients at once, every command cut into any pieces."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from imap_dialogue import Dialogue, Server, lines, with_imap

FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Work", "other")
NAMES = ("INBOX", "Archive", "Entw&APw-rfe", "a/b")
CONTENTS = st.binary(max_size=60).map(lambda octets: octets.replace(b"\0", b"0")) | st.sampled_from(
    [b"", b"Subject: one\r\n\r\nbody\r\n", b"{5}\r\n", b")\r\na1 OK\r\n", b"\r\n.\r\n", b"Subject: \xff\r\n\r\n\xe2"]
)
CLIENTS = st.integers(0, 1)
SETS = st.sets(st.sampled_from(FLAGS), max_size=3)
NUMBERS = st.lists(st.tuples(st.integers(1, 9), st.none() | st.integers(1, 9)), min_size=1, max_size=3)


@dataclass
class Mail:
    uid: int
    content: bytes
    flags: set[str]


@dataclass
class Box:
    mail: list[Mail] = field(default_factory=list)
    uidnext: int = 1

    def add(self, content: bytes, flags: set[str]) -> Mail:
        mail = Mail(self.uidnext, content, set(flags))
        self.uidnext += 1
        self.mail.append(mail)
        return mail


class Client:
    def __init__(self, dialogue: Dialogue) -> None:
        self.dialogue = dialogue
        self.box: Box | None = None
        self.read_only = False


class Session(RuleBasedStateMachine):
    """What is told after each command is what the model says; where the model says NO or BAD nothing changes."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server(with_imap(bad_commands=None))
        self.clients = [Client(self.server.login()) for _ in range(2)]
        self.boxes: dict[str, Box] = {"INBOX": Box()}
        self.tags = count(1)
        self.cuts: list[int] = []

    @initialize(cuts=st.lists(st.integers(1, 25), max_size=6))
    def choose_cuts(self, cuts: list[int]) -> None:
        self.cuts = cuts

    # --- talking

    def say(self, client: Client, command: bytes) -> tuple[list[str], str]:
        """The untagged lines and the tagged one; the command is sent in pieces."""
        tag = b"x%d" % next(self.tags)
        data = tag + b" " + command + b"\r\n"
        said = b""
        for cut in self.cuts:
            piece, data = data[:cut], data[cut:]
            said += client.dialogue.send(piece) if piece else b""
        said += client.dialogue.send(data)
        *untagged, last = said.decode("latin-1").split("\r\n")[:-1] or [""]
        assert last.startswith(tag.decode() + " "), said
        return untagged, last.partition(" ")[2]

    def sync(self, client: Client) -> None:
        """After NOOP the client has been told everything, so that model and view are one."""
        assert self.say(client, b"NOOP")[1].startswith("OK")

    def chosen(self, client: Client, numbers: list[tuple[int, int | None]], *, uid: bool) -> tuple[bytes, list[Mail]]:
        """A sequence set as it is written, and the messages that it means."""
        assert client.box is not None
        written, meant = [], set()
        for first, last in numbers:
            low, high = sorted((first, first if last is None else last))
            written.append(b"%d" % first if last is None else b"%d:%d" % (first, last))
            for place, mail in enumerate(client.box.mail, 1):
                if low <= (mail.uid if uid else place) <= high:
                    meant.add(place)
        return b",".join(written), [client.box.mail[place - 1] for place in sorted(meant)]

    def beyond(self, client: Client, numbers: list[tuple[int, int | None]]) -> bool:
        assert client.box is not None
        return any(max(first, last or 0) > len(client.box.mail) for first, last in numbers)

    # --- commands

    @rule(which=CLIENTS, name=st.sampled_from(NAMES), read_only=st.booleans())
    def select(self, which: int, name: str, read_only: bool) -> None:
        client = self.clients[which]
        untagged, tagged = self.say(client, (b"EXAMINE " if read_only else b"SELECT ") + name.encode())
        client.box = self.boxes.get(name)
        client.read_only = read_only
        if client.box is None:
            assert tagged.startswith("NO ")
            return
        assert tagged.startswith("OK [READ-ONLY]" if read_only else "OK [READ-WRITE]")
        assert f"* {len(client.box.mail)} EXISTS" in untagged
        assert any(f"[UIDNEXT {client.box.uidnext}]" in line for line in untagged)

    @rule(which=CLIENTS, close=st.booleans())
    def leave(self, which: int, close: bool) -> None:
        client = self.clients[which]
        if client.box is not None and close and not client.read_only:
            self.sync(client)
            client.box.mail = [mail for mail in client.box.mail if "\\Deleted" not in mail.flags]
        expected = "BAD" if client.box is None else "OK"
        assert self.say(client, b"CLOSE" if close else b"UNSELECT")[1].startswith(expected)
        client.box = None

    @rule(which=CLIENTS, name=st.sampled_from(NAMES[1:]))
    def create(self, which: int, name: str) -> None:
        tagged = self.say(self.clients[which], b"CREATE " + name.encode())[1]
        assert tagged.startswith("NO [ALREADYEXISTS]" if name in self.boxes else "OK")
        if name == "a/b":
            self.boxes.setdefault("a", Box())
        self.boxes.setdefault(name, Box())

    @rule(which=CLIENTS, name=st.sampled_from(NAMES), content=CONTENTS, flags=SETS)
    def append(self, which: int, name: str, content: bytes, flags: set[str]) -> None:
        command = b"APPEND %b (%b) {%d+}\r\n%b" % (name.encode(), " ".join(flags).encode(), len(content), content)
        tagged = self.say(self.clients[which], command)[1]
        if name not in self.boxes:
            assert tagged.startswith("NO [TRYCREATE]")
            return
        mail = self.boxes[name].add(content, flags)
        assert re.match(rf"OK \[APPENDUID \d+ {mail.uid}\]", tagged)

    @precondition(lambda self: any(client.box for client in self.clients))
    @rule(which=CLIENTS, numbers=NUMBERS, uid=st.booleans(), sign=st.sampled_from(["", "+", "-"]), flags=SETS)
    def store(self, which: int, numbers: list[tuple[int, int | None]], uid: bool, sign: str, flags: set[str]) -> None:
        client = self.clients[which]
        if client.box is None:
            return
        self.sync(client)
        written, meant = self.chosen(client, numbers, uid=uid)
        command = b"STORE %b %bFLAGS.SILENT (%b)" % (written, sign.encode(), " ".join(flags).encode())
        tagged = self.say(client, b"UID " + command if uid else command)[1]
        if not uid and self.beyond(client, numbers):
            assert tagged.startswith("BAD")
        elif client.read_only:
            assert tagged.startswith("NO [READ-ONLY]")
        else:
            assert tagged.startswith("OK")
            for mail in meant:
                mail.flags = mail.flags | flags if sign == "+" else mail.flags - flags if sign == "-" else set(flags)

    @precondition(lambda self: any(client.box for client in self.clients))
    @rule(
        which=CLIENTS,
        numbers=NUMBERS,
        peek=st.booleans(),
        part=st.none() | st.tuples(st.integers(0, 40), st.integers(1, 20)),
    )
    def fetch(
        self, which: int, numbers: list[tuple[int, int | None]], peek: bool, part: tuple[int, int] | None
    ) -> None:
        client = self.clients[which]
        if client.box is None:
            return
        self.sync(client)
        written, meant = self.chosen(client, numbers, uid=True)
        partial = b"<%d.%d>" % part if part else b""
        tag = b"f%d" % next(self.tags)
        said = client.dialogue.send(
            b"%b UID FETCH %b (BODY%b[]%b FLAGS)\r\n" % (tag, written, b".PEEK" if peek else b"", partial)
        )
        for mail in meant:
            if not peek and not client.read_only:
                mail.flags.add("\\Seen")
            octets = mail.content[part[0] : part[0] + part[1]] if part else mail.content
            key = b"BODY[]<%d>" % part[0] if part else b"BODY[]"
            place = client.box.mail.index(mail) + 1
            head = b"* %d FETCH (UID %d %b {%d}\r\n%b FLAGS (" % (place, mail.uid, key, len(octets), octets)
            assert said.startswith(head), (head, said)
            told, _, said = said[len(head) :].partition(b"))\r\n")
            assert set(told.decode().split()) - {"\\Recent"} == mail.flags
        assert re.match(rb"(\* FLAGS .*\r\n\* OK \[PERMANENT.*\r\n)?%b OK" % tag, said), said

    @precondition(lambda self: any(client.box for client in self.clients))
    @rule(which=CLIENTS, uid=st.booleans(), flag=st.sampled_from(FLAGS), no=st.booleans(), size=st.integers(0, 40))
    def search(self, which: int, uid: bool, flag: str, no: bool, size: int) -> None:
        client = self.clients[which]
        if client.box is None:
            return
        self.sync(client)
        key = flag[1:].upper() if flag[0] == "\\" else f"KEYWORD {flag}"
        program = f"{'UN' if no else ''}{key} OR LARGER {size} NOT SMALLER 10"
        untagged, tagged = self.say(client, f"{'UID ' if uid else ''}SEARCH {program}".encode())
        assert tagged.startswith("OK")
        expected = [
            str(mail.uid if uid else place)
            for place, mail in enumerate(client.box.mail, 1)
            if (flag in mail.flags) != no and (len(mail.content) > size or len(mail.content) >= 10)
        ]
        assert " ".join(["* SEARCH", *expected]) in untagged

    @precondition(lambda self: any(client.box for client in self.clients))
    @rule(which=CLIENTS, numbers=NUMBERS, name=st.sampled_from(NAMES), move=st.booleans())
    def transfer(self, which: int, numbers: list[tuple[int, int | None]], name: str, move: bool) -> None:
        client = self.clients[which]
        if client.box is None:
            return
        self.sync(client)
        written, meant = self.chosen(client, numbers, uid=True)
        untagged, tagged = self.say(client, b"UID %b %b %b" % (b"MOVE" if move else b"COPY", written, name.encode()))
        target = self.boxes.get(name)
        if move and client.read_only:
            assert tagged.startswith("NO [READ-ONLY]")
        elif target is None:
            assert tagged.startswith("NO [TRYCREATE]")
        else:
            assert tagged.startswith("OK")
            copies = [target.add(mail.content, mail.flags) for mail in meant]
            if move:
                gone = {id(mail) for mail in meant}
                client.box.mail = [mail for mail in client.box.mail if id(mail) not in gone]
                assert sum(line.endswith(" EXPUNGE") for line in untagged) == len(meant)
            assert bool(copies) == any("COPYUID" in line for line in [*untagged, tagged])

    @precondition(lambda self: any(client.box for client in self.clients))
    @rule(which=CLIENTS, numbers=st.none() | NUMBERS)
    def expunge(self, which: int, numbers: list[tuple[int, int | None]] | None) -> None:
        client = self.clients[which]
        if client.box is None:
            return
        self.sync(client)
        command, meant = b"EXPUNGE", client.box.mail
        if numbers is not None:
            written, meant = self.chosen(client, numbers, uid=True)
            command = b"UID EXPUNGE " + written
        untagged, tagged = self.say(client, command)
        if client.read_only:
            assert tagged.startswith("NO [READ-ONLY]")
            return
        gone = {id(mail) for mail in meant if "\\Deleted" in mail.flags}
        assert sum(line.endswith(" EXPUNGE") for line in untagged) == len(gone)
        client.box.mail = [mail for mail in client.box.mail if id(mail) not in gone]

    @rule(which=CLIENTS, junk=st.binary(max_size=30).filter(lambda octets: b"\n" not in octets and b"}" not in octets))
    def junk(self, which: int, junk: bytes) -> None:
        """What is no command changes nothing, and the next command is understood."""
        dialogue = self.clients[which].dialogue
        said = lines(dialogue.send(b"zz XNONE " + junk + b"\r\n"))
        assert said[-1].startswith("zz BAD")

    # --- what holds

    @invariant()
    def every_mailbox_is_as_the_model_says(self) -> None:
        for name, box in self.boxes.items():
            mailbox = self.server.mailbox({"Entw&APw-rfe": "Entwürfe"}.get(name, name))
            assert [(each.uid, each.content) for each in mailbox.messages] == [(m.uid, m.content) for m in box.mail]
            assert [set(each.flags) for each in mailbox.messages] == [mail.flags for mail in box.mail]
            assert mailbox.uidnext == box.uidnext

    @invariant()
    def status_counts_as_the_model_does(self) -> None:
        name, box = next(reversed(self.boxes.items()))
        untagged, _ = self.say(self.clients[0], f"STATUS {name} (MESSAGES UNSEEN UIDNEXT)".encode())
        unseen = sum("\\Seen" not in mail.flags for mail in box.mail)
        assert f"* STATUS {name} (MESSAGES {len(box.mail)} UNSEEN {unseen} UIDNEXT {box.uidnext})" in untagged


BOUNDED = settings(max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TestSession = Session.TestCase
TestSession.settings = BOUNDED


class LongSession(Session):
    pass


TestLongSession = pytest.mark.full(pytest.mark.timeout(900)(LongSession.TestCase))
TestLongSession.settings = settings(BOUNDED, max_examples=1000, stateful_step_count=60)
