"""The mechanisms without arithmetic: PLAIN, LOGIN, EXTERNAL, ANONYMOUS."""

from __future__ import annotations

from fakeservers.mailstore import Account
from fakeservers.sasl.exchange import Challenge, Context, Outcome, check_password

__all__ = ["Anonymous", "External", "Login", "Plain", "certificate_names"]


class _Plain:
    """What they have in common: the client speaks first, and says who it is."""

    client_first = True

    def __init__(self, context: Context) -> None:
        self._context = context
        self.username = ""


class Plain(_Plain):
    """RFC 4616: `[authzid] NUL authcid NUL passwd` in one message."""

    mechanism = "PLAIN"

    def step(self, response: bytes | None) -> Challenge | Outcome:
        if response is None:
            return Challenge()
        try:
            authzid, self.username, password = response.decode().split("\0")
        except ValueError:
            return Outcome("malformed")
        if not self.username:
            return Outcome("malformed")
        outcome = check_password(self._context, self.username, password)
        if outcome.result == "right" and authzid and self._context.account(authzid) is not outcome.account:
            # Nobody may act for somebody else here: there is no proxy authorization in a mail host of equals.
            return Outcome("wrong", self.username, outcome.account)
        return outcome


class Login(_Plain):
    """The LOGIN mechanism (draft-murchison-sasl-login): two prompts, or the username as initial response."""

    mechanism = "LOGIN"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._asked = False

    def step(self, response: bytes | None) -> Challenge | Outcome:
        if response is None:
            self._asked = True
            return Challenge(self._context.prompts[0])
        try:
            text = response.decode()
        except ValueError:
            return Outcome("malformed", self.username)
        if not self.username:
            # Some clients send an empty initial response where they mean none.
            if not text and not self._asked:
                return self.step(None)
            if not text or "\0" in text:
                return Outcome("malformed")
            self.username = text
            return Challenge(self._context.prompts[1])
        return check_password(self._context, self.username, text)


class External(_Plain):
    """RFC 4422 appendix A: the client is whom its TLS certificate names; the response is an authorization identity."""

    mechanism = "EXTERNAL"

    def step(self, response: bytes | None) -> Challenge | Outcome:
        if response is None:
            return Challenge()
        try:
            self.username = response.decode()
        except ValueError:
            return Outcome("malformed")
        if "\0" in self.username:
            return Outcome("malformed")
        if self._context.client_certificate is None:
            return Outcome("wrong", self.username, self._context.account(self.username))
        names = certificate_names(self._context.client_certificate)
        account = self._holder(names)
        if account is None:
            return Outcome("unknown-user", self.username or next(iter(names), ""))
        if self.username and self._context.account(self.username) is not account:
            return Outcome("wrong", self.username, account)
        return Outcome("disabled" if account.properties.get("disabled") else "right", account.address, account)

    def _holder(self, names: list[str]) -> Account | None:
        return next((account for name in names if (account := self._context.account(name))), None)


class Anonymous(_Plain):
    """RFC 4505: a trace message and no password. Refused unless the store has an account called `anonymous`."""

    mechanism = "ANONYMOUS"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.username = "anonymous"

    def step(self, response: bytes | None) -> Challenge | Outcome:
        if response is None:
            return Challenge()
        try:
            response.decode()
        except ValueError:
            return Outcome("malformed", self.username)
        account = self._context.account(self.username)
        return Outcome("right" if account else "unknown-user", self.username, account)


def certificate_names(der: bytes) -> list[str]:
    """The addresses that a client certificate stands for: rfc822Name, emailAddress, common name, in this order."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        certificate = x509.load_der_x509_certificate(der)
        names: list[str] = []
        for extension in certificate.extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                names += extension.value.get_values_for_type(x509.RFC822Name)
        for oid in (NameOID.EMAIL_ADDRESS, NameOID.COMMON_NAME):
            names += [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(oid)]
    except ValueError:
        return []
    return names
