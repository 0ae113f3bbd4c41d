"""What the rules that matched at one point want together, and the actions that carry it out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

from fakeservers.actions import Action, Cut, End, Ending, Pace, Send, Wait
from fakeservers.acts import Act, Broken, TlsTerms

__all__ = ["Effect", "unescape"]


@dataclass(slots=True)
class Effect:
    """What the matching rules want at this point, merged; an earlier rule's word stands."""

    rule: str
    acts: list[Act]

    @property
    def reply(self) -> Act | None:
        """The act that says something instead of the server, if any."""
        return next((act for act in self.acts if act.reply is not None), None)

    @property
    def ending(self) -> Ending | None:
        return next((act.then for act in self.acts if act.then != "continue"), None)

    @property
    def deliver(self) -> bool | None:
        return next((act.deliver for act in self.acts if act.deliver is not None), None)

    @property
    def certificate(self) -> str | None:
        return next((act.certificate for act in self.acts if act.certificate is not None), None)

    @property
    def handshake(self) -> str | None:
        return next((act.handshake for act in self.acts if act.handshake is not None), None)

    @property
    def tls(self) -> TlsTerms | None:
        return next((act.tls for act in self.acts if act.tls is not None), None)

    @property
    def bandwidth(self) -> int | None:
        return next((act.bandwidth for act in self.acts if act.bandwidth is not None), None)

    @property
    def client_certificate(self) -> Literal["optional", "required"] | None:
        return next((act.client_certificate for act in self.acts if act.client_certificate is not None), None)

    @property
    def manners(self) -> dict[str, bool | str | int]:
        return {name: value for act in reversed(self.acts) for name, value in act.manners.items()}

    @property
    def untagged(self) -> list[str]:
        return [line for act in self.acts if act.untagged is not None for line in act.untagged.splitlines()]

    def capabilities(self, offered: Sequence[str]) -> list[str]:
        for act in self.acts:
            if act.capabilities is not None:
                offered = act.capabilities.apply(offered)
        return list(offered)

    def around(self, answer: bytes, *, secret: bool = False) -> list[Action]:
        """The actions that send `answer` the way the rules want it: waits, segments, truncation, and the end."""
        actions: list[Action] = []
        delay = sum(act.delay for act in self.acts)
        if delay:
            actions.append(Wait(delay))
        for act in self.acts:
            if act.append is not None:
                answer += unescape(act.append)
            if act.truncate is not None:
                answer = answer[: act.truncate]
        if answer:
            actions.append(Send(answer, self._segments(answer), self.rule, secret))
        for act in self.acts:
            if act.cut is not None:
                broken = act.cut if isinstance(act.cut, Broken) else Broken(after=act.cut)
                actions.append(Cut(broken.after, broken.how, self.rule))
        if self.ending is not None:
            actions.append(End(self.ending, self.rule))
        return actions

    def _segments(self, answer: bytes) -> Pace | None:
        for act in self.acts:
            if act.split is not None or act.hold or act.every:
                positions: tuple[int, ...] = ()
                if isinstance(act.split, list):
                    positions = tuple(cut if cut >= 0 else len(answer) + cut for cut in act.split)
                elif act.split == "lines":
                    positions = tuple(match.end() for match in re.finditer(rb"\n", answer))
                step = 1 if act.split == "octets" or (act.split is None and act.every) else 0
                return Pace(positions, step, act.every, inf if act.hold is True else act.hold)
        return None


def unescape(text: str) -> bytes:
    r"""Bytes of a text with \r, \n, \t, \0, \xNN and \\ escapes."""
    simple = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
    out = bytearray()
    for plain, escape, code in re.findall(r"([^\\]+)|\\(?:x([0-9a-fA-F]{2})|(.))", text, re.DOTALL):
        if plain:
            out += plain.encode()
        elif escape:
            out.append(int(escape, 16))
        else:
            out += simple.get(code, b"\\" + code.encode())
    return bytes(out)
