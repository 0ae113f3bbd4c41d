"""A client that keeps a copy of the mailbox by CONDSTORE and QRESYNC alone (RFC 7162): the copy is never wrong."""

from __future__ import annotations

import re

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from imap_dialogue import Dialogue, Server, with_imap

NUMBERS = st.integers(1, 12)
FLAGS = st.sampled_from(["\\Seen", "\\Deleted", "\\Flagged", "work"])


class Copy:
    """UIDs with their flags, the mod-sequence up to which they are right, and no look into the server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.flags: dict[int, set[str]] = {}
        self.modseq = self.told = 0
        self.reached = 0
        """All messages up to this UID were fetched; beyond it some may have been, as a message that was read."""
        self.validity = "1"
        self.start(known=False)

    def start(self, *, known: bool, some: bool = False) -> None:
        """Connect anew and ask for what was missed."""
        self.dialogue: Dialogue = self.server.login()
        assert self.dialogue.ok("ENABLE QRESYNC")
        uids = ",".join(map(str, sorted(self.flags)))
        match = ""
        if some and self.flags:
            # The first half, as message sequence numbers and UIDs.
            half = sorted(self.flags)[: len(self.flags) // 2 + 1]
            match = f" ({','.join(str(seq + 1) for seq in range(len(half)))} {','.join(map(str, half))})"
        resync = f" (QRESYNC ({self.validity} {self.modseq}{' ' + uids if uids else ''}{match if uids else ''}))"
        self.tell(f"SELECT INBOX{resync if known else ''}")
        if not known:
            self.tell("UID FETCH 1:* (FLAGS)")
        self.settle()

    def settle(self) -> None:
        """What may be remembered: after NOOP no expunge is outstanding, so nothing older can still come."""
        # New messages are told as EXISTS, which is no data to keep.
        self.tell("NOOP")
        self.tell(f"UID FETCH {self.reached + 1}:* (FLAGS)")
        self.reached = max(self.flags, default=0)
        self.modseq = max(self.modseq, self.told)

    def tell(self, command: str) -> str:
        # (A literal goes on in the next line.)
        answer = re.split(r"\n(?=\* |OK |NO |BAD )", "\n".join(self.dialogue.command(command)))
        for line in answer:
            if (found := re.match(r"\* VANISHED (?:\(EARLIER\) )?([\d:,]+)", line)) is not None:
                for first, _, last in (part.partition(":") for part in found[1].split(",")):
                    for gone in range(int(first), int(last or first) + 1):
                        self.flags.pop(gone, None)
            elif re.match(r"\* \d+ FETCH", line):
                uid = re.search(r"UID (\d+)", line)
                flags = re.search(r"FLAGS \(([^)]*)\)", line)
                assert uid is not None, line
                if flags is not None:
                    self.flags[int(uid[1])] = set(flags[1].split()) - {"\\Recent"}
            assert " EXPUNGE" not in line or not line.startswith("* "), line
            for code in (r"MODSEQ \((\d+)\)", r"HIGHESTMODSEQ (\d+)\]"):
                if (found := re.search(code, line)) is not None:
                    self.told = max(self.told, int(found[1]))
            if (found := re.search(r"UIDVALIDITY (\d+)", line)) is not None:
                self.validity = found[1]
        return answer[-1]


class Resync(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.server = Server(with_imap(bad_commands=None))
        self.server.fill(*(b"x" * size for size in range(6)))
        self.other = self.server.login("INBOX")
        self.copy = Copy(self.server)

    @rule(count=st.integers(1, 3))
    def mail_comes(self, count: int) -> None:
        for _ in range(count):
            assert self.other.ok("APPEND INBOX {1+}\r\nx")

    @rule(number=NUMBERS, flag=FLAGS, sign=st.sampled_from("+-"))
    def the_other_stores(self, number: int, flag: str, sign: str) -> None:
        self.other.command(f"UID STORE {number}:{number + 1} {sign}FLAGS ({flag})")

    @rule(number=NUMBERS)
    def the_other_expunges(self, number: int) -> None:
        self.other.command(f"UID STORE {number} +FLAGS.SILENT (\\Deleted)")
        self.other.command("EXPUNGE")

    @rule(number=NUMBERS, flag=FLAGS, sign=st.sampled_from("+-"), silent=st.booleans(), uid=st.booleans())
    def the_copy_stores(self, number: int, flag: str, sign: str, silent: bool, uid: bool) -> None:
        self.copy.settle()
        known = sorted(self.copy.flags)
        if number > len(known):
            return
        there = known[number - 1]
        item = f"{sign}FLAGS{'.SILENT' if silent else ''} ({flag})"
        assert self.copy.tell(f"UID STORE {there} {item}" if uid else f"STORE {number} {item}").startswith("OK")
        if silent:
            change = {flag}
            kept = self.copy.flags[there]
            self.copy.flags[there] = kept | change if sign == "+" else kept - change

    @rule(number=NUMBERS)
    def the_copy_reads(self, number: int) -> None:
        self.copy.tell(f"UID FETCH {number} (BODY[])")

    @rule(close=st.booleans())
    def the_copy_expunges(self, close: bool) -> None:
        self.copy.settle()
        if not close:
            self.copy.tell("EXPUNGE")
            return
        self.copy.flags = {uid: flags for uid, flags in self.copy.flags.items() if "\\Deleted" not in flags}
        self.copy.tell("CLOSE")
        self.copy.modseq = max(self.copy.modseq, self.copy.told)
        self.copy.dialogue.session.closed()
        self.copy.start(known=True)
        self.the_copy_is_right()

    @rule(some=st.booleans(), meanwhile=st.lists(st.tuples(NUMBERS, st.booleans()), max_size=4))
    def the_connection_is_lost(self, some: bool, meanwhile: list[tuple[int, bool]]) -> None:
        self.copy.dialogue.session.closed()
        for number, gone in meanwhile:
            if gone:
                self.the_other_expunges(number)
            else:
                self.the_other_stores(number, "\\Flagged", "+")
        self.copy.start(known=True, some=some)
        self.the_copy_is_right()

    @rule()
    def the_copy_is_right(self) -> None:
        self.copy.settle()
        there = {message.uid: set(message.flags) for message in self.server.mailbox().messages}
        assert self.copy.flags == there


TestResync = Resync.TestCase
TestResync.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
