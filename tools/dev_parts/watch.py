"""Show how a target becomes running services: a live table on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from rich.live import Live
from rich.table import Table

from tools.dev_parts.supervisor import Api
from tools.dev_parts.terminal import say

_INTERVAL_S = 0.1


class Row(NamedTuple):
    """One line of the table."""

    kind: str
    name: str
    status: str


class WatchFailed(Exception):
    """The services did not come to run; the message says why, as far as the supervisor told."""


class Watcher:
    """Follows one app. ``alive`` says whether the supervisor's process still runs."""

    def __init__(self, api: Api, app_id: int, services: list[str], alive: Callable[[], bool]) -> None:
        self._api = api
        self._app_id = app_id
        self._services = services
        self._alive = alive
        self._last: dict[tuple[str, str], str] = {}
        self._status: dict[str, Any] = {}
        self._live = Live(auto_refresh=False) if sys.stdout.isatty() else None

    def screen(self) -> AbstractContextManager[Any]:
        """Holds the table on the terminal; to be entered around the calls below."""
        return self._live if self._live is not None else nullcontext()

    def until_running(self, timeout_s: float) -> None:
        """Raises ``WatchFailed``."""
        end = time.monotonic() + timeout_s
        while not self._look():
            self._check_alive()
            if time.monotonic() > end:
                raise WatchFailed(
                    "\n  ".join([f"not all services run after {timeout_s:.0f} s", *reasons(self._status)])
                )
            time.sleep(_INTERVAL_S)

    def for_ever(self) -> None:
        """Until it is interrupted. Raises ``WatchFailed`` when the supervisor ends."""
        while True:
            self._look()
            self._check_alive()
            time.sleep(_INTERVAL_S)

    def _check_alive(self) -> None:
        if not self._alive():
            raise WatchFailed("the supervisor ended")

    def _look(self) -> bool:
        try:
            self._status = self._api.status()
        except OSError as error:
            self._status = {"lastError": {"message": f"the API does not answer: {error}"}}
            return False
        shown = rows(self._status, self._app_id, self._services)
        if self._live is not None:
            self._live.update(_table(shown), refresh=True)
        else:
            self._print_changes(shown)
        return all_run(self._status, shown)

    def _print_changes(self, shown: list[Row]) -> None:
        for kind, name, status in shown:
            if self._last.get((kind, name)) != status:
                self._last[kind, name] = status
                say(f"{kind} {name}: {status}")


def rows(status: dict[str, Any], app_id: int, services: list[str]) -> list[Row]:
    """Images, then services in the given order, from ``GET /v2/state/status``."""
    images = {i["serviceName"]: i for i in status.get("images", []) if i["appId"] == app_id}
    containers = {c["serviceName"]: c for c in status.get("containers", []) if c["appId"] == app_id}
    found = [Row("image", name, _image_status(images.get(name))) for name in services]
    return found + [Row("service", name, str(containers.get(name, {}).get("status", "waiting"))) for name in services]


def all_run(status: dict[str, Any], shown: list[Row]) -> bool:
    running = all(row.status == "Running" for row in shown if row.kind == "service")
    return running and status.get("appState") == "applied"


def reasons(status: dict[str, Any]) -> list[str]:
    """What the supervisor says of failed steps, of waits and of its last error; the newest of each subject."""
    failed = {d["subject"]: d for d in status.get("decisions", []) if d["outcome"] == "failed"}
    lines = [f"{d['subject']}: {d['step']} failed: {d.get('error', '')} ({d['reason']})" for d in failed.values()]
    lines += [f"{wait['subject']} waits: {wait['reason']}" for wait in status.get("waiting", [])]
    error = status.get("lastError")
    return [*lines, f"last error: {error['message']}"] if error else lines


def _image_status(image: dict[str, Any] | None) -> str:
    if image is None:
        return "waiting"
    progress = image.get("downloadProgress")
    return str(image["status"]) if progress is None else f"{image['status']} {progress:.0f} %"


def _table(shown: list[Row]) -> Table:
    table = Table("", "name", "state", title="sample app")
    styles = {"Running": "green", "Downloaded": "green", "waiting": "dim"}
    for row in shown:
        table.add_row(row.kind, row.name, row.status, style=styles.get(row.status, "yellow"))
    return table
