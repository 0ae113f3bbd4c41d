"""What a rule may do, and the rule as it stands in a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fakeservers.actions import Ending
from fakeservers.conditions import Condition, Scalar, known_fact
from fakeservers.durations import Duration
from fakeservers.nearest import unknown
from fakeservers.points import CERTIFICATE_DEFECTS, HANDSHAKE_FAULTS, known_point, known_strictness
from fakeservers.templates import placeholders

__all__ = ["Act", "Broken", "Capabilities", "Rule", "TlsTerms"]


class Capabilities(BaseModel):
    """A change of what is advertised: EHLO keywords, IMAP capabilities, CAPA lines (matched by their first word, or
    `AUTH=X` whole)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    add: list[str] = []
    remove: list[str] = []
    only: list[str] | None = None

    def apply(self, offered: Sequence[str]) -> list[str]:
        kept = list(offered) if self.only is None else list(self.only)
        gone = {word.upper() for word in self.remove}
        kept = [line for line in kept if line.upper() not in gone and line.upper().split(" ")[0] not in gone]
        return kept + [line for line in self.add if line not in kept]


TlsVersion = Literal["TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3"]


class TlsTerms(BaseModel):
    """What the server insists on in a handshake."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minimum: TlsVersion | None = Field(default=None, description="lowest version")
    maximum: TlsVersion | None = Field(default=None, description="highest version")
    ciphers: str | None = Field(
        default=None, description="an OpenSSL cipher string for TLS 1.2 and below; without a maximum it is TLSv1_2"
    )
    sni: Literal["required"] | None = Field(
        default=None, description="a client that names no server gets a certificate that says so, of nobody"
    )
    at_once: bool | None = Field(
        default=None, description="at `*.accept`: whether TLS comes first, whatever the port is for"
    )

    @model_validator(mode="before")
    @classmethod
    def _ciphers_below(cls, value: object) -> object:
        if isinstance(value, dict) and value.get("ciphers") and "maximum" not in value:
            return {**value, "maximum": "TLSv1_2"}
        return value


class Broken(BaseModel):
    """The connection breaks, `how`, once the client has sent `after` more octets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: int = Field(ge=0)
    how: Ending = "reset"


class Act(BaseModel):
    """What a rule does. Every part is optional; several may stand together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reply: str | None = Field(
        default=None,
        description="said instead of the server's own answer, line by line; for IMAP `OK`, `NO`, `BAD` lines get the "
        "command's tag, `*` and `+` lines stay; with `{tag} OK` written out it is the whole answer, and the command "
        "has no effect; empty: nothing is said and the command has no effect (with `truncate: 0` instead it has its "
        "effect in silence)",
    )
    line_end: Literal["crlf", "lf", "cr", "none"] = "crlf"
    untagged: str | None = Field(default=None, description="lines sent before the answer")
    append: str | None = Field(
        default=None, description="bytes right behind the answer in one segment; escapes as \\r\\n"
    )
    capabilities: Capabilities | None = None
    delay: Annotated[float, Field(ge=0, le=120)] = Field(default=0, description="real seconds before the answer")
    split: list[int] | Literal["lines", "octets"] | None = Field(
        default=None, description="where to cut into segments; a negative number counts from the end"
    )
    bandwidth: int | None = Field(
        default=None, ge=20, description="at `*.accept`: octets a second that the server sends on this connection"
    )
    every: Annotated[float, Field(ge=0, le=60)] = Field(default=0, description="real seconds between segments")
    hold: bool | Annotated[float, Field(gt=0, le=60)] = Field(
        default=False,
        description="keep the answer back and send it with the next one; a number: for so many real seconds at most, "
        "so that a client that waits for it goes on",
    )
    truncate: int | None = Field(default=None, ge=0, description="send only so many octets of the answer")
    cut: Annotated[int, Field(ge=0)] | Broken | None = Field(
        default=None, description="break the connection after so many more octets from the client"
    )
    then: Literal["continue"] | Ending = "continue"
    certificate: str | None = Field(default=None, description="the defect of the certificate shown (at `*.tls`)")
    handshake: str | None = Field(default=None, description="what goes wrong with the handshake (at `*.tls`)")
    tls: TlsTerms | None = Field(default=None, description="what the server insists on (at `*.tls`)")
    client_certificate: Literal["optional", "required"] | None = Field(
        default=None, description="whether the client is asked for its certificate (at `*.tls`)"
    )
    deliver: bool | None = Field(
        default=None, description="at `smtp.message`: store the message or not, whatever the reply"
    )
    strict: list[str] = Field(
        default=[], description="SMTP: what this connection's server minds from here on, see `STRICTNESS`"
    )
    lenient: list[str] = Field(default=[], description="SMTP: what it does not mind any more")
    manners: dict[str, bool | str | int] = Field(
        default={}, description="IMAP: options of the profile, as `say_case: lower`, for the rest of the connection"
    )
    set: dict[str, Scalar] = Field(default={}, description="account properties to set")
    advance: Duration | None = Field(default=None, description="move the host's clock")

    @field_validator("certificate")
    @classmethod
    def _defect(cls, value: str | None) -> str | None:
        if value is not None and value not in CERTIFICATE_DEFECTS:
            raise ValueError(unknown("certificate defect", value, CERTIFICATE_DEFECTS))
        return value

    @field_validator("handshake")
    @classmethod
    def _fault(cls, value: str | None) -> str | None:
        if value is not None and value not in HANDSHAKE_FAULTS:
            raise ValueError(unknown("handshake fault", value, HANDSHAKE_FAULTS))
        return value

    @field_validator("strict", "lenient")
    @classmethod
    def _strictness(cls, value: list[str]) -> list[str]:
        return known_strictness(value)

    @field_validator("manners")
    @classmethod
    def _known_manners(cls, value: dict[str, bool | str | int]) -> dict[str, bool | str | int]:
        if value:
            from fakeservers.imap.options import check_options

            check_options(value)
        return value

    @property
    def answers(self) -> bool:
        return self.reply is not None or self.then != "continue"


class Rule(Act):
    """A point, conditions, and what happens there."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    at: str | list[str] = Field(description="one point or several, e.g. smtp.mail")
    when: dict[str, Condition] = {}
    in_turn: list[Act] = Field(
        default=[], description="the nth time this rule fires it does the nth of these; the last repeats"
    )
    source: str | None = None

    @field_validator("at")
    @classmethod
    def _point(cls, value: str | list[str]) -> str | list[str]:
        for point in [value] if isinstance(value, str) else value:
            known_point(point)
        return value

    @field_validator("when")
    @classmethod
    def _facts(cls, value: dict[str, Condition]) -> dict[str, Condition]:
        for key, condition in value.items():
            known_fact(key)
            if key == "probability":
                chance = condition.equals
                if not isinstance(chance, int | float) or isinstance(chance, bool) or not 0 <= chance <= 1:
                    raise ValueError("probability: expected a number from 0 to 1")
        return value

    @field_validator("reply", "untagged")
    @classmethod
    def _placeholders(cls, value: str | None) -> str | None:
        if value is not None:
            placeholders(value)
        return value

    @property
    def points(self) -> list[str]:
        return [self.at] if isinstance(self.at, str) else self.at
