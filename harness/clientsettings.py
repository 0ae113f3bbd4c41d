"""The settings that a client under test is given, and the features that a scenario asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fakeservers.certificates import ca_with_crl_file, client_files
from fakeservers.host import FakeMailHost
from fakeservers.profile import SERVICES, Profile
from harness.scenario import Scenario

__all__ = ["build", "dial", "missing_features"]

OUTGOING_ACTIONS = {"send", "flush", "test_outgoing"}
INCOMING_ACTIONS = {"fetch", "test_incoming"}
EHLO_NAME = "client.example.test"
TIMEOUT = 10


def build(
    scenario: Scenario, host: FakeMailHost, overrides: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The request's `settings`: the profile's recommended ones, then the scenario's, then `overrides` of the steps.

    Beside the contract's keys a section may say `service` (whose port is meant), `account` (whose name and password)
    and `host: provider` (the provider's real host name and default port, with `dial`); `client_cert` may be `right`
    (made for the account) or `unknown-ca`, `ca_file` may be `with-crl`. Raises ValueError.
    """
    actions = set(scenario.actions())
    wanted: dict[str, dict[str, Any]] = {}
    for section, used in (("outgoing", OUTGOING_ACTIONS), ("incoming", INCOMING_ACTIONS)):
        given = {**scenario.settings.get(section, {}), **overrides.get(section, {})}  # type: ignore[call-overload]
        if actions & used or given:
            wanted[section] = _section(section, given, host)
    for section in ("graph", "business"):
        given = {**scenario.settings.get(section, {}), **overrides.get(section, {})}  # type: ignore[call-overload]
        if given:
            wanted[section] = given
    return wanted


def _section(section: str, given: dict[str, Any], host: FakeMailHost) -> dict[str, Any]:
    profile, endpoints = host.profile, host.endpoints()
    recommended = profile.settings
    usual = recommended.outgoing if section == "outgoing" else recommended.incoming
    service = str(given.pop("service", None) or usual)
    if service not in endpoints["ports"]:
        raise ValueError(f"settings.{section}: {profile.name} has no service {service!r}")
    protocol, _, implicit = SERVICES[service]
    account = given.pop("account", None) or next(iter(endpoints["users"]))["username"]
    user = next((user for user in endpoints["users"] if user["username"] == account), None)
    if user is None:
        raise ValueError(f"settings.{section}: there is no account {account!r}")
    security = recommended.outgoing_security if section == "outgoing" else recommended.incoming_security
    settings: dict[str, Any] = {
        "host": endpoints["host"],
        "port": endpoints["ports"][service],
        "security": security if service == usual else ("implicit" if implicit else "none"),
        "auth": recommended.outgoing_auth if section == "outgoing" else recommended.incoming_auth,
        "username": user["username"],
        "password": user["password"],
        "access_token": None,
        "allow_cleartext": False,
        "timeout": TIMEOUT,
        "ca_file": endpoints["ca_file"],
        "client_cert": None,
        "client_key": None,
    }
    if section == "outgoing":
        settings |= {
            "ehlo_name": EHLO_NAME,
            "smtputf8": False,
            "from_address": user["username"],
            "from_name": "",
            "reply_to": None,
            "bounce_address": None,
        }
    else:
        settings |= {"protocol": protocol, "inbox": None, "completed": None, "unseen_only": True}
    if (kind := given.get("client_cert")) in ("right", "unknown-ca"):
        certificate, key = client_files(user["username"], trusted=kind == "right")
        given = {**given, "client_cert": str(certificate), "client_key": str(key)}
    if given.get("ca_file") == "with-crl":
        given = {**given, "ca_file": str(ca_with_crl_file())}
    if given.get("host") == "provider":
        given = {**given, "host": profile.service(service).host, "port": given.get("port")}
    elif given.get("host") == "comma":
        given = {**given, "host": f"{endpoints['host']},{endpoints['ports'][service]}", "port": given.get("port", 1)}
    return settings | given


def dial(host: FakeMailHost) -> dict[str, str]:
    """The provider's real `host:port` of each service, and where the fake one listens."""
    endpoints = host.endpoints()
    return {
        f"{service.host}:{service.port}": f"{endpoints['host']}:{endpoints['ports'][name]}"
        for name, service in host.profile.services.items()
        if name in endpoints["ports"]
    }


def missing_features(scenario: Scenario, profile: Profile, features: list[str]) -> list[str]:
    """What the scenario needs and the client lacks: by its steps, its settings and its own word."""
    needed = dict.fromkeys(scenario.needs)
    actions = scenario.actions()
    for action in actions:
        match action:
            case "send" | "fetch":
                needed[action] = None
            case "flush":
                needed["queue"] = None
            case "wait":
                needed["clock"] = None
            case "test_outgoing":
                # A client that only reads has nothing to test here.
                needed |= {"send": None, "test-connection": None}
            case "test_incoming":
                needed["test-connection"] = None
            case "crash" if not {"queue", "complete"} & set(features):
                needed["queue"] = None
    for step in scenario.steps:
        if step.action == "business":
            needed[f"business-{step.business.operation}"] = None  # type: ignore[union-attr]
    for section in _sections(scenario, profile, set(actions)):
        needed |= dict.fromkeys(_implied(section))
    return [feature for feature in needed if feature not in features]


def _sections(scenario: Scenario, profile: Profile, actions: set[str]) -> list[dict[str, Any]]:
    """Each section as it will be used, with the recommended security, in every step's variant."""
    recommended = profile.settings
    sections = []
    for name, used, service, security, auth in (
        ("outgoing", OUTGOING_ACTIONS, recommended.outgoing, recommended.outgoing_security, recommended.outgoing_auth),
        ("incoming", INCOMING_ACTIONS, recommended.incoming, recommended.incoming_security, recommended.incoming_auth),
    ):
        if not actions & used:
            continue
        base = {"service": service, "auth": auth, **scenario.settings.get(name, {})}  # type: ignore[call-overload]
        implicit = SERVICES[base["service"]][2] if base["service"] in SERVICES else False
        same = base["service"] == service
        base.setdefault("security", security if same else "implicit" if implicit else "none")
        variants = [getattr(step, "settings", {}).get(name, {}) for step in scenario.steps]
        sections += [base, *({**base, **variant} for variant in variants if variant)]
    return sections


def _implied(section: Mapping[str, Any]) -> list[str]:
    needed = []
    security = section["security"]
    if security in ("starttls", "opportunistic"):
        needed.append("opportunistic-tls" if security == "opportunistic" else "starttls")
    elif security == "implicit":
        needed.append("implicit-tls")
    auth = section["auth"]
    if auth.startswith("scram"):
        needed.append("auth-scram")
    elif auth not in ("none", "auto", "apop"):
        needed.append(f"auth-{auth}")
    protocol = SERVICES.get(section["service"], ("smtp", 0, False))[0]
    if protocol in ("imap", "pop3"):
        needed.append(protocol)
    if section.get("completed") is not None:
        needed.append("complete")
    if section.get("smtputf8"):
        needed.append("smtputf8")
    if section.get("client_cert"):
        needed.append("client-cert")
    if section.get("host") == "provider":
        needed.append("dial")
    if "," in str(section.get("host", "")) or section.get("host") == "comma":
        needed.append("host-comma-port")
    return needed
