"""What is wrong with a scenario beyond its form: names that lead nowhere, and expectations that can never hold or
never fail for this provider and these steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from fakeservers.points import POINTS, known_point
from fakeservers.profile import SERVICES, Profile, load_profile, profile_names
from fakeservers.rules import Act, Rule, unknown
from fakeservers.yamlfile import FileError, load_text, locate
from harness.casefile import FILE_NAME, Case, shipped_folder
from harness.expectations import ClosingExpect, SendExpect, WirePattern
from harness.scenario import ChangeStep, CrashStep, Mail, Scenario, SendStep
from harness.settingskeys import SECTIONS, setting_problem

__all__ = ["located", "problems", "profile_problems", "rule_problems"]

Where = list[str | int]
Problem = tuple[Where, str]
DEFAULT_ACCOUNTS = ("alice@example.test", "bob@example.test")
USED = {"outgoing": {"send", "flush", "test_outgoing"}, "incoming": {"fetch", "test_incoming"}}
KEY = "\0key"
"""Last in a path: the key is at fault, not its value."""


def problems(case: Case) -> list[FileError]:
    """All of them, in the order of the file; quick when there are none."""
    name = _file_name(case)
    profile = _profile(case)
    if isinstance(profile, FileError):
        return [*name, *profile.all]
    found = [(where, message) for where, message in _Check(case.scenario, profile).all()]
    if not found:
        return name
    text = load_text(case.file)
    errors = [located(case.shown, text, where, message) for where, message in found]
    return [*name, *sorted(errors, key=lambda error: (error.line, error.column))]


def rule_problems(rules: Sequence[Rule], profile: Profile, path: Where) -> Iterator[Problem]:
    """What is wrong with rules at `path` of a file for a host of this profile."""
    served = {SERVICES[service][0] for service in profile.services}
    for index, rule in enumerate(rules):
        here = [*path, index]
        reached = [point for point in POINTS if any(fnmatchcase(point, each) for each in rule.points)]
        if not any(point.partition(".")[0] in {*served, "http"} for point in reached):
            lacks = ", ".join(sorted({point.partition(".")[0] for point in reached}))
            yield [*here, "at"], f"can never act: {profile.name} has no {lacks} service"
        for where, act in ((here, rule), *(([*here, "in_turn", turn], act) for turn, act in enumerate(rule.in_turn))):
            yield from _act_problems(act, where, reached)
        chance = rule.when.get("probability")
        if chance is not None and not (isinstance(chance.equals, int | float) and 0 < chance.equals <= 1):
            yield [*here, "when", "probability"], "probability: expected a number above 0 and up to 1"


def profile_problems(profile: Profile) -> Iterator[Problem]:
    """What is wrong with a profile beyond its form."""
    for key in ("outgoing", "incoming"):
        service = getattr(profile.settings, key)
        if service is not None and key in profile.settings.model_fields_set and service not in profile.services:
            yield ["settings", key], unknown(f"service of {profile.name}", service, profile.services)
    yield from rule_problems(profile.rules, profile, ["rules"])
    for name, quirk in profile.quirks.items():
        yield from rule_problems(quirk.rules, profile, ["quirks", name, "rules"])


def _act_problems(act: Act, path: Where, reached: Iterable[str]) -> Iterator[Problem]:
    for key in ("certificate", "handshake"):
        if getattr(act, key) is not None and not any(point.endswith(".tls") for point in reached):
            yield [*path, key, KEY], f"{key} acts only at a TLS handshake: smtp.tls, imap.tls or pop3.tls"
    if act.bandwidth is not None and not any(point.endswith(".accept") for point in reached):
        yield [*path, "bandwidth", KEY], "bandwidth acts only where a connection begins: smtp.accept, ..."
    if act.tls is not None and not any(point.endswith((".tls", ".accept")) for point in reached):
        yield [*path, "tls", KEY], "tls acts only at a TLS handshake (or `at_once` at smtp.accept, ...)"


def _file_name(case: Case) -> list[FileError]:
    root = shipped_folder().resolve()
    file = case.file.resolve()
    if not file.is_relative_to(root):
        return []
    parts = file.relative_to(root).with_suffix("").parts
    wrong = [part for part in parts if not FILE_NAME.fullmatch(part)]
    message = f"the name {wrong[0]!r} is not of the form [a-z0-9-]" if wrong else ""
    return [FileError(case.shown, 1, 1, message)] if wrong else []


def _profile(case: Case) -> Profile | FileError:
    name = case.scenario.provider
    own = name.endswith((".yaml", ".yml"))
    try:
        return _loaded(str(case.file.parent / name) if own else name)
    except FileError as error:
        if error.line:
            return error
        message = f"{error.file}: {error.message}" if own else error.message
        return located(case.shown, load_text(case.file), ["provider"], message)


@lru_cache(maxsize=256)
def _loaded(name: str) -> Profile:
    return load_profile(name)


def located(file: str, text: str, where: Where, message: str) -> FileError:
    of_key = where[-1] == KEY
    return FileError(file, *locate(text, where[:-1] if of_key else where, of_key=of_key), message)


class _Check:
    def __init__(self, scenario: Scenario, profile: Profile) -> None:
        self.scenario = scenario
        self.profile = profile
        given = scenario.given.accounts
        self.accounts = {address.casefold() for address in given or profile.users or DEFAULT_ACCOUNTS}
        self.addressed: set[str] = set()
        """Every recipient up to the step in hand."""
        self.sent: list[str] = []
        """The ids of messages sent up to the step in hand."""
        self.rules = [rule.name for rule in (*scenario.given.rules, *profile.rules)]

    def all(self) -> Iterator[Problem]:
        yield from self.given()
        yield from self.settings(self.scenario.settings, ["settings"])
        yield from self.services_used()
        for index, step in enumerate(self.scenario.steps):
            yield from self.step(index, step)
        if self.scenario.expect is not None:
            yield from self.closing(self.scenario.expect)

    # --- what is given

    def given(self) -> Iterator[Problem]:
        given = self.scenario.given
        for index, name in enumerate(given.quirks):
            quirk = self.profile.quirks.get(name.removeprefix(f"{self.profile.name}/"))
            if quirk is None:
                yield ["given", "quirks", index], self.no_quirk(name)
            else:
                self.rules += [rule.name for rule in quirk.rules]
        yield from rule_problems(given.rules, self.profile, ["given", "rules"])
        yield from self.mails(given.mail, ["given", "mail"])

    def no_quirk(self, name: str) -> str:
        """An unknown quirk, or one of another provider."""
        owner, slash, short = name.rpartition("/")
        others = [owner] if slash and owner in profile_names() else profile_names()
        has = [other for other in others if other != self.profile.name and short in _loaded(other).quirks]
        if has and not (slash and owner == self.profile.name):
            return f'"{short}" is a quirk of {" and ".join(has)}, not of {self.profile.name}'
        return unknown(f"quirk of {self.profile.name}", name, self.profile.quirks)

    def mails(self, mails: Iterable[Mail], path: Where) -> Iterator[Problem]:
        for index, mail in enumerate(mails):
            yield from self.account(mail.to, [*path, index, "to"])

    def account(self, address: str, path: Where) -> Iterator[Problem]:
        if address.casefold() not in self.accounts:
            yield path, unknown("account", address, self.accounts)

    # --- settings

    def settings(self, settings: Mapping[Any, Mapping[str, Any]], path: Where) -> Iterator[Problem]:
        for section, values in settings.items():
            known = SECTIONS.get(section)
            for key, value in values.items() if known is not None else ():
                here = [*path, section, key]
                if known is not None and key not in known:
                    yield [*here, KEY], unknown(f"key in settings.{section}", key, known)
                    continue
                problem = setting_problem(section, key, value)
                if problem is not None:
                    yield here, problem
                elif key == "service":
                    yield from self.service(value, here)
                elif key == "account":
                    yield from self.account(value, here)

    def service(self, name: str, path: Where) -> Iterator[Problem]:
        if name not in self.profile.services:
            yield path, unknown(f"service of {self.profile.name}", name, self.profile.services)

    def services_used(self) -> Iterator[Problem]:
        """A step that sends or fetches needs a server for it."""
        recommended = self.profile.settings
        usual: dict[str, str | None] = {"outgoing": recommended.outgoing, "incoming": recommended.incoming}
        if "graph" in self.scenario.settings:
            return
        for section, service in usual.items():
            if service in self.profile.services or "service" in self.scenario.settings.get(section, {}):  # type: ignore[call-overload]
                continue
            for index, step in enumerate(self.scenario.steps):
                own = getattr(step, "settings", {}).get(section, {})
                if step.action in USED[section] and "service" not in own:
                    yield ["steps", index], self.no_service(section)
                    return

    def no_service(self, section: str) -> str:
        protocols = ("smtp",) if section == "outgoing" else ("imap", "pop3")
        usable = [service for service in self.profile.services if SERVICES[service][0] in protocols]
        if not usable:
            return f"{self.profile.name} has no {section} service"
        return (
            f"{self.profile.name} recommends no {section} service: set settings.{section}.service to one of "
            + ", ".join(usable)
        )

    # --- steps

    def step(self, index: int, step: Any) -> Iterator[Problem]:
        path: Where = ["steps", index]
        yield from self.settings(getattr(step, "settings", {}), [*path, "settings"])
        if isinstance(step, ChangeStep):
            yield from self.change(step, [*path, "change"])
        elif isinstance(step, CrashStep):
            yield from self.crash(index, step, [*path, "crash"])
        ids, recipients = self.sending(step)
        self.sent += ids
        self.addressed |= recipients
        expect = getattr(step, "expect", None)
        if isinstance(expect, SendExpect):
            sends = isinstance(step, SendStep)
            yield from self.replies(
                expect, ids if sends else self.sent, recipients if sends else self.addressed, sends, [*path, "expect"]
            )

    def sending(self, step: Any) -> tuple[list[str], set[str]]:
        """Ids and recipients of the messages that a step adds."""
        if isinstance(step, SendStep):
            send = step.send
            number = len(self.sent)
            if not send.messages:
                ids = [f"m{number + each}" for each in range(1, send.count + 1)]
                return ids, {address.casefold() for address in send.to}
            ids = [message.id or f"m{number + each}" for each, message in enumerate(send.messages, 1)]
            return ids, {address.casefold() for message in send.messages for address in message.to}
        probe = getattr(step, "test_outgoing", None)
        return [], {probe.to.casefold()} if probe is not None and probe.to else set()

    def replies(
        self, expect: SendExpect, ids: Sequence[str], recipients: set[str], sends: bool, path: Where
    ) -> Iterator[Problem]:
        outcomes = expect.outcomes
        if sends and isinstance(outcomes, list) and len(outcomes) != len(ids):
            many = f"{len(ids)} message{'' if len(ids) == 1 else 's'}"
            yield [*path, "outcomes"], f"{len(outcomes)} outcomes can never be those of {many}"
        named: dict[str, Iterable[str]] = {
            "outcomes": outcomes if isinstance(outcomes, dict) else (),
            "errors": expect.errors,
        }
        for key, values in named.items():
            for name in values:
                if name not in ids:
                    yield [*path, key, name, KEY], unknown("message id", name, ids)
        for key, addresses in (("recipients", expect.recipients), ("recipient_errors", expect.recipient_errors)):
            for address in addresses or {}:
                if address.casefold() not in recipients:
                    yield [*path, key, address, KEY], unknown("recipient", address, recipients)

    def change(self, step: ChangeStep, path: Where) -> Iterator[Problem]:
        change = step.change
        for index, name in enumerate(change.remove_rules):
            if name not in self.rules:
                yield [*path, "remove_rules", index], unknown("rule", name, self.rules)
        yield from rule_problems(change.rules, self.profile, [*path, "rules"])
        self.rules += [rule.name for rule in change.rules]
        yield from self.mails(change.mail, [*path, "mail"])
        for key in ("accounts", "passwords"):
            for address in getattr(change, key):
                yield from self.account(address, [*path, key, address, KEY])
        for index, place in enumerate(change.uidvalidity):
            address, slash, mailbox = place.partition("/")
            if not (slash and mailbox):
                yield [*path, "uidvalidity", index], f'expected address/MAILBOX, found "{place}"'
            else:
                yield from self.account(address, [*path, "uidvalidity", index])
        for index, service in enumerate(change.stop):
            yield from self.service(service, [*path, "stop", index])

    def crash(self, index: int, step: CrashStep, path: Where) -> Iterator[Problem]:
        point = step.crash.at
        if point is None:
            return
        try:
            known_point(point)
        except ValueError as error:
            yield [*path, "at"], str(error)
        protocol, _, command = point.partition(".")
        if step.crash.stored and point != "smtp.message" and (protocol == "smtp" or command in ("connect", "tls")):
            yield [*path, "stored", KEY], "stored: only at smtp.message and at IMAP and POP3 commands"
        following = self.scenario.steps[index + 1 :]
        if not any(hasattr(later, "expect") for later in following):
            yield path, "the crash comes in the next step of the client, and there is none"

    # --- the end

    def closing(self, expect: ClosingExpect) -> Iterator[Problem]:
        path: Where = ["expect"]
        known = self.accounts | self.addressed
        known |= {_ascii_domain(address) for address in known}
        free = "business" in self.scenario.actions()
        for index, stored in enumerate(expect.stored):
            here = [*path, "stored", index]
            if not free and stored.to.casefold() not in known and not stored.count.holds(0):
                yield [*here, "to"], unknown("address", stored.to, known)
            if stored.same_as is not None and stored.same_as not in self.sent:
                yield [*here, "same_as"], unknown("message id", stored.same_as, self.sent)
        for address in expect.mailboxes:
            if not free and address.casefold() not in known:
                yield [*path, "mailboxes", address, KEY], unknown("address", address, known)
        for index, wire in enumerate(expect.wire):
            here = [*path, "wire", index]
            for key in ("saw", "never", "of"):
                pattern = getattr(wire, key)
                if pattern is not None:
                    yield from self.pattern(pattern, [*here, key], never=key == "never")
            for number, pattern in enumerate(wire.before or ()):
                yield from self.pattern(pattern, [*here, "before", number])

    def pattern(self, pattern: WirePattern, path: Where, *, never: bool = False) -> Iterator[Problem]:
        if pattern.service is not None and pattern.service not in self.profile.services:
            message = unknown(f"service of {self.profile.name}", pattern.service, self.profile.services)
            yield [*path, "service"], f"cannot fail: {message}" if never else message
        steps = len(self.scenario.steps)
        if pattern.step is not None and pattern.step > steps:
            lacks = f"there is no step {pattern.step}, only {steps}"
            yield [*path, "step"], f"cannot fail: {lacks}" if never else lacks


def _ascii_domain(address: str) -> str:
    """The address with its domain as A-labels (RFC 5890), as it travels without SMTPUTF8."""
    local, at, domain = address.rpartition("@")
    try:
        return local + at + domain.encode("idna").decode("ascii")
    except UnicodeError:
        return address
