"""Providers as data: what a provider's servers say, offer, limit, and how they err, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fakeservers.durations import Duration
from fakeservers.points import STRICT, known_strictness
from fakeservers.rules import Rule
from fakeservers.yamlfile import FileError, load_model

__all__ = [
    "SERVICES", "Confidence", "ImapProfile", "Pop3Profile", "Profile", "Quirk", "Service", "ServiceName", "SmtpProfile",
    "load_profile", "profile_names",
]  # fmt: skip

PROFILES = Path(__file__).parent / "profiles"

ServiceName = Literal["smtp", "submission", "smtps", "imap", "imaps", "pop3", "pop3s"]
SERVICES: Mapping[str, tuple[str, int, bool]] = {
    "smtp": ("smtp", 25, False),
    "submission": ("smtp", 587, False),
    "smtps": ("smtp", 465, True),
    "imap": ("imap", 143, False),
    "imaps": ("imap", 993, True),
    "pop3": ("pop3", 110, False),
    "pop3s": ("pop3", 995, True),
}
"""Service: its protocol, the port it has in the world, and whether TLS comes first."""

BearerError = Literal["json", "none"]
"""How XOAUTH2 and OAUTHBEARER refuse a token: a challenge with JSON that the client has to answer, or at once."""
LOGIN_PROMPTS = ("Username:", "Password:")
"""The challenges of the mechanism LOGIN: most servers say these, some `User Name`, nothing, or words of their own."""
Confidence = Literal["seen", "documented", "recalled"]
Category = Literal[
    "connect", "dns", "timeout", "tls-handshake", "tls-certificate", "tls-required", "authentication", "auth-mechanism",
    "sender-refused", "recipient-refused", "message-refused", "size", "rate-limit", "quota", "temporary", "protocol",
    "disconnected", "unsupported", "config",
]  # fmt: skip
FixedBy = Literal[
    "sender-settings", "mailbox-owner", "tenant-admin", "recipient", "provider-wait", "network", "client-software"
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Sourced(_Part):
    """A source is a URL, the text that the facts give, or null where the entry is recalled."""

    source: str | None = None
    confidence: Confidence = "recalled"

    @model_validator(mode="after")
    def _has_source(self) -> Sourced:
        if self.source is None and self.confidence != "recalled":
            raise ValueError(f'confidence "{self.confidence}" needs a source; without one it is "recalled"')
        return self


class Service(_Part):
    """One listener: the provider's host name and port, and what this listener demands."""

    host: str
    port: int
    auth_required: bool = False
    """SMTP: mail is refused before AUTH."""
    tls_required: bool = False
    """SMTP: mail and AUTH are refused before STARTTLS (only STARTTLS, EHLO, NOOP, QUIT); IMAP, POP3: LOGIN is."""
    starttls: bool = True
    lmtp: bool = False
    """SMTP: the listener speaks LMTP (RFC 2033): LHLO, and a reply for each recipient behind the data."""
    proxy_protocol: bool = False
    """Every connection begins with a PROXY header, before TLS too."""


class SmtpProfile(_Part):
    """`replies` override the server's own texts by key, see `fakeservers.smtp.replies`."""

    ehlo: list[str] = Field(
        default=[], description="keywords in order; SIZE n, AUTH ... and STARTTLS stand where they stand"
    )
    hides_auth_before_tls: bool = True
    mechanisms: list[str] = ["PLAIN", "LOGIN"]
    size_limit: int = 35 * 1024 * 1024
    max_recipients: int | None = None
    line_limit: int = 2048
    strict: list[str] = Field(default=list(STRICT), description="what the server minds, see `fakeservers.points`")
    verifies: bool = Field(default=False, description="VRFY tells users from strangers")
    bad_commands: int | None = Field(default=10, description="bad commands in a row before the connection is closed")
    idle: Duration = 300.0
    bearer_error: BearerError = "json"
    login_prompts: tuple[str, str] = LOGIN_PROMPTS
    replies: dict[str, str] = {}

    @field_validator("strict")
    @classmethod
    def _strictness(cls, value: list[str]) -> list[str]:
        return known_strictness(value)

    @field_validator("replies")
    @classmethod
    def _reply_keys(cls, value: dict[str, str]) -> dict[str, str]:
        if value:
            from fakeservers.smtp.replies import check_reply_keys

            check_reply_keys(value)
        return value


class ImapProfile(_Part):
    """`capabilities` before TLS, after TLS, and after login; a list left out is the one before it."""

    capabilities: list[str] = ["IMAP4rev1"]
    capabilities_tls: list[str] | None = None
    capabilities_login: list[str] | None = None
    mechanisms: list[str] = ["PLAIN"]
    delimiter: str = "/"
    namespace: str = '(("" "/")) NIL NIL'
    mailboxes: dict[str, list[str]] = Field(default={}, description="name: attributes, e.g. Sent: [\\Sent]")
    id: dict[str, str] = {}
    labels: bool = Field(default=False, description="mailboxes are labels, as Gmail has it")
    literal_limit: int = 36 * 1024 * 1024
    line_limit: int = 65536
    bad_commands: int | None = 10
    idle: Duration = 1800.0
    bearer_error: BearerError = "json"
    login_prompts: tuple[str, str] = LOGIN_PROMPTS
    options: dict[str, bool | str | int] = Field(default={}, description="manners of the server, see docs/profiles.md")
    replies: dict[str, str] = {}

    @model_validator(mode="after")
    def _known(self) -> ImapProfile:
        if self.options or self.replies:
            from fakeservers.imap.options import check_options
            from fakeservers.imap.replies import check_reply_keys

            check_options(self.options)
            check_reply_keys(self.replies)
        return self


class Pop3Profile(_Part):
    capabilities: list[str] = ["TOP", "UIDL", "USER"]
    capabilities_tls: list[str] | None = None
    capabilities_login: list[str] | None = None
    mechanisms: list[str] = ["PLAIN"]
    apop: bool = False
    line_limit: int = 512
    bad_commands: int | None = 10
    idle: Duration = 600.0
    login_prompts: tuple[str, str] = LOGIN_PROMPTS
    options: dict[str, bool | str | int] = {}
    replies: dict[str, str] = {}

    @model_validator(mode="after")
    def _known_words(self) -> Pop3Profile:
        from fakeservers.pop3.options import check_options
        from fakeservers.pop3.replies import REPLY_KEYS
        from fakeservers.rules import unknown

        check_options(self.options)
        for key in self.replies:
            if key not in REPLY_KEYS:
                raise ValueError(unknown("pop3 reply", key, REPLY_KEYS))
        return self


class Quirk(Sourced):
    """One named way in which the provider departs from a plain server, off until it is chosen."""

    title: str
    explain: str = Field(description="what the reply means, in plain words")
    category: Category | None = None
    fixed_by: FixedBy | None = None
    steps: list[str] = Field(default=[], description="what the one who can fix it does")
    rules: list[Rule] = []
    accounts: dict[str, str | int | float | bool | None] = Field(
        default={}, description="properties set on every account"
    )
    options: dict[str, bool | str | int] = Field(default={}, description="imap or pop3 options, as `imap.name: value`")


class Settings(_Part):
    """The client settings that the provider's own help recommends."""

    outgoing: ServiceName | None = "submission"
    outgoing_security: Literal["none", "starttls", "opportunistic", "implicit"] = "starttls"
    outgoing_auth: str = "auto"
    incoming: ServiceName | None = "imaps"
    incoming_security: Literal["none", "starttls", "opportunistic", "implicit"] = "implicit"
    incoming_auth: str = "auto"


class Profile(_Part):
    """One provider. File name without ending = `name`; quirks are known to the world as `name/quirk`."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    title: str
    about: str = ""
    services: dict[ServiceName, Service]
    users: dict[str, str] = Field(default={}, description="default users when the host is given none")
    settings: Settings = Settings()
    variables: dict[str, str] = Field(default={}, description="placeholder: pattern, new for each connection")
    smtp: SmtpProfile = SmtpProfile()
    imap: ImapProfile = ImapProfile()
    pop3: Pop3Profile = Pop3Profile()
    rules: list[Rule] = Field(default=[], description="always on: limits and manners, before the quirks' rules")
    quirks: dict[Annotated[str, Field(pattern=r"^[a-z0-9-]+$")], Quirk] = {}
    unimplemented: list[str] = Field(default=[], description="advertised as the provider does, but not built here")
    sources: dict[str, str] = Field(default={}, description="part of this file: where it comes from")

    @property
    def hosts(self) -> list[str]:
        return list(dict.fromkeys(service.host for service in self.services.values()))

    def service(self, name: str) -> Service:
        """The listener `name`. Raises KeyError where the provider has none."""
        return self.services[cast(ServiceName, name)]


def profile_names() -> list[str]:
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load_profile(name: str | Path) -> Profile:
    """A shipped profile by name, or one from a file. Raises `FileError` with line and column."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = PROFILES / f"{name}.yaml"
        if not path.exists():
            from fakeservers.rules import unknown

            raise FileError(str(name), 0, 0, unknown("provider", str(name), profile_names()))
    return load_model(path, Profile)


def quirk_rules(profile: Profile, names: list[str]) -> tuple[list[Rule], dict[str, Any], dict[str, Any]]:
    """The rules, account properties and options of chosen quirks. Raises ValueError for a quirk that is not there."""
    from fakeservers.rules import unknown

    rules: list[Rule] = []
    properties: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for name in names:
        short = name.removeprefix(f"{profile.name}/")
        quirk = profile.quirks.get(short)
        if quirk is None:
            raise ValueError(unknown(f"quirk of {profile.name}", name, profile.quirks))
        rules += quirk.rules
        properties |= quirk.accounts
        options |= quirk.options
    return rules, properties, options
