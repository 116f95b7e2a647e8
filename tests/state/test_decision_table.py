"""The decision tables of the spec (apply-loop 3.6 to 3.11), row by row, as data."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from balena_supervisor.model.image import ImageState, ImageTask
from balena_supervisor.model.service import (
    COMPLETED,
    HEALTHY,
    STARTED,
    Container,
    ContainerTask,
    Healthcheck,
    Service,
)
from balena_supervisor.state.plan import Plan, plan
from balena_supervisor.state.strategies import (
    DELETE_THEN_DOWNLOAD,
    DOWNLOAD_THEN_KILL,
    HAND_OVER,
    KILL_THEN_DOWNLOAD,
    STRATEGIES,
    STRATEGY,
)
from balena_supervisor.state.words import words_of
from balena_supervisor.state.world import Memory, World
from tests.state.worlds import APP, app, container, images, network, ref, service, volume, world

NAMES = frozenset({"web", "db", "other", "job"})
TAKE, RELEASE = f"take the update locks of app {APP}", f"release the update locks of app {APP}"
GUARDED = ("kill", "stop", "rename", "hand")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a table: ``steps`` are those under the locks; a part of ``wait`` stands in a reason to wait."""

    now: World
    target: tuple[Service, ...] = ()
    steps: list[str] = []
    wait: str = ""
    memory: Memory = Memory()
    volumes: tuple[Any, ...] = ()


def by(strategy: str, name: str = "web", **fields: Any) -> Service:
    return service(name, labels={STRATEGY: strategy}, **fields)


def stopping(of: Container) -> ContainerTask:
    return ContainerTask(
        app_id=APP, service_name=of.service_name, status="Stopping", container_id=of.container_id, image_id=1
    )


WEB = service("web")
CHANGED = service("web", environment={"A": "1"})
NEXT = service("web", commit="r2")
ABSENT = service("web", present=False)
NEW_IMAGE = service("web", image="new", present=False, commit="r2")
RESTING = service("web", running=False)
OTHER = service("other", image="other", present=False, commit="r2")
RUNS = container(WEB)
REBOOT = {"io.balena.update.requires-reboot": "1"}
LATE = "x userland proxy: listen: cannot assign requested address"
PULLING = ImageState(tasks=(ImageTask(ref=ref(ABSENT), status="Downloading"),))

TABLE: dict[str, Row] = {
    "1 current is stopping": Row(
        now=world(RUNS, of=[WEB], tasks=(stopping(RUNS),)), target=(CHANGED,), wait="is being stopped"
    ),
    "1 current is stopping and not in the target": Row(
        now=world(RUNS, of=[WEB], tasks=(stopping(RUNS),)), wait="is being stopped"
    ),
    "2 current is dead": Row(now=world(container(WEB, status="Dead"), of=[WEB]), target=(WEB,), steps=["remove web"]),
    "2 current is dead and not in the target": Row(
        now=world(container(WEB, status="Dead"), of=[WEB]), steps=["remove web"]
    ),
    "3 the image is downloading": Row(
        now=world(images=PULLING), target=(ABSENT,), steps=["pull img:latest"], wait="is being pulled"
    ),
    "4 install, image missing": Row(now=world(), target=(ABSENT,), steps=["pull img:latest"], wait="not on the engine"),
    "4 install, image without a row": Row(
        now=world(images=ImageState(details=images(WEB).details)),
        target=(WEB,),
        steps=["register image of web"],
        wait="being registered",
    ),
    "5 install, image present": Row(now=world(of=[WEB]), target=(WEB,), steps=["start web"]),
    "5 install of one that shall not run": Row(now=world(of=[WEB]), target=(RESTING,), steps=["create web"]),
    "6 install, a dependency was not started": Row(
        now=world(container(service("db"), status="Installed"), of=[WEB, service("db")]),
        target=(service("web", depends_on=["db"]), service("db")),
        steps=["start db"],
        wait="depends on db, which has not been started",
    ),
    "6 install, the network is missing": Row(
        now=world(of=[WEB], networks=()),
        target=(WEB,),
        steps=["create network default"],
        wait="network default is not there yet",
    ),
    "6 install, the volume is missing": Row(
        now=world(of=[WEB]),
        target=(service("web", volumes=["data"]),),
        volumes=(volume(),),
        steps=["create volume data"],
        wait="volume data is not there yet",
    ),
    "6 install, another image of the release is missing": Row(
        now=world(of=[NEXT]),
        target=(NEXT, OTHER),
        steps=["pull other:latest"],
        wait="starts when all images of the release are there: other",
    ),
    "6 install, a dependency waits for a reboot, as all else": Row(
        now=world(container(service("db", labels=REBOOT), status="Installed"), of=[WEB, service("db", labels=REBOOT)]),
        target=(service("web", depends_on=["db"]), service("db", labels=REBOOT)),
        memory=Memory(reboot_wanted=True),
    ),
    "5 install of one that is started after a reboot": Row(
        now=world(of=[service("web", labels=REBOOT)]), target=(service("web", labels=REBOOT),), steps=["create web"]
    ),
    "9 created, and there was no reboot yet": Row(
        now=world(container(service("web", labels=REBOOT), status="Installed"), of=[WEB]),
        target=(service("web", labels=REBOOT),),
    ),
    "9 created, and there was a reboot": Row(
        now=world(container(service("web", labels=REBOOT), status="Installed"), of=[WEB]),
        target=(service("web", labels=REBOOT),),
        steps=["start web"],
        memory=Memory(rebooted=frozenset({RUNS.container_id})),
    ),
    "7 only the release differs, another image is missing": Row(
        now=world(RUNS, of=[WEB, NEXT]),
        target=(NEXT, OTHER),
        steps=["pull other:latest"],
        wait="is renamed when all images of the release are there: other",
    ),
    "7 only the release differs, another image is missing, another strategy": Row(
        now=world(container(by(HAND_OVER)), of=[WEB, by(HAND_OVER, commit="r2")]),
        target=(by(HAND_OVER, commit="r2"), OTHER),
        steps=["pull other:latest", "rename web to web_5_2_r2"],
        wait="not on the engine",
    ),
    "8 only the release differs": Row(
        now=world(RUNS, of=[WEB, NEXT]), target=(NEXT,), steps=["rename web to web_5_2_r2"]
    ),
    "10 created, never started": Row(
        now=world(container(WEB, status="Installed"), of=[WEB]), target=(WEB,), steps=["start web"]
    ),
    "10 exited because a host address was late": Row(
        now=world(container(WEB, status="exited", exit_error=LATE), of=[WEB]), target=(WEB,), steps=["start web"]
    ),
    "10 stopped for running: false, which is true again": Row(
        now=world(container(WEB, status="exited"), of=[WEB]),
        target=(WEB,),
        steps=["start web"],
        memory=Memory(stopped=frozenset({RUNS.container_id})),
    ),
    "11 shall not run, runs": Row(now=world(RUNS, of=[WEB]), target=(RESTING,), steps=["stop web"]),
    "11 shall not run, paused": Row(
        now=world(container(WEB, status="paused"), of=[WEB]), target=(RESTING,), steps=["stop web"]
    ),
    "12 nothing differs": Row(now=world(RUNS, of=[WEB]), target=(WEB,)),
    "12 exited is left to its restart policy": Row(now=world(container(WEB, status="exited"), of=[WEB]), target=(WEB,)),
    "12 shall not run, exited": Row(now=world(container(WEB, status="exited"), of=[WEB]), target=(RESTING,)),
    "12 shall not run, never started": Row(now=world(container(WEB, status="Installed"), of=[WEB]), target=(RESTING,)),
    "13 not in the target": Row(now=world(RUNS, of=[WEB]), steps=["kill web"]),
    "14 not in the target, an image is missing": Row(
        now=world(RUNS, of=[WEB]),
        target=(OTHER,),
        steps=["pull other:latest"],
        wait="stays until all images of the release are there: other",
    ),
    "14 not in the target, an image is missing, kill-then-download": Row(
        now=world(container(by(KILL_THEN_DOWNLOAD)), of=[WEB]),
        target=(OTHER,),
        steps=["kill web", "pull other:latest"],
        wait="not on the engine",
    ),
    "14 another configuration": Row(now=world(RUNS, of=[WEB]), target=(CHANGED,), steps=["kill web"]),
    "a surplus container": Row(
        now=world(container(WEB, number=1), container(WEB, number=2), of=[WEB]), target=(WEB,), steps=["kill web"]
    ),
    "a surplus container of a hand-over": Row(
        now=world(container(by(HAND_OVER), number=1), container(by(HAND_OVER), number=2), of=[by(HAND_OVER)]),
        target=(by(HAND_OVER),),
        steps=["kill web"],
    ),
    "a network of the service changed": Row(
        now=world(RUNS, of=[WEB], networks=(network(internal=True),)),
        target=(WEB,),
        steps=["kill web"],
        wait="network default is removed when no service uses it",
    ),
}


def planned(row: Row, *, locked: bool) -> Plan:
    now = msgspec.structs.replace(row.now, locks={APP: NAMES} if locked else {})
    commit = row.target[0].commit if row.target else "r1"
    wanted = app(*row.target, commit=commit, volumes=row.volumes)
    commits = msgspec.structs.replace(now, commits={APP: commit})
    return plan(commits, [wanted], memory=row.memory)


def words(plan_: Plan) -> list[str]:
    return sorted(words_of(step) for step in plan_.steps)


def guarded(word: str) -> bool:
    return word.startswith(GUARDED)


@pytest.mark.parametrize("name", TABLE)
def test_the_decision_table_under_the_locks(name: str) -> None:
    row = TABLE[name]
    found = planned(row, locked=True)
    waits = [wait.reason for wait in found.waiting]
    assert words(found) == sorted(row.steps or ([] if row.wait else [RELEASE]))
    assert all(step.reason for step in found.steps)
    assert any(row.wait in reason for reason in waits) if row.wait else waits == []


@pytest.mark.parametrize("name", TABLE)
def test_without_the_locks_nothing_is_stopped_or_renamed_and_all_else_goes_on(name: str) -> None:
    row = TABLE[name]
    found = planned(row, locked=False)
    expected = [word for word in row.steps if not guarded(word)]
    wants = any(guarded(word) for word in row.steps)
    assert words(found) == sorted([*expected, *([TAKE] if wants else [])])
    if wants:
        assert any("the update locks of the app have to be taken first" in wait.reason for wait in found.waiting)


# --- strategies (3.10): image missing, image present ----------------------------------------------------------------

HERE = service("web", image="new", commit="r2")


def update(strategy: str, *, present: bool, **fields: Any) -> Row:
    old, new = by(strategy), by(strategy, image="new", commit="r2", present=present, **fields)
    return Row(now=world(container(old), of=[old, *([new] if present else [])]), target=(new,))


STRATEGY_ROWS: dict[tuple[str, bool], tuple[list[str], str]] = {
    (DOWNLOAD_THEN_KILL, False): (["pull new:latest"], "not on the engine"),
    (DOWNLOAD_THEN_KILL, True): (["kill web"], ""),
    (KILL_THEN_DOWNLOAD, False): (["kill web"], ""),
    (KILL_THEN_DOWNLOAD, True): (["kill web"], ""),
    (DELETE_THEN_DOWNLOAD, False): (["kill web"], ""),
    (DELETE_THEN_DOWNLOAD, True): (["kill web"], ""),
    (HAND_OVER, False): (["pull new:latest"], "not on the engine"),
    (HAND_OVER, True): (["hand web over to its new container"], ""),
    ("handover", False): (["pull new:latest"], "not on the engine"),
    ("handover", True): (["kill web"], ""),
}


@pytest.mark.parametrize(("strategy", "present"), STRATEGY_ROWS)
def test_the_table_of_strategies(strategy: str, present: bool) -> None:
    found = planned(update(strategy, present=present), locked=True)
    steps, wait = STRATEGY_ROWS[strategy, present]
    assert words(found) == steps
    assert [wait in entry.reason for entry in found.waiting] == ([True] if wait else [])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_only_strategies_that_kill_first_stop_before_all_images_are_there(strategy: str) -> None:
    row = update(strategy, present=True)
    found = planned(msgspec.structs.replace(row, target=(*row.target, OTHER)), locked=True)
    killed = "kill web" in words(found)
    assert killed == (strategy in {KILL_THEN_DOWNLOAD, DELETE_THEN_DOWNLOAD})
    assert "hand web over to its new container" not in words(found)


def test_a_hand_over_waits_for_what_a_start_waits_for() -> None:
    row = update(HAND_OVER, present=True, depends_on=["db"])
    db = service("db", commit="r2")
    now = msgspec.structs.replace(row.now, images=images(by(HAND_OVER), *row.target, db))
    found = planned(msgspec.structs.replace(row, now=now, target=(*row.target, db)), locked=True)
    assert words(found) == ["start db"]
    assert "is handed over later: depends on db, which has not been started" in [w.reason for w in found.waiting]


@pytest.mark.parametrize(
    ("now", "target"),
    [
        (container(by(HAND_OVER), status="exited"), by(HAND_OVER, image="new", commit="r2")),
        (container(by(HAND_OVER)), by(HAND_OVER, image="new", commit="r2", running=False)),
    ],
    ids=["nothing runs", "nothing shall run"],
)
def test_without_two_that_run_there_is_nothing_to_hand_over(now: Container, target: Service) -> None:
    found = planned(Row(now=world(now, of=[by(HAND_OVER), target]), target=(target,)), locked=True)
    assert words(found) == ["kill web"]


def test_a_hand_over_is_a_kill_when_a_network_of_the_service_changes() -> None:
    old, new = by(HAND_OVER), by(HAND_OVER, image="new", commit="r2")
    now = world(container(old), of=[old, new], networks=(network(internal=True),))
    assert words(planned(Row(now=now, target=(new,)), locked=True)) == ["kill web"]


@pytest.mark.parametrize(
    ("label", "seconds"), [("1500", 1.5), ("0", 60.0), ("-5", 60.0), ("soon", 60.0), ("", 60.0), (None, 60.0)]
)
def test_the_time_limit_of_a_hand_over(label: str | None, seconds: float) -> None:
    labels = {STRATEGY: HAND_OVER, **({"io.balena.update.handover-timeout": label} if label is not None else {})}
    old, new = service("web", labels=labels), service("web", labels=labels, environment={"A": "1"})
    (step,) = planned(Row(now=world(container(old), of=[old]), target=(new,)), locked=True).steps
    assert getattr(step, "timeout_s", None) == seconds


# --- images by strategy (3.4) ---------------------------------------------------------------------------------------


def test_kill_then_download_keeps_the_old_image_until_the_new_one_is_there() -> None:
    old, new = by(KILL_THEN_DOWNLOAD), by(KILL_THEN_DOWNLOAD, image="new", commit="r2", present=False)
    assert words(planned(Row(now=world(of=[old]), target=(new,)), locked=False)) == ["pull new:latest"]


def test_delete_then_download_removes_the_old_image_before_the_download() -> None:
    old, new = by(DELETE_THEN_DOWNLOAD), by(DELETE_THEN_DOWNLOAD, image="new", commit="r2", present=False)
    assert words(planned(Row(now=world(of=[old]), target=(new,)), locked=False)) == ["remove image img:latest"]
    deleting = ImageState(tasks=(ImageTask(ref=ref(old), status="Deleting"),))
    assert words(planned(Row(now=world(images=deleting), target=(new,)), locked=False)) == []
    assert words(planned(Row(now=world(), target=(new,)), locked=False)) == ["pull new:latest"]


@pytest.mark.parametrize(
    ("tasks", "busy"),
    [
        pytest.param((ImageTask(ref=ref(service("db", image="db")), status="Downloading"),), "", id="a download"),
        pytest.param((), "images:rows", id="rows are saved"),
        pytest.param((), f"service:{APP}:web", id="a kill whose end is not told yet"),
    ],
)
def test_delete_then_download_waits_for_a_removal_that_is_held_up(tasks: tuple[ImageTask, ...], busy: str) -> None:
    old, new = by(DELETE_THEN_DOWNLOAD), by(DELETE_THEN_DOWNLOAD, image="new", commit="r2", present=False)
    now = world(images=msgspec.structs.replace(images(old), tasks=tasks))
    assert words(plan(now, [app(new)], busy=frozenset({busy}))) == []


def test_download_then_kill_of_a_service_without_container_keeps_its_old_image_as_source_of_a_delta() -> None:
    old, gone = service("web"), service("gone", image="gone")
    found = planned(Row(now=world(of=[old, gone]), target=(NEW_IMAGE,)), locked=False)
    assert words(found) == ["pull new:latest", "remove image gone:latest"]


# --- what a service may depend on -----------------------------------------------------------------------------------

CHECKED = service("db")
CHECKED = msgspec.structs.replace(
    CHECKED, config=msgspec.structs.replace(CHECKED.config, healthcheck=Healthcheck(test=("CMD", "true")))
)
ONCE = msgspec.structs.replace(CHECKED, config=msgspec.structs.replace(CHECKED.config, restart="no"))

DEPENDENCIES: list[tuple[str, Container | None, str]] = [
    (STARTED, None, "has not been started"),
    (STARTED, container(CHECKED, status="Installed"), "has not been started"),
    (STARTED, container(CHECKED, health="starting"), ""),
    (STARTED, container(CHECKED, status="exited", exit_code=1), ""),
    (HEALTHY, container(CHECKED, health="starting"), "is not healthy yet (starting)"),
    (HEALTHY, container(CHECKED, health="unhealthy"), "is not healthy yet (unhealthy)"),
    (HEALTHY, container(CHECKED, health="healthy"), ""),
    (HEALTHY, container(CHECKED), ""),
    (HEALTHY, container(CHECKED, status="exited", exit_code=0), "is not healthy: it is exited"),
    (COMPLETED, container(CHECKED), "has not completed yet, and its restart policy starts it again and again"),
    (COMPLETED, container(ONCE), "has not completed yet"),
    (COMPLETED, container(ONCE, status="exited", exit_code=0), ""),
    (COMPLETED, container(ONCE, status="exited", exit_code=3), "has failed with exit code 3"),
]


@pytest.mark.parametrize(("condition", "db", "wait"), DEPENDENCIES)
def test_the_conditions_of_a_dependency(condition: str, db: Container | None, wait: str) -> None:
    of = ONCE if db is not None and db.config.restart == "no" else CHECKED
    web = service("web", depends_on={"db": condition})
    found = planned(Row(now=world(*([db] if db else []), of=[of, web]), target=(web, of)), locked=False)
    assert ("start web" in words(found)) == (not wait)
    assert [entry.reason for entry in found.waiting if entry.service_name == "web"] == (
        [f"depends on db, which {wait}"] if wait else []
    )


def test_what_runs_already_does_not_wait_for_what_it_depends_on() -> None:
    web = service("web", depends_on={"db": HEALTHY})
    now = world(container(web), container(CHECKED, health="unhealthy"), of=[web, CHECKED])
    assert planned(Row(now=now, target=(web, CHECKED)), locked=False).empty


# --- the order of stopping ------------------------------------------------------------------------------------------


def test_services_are_stopped_in_the_reverse_order_of_their_dependencies() -> None:
    db, api, web = service("db"), service("api", depends_on=["db"]), service("web", depends_on=["api"])
    changed = [
        msgspec.structs.replace(s, config=msgspec.structs.replace(s.config, environment={"A": "1"}))
        for s in (db, api, web)
    ]
    locks = {APP: frozenset({"db", "api", "web"})}
    now = world(*map(container, (db, api, web)), of=[db, api, web], locks=locks)
    first = plan(now, [app(*changed)])
    assert words(first) == ["kill web"]
    assert "is stopped after web, which depends on it" in [wait.reason for wait in first.waiting]
    then = world(*map(container, (db, api)), of=[db, api, web], locks=locks)
    assert words(plan(then, [app(*changed)])) == ["kill api"]
    busy = plan(now, [app(*changed)], busy=frozenset({f"service:{APP}:web"}))
    assert words(busy) == []
    last = world(container(db), of=[db, api, web], locks=locks)
    assert words(plan(last, [app(*changed)])) == ["kill db"]


def test_a_dependent_that_stays_or_stands_still_holds_up_nothing() -> None:
    db, web = service("db"), service("web", depends_on=["db"])
    other = service("db", environment={"A": "1"})
    locks = {APP: frozenset({"db", "web"})}
    assert words(plan(world(container(db), container(web), of=[db, web], locks=locks), [app(other, web)])) == [
        "kill db"
    ]
    gone = world(container(db), container(web, status="exited"), of=[db, web], locks=locks)
    assert words(plan(gone, [])) == ["kill db", "kill web"]


def test_a_removed_app_is_stopped_in_the_order_that_its_last_target_had() -> None:
    db, web = service("db"), service("web")
    locks = {APP: frozenset({"db", "web"})}
    now = world(container(db), container(web), of=[db, web], locks=locks)
    assert words(plan(now, [])) == ["kill db", "kill web"]
    memory = Memory(depended={(APP, "web"): frozenset({"db"})})
    assert words(plan(now, [], memory=memory)) == ["kill web"]
    circular = Memory(depended={(APP, "web"): frozenset({"db"}), (APP, "db"): frozenset({"web"})})
    assert words(plan(now, [], memory=circular)) == ["kill db", "kill web"]


# --- locks ----------------------------------------------------------------------------------------------------------


def test_locks_that_cover_only_a_part_of_the_app_are_not_held() -> None:
    now = world(RUNS, of=[WEB], locks={APP: frozenset({"db"})})
    assert words(plan(now, [app(CHANGED)])) == [TAKE]


def test_locks_of_an_app_that_is_gone_everywhere_are_released() -> None:
    assert words(plan(world(networks=(), locks={APP: NAMES}, commits={}), [])) == [RELEASE]


def test_locks_are_held_while_anything_of_the_update_is_left() -> None:
    web, db = service("web", commit="r2", depends_on={"db": HEALTHY}), msgspec.structs.replace(CHECKED, commit="r2")
    now = world(container(db, health="starting"), of=[web, db], locks={APP: NAMES})
    assert words(plan(now, [app(web, db)])) == []


def test_no_lock_is_taken_to_remove_what_is_dead_or_uses_a_broken_supervisor_network() -> None:
    user = service("web", labels={"io.balena.features.supervisor-api": "1"})
    now = world(container(user), of=[user], supervisor_network_ready=False)
    assert words(plan(now, [app(user)])) == ["kill web"]
