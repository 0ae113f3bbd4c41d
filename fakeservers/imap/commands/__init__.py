"""The commands, one file per area, and the table of them all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakeservers.imap.command import Command

__all__ = ["LACKED", "commands"]

LACKED: Mapping[str, str] = {
    "GETACL": "ACL",
    "SETACL": "ACL",
    "DELETEACL": "ACL",
    "LISTRIGHTS": "ACL",
    "MYRIGHTS": "ACL",
    "GETMETADATA": "METADATA",
    "SETMETADATA": "METADATA",
    "NOTIFY": "NOTIFY",
    "COMPRESS": "COMPRESS=DEFLATE",
    "XYZZY": "XYZZY",
}
"""Commands that are not built, and the capability that offers them: used all the same, the run ends in `error`."""


def commands() -> Mapping[str, type[Command]]:
    """Every command by its name."""
    from fakeservers.imap.commands import any, idling, listing, login, mailboxes, messages, quota, searching, selecting

    kinds: list[type[Command]] = [
        any.Capability, any.Id, any.Logout, any.Noop,
        idling.Enable, idling.Idle,
        listing.List, listing.Lsub, listing.Namespace, listing.Status, listing.Xlist,
        quota.GetQuota, quota.GetQuotaRoot, quota.SetQuota,
        login.Authenticate, login.Login, login.StartTlsCommand,
        mailboxes.Create, mailboxes.Delete, mailboxes.Rename, mailboxes.Subscribe, mailboxes.Unsubscribe,
        messages.Append, messages.Copy, messages.Fetch, messages.Move, messages.Store,
        searching.Search,
        selecting.Check, selecting.Close, selecting.Examine, selecting.Expunge, selecting.Select, selecting.Unselect,
    ]  # fmt: skip
    return {kind.name: kind for kind in kinds}
