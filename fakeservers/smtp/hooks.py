"""aiosmtpd's handler hooks: what this server decides. One object serves all connections; each hook is given the
connection's command layer (`server`), and answers with a reply key, see `replies`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fakeservers.smtp.extensions import NOTHING_OFFERED, domain_limit
from fakeservers.smtp.paths import split_address
from fakeservers.smtp.trace import trace_fields

if TYPE_CHECKING:
    from fakeservers.smtp.commands import Commands
    from fakeservers.smtp.paths import PathArgument

__all__ = ["Hooks"]


class Hooks:
    """Policy and delivery. Hooks are coroutines where aiosmtpd calls them."""

    async def handle_HELO(self, server: Commands, session: Any, envelope: Any, hostname: str) -> str:
        if server.dialogue.lmtp:
            return "unknown"
        session.host_name = server.dialogue.connection.ehlo = hostname
        server.dialogue.offered = NOTHING_OFFERED
        return "helo"

    def handle_EHLO(self, server: Commands, session: Any, keywords: tuple[str, ...], hostname: str) -> tuple[str, ...]:
        session.host_name = server.dialogue.connection.ehlo = hostname
        return keywords

    async def handle_NOOP(self, server: Commands, session: Any, envelope: Any, arg: str) -> str:
        return "noop.ok"

    async def handle_RSET(self, server: Commands, session: Any, envelope: Any) -> str:
        return "rset.ok"

    async def handle_QUIT(self, server: Commands, session: Any, envelope: Any) -> str:
        return "quit"

    def handle_VRFY(self, server: Commands, text: str, *, utf8: bool) -> str:
        dialogue = server.dialogue
        store = dialogue.site.store
        if not text:
            return "vrfy.syntax"
        if not dialogue.profile.verifies:
            return "vrfy"
        if not (text.isascii() or utf8):
            return "smtputf8.required"
        address = split_address(text)
        names = [f"{text}@{domain}" for domain in sorted(store.domains)] if address is None else [address]
        account = next((found for name in names if (found := store.account(name))), None)
        dialogue.argument = account.address if account else address or text
        return "vrfy.ok" if account else "vrfy.unknown"

    def handle_MAIL(self, server: Commands, session: Any, envelope: Any, address: str, mail: PathArgument) -> str:
        dialogue = server.dialogue
        size = mail.size
        if size is not None and size > dialogue.profile.size_limit and not dialogue.overruled:
            return "mail.size"
        most = dialogue.offered.limits.get("MAILMAX")
        if most is not None and dialogue.transactions >= most and not dialogue.overruled:
            return "limits.mail"
        dialogue.transactions += 1
        envelope.mail_from = address
        envelope.mail_options = mail.parameters
        envelope.smtp_utf8 = "SMTPUTF8" in mail.values
        dialogue.binary = (mail.values.get("BODY") or "").upper() == "BINARYMIME"
        dialogue.connection.facts["sender"] = address
        return "mail.ok"

    def handle_RCPT(self, server: Commands, session: Any, envelope: Any, address: str, rcpt: PathArgument) -> str:
        dialogue = server.dialogue
        if not dialogue.overruled:
            limit = dialogue.profile.max_recipients
            if limit is not None and len(envelope.rcpt_tos) >= limit:
                return "rcpt.too-many"
            if limits := dialogue.offered.limits:
                if len(envelope.rcpt_tos) >= limits.get("RCPTMAX", 1 << 30):
                    return "rcpt.too-many"
                if domain_limit(limits, envelope.rcpt_tos, rcpt.domain):
                    return "limits.domains"
            if not session.authenticated and (refused := self._not_ours(dialogue.site.store, address, rcpt.domain)):
                return refused
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options += rcpt.parameters
        dialogue.connection.facts["recipients"] = len(envelope.rcpt_tos)
        return "rcpt.ok"

    @staticmethod
    def _not_ours(store: Any, address: str, domain: str) -> str | None:
        """Mail from strangers is taken for users, and for the postmaster (RFC 5321 4.5.1)."""
        if store.account(address) is not None or address.casefold() == "postmaster":
            return None
        if domain.casefold() in store.domains:
            return None if address.casefold().startswith("postmaster@") else "rcpt.unknown-user"
        return "rcpt.relay"

    def handle_DATA(self, server: Commands, session: Any, envelope: Any) -> None:
        dialogue = server.dialogue
        if not dialogue.delivers:
            return
        connection = dialogue.connection
        protocol = "UTF8SMTP" if envelope.smtp_utf8 else "ESMTP" if session.extended_smtp else "SMTP"
        if dialogue.lmtp:
            protocol = "UTF8LMTP" if envelope.smtp_utf8 else "LMTP"
        if protocol != "SMTP":
            protocol += ("S" if connection.tls else "") + ("A" if session.authenticated else "")
        store = dialogue.site.store
        trace = trace_fields(
            envelope.mail_from or "", session.host_name or "", connection.client, dialogue.host, protocol,
            b"%d.%d" % (connection.id, dialogue.messages), int(store.clock.now()),
        )  # fmt: skip
        store.deliver(
            envelope.content,
            mail_from=envelope.mail_from,
            rcpt_to=tuple(envelope.rcpt_tos),
            trace=trace,
            parameters=(*envelope.mail_options, *envelope.rcpt_options),
        )
