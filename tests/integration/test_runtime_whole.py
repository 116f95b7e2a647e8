"""Start, stop, and the death of root, nursery and server, on real processes."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from balena_supervisor.runtime.process import children_of
from tests.runtime.toy_supervisor import ToySupervisor, alive, running, short_folder, toy_supervisor, wait_until

ALL = ("gate", "one", "two", "three", "four")


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
    return number


@pytest.fixture
def toys() -> Iterator[ToySupervisor]:
    with toy_supervisor(limits={"backoff_first_s": 0.05}) as supervisor:
        supervisor.wait_running(*ALL)
        yield supervisor


def worker_pid(port: int) -> int:
    """The pid that the toy server answers with; 0 when refused."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"p")
            return int(connection.makefile().readline() or 0)
    except OSError:
        return 0


def stream(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(b"s")
    assert connection.recv(100) == b"stream\n"
    return connection


# --- root ----------------------------------------------------------------------------------------------------------


def test_when_root_is_killed_every_actor_is_back_with_a_higher_generation(toys: ToySupervisor) -> None:
    before = toys.actors()
    toys.kill(before["root"]["pid"])
    wait_until(lambda: toys.actor("root").get("generation") == 2, "the second root")
    after = toys.wait_running(*ALL, timeout_s=5)
    assert {after[name]["generation"] for name in ALL} == {2}
    assert not [name for name in ALL if alive(before[name]["pid"])]
    assert toys.program.poll() is None


def test_an_actor_outlives_neither_a_root_that_ends_nor_its_connection(toys: ToySupervisor) -> None:
    pids = {name: actor["pid"] for name, actor in toys.actors().items() if name in ALL}
    toys.kill(pids["one"], signal.SIGSTOP)
    toys.kill(toys.actor("root")["pid"])
    wait_until(lambda: not any(alive(pid) for pid in pids.values()), "the old actors are gone", timeout_s=5)


# --- nursery -------------------------------------------------------------------------------------------------------


def test_when_the_nursery_is_killed_no_process_survives(toys: ToySupervisor) -> None:
    pids = toys.processes()
    assert len(pids) >= 5
    toys.program.kill()
    wait_until(lambda: not any(alive(pid) for pid in pids), "all are gone", timeout_s=5)


def test_a_second_supervisor_waits_says_so_and_takes_over(toys: ToySupervisor) -> None:
    with running(ToySupervisor(toys.folder)) as second:
        wait_until(lambda: f"another supervisor holds {toys.folder}/database, waiting" in second.output, "it waits")
        assert len(second.processes()) == 0
        toys.program.kill()
        toys.program.wait(5)
        toys.wait_for_line("one 1 started", times=2)
        second.wait_running(*ALL)


def test_a_supervisor_with_a_database_of_its_own_waits_for_the_folder_of_the_sockets(toys: ToySupervisor) -> None:
    with running(ToySupervisor(toys.folder, database="other")) as second:
        wait_until(lambda: f"another supervisor holds {toys.folder}/run, waiting" in second.output, "it waits")
        toys.kill(toys.actor("one")["pid"])
        toys.wait_for_line("one 2 started")
        assert second.end() == 143


def test_a_second_supervisor_that_waits_can_be_stopped(toys: ToySupervisor) -> None:
    with running(ToySupervisor(toys.folder)) as second:
        wait_until(lambda: "waiting" in second.output, "it waits")
        assert second.end() == 143


def test_sigterm_finishes_the_message_in_hand_and_exits_143(toys: ToySupervisor) -> None:
    toys.tell("one", "Work", name="a", how="block")
    toys.wait_for_line("one 1 begins a")
    pids = toys.processes()
    toys.program.terminate()
    wait_until(lambda: len(toys.processes()) < len(pids), "the first one is gone")
    toys.open("a")
    assert toys.program.wait(5) == 143
    assert toys.diary.lines()[-1] == "one 1 done a"
    assert not [pid for pid in pids if alive(pid)]


def test_sigterm_ends_all_within_five_seconds_although_nobody_lets_go(port: int) -> None:
    with toy_supervisor(port=port) as toys:
        toys.wait_running(*ALL, "http")
        streams = [stream(port) for _ in range(20)]
        toys.tell("one", "Work", name="a", how="block")
        toys.tell("two", "Work", name="b", how="pool")
        toys.wait_for_line("one 1 begins a")
        toys.wait_for_line("two 1 begins b")
        pids = toys.processes()
        toys.program.terminate()
        assert toys.program.wait(5) == 143
        assert not [pid for pid in pids if alive(pid)]
        for connection in streams:
            connection.close()


def test_sigterm_ends_all_within_five_seconds_although_root_is_stopped(toys: ToySupervisor) -> None:
    pids = toys.processes()
    toys.kill(toys.actor("root")["pid"], signal.SIGSTOP)
    toys.program.terminate()
    assert toys.program.wait(5) == 143
    assert not [pid for pid in pids if alive(pid)]


def test_sigusr1_prints_every_stack_and_mailbox_length(toys: ToySupervisor) -> None:
    toys.program.send_signal(signal.SIGUSR1)
    wait_until(lambda: "mailboxes: root=" in toys.output and "\none:\nThread" in toys.output, "the dump")
    assert "nursery:\nThread MainThread" in toys.output


def test_an_output_that_nobody_reads_blocks_nobody() -> None:
    reader, descriptor = os.pipe()
    fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 4096)
    with toy_supervisor(output_to=descriptor) as toys:
        before = toys.wait_running(*ALL)
        toys.program.send_signal(signal.SIGUSR1)
        wait_until(lambda: select.select([], [descriptor], [], 0)[1] == [], "the pipe is full")
        assert toys.ask("root", "ShowStack", name="nursery")["ok"]
        toys.kill(before["root"]["pid"])
        toys.wait_for_line("one 2 started")
        toys.wait_running(*ALL)
        toys.program.terminate()
        assert toys.program.wait(5) == 143
    os.close(reader)


def test_a_preparation_that_fails_ends_the_supervisor_with_the_reason() -> None:
    with toy_supervisor(prepare="fail") as toys:
        assert toys.program.wait(10) == 1
        assert "cannot migrate: the toy database is too new" in toys.output
        assert toys.diary.lines() == []


@pytest.mark.root  # for the namespace
def test_as_first_process_of_a_container_it_reaps_orphans_and_ends_with_143() -> None:
    own_pids = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    with toy_supervisor(prefix=own_pids) as toys:
        assert toys.wait_running(*ALL)["nursery"]["pid"] == 1
        (first,) = children_of(toys.program.pid)
        known = set(children_of(first))
        fifo = toys.folder / "fifo"
        os.mkfifo(fifo)
        orphan = f"cat {fifo} >{toys.folder}/read 2>&1 </dev/null &"
        subprocess.run(["nsenter", "--target", str(first), "--pid", "sh", "-c", orphan], check=True, timeout=10)
        wait_until(lambda: set(children_of(first)) - known, "an orphan")
        fifo.write_text("end")
        wait_until(lambda: set(children_of(first)) == known, "it is reaped")
        os.kill(first, signal.SIGTERM)
        assert toys.program.wait(5) == 143


def test_the_socket_of_the_post_office_is_for_its_owner_only(toys: ToySupervisor) -> None:
    assert (toys.folder / "run").stat().st_mode & 0o777 == 0o700
    assert (toys.folder / "run/root.sock").stat().st_mode & 0o777 == 0o600


def test_a_child_holds_only_its_own_descriptors(toys: ToySupervisor) -> None:
    pid = toys.actor("two")["pid"]
    links = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir() if int(entry.name) > 2}
    folders = {str(toys.folder / name) for name in ("database", "run")}
    assert {link.split(":")[0] for link in links} == {*folders, "socket", "anon_inode"}
    assert len([link for link in links if link.startswith("socket")]) == 1


def test_the_nursery_and_the_other_processes_show_in_the_list(toys: ToySupervisor) -> None:
    actors = toys.actors()
    assert set(actors) == {"nursery", "root", *ALL}
    assert actors["nursery"]["pid"] == toys.program.pid
    assert all(actor["pss_bytes"] > 0 for actor in actors.values())
    assert len(list(Path(f"/proc/{toys.program.pid}/task").iterdir())) == 1


# --- server --------------------------------------------------------------------------------------------------------


def test_a_killed_worker_of_the_server_is_followed_by_one_that_owns_the_mailbox(port: int) -> None:
    with toy_supervisor(port=port) as toys:
        toys.tell("two", "PublishPicture", topic="x", number=1)
        first = toys.wait_running("http", "http-arbiter")["http"]["pid"]
        assert worker_pid(port) == first
        toys.kill(first)
        second = wait_until(lambda: worker_pid(port), "an answer", timeout_s=2)
        assert second != first
        assert toys.ask("http", "Who")["answer"] == {"pid": second, "generation": 1}
        assert toys.actor("http")["restarts"] == 1


def test_a_killed_arbiter_costs_no_refused_connection(port: int) -> None:
    with toy_supervisor(port=port) as toys:
        arbiter = toys.wait_running("http", "http-arbiter")["http-arbiter"]["pid"]
        open_stream = stream(port)
        refused: list[int] = []
        stop = threading.Event()

        def knock() -> None:
            while not stop.is_set():
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=10).close()
                except ConnectionRefusedError:
                    refused.append(1)

        thread = threading.Thread(target=knock)
        thread.start()
        toys.kill(arbiter)
        wait_until(lambda: toys.actor("http-arbiter")["generation"] == 2, "the next arbiter")
        toys.wait_running("http")
        stop.set()
        thread.join()
        assert refused == []
        assert toys.ask("http", "Who")["answer"]["generation"] == 2
        open_stream.close()


def test_a_stopped_worker_of_the_server_is_killed_alone(port: int) -> None:
    with toy_supervisor(port=port, limits={"hang_s": 2.0}) as toys:
        actors = toys.wait_running("http", "http-arbiter")
        toys.kill(actors["http"]["pid"], signal.SIGSTOP)
        wait_until(lambda: toys.actor("http")["restarts"] == 1, "the next worker")
        assert toys.wait_running("http")["http-arbiter"]["pid"] == actors["http-arbiter"]["pid"]


def test_a_server_without_a_worker_whose_arbiter_is_stopped_is_started_again(port: int) -> None:
    with toy_supervisor(port=port, limits={"hang_s": 2.0}) as toys:
        actors = toys.wait_running("http", "http-arbiter")
        toys.kill(actors["http-arbiter"]["pid"], signal.SIGSTOP)
        toys.kill(actors["http"]["pid"])
        wait_until(lambda: toys.actor("http-arbiter").get("generation") == 2, "the next arbiter")
        toys.wait_running("http")


def test_a_taken_port_keeps_the_server_in_back_off_until_it_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with toy_supervisor(port=number, limits={"backoff_max_s": 0.5}) as toys:
            toys.wait_running(*ALL)
            shown = wait_until(lambda: toys.actor("http")["problem"], "a reason")
            assert shown == f"cannot listen on port {number}: address in use"
            assert toys.actor("http-arbiter")["state"] == "back-off"
            taken.close()
            toys.wait_running("http")
            assert worker_pid(number)


def test_the_socket_path_may_not_be_too_long() -> None:
    with short_folder() as folder:
        deep = folder / ("x" * 100)
        deep.mkdir()
        supervisor = ToySupervisor(deep, limits={"backoff_first_s": 0.01, "early_deaths": 2})
        assert supervisor.program.wait(20) == 1
        assert "the path is longer than" in supervisor.output
        supervisor.end()
