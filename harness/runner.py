"""Runs one case: starts the host, leads the client through the steps, and hands what was seen to the judge."""

from __future__ import annotations

import base64
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fakeservers.clock import Clock
from fakeservers.host import FakeMailHost
from fakeservers.mailstore import Message
from fakeservers.rules import Rule
from fakeservers.yamlfile import FileError
from harness.casefile import Case
from harness.clientsettings import build, dial, missing_features
from harness.drivers import Client, ClientFailed, ClientSilent
from harness.messages import incoming_mail, outgoing_message
from harness.observations import Line, Observations, SeenStep, lines_of, seen_mailboxes
from harness.results import Result
from harness.scenario import (
    Change,
    ChangeStep,
    ClientStep,
    CrashStep,
    Mail,
    OutgoingMessage,
    RestartStep,
    Scenario,
    SendStep,
    WaitStep,
)
from harness.verdict import Failure, judge

__all__ = ["observe", "run_case"]

DIALOGUE_LINES = 60
STEP_LIMIT = 30.0


def run_case(
    case: Case, client: Client, *, now: float, seed: int, keep: Callable[[Observations], None] | None = None
) -> Result:
    """The result of one case. `now` is the scenario's first clock time, whole seconds since 1970; `keep` is given the
    observations. Nothing that a client or a scenario does raises."""
    scenario = case.scenario
    started = time.perf_counter()
    result = Result(
        id=case.id,
        provider=scenario.provider,
        client=client.name,
        tags=list(scenario.tags),
        verdict="error",
        seconds=0.0,
        title=scenario.title,
        why=scenario.why,
        file=case.shown,
    )
    try:
        _run(case, client, now, seed, result, keep)
    except (ValueError, OSError, FileError) as error:
        result.reason = str(error)
    result.seconds = round(time.perf_counter() - started, 4)
    return result


def _run(
    case: Case, client: Client, now: float, seed: int, result: Result, keep: Callable[[Observations], None] | None
) -> None:
    scenario = case.scenario
    given = scenario.given
    users = {address: account.password for address, account in given.accounts.items()} or None
    host = FakeMailHost(
        _provider(case),
        users=users,
        quirks=given.quirks,
        rules=given.rules,
        clock=Clock(now),
        seed=seed,
        keep_connections=None,
        keep_bytes=None,
    )
    missing = missing_features(scenario, host.profile, client.features)
    if missing:
        result.verdict, result.reason = "skip", f"the client lacks {', '.join(missing)}"
        return
    with host, tempfile.TemporaryDirectory(prefix="mailrig-state-", ignore_cleanup_errors=True) as state:
        seen = observe(scenario, host, client, Path(state))
    if keep is not None:
        keep(seen)
    verdict = judge(scenario, seen)

    def masked(text: str) -> str:
        return host.site.secrets.mask(text.encode())[0].decode("utf-8", "replace")

    result.verdict = verdict.verdict
    # A client that tells its password tells it here, too.
    result.reason = verdict.reason and masked(verdict.reason)
    result.failures = [_failure(one, case, masked) for one in verdict.failures]
    result.warnings = [_failure(one, case, masked) for one in verdict.warnings]
    complaints = client.complaints()
    if verdict.verdict != "pass":
        result.dialogue = [_dialogue(line) for line in _told(seen.lines, verdict.failures)]
        result.complaints = masked(complaints)


def _provider(case: Case) -> str | Path:
    """A profile's name, or a profile file beside the scenario."""
    name = case.scenario.provider
    return case.file.parent / name if name.endswith((".yaml", ".yml")) else name


def _failure(failure: Failure, case: Case, masked: Callable[[str], str]) -> dict[str, Any]:
    data: dict[str, Any] = {
        "expectation": failure.expectation,
        "expected": failure.expected,
        "observed": _each_text(failure.observed, masked),
        "where": case.where(failure.path),
    }
    if failure.ref is not None:
        data["ref"] = failure.ref
    if failure.step is not None:
        data["step"] = failure.step
    return data


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_each_text(one, change) for one in value]
    if isinstance(value, dict):
        return {key: _each_text(one, change) for key, one in value.items()}
    return value


def _told(lines: Sequence[Line], failures: Sequence[Failure]) -> Sequence[Line]:
    """The last lines; where every failure is one of a step, those of later steps tell nothing."""
    steps = [failure.step or 0 for failure in failures]
    if steps and all(steps):
        lines = [line for line in lines if (line.step or 0) <= max(steps)]
    return lines[-DIALOGUE_LINES:]


def _dialogue(line: Line) -> dict[str, Any]:
    shown = {
        "step": line.step,
        "connection": line.connection,
        "service": line.service,
        "direction": line.direction,
        "text": _shortened(line.text),
    }
    return {**shown, "tls": line.tls, **({"rule": line.rule} if line.rule else {})}


def _shortened(text: str) -> str:
    """Octets that are no text, as a TLS handshake in clear, fill pages and tell little: the first ones do."""
    limit = 80 if text.count("\\x") > 20 else 2000
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


# --- one case


class _Course:
    """The state of one run: the host, the client, and what was seen so far."""

    def __init__(self, scenario: Scenario, host: FakeMailHost, client: Client, state: Path) -> None:
        self.scenario = scenario
        self.host = host
        self.client = client
        self.state = state
        self.overrides: dict[str, dict[str, Any]] = {}
        self.seen = Observations(list(client.features), False, list(host.profile.services))
        self._read = 0
        self._known: dict[int, tuple[Message, bytes]] = {}
        """By id; the message is kept, so that no other one can get its id."""
        self._hostile = bool(scenario.given.rules or scenario.given.quirks)
        self._crash: CrashStep | None = None
        self._messages = 0

    def prepare(self) -> None:
        for address, account in self.scenario.given.accounts.items():
            found = self.host.store.account(address)
            assert found is not None
            found.properties.update(account.properties)
            if account.token is not None:
                found.tokens.add(account.token)
                self.host.site.secrets.add(account.token, user=address, kind="token")
            for name in account.mailboxes:
                self.host.store.create(found, name)
        self.put(self.scenario.given.mail)
        self.note_secrets(self.scenario.settings)
        self.remember()

    def put(self, mails: list[Mail]) -> None:
        for mail in mails:
            account = self.host.store.account(mail.to)
            if account is None:
                raise ValueError(f"given.mail: there is no account {mail.to!r}")
            mailbox = account.mailbox(mail.mailbox) or self.host.store.create(account, mail.mailbox)
            for number in range(1, mail.count + 1):
                raw = incoming_mail(mail, number, self.host.clock.date())
                mailbox.add(
                    Message(
                        raw,
                        mail_from=mail.sender,
                        rcpt_to=(mail.to,),
                        flags=frozenset(mail.flags),
                        received=self.host.clock.now(),
                    )
                )

    def note_secrets(self, settings: dict[Any, dict[str, Any]]) -> None:
        """A wrong password is a password too: what the client is given never shows."""
        for section in settings.values():
            for key, kind in (("password", "password"), ("access_token", "token"), ("client_secret", "token")):
                if isinstance(section.get(key), str):
                    self.host.site.secrets.add(section[key], user=str(section.get("username", "")), kind=kind)
            self.seen.allow_cleartext |= bool(section.get("allow_cleartext"))

    def act(self, number: int, step: Any) -> bool:
        """Do one step; False when the rest makes no sense (the client failed)."""
        if isinstance(step, WaitStep):
            self.host.call(lambda: self.host.clock.advance(step.wait))
        elif isinstance(step, RestartStep):
            self.client.restart()
        elif isinstance(step, CrashStep):
            if step.crash.at is None:
                self.client.kill()
            else:
                self._crash = step
        elif isinstance(step, ChangeStep):
            self.host.call(lambda: self.change(step.change))
            self._hostile = True
        else:
            return self.ask(number, step)
        return True

    def change(self, change: Change) -> None:
        host = self.host
        for name in change.remove_rules:
            host.site.rules.remove(name)
        host.site.rules.add(change.rules)
        self.put(change.mail)
        for address, properties in change.accounts.items():
            self.account(address).properties.update(properties)
        for address, password in change.passwords.items():
            self.account(address).password = password
            host.site.secrets.add(password, user=address)
        for place in change.uidvalidity:
            address, _, name = place.partition("/")
            host.store.renumber(self.account(address), name)
        for service in change.stop:
            host.close_service(service)
        if change.drop_connections:
            host.abort_connections()

    def account(self, address: str) -> Any:
        account = self.host.store.account(address)
        if account is None:
            raise ValueError(f"change: there is no account {address!r}")
        return account

    def ask(self, number: int, step: ClientStep) -> bool:
        for section, values in step.settings.items():
            self.overrides[section] = {**self.overrides.get(section, {}), **values}
        settings = build(self.scenario, self.host, self.overrides)
        self.note_secrets(settings)
        now = self.host.clock.now()
        request: dict[str, Any] = {
            "settings": settings,
            "state_dir": str(self.state),
            "now": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if "dial" in self.client.features:
            request["dial"] = dial(self.host)
        sent: dict[str, bytes] = {}
        request |= self.arguments(step, sent)
        timeout = max((float(section.get("timeout") or 0) for section in settings.values()), default=0.0)
        crashed = self.arm()
        reply = silence = invalid = None
        try:
            reply = self.client.ask(step.action, request, step.limit or self.scenario.limit or STEP_LIMIT + 3 * timeout)
        except ClientSilent as error:
            silence = str(error)
        except ClientFailed as error:
            invalid = str(error)
        hit = bool(crashed)
        self.host.site.rules.remove(CRASH)
        if hit:
            # The server notices that the client is gone: no lock outlives it.
            self.host.call(self.host.abort_connections)
        self.seen.steps.append(
            SeenStep(
                number,
                step.action,
                now,
                reply,
                silence,
                invalid,
                crashed=hit and silence is not None,
                excused=self._hostile,
                sent=sent,
                to={message["id"]: message["to"] for message in request.get("messages", ())},
                account=_account(settings),
            )
        )
        return invalid is None and (silence is None or hit)

    def arguments(self, step: ClientStep, sent: dict[str, bytes]) -> dict[str, Any]:
        if isinstance(step, SendStep):
            messages = []
            plain: list[OutgoingMessage | None] = [None] * step.send.count
            for message in step.send.messages or plain:
                self._messages += 1
                data, raw = outgoing_message(message, step.send.to, self._messages, self.host.clock.date())
                sent[data["id"]] = raw
                messages.append({**data, "eml_base64": base64.b64encode(raw).decode("ascii")})
            return {"messages": messages}
        if step.action in ("test_outgoing", "test_incoming"):
            return {"to": getattr(step, step.action).to}
        if step.action == "business":
            return {"operation": step.business.operation, "arguments": step.business.arguments}  # type: ignore[union-attr]
        return {}

    def arm(self) -> list[bool]:
        """Kill the client in this step when the crash point is reached; the list is filled if it was."""
        hit: list[bool] = []
        crash, self._crash = self._crash, None
        if crash is not None:
            assert crash.crash.at is not None
            point, stored = crash.crash.at, crash.crash.stored
            rule: dict[str, Any] = {"name": CRASH, "at": point, "when": {"nth.host": crash.crash.nth}, "then": "stall"}
            if point == "smtp.message":
                rule |= {"reply": "", "deliver": stored}
            else:
                rule |= {"truncate": 0} if stored else {"reply": ""}

            def kill() -> None:
                hit.append(True)
                self.client.kill()

            self.host.site.rules.on_fire[CRASH] = kill
            self.host.add_rules([Rule.model_validate(rule)])
        return hit

    def look(self, number: int) -> None:
        """Take over what the wire and the mailboxes show after a step."""
        entries = list(self.host.transcript)
        self.seen.lines += lines_of(entries[self._read :], number)
        self._read = len(entries)
        self.remember()

    def remember(self) -> None:
        for account in self.host.store.accounts.values():
            for mailbox in account.mailboxes.values():
                for message in mailbox.messages:
                    if id(message) not in self._known:
                        self._known[id(message)] = (message, message.raw)

    def finish(self) -> Observations:
        self.seen.mailboxes = seen_mailboxes(self.host.store)
        self.seen.server_errors = list(self.host.errors)
        self.seen.all_mail = [raw for _, raw in self._known.values()]
        return self.seen


CRASH = "crash-point"


def _account(settings: dict[str, dict[str, Any]]) -> str:
    outgoing = settings.get("outgoing", {})
    return f"{outgoing.get('username')} at {outgoing.get('host')}:{outgoing.get('port')}"


def observe(scenario: Scenario, host: FakeMailHost, client: Client, state: Path) -> Observations:
    """Lead the client through the steps on a running host. Raises ValueError for what the host cannot serve."""
    course = _Course(scenario, host, client, state)
    course.prepare()
    number = 0
    for number, step in enumerate(scenario.steps, 1):
        goes_on = course.act(number, step)
        host.settle()
        course.look(number)
        if not goes_on:
            break
    return course.finish()
