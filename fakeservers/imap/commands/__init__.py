"""The commands, one file per area, and the table of them all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakeservers.imap.command import Command

__all__ = ["LACKED", "commands"]

LACKED: Mapping[str, str] = {"XYZZY": "XYZZY"}
"""Commands that are not built, and the capability that offers them: used all the same, the run ends in `error`."""


def commands() -> Mapping[str, type[Command]]:
    """Every command by its name."""
    from fakeservers.imap.commands import (
        acl,
        any,
        appending,
        compressing,
        idling,
        listing,
        login,
        mailboxes,
        messages,
        metadata,
        notifying,
        quota,
        searching,
        selecting,
        sorting,
    )  # fmt: skip

    kinds: list[type[Command]] = [
        acl.DeleteAcl, acl.GetAcl, acl.ListRights, acl.MyRights, acl.SetAcl,
        any.Capability, any.Id, any.Logout, any.Noop,
        appending.Append,
        compressing.Compress,
        idling.Enable, idling.Idle,
        listing.List, listing.Lsub, listing.Namespace, listing.Rlist, listing.Rlsub, listing.Status, listing.Xlist,
        quota.GetQuota, quota.GetQuotaRoot, quota.SetQuota,
        login.Authenticate, login.Login, login.StartTlsCommand,
        mailboxes.Create, mailboxes.Delete, mailboxes.Rename, mailboxes.Subscribe, mailboxes.Unsubscribe,
        messages.Copy, messages.Fetch, messages.Move, messages.Store,
        metadata.GetMetadata, metadata.SetMetadata,
        notifying.Notify,
        searching.Search,
        selecting.Check, selecting.Close, selecting.Examine, selecting.Expunge, selecting.Select, selecting.Unselect,
        sorting.Sort, sorting.Thread,
    ]  # fmt: skip
    return {kind.name: kind for kind in kinds}
