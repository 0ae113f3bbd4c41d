"""TLS contexts: the system's store, an own CA file, or one pinned certificate. Never 'accept any'."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .errors import MailError

__all__ = ["Trust", "certificate_facts"]

_CRL: Final = b"-----BEGIN X509 CRL-----"


@dataclass(frozen=True)
class Trust:
    """Whom to believe, and who we are.

    `ca_file`: PEM file of the only CAs to trust (None: the system's store); where it also holds revocation lists, each
    CA needs its own, and a server's certificate that stands in one is refused. `pinned_sha256`: hex digest of
    the one certificate (DER) to accept whatever its issuer, name and dates, for self-signed internal servers.
    """

    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    pinned_sha256: str | None = None

    def context(self) -> ssl.SSLContext:
        """A client context. Raises MailError `config` when a file cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.ca_file and _CRL in Path(self.ca_file).read_bytes():
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        except (OSError, ssl.SSLError) as error:
            raise MailError("config", f"the CA file {self.ca_file} cannot be used: {_reason(error)}") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A certificate without a subjectAltName names nobody (RFC 9525 6.3).
        context.hostname_checks_common_name = False
        if self.pinned_sha256:
            # The pin is checked by `verify_pin` before a byte is sent over the session.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_cert:
            try:
                context.load_cert_chain(self.client_cert, self.client_key)
            except (OSError, ssl.SSLError) as error:
                raise MailError(
                    "config", f"the client certificate {self.client_cert} cannot be used: {_reason(error)}"
                ) from None
        return context

    def verify_pin(self, sock: ssl.SSLSocket) -> None:
        """Raises MailError `tls-certificate` unless the peer's certificate is the pinned one."""
        if not self.pinned_sha256:
            return
        wanted = self.pinned_sha256.replace(":", "").lower()
        der = sock.getpeercert(binary_form=True) or b""
        if hashlib.sha256(der).hexdigest() != wanted:
            raise MailError("tls-certificate", "the server's certificate is not the pinned one")


def certificate_facts(sock: ssl.SSLSocket) -> dict[str, Any]:
    """What a person wants to know of a TLS session: version, cipher, and the certificate's SHA-256,
    subject, names and last day (these only where the certificate was verified against a CA)."""
    cipher = sock.cipher()
    der = sock.getpeercert(binary_form=True) or b""
    facts: dict[str, Any] = {
        "version": sock.version(),
        "cipher": cipher[0] if cipher else None,
        "sha256": hashlib.sha256(der).hexdigest(),
    }
    certificate = sock.getpeercert() or {}
    if certificate:
        names = certificate.get("subjectAltName", ())
        facts["names"] = [str(entry[1]) for entry in names if isinstance(entry, tuple)]
        facts["not_after"] = certificate.get("notAfter")
        facts["issuer"] = ", ".join(f"{pair[0]}={pair[1]}" for group in certificate.get("issuer", ()) for pair in group)
    return facts


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
