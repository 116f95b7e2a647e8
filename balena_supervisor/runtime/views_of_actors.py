"""The view of all processes, made of what the supervision and the post office know."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import msgspec

from balena_supervisor.runtime.records import MailboxReport
from balena_supervisor.runtime.supervision import Process, Supervision
from balena_supervisor.runtime.table import ActorRow
from balena_supervisor.runtime.views import ActorsView, ActorView


def actors_view(
    supervision: Supervision,
    rows: Mapping[str, ActorRow],
    reports: Mapping[str, MailboxReport],
    *,
    now: float,
    born_at: float,
    root: tuple[int, float],
    pss_bytes: Callable[[int], int],
) -> ActorsView:
    """Nursery and root, then the actors in the order of the start list. ``root`` is its generation and its start."""
    generation, started_at = root
    nursery = _plain("nursery", os.getppid(), 1, now - born_at)
    views = [nursery, _with_report(_plain("root", os.getpid(), generation, now - started_at), reports["root"])]
    for row in rows.values():
        process = supervision.processes[row.process_name]
        if row.mailbox_owner_is_a_worker:
            views.append(_of_process(f"{row.name}-arbiter", process, now))
            views.append(_with_report(_of_worker(row.name, supervision, now), reports[row.name]))
        else:
            views.append(_with_report(_of_process(row.name, process, now), reports[row.name]))
    return ActorsView(actors=tuple(msgspec.structs.replace(view, pss_bytes=_pss(view, pss_bytes)) for view in views))


def _pss(view: ActorView, pss_bytes: Callable[[int], int]) -> int:
    return pss_bytes(view.pid) if view.pid else 0


def _plain(name: str, pid: int, generation: int, uptime_s: float) -> ActorView:
    return ActorView(name=name, pid=pid, generation=generation, state="running", uptime_s=round(uptime_s, 3))


def _of_process(name: str, process: Process, now: float) -> ActorView:
    return ActorView(
        name=name,
        pid=process.pid,
        generation=process.generation,
        state=process.state,
        uptime_s=round(now - process.started_at, 3) if process.pid else 0.0,
        restarts=max(0, process.restarts),
        last_exit=process.last_exit,
        problem="" if process.state == "running" else process.problem,
    )


def _of_worker(name: str, supervision: Supervision, now: float) -> ActorView:
    watch = supervision.watches[name]
    process = supervision.processes[watch.process]
    state = process.state
    if state not in {"back-off", "stopped"}:
        state = "running" if watch.ready else "starting"
    return ActorView(
        name=name,
        pid=watch.pid if watch.connected else 0,
        generation=process.generation,
        state=state,
        uptime_s=round(now - watch.connected_at, 3) if watch.connected else 0.0,
        restarts=max(0, watch.restarts),
        last_exit="",
        problem="" if state == "running" else process.problem,
    )


def _with_report(view: ActorView, report: MailboxReport) -> ActorView:
    return msgspec.structs.replace(
        view, mailbox=report.mailbox, in_hand=report.in_hand, handled=report.handled, failed=report.failed
    )
