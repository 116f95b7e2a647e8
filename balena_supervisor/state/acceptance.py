"""What a device takes of a target: apps that it must not run are rejected, services that it need not run left out
(spec target-state 9.4)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from balena_supervisor.errors import InvalidTarget
from balena_supervisor.model.target import TargetApp, TargetService
from balena_supervisor.state.coerce import is_truthy
from balena_supervisor.state.compose import problems
from balena_supervisor.state.contracts import Fact, read_requirements, unmet
from balena_supervisor.state.dependencies import cycles_of_app, shown
from balena_supervisor.state.target_v3 import ParsedTarget
from balena_supervisor.state.violations import Violations

OPTIONAL = "io.balena.features.optional"
NO_REASON_LEFT = "the release was rejected when it came, and nothing stands against it any more: send it again"


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A target as it is stored, with lines for the log: names of services that were ``left_out``, and for each
    rejected app what it lacks (``unmet``) or which services wait for each other (``cyclic``)."""

    target: ParsedTarget
    left_out: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()
    cyclic: tuple[str, ...] = ()


def accept_local(parsed: ParsedTarget, facts: Sequence[Fact]) -> Accepted:
    """Take a target of the local API. Raises ``InvalidTarget`` when an app cannot become containers or has a cycle of
    dependencies, with all that is wrong; only contracts make an app rejected."""
    lines = [f"local.{line}" for app in parsed.apps for line in (*problems(app), *_cycle_lines(app))]
    if lines:
        raise InvalidTarget("\n".join(["Invalid target state.", *lines]), violations=lines)
    return accept(parsed, facts)


def accept(parsed: ParsedTarget, facts: Sequence[Fact]) -> Accepted:
    """Take a target that cannot be sent back, as that of the cloud: what is wrong with one app stops no other."""
    apps: list[TargetApp] = []
    left_out: list[str] = []
    unmet_lines: list[str] = []
    cyclic: list[str] = []
    for app in parsed.apps:
        lacking = _lacking(app, facts)
        cycle = _cycles(app)
        reasons = [*cycle, *_requirement_words(lacking)]
        if not cycle and all(_is_optional(service) for service, _ in lacking):
            gone = {service.service_name for service, _ in lacking}
            left_out.extend(gone)
            services = tuple(service for service in app.services if service.service_name not in gone)
            apps.append(msgspec.structs.replace(app, services=services))
            continue
        apps.append(msgspec.structs.replace(app, rejected=True, rejection="; ".join(reasons)))
        if cycle:
            cyclic.append(f"{app.name}: {'; '.join(cycle)}")
        if lacking:
            unmet_lines.append(f"{app.name}: {'; '.join(_requirement_words(lacking))}")
    return Accepted(
        target=msgspec.structs.replace(parsed, apps=tuple(apps)),
        left_out=tuple(sorted(left_out)),
        unmet=tuple(unmet_lines),
        cyclic=tuple(cyclic),
    )


def explained(app: TargetApp, facts: Sequence[Fact]) -> TargetApp:
    """A stored app with the reason of its rejection found again; the flag stays as it was stored."""
    if not app.rejected:
        return app
    reasons = [*_cycles(app), *_requirement_words(_lacking(app, facts))]
    return msgspec.structs.replace(app, rejection="; ".join(reasons) or NO_REASON_LEFT)


def _cycle_lines(app: TargetApp) -> list[str]:
    return [
        f"apps.{app.app_id}.services.{service.service_id}.{field}: "
        f"expected dependencies without a cycle, got {shown(cycle)}"
        for service, field, cycle in cycles_of_app(app)
    ]


def _cycles(app: TargetApp) -> list[str]:
    return [f"its dependencies form a cycle: {shown(cycle)}" for _, _, cycle in cycles_of_app(app)]


def _lacking(app: TargetApp, facts: Sequence[Fact]) -> list[tuple[TargetService, list[str]]]:
    """The services that require what the device does not have, each with what that is."""
    judged = [(service, _unmet(service, facts)) for service in app.services]
    return [(service, words) for service, words in judged if words]


def _unmet(service: TargetService, facts: Sequence[Fact]) -> list[str]:
    violations = Violations()
    requirements = read_requirements(service.contract, ("contract",), violations)
    if violations.lines:  # only in rows of a database: targets with such a contract are refused
        return [f"what cannot be read ({'; '.join(violations.lines)})"]
    return unmet(requirements, facts)


def _requirement_words(lacking: list[tuple[TargetService, list[str]]]) -> list[str]:
    return [
        f"{service.service_name}{' (optional)' if _is_optional(service) else ''} requires {' and '.join(words)}"
        for service, words in lacking
    ]


def _is_optional(service: TargetService) -> bool:
    """By the label as it was written: the older ``io.resin.`` spelling does not count."""
    return is_truthy(service.labels.get(OPTIONAL))
