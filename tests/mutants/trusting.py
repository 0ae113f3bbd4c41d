"""Defects in whom the client believes, and to whom it shows a password."""

from __future__ import annotations

import ssl
from typing import Any

from patching import instead
from registry import mutant

from harness.clientstack.tls import Trust


@mutant
def ignores_revocation_lists() -> None:
    """A list of revoked certificates in the CA file is loaded, and never asked."""

    @instead(Trust, "context")
    def context(original: Any, trust: Trust) -> ssl.SSLContext:
        made: ssl.SSLContext = original(trust)
        made.verify_flags &= ~ssl.VERIFY_CRL_CHECK_LEAF
        return made
