"""The client command protocol: what replies must look like (CONTRACTS section 4)."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from harness.expectations import Category, Outcome

__all__ = ["BadReply", "Hello", "checked"]


class BadReply(Exception):
    """A reply that the protocol does not allow; the text says what came."""


def _rfc3339(value: str) -> str:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a time without zone: write it in UTC with Z")
    return value


def _base64(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise ValueError("not base64") from None


Time = Annotated[str, AfterValidator(_rfc3339)]


class _Reply(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class Hello(_Reply):
    protocol: Literal[1]
    name: str = Field(min_length=1)
    version: str
    features: list[str]


class _Error(_Reply):
    category: Category
    code: int | None = None
    enhanced: str | None = None
    text: str = ""


class _Recipient(_Reply):
    outcome: Outcome
    error: _Error | None = None


class _Result(_Reply):
    message: str
    outcome: Outcome
    error: _Error | None = None
    retry_at: Time | None = None
    recipients: dict[str, _Recipient] = {}


class _SendReply(_Reply):
    results: list[_Result]
    rate_limited_until: Time | None = None


class _Fetched(_Reply):
    eml_base64: Annotated[bytes, BeforeValidator(_base64)]


class _FetchReply(_Reply):
    messages: list[_Fetched]
    error: _Error | None = None


class _Stage(_Reply):
    stage: str
    ok: bool


class _TestReply(_Reply):
    ok: bool
    error: _Error | None = None
    stages: list[_Stage] | None = None


class _BusinessReply(_Reply):
    ok: bool
    value: Any = None
    error: _Error | None = None


_MODELS: dict[str, type[_Reply]] = {
    "hello": Hello,
    "send": _SendReply,
    "flush": _SendReply,
    "fetch": _FetchReply,
    "test_outgoing": _TestReply,
    "test_incoming": _TestReply,
    "business": _BusinessReply,
}


def checked(action: str, reply: Any) -> dict[str, Any]:
    """The reply as plain data; fetched messages as octets. Raises BadReply."""
    try:
        model = _MODELS[action].model_validate(reply)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the reply"
        raise BadReply(f"{where}: {first['msg']}") from None
    data = model.model_dump()
    if action == "fetch":
        data["messages"] = [message["eml_base64"] for message in data["messages"]]
    return data
