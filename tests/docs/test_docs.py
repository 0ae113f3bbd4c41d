"""Every example in the README and in docs/ works as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakeservers.conditions import fact_names
from fakeservers.profile import Profile
from fakeservers.yamlfile import load_model
from harness.casefile import load_cases
from harness.clientstack import load_settings
from harness.drivers import open_client
from harness.runner import run_case
from harness.schema import schema

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(kind: str) -> Iterator[tuple[str, str]]:
    """Where each fenced block of this kind stands, and its text."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(rf"^```{re.escape(kind)}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            line = text[: match.start()].count("\n") + 1
            yield f"{page.relative_to(ROOT)}:{line}", match[1]


def each(kind: str) -> pytest.MarkDecorator:
    found = list(blocks(kind))
    return pytest.mark.parametrize("text", [text for _, text in found], ids=[where for where, _ in found])


def mailrig_lines() -> list[str]:
    lines = [line for _, text in blocks("sh") for line in text.splitlines() if line.startswith("mailrig ")]
    table = [match for page in PAGES for match in re.findall(r"`(mailrig [^`]+)`", page.read_text(encoding="utf-8"))]
    whole = [line for line in dict.fromkeys([*lines, *table]) if len(line.split()) > 2]
    return [line for line in whole if "serve" not in line and "FILE" not in line]


@each("yaml scenario")
def test_a_scenario_of_the_docs_passes(text: str, tmp_path: Path) -> None:
    file = tmp_path / "example.yaml"
    file.write_text(text, encoding="utf-8")
    client = open_client("reference")
    try:
        for case in load_cases(file):
            result = run_case(case, client, now=1_790_000_000.0, seed=1)
            assert result.verdict == "pass", (result.reason, result.failures)
    finally:
        client.close()


@each("yaml profile")
def test_a_profile_of_the_docs_loads(text: str, tmp_path: Path) -> None:
    file = tmp_path / "acme.yaml"
    file.write_text(text, encoding="utf-8")
    assert load_model(file, Profile).name == "acme"


@each("toml")
def test_settings_of_the_docs_load(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", "secret")
    file = tmp_path / "settings.toml"
    file.write_text(text, encoding="utf-8")
    settings = load_settings(file)
    assert settings.outgoing is not None
    assert settings.outgoing.credentials.password == "secret"


@each("python")
def test_python_of_the_docs_runs(text: str, tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(text, encoding="utf-8")
    subprocess.run([sys.executable, str(file)], check=True, cwd=tmp_path, timeout=60)


@pytest.mark.parametrize("line", mailrig_lines())
def test_a_command_of_the_docs_works(line: str, tmp_path: Path) -> None:
    words = [str(Path(sys.executable).with_name("mailrig")), *shlex.split(line)[1:]]
    for index, word in enumerate(words):
        if word.startswith("node ") and not shutil.which("node"):
            pytest.skip("node is not installed")
        words[index] = word.replace("python ", f"{shlex.quote(sys.executable)} ")
        if word.startswith("result."):
            words[index] = str(tmp_path / word)
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    if "client.mjs" in line and "Cannot find module 'nodemailer'" in said:
        pytest.skip("nodemailer is not installed")
    # The smtplib example is honest but short: scenarios may find it wanting, never the command.
    assert done.returncode in ((0, 1) if "--client-command" in line else (0,)), said
    assert " 0 in error" in said or words[1] != "run", said


@pytest.mark.parametrize("kind", ["scenario", "profile"])
def test_every_key_is_in_the_docs(kind: str) -> None:
    code = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
    words = {
        word for page in PAGES for part in code.findall(page.read_text("utf-8")) for word in re.findall(r"\w+", part)
    }
    made = schema(kind)
    keys = {key for part in (made, *made["$defs"].values()) for key in part.get("properties", ())}
    assert sorted({*keys, *fact_names()} - words) == []


def test_the_examples_are_forty_lines() -> None:
    for example in ("client.py", "client.mjs"):
        lines = (ROOT / "docs" / "examples" / example).read_text(encoding="utf-8").splitlines()
        assert sum(bool(line.strip()) for line in lines) <= 42


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
