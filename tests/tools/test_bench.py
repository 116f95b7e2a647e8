"""What ``tools/bench`` makes of its samples, and how it repeats an app without the supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import docker
import pytest

from tests.fakes.engine import SimulatedEngine
from tools.bench_parts import report
from tools.bench_parts.main import main
from tools.bench_parts.memory import family, pss_mb
from tools.bench_parts.raw import EngineRefused, RawApp
from tools.bench_parts.report import Samples, raw_name
from tools.dev_parts.labelled import LABEL


def samples() -> Samples:
    found = Samples()
    for value in (1.0, 9.0, 1.2):
        found.add("create_5_s", value)
    for threads, values in ((2, (1.5, 1.5, 1.5)), (4, (1.0, 5.0, 0.9)), (8, (1.1, 1.1, 1.1))):
        for value in values:
            found.add(raw_name(5, threads), value)
    return found


def test_a_summary_has_medians_and_the_best_thread_count() -> None:
    assert samples().summary((2, 4, 8)) == {
        "create_5_s": 1.2,
        "create_5_raw_s": 1.0,
        "create_5_raw_threads": 4,
        "create_5_ratio": 1.2,
        "rounds": 3,
    }


def test_a_discarded_round_leaves_nothing() -> None:
    found = samples()
    found.clear()
    found.add("noop_s", 0.05)
    assert found.summary((2, 4, 8)) == {"noop_s": 0.05, "rounds": 1}


@pytest.mark.parametrize(("raw", "goal"), [(2.0, 2.6), (0.2, 0.35)], ids=["a ratio", "a little more for quick ones"])
def test_the_goal_of_an_apply_follows_the_raw_limit(raw: float, goal: float) -> None:
    assert report.goals({"create_5_s": 1.0, "create_5_raw_s": raw}) == {"create_5_s": goal}


def test_the_table_says_what_is_missed() -> None:
    lines = report.table({"create_5_s": 1.4, "create_5_raw_s": 1.0, "noop_s": 0.05, "noop_touched": 2, "rounds": 5})
    assert [line.split()[-1] for line in lines.splitlines()[1:3]] == ["MISSED", "reached"]
    assert "containers touched by a repeated target: 2" in lines


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

        assert app.run(engine.url, threads=2) > 0

        again = client.inspect_container("raw_web_1")
        assert again["State"]["Running"]
        assert again["Config"]["Labels"] == {**labels, LABEL: "bench-raw"}
        assert again["HostConfig"] == original["HostConfig"]
        assert again["NetworkSettings"]["Networks"]["net"]["Aliases"] == ["web", again["Id"][:12]]
        assert client.networks(names=["net"])[0]["Labels"] == {**labels, LABEL: "bench-raw"}
        with pytest.raises(EngineRefused, match="409"):
            app.run(engine.url, threads=2)
        client.close()


def test_the_memory_of_a_family_counts_its_children() -> None:
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert {os.getpid(), child.pid} <= family(os.getpid())
        assert 0 < pss_mb(child.pid) < pss_mb(os.getpid())
        assert child.stdin is not None
        child.stdin.close()


def test_without_an_engine_it_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--docker-host", f"unix://{tmp_path}/nothing.sock"]) == 1
    assert "no engine answers" in capsys.readouterr().err
