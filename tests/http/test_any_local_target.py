"""Whatever a client posts as a local target, against the real target-state actor on a real database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balena_supervisor.actors.target_state import TargetPorts, Targets
from balena_supervisor.messages import ConfigChanged, GetComposedTarget, SetLocalTarget, TargetChanged
from balena_supervisor.migrations.runner import migrate
from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.device import Configuration, HostFacts
from balena_supervisor.runtime.actor import Deliver
from balena_supervisor.state.compose import compose_app
from balena_supervisor.state.compose_fields import FIELDS, JOINT_FIELDS
from tests.fakes.ports import FakeClock, FakePost, FakeTimers
from tests.http.support import Device

PATH = "/v2/local/target-state"
JSON = {"Content-Type": "application/json"}
LOCAL = Configuration(uuid="d00d", name="bench", local_mode=True)

texts = st.text(max_size=8) | st.sampled_from(["", "\0", "=", "null", "1.0", "-1", "9" * 30, "x" * 256])
scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
names = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,5}", fullmatch=True)
fields = st.sampled_from([*FIELDS, *JOINT_FIELDS, "running", "contract", "image", "imageId", "x-other"])
good = {
    "ports": ["1-3:1-3", 81, {"target": 9}],
    "volumes": ["data:/data", {"type": "tmpfs", "target": "/t"}],
    "labels": {"io.balena.features.supervisor-api": "1"},
}
services = st.builds(
    lambda name, some, odd: {
        "serviceName": name,
        "imageId": 1,
        "image": "a/b",
        "environment": {},
        "labels": {},
        **{field: good[field] for field in some},
        **odd,
    },
    names,
    st.lists(st.sampled_from(sorted(good))),
    st.just({}) | st.dictionaries(fields, values, max_size=2),
)
apps = st.fixed_dictionaries(
    {
        "name": names,
        "commit": names,
        "releaseId": st.just(1),
        "services": st.dictionaries(st.integers(1, 9).map(str), services, max_size=3),
    },
    optional={"networks": st.dictionaries(names, st.just({}) | values, max_size=1)},
)
locals_ = st.fixed_dictionaries(
    {"apps": st.dictionaries(st.integers(1, 9).map(str), apps, max_size=2)}, optional={"name": names | st.none()}
)
bodies = st.fixed_dictionaries({"local": locals_}, optional={"force": scalars}) | values


def sent(message: Any, as_type: Any) -> Any:
    """A message as it comes out at the other end."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=as_type)


class Whole:
    """The local API with the real actor behind it, one message at a time, and a planner that only composes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.api = Device()
        self.post = FakePost()
        clock = FakeClock()
        ports = TargetPorts(
            name="target-state",
            generation=1,
            post=self.post,
            clock=clock,
            timers=FakeTimers(clock),
            target_config_path=path.parent / "shown",
            database_path=path,
        )
        self.targets = Targets.start(ports)
        self.targets.ask(Deliver(ConfigChanged(configuration=LOCAL)), timeout=20)
        self.api.snapshots.keep(ConfigChanged(configuration=LOCAL))
        self.api.snapshots.keep(self.post.of(TargetChanged)[-1])
        self.api.post.answers = {SetLocalTarget: self.set_target, GetComposedTarget: lambda _: self.composed()}

    def set_target(self, command: SetLocalTarget) -> Any:
        accepted = self.targets.ask(Deliver(sent(command, SetLocalTarget)), timeout=20)
        self.api.snapshots.keep(sent(self.post.of(TargetChanged)[-1], TargetChanged))
        return accepted

    def composed(self) -> tuple[ComposedApp, ...]:
        target = self.api.snapshots.picture.target
        assert target is not None
        made = tuple(compose_app(app, LOCAL, HostFacts(), {}, {}) for app in target.apps)
        assert [app.problem for app in made if app.problem] == []
        received: tuple[ComposedApp, ...] = sent(made, tuple[ComposedApp, ...])
        return received

    def everything(self) -> tuple[Any, ...]:
        """What GET answers and what is stored."""
        with closing(sqlite3.connect(self.path)) as database:
            rows = [
                database.execute(f"SELECT * FROM `{table}` ORDER BY 1").fetchall()
                for table in ("app", "config", "deviceConfig", "apiSecret")
            ]
        answer = self.api.client.simulate_get(PATH)
        assert answer.status_code == 200
        return answer.json["state"]["local"], rows


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    path = tmp_path / "database.sqlite"
    migrate(path, tmp_path / "config.json")
    whole = Whole(path)
    yield whole
    whole.targets.stop()


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=bodies)
def test_a_body_is_refused_without_a_trace_or_is_what_get_answers(whole: Whole, body: Any) -> None:
    before = whole.everything()
    answer = whole.api.client.simulate_post(PATH, body=json.dumps(body), headers=JSON)
    after = whole.everything()
    if answer.status_code == 400:
        assert (answer.json["status"], bool(answer.json["message"])) == ("failed", True)
        assert after == before
        return
    assert answer.status_code == 200, answer.text
    local, _ = after
    shown = {
        app_id: (app["appName"], {service["serviceName"] for service in app["services"]})
        for app_id, app in local["apps"].items()
    }
    assert shown == {
        app_id: (app["name"], {service["serviceName"] for service in app["services"].values()})
        for app_id, app in body["local"]["apps"].items()
    }
    assert body["local"].get("name") in {None, local["name"]}
    again = whole.api.client.simulate_post(PATH, json={"local": {"name": local["name"], "config": local["config"]}})
    assert again.status_code == 200, again.text
