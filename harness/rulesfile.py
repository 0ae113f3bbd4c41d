"""Files of rules, for `mailrig serve --rules`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from fakeservers.profile import Profile
from fakeservers.rules import Rule
from fakeservers.yamlfile import FileError, load_model, load_text
from harness.scenariocheck import located, rule_problems

__all__ = ["load_rules"]


class _Rules(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: list[Rule]


def load_rules(file: Path, profile: Profile) -> list[Rule]:
    """The rules under `rules:`, fit for a host of this profile. Raises FileError with all errors of the file."""
    rules = load_model(file, _Rules).rules
    found = [
        located(str(file), load_text(file), where, message)
        for where, message in rule_problems(rules, profile, ["rules"])
    ]
    if found:
        first = found[0]
        raise FileError(first.file, first.line, first.column, first.message, found[1:])
    return rules
