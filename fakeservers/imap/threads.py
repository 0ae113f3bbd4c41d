"""Threads of messages (THREAD: RFC 5256 3): ORDEREDSUBJECT and REFERENCES."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fakeservers.imap.identity import message_ids
from fakeservers.imap.sorting import Subject, sent_moment, subject_of
from fakeservers.mailstore import Message

__all__ = ["ALGORITHMS", "Node", "written"]

Found = Sequence[tuple[int, Message]]
"""Numbers (sequence numbers or UIDs) and messages, in the mailbox's order."""


_NONE = Subject("", answers=False)


@dataclass(slots=True, eq=False)
class Node:
    """A message of a thread, or (without a number) the place of one that is not there."""

    number: int = 0
    subject: Subject = _NONE
    date: float = 0.0
    children: list[Node] = field(default_factory=list)
    parent: Node | None = None

    @property
    def order(self) -> tuple[float, int]:
        """By sent date, then by place; a missing message stands where its first child does."""
        node = self
        while not node.number and node.children:
            node = node.children[0]
        return node.date, node.number

    @property
    def topic(self) -> Subject:
        node = self
        while not node.number and node.children:
            node = node.children[0]
        return node.subject

    def adopt(self, child: Node) -> None:
        if child.parent is not None:
            child.parent.children.remove(child)
        child.parent = self
        self.children.append(child)

    def is_under(self, other: Node) -> bool:
        if not other.children:
            return self is other
        node: Node | None = self
        while node is not None:
            if node is other:
                return True
            node = node.parent
        return False


def _node(number: int, message: Message) -> Node:
    return Node(number, subject_of(message), sent_moment(message))


def ordered_subject(found: Found) -> list[Node]:
    """One thread for each base subject: the oldest message, and under it all others, by date."""
    threads: dict[str, Node] = {}
    for node in sorted((_node(*each) for each in found), key=lambda node: node.order):
        root = threads.setdefault(node.subject.base.casefold(), node)
        if root is not node:
            root.adopt(node)
    return sorted(threads.values(), key=lambda node: node.order)


def references(found: Found) -> list[Node]:
    """Threads by who answers whom; what belongs together by its subject alone is joined at the end."""
    root = Node()
    nodes = _linked(found)
    for node in nodes:
        if node.parent is None:
            root.adopt(node)
    _prune(root)
    root.children.sort(key=lambda node: node.order)
    _join_subjects(root)
    for node in _all(root):
        node.children.sort(key=lambda child: child.order)
    return root.children


def _linked(found: Found) -> list[Node]:
    """Steps 1 and 2: every message and every one that is referred to, each under the one before it."""
    known: dict[bytes, Node] = {}
    nodes: list[Node] = []

    def place(identifier: bytes) -> Node:
        node = known.get(identifier)
        if node is None:
            node = known[identifier] = Node()
            nodes.append(node)
        return node

    for number, message in found:
        named, reply_to, own = message_ids(message)
        chain = named or reply_to[:1]
        parent: Node | None = None
        for identifier in chain:
            node = place(identifier)
            if parent is not None and node.parent is None and not parent.is_under(node):
                parent.adopt(node)
            parent = node
        node = place(own[0]) if own else Node()
        if not own or node.number:
            # Without a Message-ID, or with another's: a message for itself.
            node = Node()
            nodes.append(node)
        fresh = _node(number, message)
        node.number, node.subject, node.date = number, fresh.subject, fresh.date
        if node.parent is not None:
            node.parent.children.remove(node)
            node.parent = None
        if parent is not None and not parent.is_under(node):
            parent.adopt(node)
    return nodes


def _prune(root: Node) -> None:
    """Step 3: a missing message makes room for its children, but at the root only for a single one."""
    for node in reversed(list(_all(root))):
        if node.number or node is root:
            continue
        parent = node.parent
        assert parent is not None
        if not node.children:
            parent.children.remove(node)
        elif parent is not root or len(node.children) == 1:
            at = parent.children.index(node)
            for child in node.children:
                child.parent = parent
            parent.children[at : at + 1] = node.children


def _join_subjects(root: Node) -> None:
    """Step 5: threads of one base subject become one."""
    table: dict[str, Node] = {}
    for node in root.children:
        topic = node.topic
        if not topic.base:
            continue
        known = table.setdefault(topic.base.casefold(), node)
        if known.number and known is not node and (not node.number or (known.topic.answers and not topic.answers)):
            table[topic.base.casefold()] = node
    for node in list(root.children):
        topic = node.topic
        known = table.get(topic.base.casefold(), node) if topic.base else node
        if known is node:
            continue
        if not known.number and not node.number:
            for child in list(node.children):
                known.adopt(child)
            root.children.remove(node)
        elif not known.number or (topic.answers and not known.topic.answers):
            known.adopt(node)
        else:
            both = Node()
            root.adopt(both)
            both.adopt(known)
            both.adopt(node)
            both.children.sort(key=lambda child: child.order)
            table[topic.base.casefold()] = both


def _all(root: Node) -> Iterator[Node]:
    """Parents before their children."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.children


def written(threads: Sequence[Node]) -> bytes:
    """thread-list = "(" thread-members / thread-nested ")": a chain stands in one list, a fork opens one for each."""
    out: list[str] = []
    waiting: list[Node | str] = list(reversed(threads))
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            out.append(node)
            continue
        out.append("(")
        chain = []
        while True:
            if node.number:
                chain.append(str(node.number))
            if len(node.children) != 1:
                break
            node = node.children[0]
        out.append(" ".join(chain))
        waiting.append(")")
        if node.children:
            if chain:
                out.append(" ")
            waiting += reversed(node.children)
    return "".join(out).encode()


ALGORITHMS: Mapping[str, Callable[[Found], list[Node]]] = {
    "ORDEREDSUBJECT": ordered_subject,
    "REFERENCES": references,
}
