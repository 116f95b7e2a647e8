from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.dev_parts.programs import Program, ProgramFailed, shared


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    made = Program("sleeper", tmp_path)
    yield made
    made.stop()


def start(program: Program) -> int:
    program.start(["sleep", "100"], lambda: True)
    pid = program.pid()
    assert pid is not None
    return pid


def test_a_program_runs_until_it_is_stopped(program: Program) -> None:
    pid = start(program)

    program.stop()

    assert not program.running()
    assert not Path(f"/proc/{pid}").exists()


def test_the_next_command_finds_a_program_that_was_left_behind(program: Program, tmp_path: Path) -> None:
    pid = start(program)
    later = Program("sleeper", tmp_path)

    assert later.pid() == pid
    later.stop()
    assert not program.running()


def test_a_process_that_got_the_number_of_a_program_is_left_alone(program: Program, tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "100"])
    try:
        (tmp_path / "sleeper.json").write_text(json.dumps({"pid": stranger.pid, "started": 1}))

        program.stop()

        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_program_that_ignores_sigterm_is_killed(program: Program, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    program.start(["sh", "-c", f"trap '' TERM; touch {ready}; while :; do sleep 100; done"], ready.exists)

    program.stop(timeout_s=0.2)

    assert not program.running()


def test_a_program_that_ends_before_it_is_ready_tells_its_last_words(program: Program) -> None:
    with pytest.raises(ProgramFailed, match="no such luck"):
        program.start(["sh", "-c", "echo no such luck >&2; exit 3"], lambda: False)


def test_a_program_that_is_never_ready_is_stopped(program: Program) -> None:
    with pytest.raises(ProgramFailed, match="was not ready after 0 s"):
        program.start(["sleep", "100"], lambda: False, timeout_s=0)

    assert not program.running()


def test_a_program_does_not_get_the_signals_of_the_terminal(program: Program) -> None:
    assert os.getpgid(start(program)) != os.getpgrp()


def test_whoever_leaves_last_stops_a_shared_program(tmp_path: Path) -> None:
    first, second = Program("sleeper", tmp_path), Program("sleeper", tmp_path)

    with shared(first, lambda: first.start(["sleep", "100"], lambda: True)):
        with shared(second, lambda: pytest.fail("it runs already")):
            assert second.pid() == first.pid()
        assert first.running()

    assert not first.running()


def test_a_shared_program_outlives_the_one_who_started_it(tmp_path: Path) -> None:
    first, second = Program("sleeper", tmp_path), Program("sleeper", tmp_path)
    starter = shared(first, lambda: first.start(["sleep", "100"], lambda: True))
    user = shared(second, lambda: pytest.fail("it runs already"))

    starter.__enter__()
    user.__enter__()
    starter.__exit__(None, None, None)
    assert second.running()
    user.__exit__(None, None, None)

    assert not second.running()
