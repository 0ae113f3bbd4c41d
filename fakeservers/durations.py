"""Durations as people write them: `90s`, `15m`, `24h`, `7d`, or plain seconds."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

__all__ = ["Duration", "seconds"]

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(value: object) -> float:
    """Seconds of `1h30m`, `24h`, `-5m` or a number. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    text = str(value).strip()
    if not re.fullmatch(r"[+-]?(\d+(\.\d+)?[smhd])+", text, re.ASCII):
        raise ValueError(f'"{value}" is not a duration: write 90s, 15m, 24h, 7d or a number of seconds')
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text, re.ASCII)
    return (-1.0 if text.startswith("-") else 1.0) * sum(float(number) * UNITS[unit] for number, unit in parts)


Duration = Annotated[float, BeforeValidator(seconds)]
