"""mailrig works outside its clone: from the wheel, in a hostile repository, in parallel, in any order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAILRIG = Path(sys.executable).with_name("mailrig")
FEW = ["generic/batch-one-connection", "generic/host-comma-port"]


def run(*words: str | Path, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, words)), cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `mailrig` of the wheel, in an environment that has this one's libraries but not the clone."""
    folder = tmp_path_factory.mktemp("wheel")
    built = run(
        sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT, cwd=folder
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("mailrig-*.whl")
    environment = folder / "env"
    assert run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=folder).returncode == 0
    python = next(path for path in environment.glob("*/python*") if path.is_file())
    libraries = sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)})
    # A plain path, so that the .pth of the editable clone over there is not read.
    (Path(libraries) / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    done = run(
        sys.executable,
        "-m",
        "pip",
        f"--python={python}",
        "install",
        "-q",
        "--no-deps",
        "--force-reinstall",
        wheel,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return python.with_name("mailrig")


def test_the_wheel_holds_the_two_packages_and_their_data(installed: Path) -> None:
    libraries = next(installed.parents[1].rglob("fakeservers")).parent
    folders = {path.name for path in libraries.iterdir() if path.is_dir()}
    assert {name for name in folders if not name.endswith(("-info", "__pycache__"))} == {"fakeservers", "harness"}
    inside = libraries / "harness" / "scenarios"
    shipped = {path.relative_to(inside) for path in inside.rglob("*.yaml")}
    assert shipped == {path.relative_to(ROOT / "scenarios") for path in (ROOT / "scenarios").rglob("*.yaml")}


def test_the_wheel_checks_runs_and_lists_outside_the_clone(installed: Path, tmp_path: Path) -> None:
    for words in (["check"], ["run", "--json", "r.json", FEW[0]], ["list", "scenarios"]):
        done = run(installed, *words, cwd=tmp_path)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["summary"]["pass"] == 1


def test_the_wheel_serves_outside_the_clone(installed: Path, tmp_path: Path) -> None:
    import smtplib
    import time

    endpoints = tmp_path / "endpoints.json"
    server = subprocess.Popen(
        [installed, "serve", "--endpoints", endpoints, "--no-ui"], cwd=tmp_path, stdout=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 30
        while not endpoints.exists():
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)  # polling another process's file
        at = json.loads(endpoints.read_text(encoding="utf-8"))
        with smtplib.SMTP(at["host"], at["ports"]["smtp"], timeout=10) as smtp:
            assert smtp.noop()[0] == 250
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert server.returncode == 0
    assert not endpoints.exists()


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_hostile_repository_changes_nothing(tmp_path: Path, workers: str) -> None:
    files = {
        "pytest.ini": "[pytest]\naddopts = --no-such-option\nmailrig_scenarios = nowhere\n",
        "conftest.py": "raise SystemExit('the conftest of the repository was read')\n",
        "harness/__init__.py": "raise SystemExit('the harness of the repository was read')\n",
        "queue.py": "raise SystemExit('a module of the repository was read')\n",
        "sitecustomize.py": "",
    }
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    hostile = {"PYTEST_ADDOPTS": "--also-unknown", "PYTEST_PLUGINS": "no_such_plugin"}
    done = run(MAILRIG, "run", "-n", workers, "--json", "r.json", *FEW, cwd=tmp_path, env=hostile)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["summary"]["pass"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*(Path(n).parts[0] for n in files), "r.json"])


def test_plain_pytest_collects_scenarios_where_the_option_says(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmailrig_scenarios = mail\n", encoding="utf-8")
    (tmp_path / "mail").mkdir()
    source = (ROOT / "scenarios" / f"{FEW[0]}.yaml").read_text(encoding="utf-8")
    (tmp_path / "mail" / "one.yaml").write_text(source, encoding="utf-8")
    (tmp_path / "other.yaml").write_text("not: [a scenario", encoding="utf-8")
    done = run(sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
