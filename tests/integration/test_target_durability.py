"""A target that was answered with 200 is in the database, whole, whoever is killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
from contextlib import closing
from typing import Any

import pytest

from tests.integration.conftest import TestedSupervisor
from tests.integration.test_deaths import running_pid

pytestmark = pytest.mark.engine


def numbered(number: int) -> dict[str, Any]:
    """A target that says its number in every place where targets are stored. Its apps have no release, so that the
    engine has nothing to do."""
    apps = {str(app_id): {"name": f"app{number}"} for app_id in range(1, 2 + number % 3)}
    return {"local": {"name": f"name{number}", "config": {"HOST_CONFIG_gpu_mem": str(number)}, "apps": apps}}


def stored(supervisor: TestedSupervisor) -> dict[str, Any]:
    """What is on disk, in the form of what was posted."""
    with closing(sqlite3.connect(f"{(supervisor.folder / 'database.sqlite').as_uri()}?mode=ro", uri=True)) as database:
        database.execute("BEGIN")
        (name,) = database.execute("SELECT value FROM config WHERE key = 'name'").fetchone()
        (config,) = database.execute("SELECT targetValues FROM deviceConfig").fetchone()
        rows = database.execute("SELECT appId, name FROM app").fetchall()
    apps = {str(app_id): {"name": app_name} for app_id, app_name in rows}
    return {"local": {"name": name, "config": json.loads(config), "apps": apps}}


@pytest.mark.parametrize("victim", ["target-state", "root"])
def test_every_answered_target_is_stored_whole_whoever_is_killed(supervisor: TestedSupervisor, victim: str) -> None:
    posted: list[dict[str, Any]] = []
    answered = 0
    while answered < 20:
        body = numbered(len(posted))
        posted.append(body)
        if len(posted) in {3, 8, 12}:
            pid = running_pid(supervisor, victim)
            threading.Timer(0.002, os.kill, (pid, signal.SIGKILL)).start()
        try:
            supervisor.post_target(body)
        except OSError:
            found = stored(supervisor)
            assert found in posted, "a target was stored by halves"
            supervisor.api.wait_until(lambda _: True)
        else:
            answered += 1
            assert stored(supervisor) == body
    assert supervisor.api.get("/v2/local/target-state")["state"]["local"]["name"] == posted[-1]["local"]["name"]
