"""A client that tells a password: the verdict says so, and does not tell it again."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from harness.casefile import load_cases, shipped_folder
from harness.drivers.command import CommandClient
from harness.runner import run_case

CLIENT = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if request["action"] == "hello":
        features = ["send", "starttls", "test-connection", "auth-plain", "auth-login", "auth-cram-md5", "auth-scram"]
        hello = {"id": 0, "protocol": 1, "name": "tell-tale", "version": "1", "features": features}
        print(json.dumps(hello), flush=True)
        continue
    password = request["settings"]["outgoing"]["password"]
    print("logging in with", password, file=sys.stderr, flush=True)
    error = {"category": "authentication", "code": 535, "enhanced": None, "text": "refused: " + password}
    result = {"message": "m1", "outcome": "failed", "error": error, "retry_at": None, "recipients": {}}
    reply = {"id": request["id"], "results": [result], "rate_limited_until": None, "ok": False, "error": error}
    print(JUNK + json.dumps(reply), flush=True)
"""


@pytest.mark.parametrize(("junk", "verdict"), [("", "fail"), ("no JSON: ", "error")])
def test_a_report_never_holds_a_password(tmp_path: Path, junk: str, verdict: str) -> None:
    program = tmp_path / "client.py"
    program.write_text(CLIENT.replace("JUNK", repr(junk)), encoding="utf-8")
    case = next(iter(load_cases(shipped_folder() / "auth" / "password-not-told.yaml")))
    client = CommandClient([sys.executable, str(program)])
    try:
        result = run_case(case, client, now=1_790_000_000.0, seed=1)
    finally:
        client.close()
    told = json.dumps([asdict(result)], default=str)
    assert result.verdict == verdict, told
    # The scenario's own pattern names half of it.
    assert "correct-horse-battery" not in told, told
