"""TLS on a connection: the handshake that rules want, its faults, and octets in clear behind it."""

from __future__ import annotations

import ssl

from fakeservers.actions import Send
from fakeservers.carrying import Carrier
from fakeservers.certificates import ServerContext, Terms, nameless_context, server_context
from fakeservers.rules import Effect
from fakeservers.tls import BROKEN_FLIGHTS, HANDSHAKE_FAULTS, Tls

__all__ = ["Secured"]


class Secured(Carrier):
    """A connection that can begin TLS, at once or when a core asks for it."""

    __slots__ = ("_tls_at_once",)
    _tls_at_once: bool

    def _feed(self, data: bytes) -> None:
        """Octets of the client, in clear."""
        raise NotImplementedError

    def _begin_tls(self) -> None:
        self._flush()
        first = self._tls_at_once and self.connection.tls is None
        early = b""
        if self._pending is not None:
            pending, self._pending = bytes(self._pending), None
            if first:
                early = pending
            else:
                # It came before the reply that allows TLS, so it is no ClientHello: nobody may act on it.
                facts = {"event": "plaintext-after-starttls", "octets": len(pending)}
                self.connection.event(f"{len(pending)} octets of plaintext before TLS are dropped", facts)
        effect = self.connection.consult("tls")
        if effect is None:
            effect = _AS_USUAL
        if effect.handshake == "skipped":
            self.connection.event("no TLS handshake after all", {"event": "tls-skipped"}, effect.rule)
            self._ask(self._session.connect if first else self._session.tls_skipped)
            return
        flight = BROKEN_FLIGHTS.get(effect.handshake or "")
        if flight is not None:
            self._rarely().flight = flight
        elif effect.handshake is not None:
            answer, ending = HANDSHAKE_FAULTS[effect.handshake]
            if answer:
                self._rarely().spoiled = Send(answer, rule=effect.rule), ending
                if early:
                    self.received(early)
            else:
                self._end(ending, effect.rule)
            return
        if effect.ending is not None:
            self._end(effect.ending, effect.rule)
            return
        self._tls = Tls(*self._contexts(effect))
        self._busy = True
        if effect.certificate is not None:
            facts = {"event": "certificate", "defect": effect.certificate}
            self.connection.event(f"shows a certificate: {effect.certificate}", facts, effect.rule)
        if early:
            self.received(early)

    def _contexts(self, effect: Effect) -> tuple[ServerContext, str | None, ServerContext | None]:
        """What a handshake needs: its context, the certificate's defect, and what a nameless client is shown."""
        takes = self._listener.takes_client_certificates
        clients = effect.client_certificate or ("optional" if takes else "none")
        terms = effect.tls
        insists = Terms() if terms is None else Terms(terms.minimum, terms.maximum, terms.ciphers)
        nameless = nameless_context() if terms is not None and terms.sni == "required" else None
        hosts = tuple(self._listener.site.profile.hosts)
        return server_context(hosts, effect.certificate, clients, insists), effect.certificate, nameless

    def _shake(self, tls: Tls, data: bytes) -> None:
        try:
            facts = tls.handshake(data)
        except ssl.SSLError as error:
            self._send(tls.outgoing())
            self._handshake_failed(error.reason or str(error))
            self._end("close", None)
            return
        said = tls.outgoing()
        if facts is None:
            flight = self._rare.flight if self._rare is not None else None
            if flight is not None and said:
                self._send(said[: len(said) // 2])
                self._handshake_failed("broken off by a rule")
                self._end(flight, None)
            else:
                self._send(said)
            return
        self._send(said)
        self._busy = False
        first = self.connection.tls is None and self._tls_at_once
        self.connection.tls = settled = facts
        self.connection.event(
            f"{facts.version} with {facts.cipher}, SNI {facts.sni}",
            {"event": "tls", "version": facts.version, "sni": facts.sni, "certificate": facts.certificate},
        )
        self._ask(self._session.connect if first else lambda: self._session.tls_started(settled))
        self._decrypt(tls)

    def _handshake_failed(self, reason: str) -> None:
        if self._tls is not None:
            self._tls.forget()
            self._tls = None
        if self._rare is not None:
            self._rare.spoiled = None
        self._busy = False
        self.connection.event(f"TLS handshake failed: {reason}", {"event": "tls-failed", "reason": reason})

    def _decrypt(self, tls: Tls) -> None:
        while not self._ended:
            try:
                data = tls.read()
            except ssl.SSLError as error:
                self.connection.event(f"TLS broken: {error.reason}", {"event": "tls-broken"})
                self._end("close", None)
                return
            if data is None:
                break
            if not data:
                self._eof = True
                self._proceed()
                break
            self._feed(data)
        if not self._lost:
            self._send(tls.outgoing())


_AS_USUAL = Effect("", [])
