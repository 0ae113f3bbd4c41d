"""NTLM over SASL (MS-SMTPNTLM, MS-NLMP), the server's side: negotiate, challenge, authenticate.

Messages and hashes are pyspnego's (the extra `mailrig[ntlm]`); its own acceptor reads users from a file that an
environment variable names, so the account is checked here.
"""

from __future__ import annotations

import hmac
from importlib.util import find_spec
from typing import Any

from fakeservers.sasl.exchange import Challenge, Context, Outcome, account_state

__all__ = ["Ntlm", "available"]


def available() -> bool:
    """Whether pyspnego is there."""
    return find_spec("spnego") is not None


class Ntlm:
    """NTLMv2, NTLMv1, and NTLMv1 with extended session security. Who answers with LM alone is wrong."""

    mechanism = "NTLM"
    client_first = True

    def __init__(self, context: Context) -> None:
        self._context = context
        self._nonce: bytes | None = None
        self.username = ""

    def step(self, response: bytes | None) -> Challenge | Outcome:
        if response is None or (response == b"" and self._nonce is None):
            return Challenge()
        from spnego._ntlm_raw.messages import Authenticate, Negotiate, NTLMMessage

        try:
            message: Any = NTLMMessage.unpack(response)
        except Exception:  # noqa: BLE001 pyspnego raises whatever its parsers meet in a broken message
            return Outcome("malformed", self.username)
        if self._nonce is None:
            return self._challenge(message) if isinstance(message, Negotiate) else Outcome("malformed")
        if not isinstance(message, Authenticate):
            return Outcome("malformed")
        try:
            return self._check(message, self._nonce)
        except Exception:  # noqa: BLE001 as above: payload fields are read when they are asked for
            return Outcome("malformed", self.username)

    def _challenge(self, negotiate: Any) -> Challenge:
        from spnego._ntlm_raw.messages import AvId, FileTime, NegotiateFlags, TargetInfo
        from spnego._ntlm_raw.messages import Challenge as ChallengeMessage

        self._nonce = self._context.random.randbytes(8)
        host = self._context.host
        info = TargetInfo()
        info[AvId.nb_domain_name] = info[AvId.nb_computer_name] = host.split(".")[0].upper()[:15]
        info[AvId.dns_computer_name] = info[AvId.dns_domain_name] = host
        info[AvId.timestamp] = FileTime.fromtimestamp(int(self._context.now))
        wanted = NegotiateFlags.unicode | NegotiateFlags.ntlm | NegotiateFlags.target_info
        wanted |= NegotiateFlags.always_sign | NegotiateFlags.target_type_server
        # Only a client that asked for it may be held to it (MS-NLMP 3.2.5.1.1).
        wanted |= NegotiateFlags.extended_session_security & negotiate.flags
        message = ChallengeMessage(
            flags=int(wanted), server_challenge=self._nonce, target_name=info[AvId.nb_domain_name], target_info=info
        )
        return Challenge(message.pack())

    def _check(self, message: Any, nonce: bytes) -> Outcome:
        name, domain = message.user_name or "", message.domain_name or ""
        response = bytes(message.nt_challenge_response or b"")
        account = next((found for each in _names(name, domain) if (found := self._context.account(each))), None)
        self.username = account.address if account else name
        # Behind the proof of NTLMv2 stands the client's challenge that it was made of (MS-NLMP 3.3.2).
        proof = response if len(response) == _V1 else response[:16]
        if len(response) >= _V1:
            self._context.secrets.add_proof(proof)
        if account is None:
            return Outcome("unknown-user", self.username)
        right = len(response) >= _V1 and hmac.compare_digest(proof, _proof(message, response, nonce, account.password))
        return Outcome(account_state(account) if right else "wrong", self.username, account)


_V1 = 24
"""Octets of an NTLMv1 response; NTLMv2's are longer (MS-NLMP 2.2.2.6, 2.2.2.8)."""


def _proof(message: Any, response: bytes, nonce: bytes, password: str) -> bytes:
    """What the right password makes of both challenges."""
    from spnego._ntlm_raw.crypto import compute_response_v1, ntowfv1, ntowfv2

    key = ntowfv1(password)
    if len(response) == _V1:
        client_challenge = bytes(message.lm_challenge_response or b"")[:8]
        return compute_response_v1(message.flags, key, bytes(16), nonce, client_challenge)[0]
    key = ntowfv2(message.user_name or "", key, message.domain_name or "")
    return hmac.digest(key, nonce + response[16:], "md5")


def _names(name: str, domain: str) -> list[str]:
    """The addresses that `DOMAIN\\name` may mean: the name itself, or the name at that domain."""
    return [name, f"{name}@{domain}"] if domain else [name]
