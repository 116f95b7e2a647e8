"""What ``tools/bench`` makes of its samples, and how it repeats an app without the supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.fakes.engine import SimulatedEngine
from tools.bench_parts import load, planning, report, usage
from tools.bench_parts.choice import Choice
from tools.bench_parts.load import LoadFailed
from tools.bench_parts.main import main
from tools.bench_parts.memory import family, pss_of_family
from tools.bench_parts.raw import EngineRefused, RawApp
from tools.bench_parts.report import MEASURES, Samples, raw_name
from tools.bench_parts.usage import Usage
from tools.dev_parts.labelled import LABEL
from tools.dev_parts.paths import DEV
from tools.dev_parts.registry import free_port


def samples() -> Samples:
    found = Samples()
    for value in (1.0, 9.0, 1.2):
        found.add("create_5_s", value)
    for threads, values in ((2, (1.5, 1.5, 1.5)), (4, (1.0, 5.0, 0.9)), (8, (1.1, 1.1, 1.1))):
        for value in values:
            found.add(raw_name("create_5", threads), value)
    return found


def test_a_summary_has_medians_and_the_best_thread_count() -> None:
    assert samples().summary((2, 4, 8), 3) == {
        "create_5_s": 1.2,
        "create_5_raw_s": 1.0,
        "create_5_raw_threads": 4,
        "create_5_ratio": 1.2,
        "rounds": 3,
    }


def test_a_measure_that_was_chosen_and_is_not_in_the_table_is_named() -> None:
    summary = {"plan_10_ms": 1.0, "noop_s": 0.05}
    assert report.not_measured(summary, Choice(MEASURES, ["plan"])) == ["plan_100_ms", "plan_500_ms", "plan_linearity"]
    assert report.not_measured(summary, Choice(MEASURES, ["noop"])) == []


@pytest.mark.parametrize(("raw", "goal"), [(2.0, 2.6), (0.2, 0.35)], ids=["a ratio", "a little more for quick ones"])
def test_the_goal_of_an_apply_follows_the_raw_limit(raw: float, goal: float) -> None:
    assert report.goals({"create_5_s": 1.0, "create_5_raw_s": raw}) == {"create_5_s": goal}


def test_the_table_says_what_is_missed() -> None:
    lines = report.table({"create_5_s": 1.4, "create_5_raw_s": 1.0, "noop_s": 0.05, "noop_touched": 2, "rounds": 5})
    assert [line.split()[-1] for line in lines.splitlines()[1:3]] == ["MISSED", "reached"]
    assert "containers touched by a repeated target: 2" in lines


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """A folder whose files are not kept in memory, as those of the machine's temporary folder may be."""
    DEV.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DEV) as folder:
        yield Path(folder)


WRK = """Running 5s test @ http://127.0.0.1:48484/ping
  2 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    10.88ms    3.03ms  51.37ms   92.35%
    Req/Sec   741.46    115.79     0.88k    85.00%
  7383 requests in 5.01s, 1.42MB read
{}Requests/sec:   1474.94
Transfer/sec:    290.86KB
"""


def test_a_load_counts_when_all_was_answered() -> None:
    assert load.parse(WRK.format("")) == 1474.94


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (WRK.format("  Socket errors: connect 0, read 3, write 0, timeout 0\n"), "read 3"),
        (WRK.format("  Non-2xx or 3xx responses: 12\n"), "12 answers"),
        (WRK.replace("1474.94", "0.00").format(""), "nothing was answered"),
        ("", "nothing was answered"),
    ],
)
def test_a_load_that_met_errors_is_no_measure(output: str, reason: str) -> None:
    with pytest.raises(LoadFailed, match=reason):
        load.parse(output)


def test_a_load_on_nobody_fails() -> None:
    with pytest.raises(LoadFailed, match="connect"):
        load.requests_per_second(f"http://127.0.0.1:{free_port()}/ping", 1)


def test_a_rate_is_to_be_high_and_a_time_low() -> None:
    lines = report.table({"noop_s": 0.2, "rps_status_1": 990.0, "rps_status_16": 1600.0, "rounds": 0})
    assert [line.split()[-1] for line in lines.splitlines()[1:]] == ["MISSED", "MISSED", "reached"]


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ((), {"update_1_s", "update_5_s", "rps_ping_1"}),
        (("update",), {"update_1_s", "update_5_s"}),
        (("update_5", "ping_1"), {"update_5_s", "rps_ping_1"}),
    ],
)
def test_a_word_chooses_what_has_it_in_its_name(words: tuple[str, ...], chosen: set[str]) -> None:
    names = ["update_1_s", "update_5_s", "rps_ping_1"]
    assert {name for name in names if name in Choice(names, words)} == chosen


def test_a_word_that_chooses_nothing_is_told() -> None:
    with pytest.raises(ValueError, match=r"nothing is called up\."):
        Choice(["update_1_s"], ["up"])


def test_an_app_is_made_again_as_it_was_under_another_label(tmp_path: Path) -> None:
    with SimulatedEngine(tmp_path) as engine:
        engine.add_image("bench:kept", {"Cmd": ["/run"]})
        client = docker.APIClient(base_url=engine.url, version="1.41")
        labels = {LABEL: "bench", "io.balena.supervised": "true"}
        client.create_network("net", labels=labels)
        created = client.create_container(
            "bench:kept",
            name="web_1",
            environment={"A": "1"},
            labels=labels,
            host_config=client.create_host_config(network_mode="net", restart_policy={"Name": "always"}),
            networking_config={"EndpointsConfig": {"net": {"Aliases": ["web"]}}},
        )
        client.start(created["Id"])
        original = client.inspect_container(created["Id"])
        app = RawApp([original], client.networks(names=["net"]), "bench-raw")
        client.remove_container(created["Id"], force=True)
        client.remove_network("net")

        with app.calls(engine.url, threads=2) as calls:
            assert calls.create() > 0

        again = client.inspect_container("raw_web_1")
        assert again["State"]["Running"]
        assert again["Config"]["Labels"] == {**labels, LABEL: "bench-raw"}
        assert again["HostConfig"] == original["HostConfig"]
        assert again["NetworkSettings"]["Networks"]["net"]["Aliases"] == ["web", again["Id"][:12]]
        assert client.networks(names=["net"])[0]["Labels"] == {**labels, LABEL: "bench-raw"}
        with pytest.raises(EngineRefused, match="409"), app.calls(engine.url, threads=2) as calls:
            calls.create()
        client.close()


def test_an_app_is_updated_and_removed_without_the_supervisor(tmp_path: Path) -> None:
    with SimulatedEngine(tmp_path) as engine:
        engine.add_image("bench:kept", {"Cmd": ["/run"]})
        client = docker.APIClient(base_url=engine.url, version="1.41")
        client.create_network("net", labels={LABEL: "bench"})
        host_config = client.create_host_config(network_mode="net")
        created = client.create_container(
            "bench:kept", name="web_1", environment={"A": "1"}, labels={LABEL: "bench"}, host_config=host_config
        )
        app = RawApp([client.inspect_container(created["Id"])], client.networks(names=["net"]), "bench-raw")
        client.remove_container(created["Id"], force=True)
        client.remove_network("net")
        with app.calls(engine.url, threads=2) as calls:
            calls.create()
            before = client.inspect_container("raw_web_1")
            calls.update()
            after = client.inspect_container("raw_web_1")
            calls.remove()
        left = client.containers(all=True), client.networks(names=["net"])
        client.close()
    assert after["State"]["Running"]
    assert after["Id"] != before["Id"]
    assert set(after["Config"]["Env"]) - set(before["Config"]["Env"]) == {"UPDATE=1"}
    assert left == ([], [])


def test_the_memory_of_a_family_counts_its_children() -> None:
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert {os.getpid(), child.pid} <= family(os.getpid())
        mine, its = pss_of_family(os.getpid()), pss_of_family(child.pid)
        assert 0 < its.anonymous_mb < its.all_mb < mine.all_mb
        assert child.stdin is not None
        child.stdin.close()


STAT = "77 (gunicorn: (1) x) S 70 77 77 0 -1 4194560 5500 6400 0 0 {} 20 0 9 0 8123 431190016 27000"
IO = "rchar: 99\nwchar: 70000\nsyscr: 5\nsyscw: 6\nread_bytes: 0\nwrite_bytes: {}\ncancelled_write_bytes: {}\n"


def test_what_a_process_used_has_that_of_its_ended_children_and_no_cancelled_writes() -> None:
    found = usage.read(STAT.format("100 20 3 4"), IO.format(12288, 4096))
    assert found == Usage("gunicorn: (1) x", 127 / os.sysconf("SC_CLK_TCK"), 8192)


def test_a_process_that_came_meanwhile_counts_in_full() -> None:
    before = {1: Usage("root", 2.0, 4096)}
    after = {1: Usage("root", 2.5, 4096), 2: Usage("logs", 0.25, 512)}
    assert usage.spent(before, after) == {1: Usage("root", 0.5, 0), 2: Usage("logs", 0.25, 512)}


def test_what_a_child_writes_is_seen_while_it_lives_and_after(on_disk: Path) -> None:
    before = usage.usage_of_family(os.getpid())
    write = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_bytes(bytes(8192)); print(flush=True); input()"
    command = [sys.executable, "-c", write, str(on_disk / "file")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert usage.spent(before, usage.usage_of_family(os.getpid()))[child.pid].written_bytes >= 8192
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.close()
    assert usage.spent(before, usage.usage_of_family(os.getpid()))[os.getpid()].written_bytes >= 8192


def test_planning_is_timed_where_there_is_something_to_plan() -> None:
    times = planning.planning_ms([2])
    assert {name for name in times if times[name] > 0} == {"plan_2_ms", "plan_2_equal_ms", "plan_2_update_ms"}


def test_linear_is_one() -> None:
    found = Samples()
    for name, value in (("plan_100_ms", 20.0), ("plan_500_ms", 110.0)):
        found.add(name, value)
    summary = found.summary((), 0)
    assert summary["plan_linearity"] == 1.1
    assert [line.split()[-1] for line in report.table(summary).splitlines()[2:]] == ["MISSED", "reached"]


def test_without_an_engine_it_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--docker-host", f"unix://{tmp_path}/nothing.sock"]) == 1
    assert "no engine answers" in capsys.readouterr().err
