"""SCRAM-SHA-1, SCRAM-SHA-256 and their -PLUS forms (RFC 5802, RFC 7677), the server's side.

By hand rather than with scramp: the salt and nonce must come from the host's seed, and stored keys are shared by all
hosts of the process, so that a login costs microseconds after the first.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from functools import lru_cache
from random import Random

from fakeservers.sasl.exchange import Challenge, Context, Outcome, account_state
from fakeservers.sasl.saslprep import prepared, saslprep

__all__ = ["ITERATIONS", "Scram", "end_point_binding"]

ITERATIONS = 4096

_FIRST = re.compile(
    rb"(?P<header>(?P<flag>n|y|p=(?P<binding>[A-Za-z0-9.-]+)),(?:a=(?P<authzid>[^,]+))?,)"
    rb"(?P<bare>n=(?P<name>[^,]+),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]=[^,]+)*)",
    re.DOTALL,
)
_FINAL = re.compile(
    rb"(?P<without>c=(?P<binding>[A-Za-z0-9+/=]+),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]=[^,]+)*)"
    rb",p=(?P<proof>[A-Za-z0-9+/=]+)",
    re.DOTALL,
)


class Scram:
    """One exchange. The server's signature goes out as a last challenge, which the client answers with nothing: none
    of our protocols has success data (RFC 5034 section 4, RFC 4954 section 4, RFC 3501 section 6.2.2)."""

    client_first = True

    def __init__(self, context: Context, mechanism: str) -> None:
        self._context = context
        self.mechanism = mechanism
        self._plus = mechanism.endswith("-PLUS")
        self._hash = "sha256" if "SHA-256" in mechanism else "sha1"
        self._binds = context.server_certificate is not None and f"{mechanism}-PLUS" in context.mechanisms
        self.username = ""
        self._first: re.Match[bytes] | None = None
        self._server_first = b""
        self._nonce = b""
        self._right: Outcome | None = None

    def step(self, response: bytes | None) -> Challenge | Outcome:
        if response is None:
            return Challenge()
        if self._right is not None:
            # A client that answers the signature with more than nothing speaks another protocol.
            return self._right if response == b"" else Outcome("malformed", self.username)
        if self._first is None:
            return self._client_first(response)
        return self._client_final(self._first, response)

    def _client_first(self, response: bytes) -> Challenge | Outcome:
        first = _FIRST.fullmatch(response)
        if first is None or (first["binding"] is not None) != self._plus:
            return Outcome("malformed")
        if self._plus and first["binding"] != b"tls-server-end-point":
            return Outcome("malformed")
        try:
            self.username = saslprep(_saslname(first["name"]))
            authzid = _saslname(first["authzid"]) if first["authzid"] else ""
        except ValueError:
            return Outcome("malformed")
        if authzid and self._context.account(authzid) is not self._context.account(self.username):
            return Outcome("wrong", self.username, self._context.account(self.username))
        if first["flag"] == b"y" and self._binds:
            # The client could bind and did not see that we can: somebody between us has hidden it (RFC 5802 6).
            return Outcome("wrong", self.username, self._context.account(self.username))
        self._first = first
        self._nonce = first["nonce"] + _nonce(self._context.random)
        salt = base64.b64encode(_salt(self.username))
        self._server_first = b"r=%s,s=%s,i=%d" % (self._nonce, salt, ITERATIONS)
        return Challenge(self._server_first)

    def _client_final(self, first: re.Match[bytes], response: bytes) -> Challenge | Outcome:
        final = _FINAL.fullmatch(response)
        try:
            binding = base64.b64decode(final["binding"], validate=True) if final else b""
            proof = base64.b64decode(final["proof"], validate=True) if final else b""
        except binascii.Error:
            final = None
        account = self._context.account(self.username)
        if final is None or len(proof) != hashlib.new(self._hash).digest_size:
            return Outcome("malformed", self.username, account)
        self._context.secrets.add_proof(final["proof"])
        self._context.secrets.add_proof(base64.b64encode(response))
        if account is None:
            return Outcome("unknown-user", self.username)
        expected = first["header"]
        if self._plus:
            expected += end_point_binding(self._context.server_certificate or b"")
        stored_key, server_key = _keys(self._hash, prepared(account.password), _salt(self.username))
        said = b",".join((first["bare"], self._server_first, final["without"]))
        signature = hmac.digest(stored_key, said, self._hash)
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        if (
            final["nonce"] != self._nonce
            or binding != expected
            or hashlib.new(self._hash, client_key).digest() != stored_key
        ):
            return Outcome("wrong", self.username, account)
        if (state := account_state(account)) != "right":
            return Outcome(state, self.username, account)
        self._right = Outcome("right", self.username, account)
        verifier = b"v=" + base64.b64encode(hmac.digest(server_key, said, self._hash))
        self._context.secrets.add_proof(verifier)
        self._context.secrets.add_proof(base64.b64encode(verifier))
        return Challenge(verifier, secret=True)


def end_point_binding(certificate: bytes) -> bytes:
    """The `tls-server-end-point` data of a DER certificate (RFC 5929 section 4.1): its hash under the hash of its own
    signature, SHA-256 where that is MD5 or SHA-1."""
    from cryptography import x509

    algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    name = algorithm.name if algorithm is not None else "sha256"
    return hashlib.new("sha256" if name in ("md5", "sha1") else name, certificate).digest()


def _saslname(name: bytes) -> str:
    """RFC 5802 section 5.1: `=2C` is a comma, `=3D` an equals sign; any other `=` is an error. Raises ValueError."""
    text = name.decode()
    if re.search(r"=(?!2C|3D)|\0", text):
        raise ValueError("bad saslname")
    return text.replace("=2C", ",").replace("=3D", "=")


def _nonce(random: Random) -> bytes:
    return base64.b64encode(random.randbytes(18))


def _salt(username: str) -> bytes:
    """Always the same for one name, known or not: an unknown user is not told apart by it."""
    return hashlib.sha256(b"mailrig salt of " + username.casefold().encode()).digest()[:16]


@lru_cache(maxsize=4096)
def _keys(hash_name: str, password: str, salt: bytes) -> tuple[bytes, bytes]:
    """StoredKey and ServerKey."""
    salted = hashlib.pbkdf2_hmac(hash_name, password.encode(), salt, ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", hash_name)
    return hashlib.new(hash_name, client_key).digest(), hmac.digest(salted, b"Server Key", hash_name)
