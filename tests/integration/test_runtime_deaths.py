"""Deaths and hangs of actors, on real processes (see ``tests/runtime/toys.py``)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from tests.runtime.toy_supervisor import ToySupervisor, toy_supervisor, wait_until


@pytest.fixture
def toys() -> Iterator[ToySupervisor]:
    with toy_supervisor(limits={"backoff_first_s": 0.05, "backoff_max_s": 1.0}) as supervisor:
        supervisor.wait_running("gate", "one", "two", "three", "four")
        yield supervisor


def test_a_command_is_carried_out_although_the_actor_is_killed_while_handling_it(toys: ToySupervisor) -> None:
    toys.tell("one", "Work", name="a", how="block")
    toys.wait_for_line("one 1 begins a")
    toys.kill(toys.actor("one")["pid"])
    toys.wait_for_line("one 2 begins a")
    toys.open("a")
    toys.wait_for_line("one 2 done a")
    assert toys.actor("one")["restarts"] == 1
    assert toys.actor("one")["last_exit"] == "killed by signal 9"


def test_a_command_is_carried_out_although_the_actor_is_killed_while_its_pool_works_on_it(toys: ToySupervisor) -> None:
    asked = toys.asking("one", "Work", name="a", how="pool")
    toys.wait_for_line("one 1 begins a")
    toys.tell("one", "Work", name="b", how="pool")
    toys.wait_for_line("one 1 begins b")
    held = toys.actor("one")["in_hand"]
    assert [(letter["type"], letter["state"]) for letter in held] == [("Work", "pending")] * 2
    toys.kill(toys.actor("one")["pid"])
    toys.wait_for_line("one 2 begins b")
    toys.open("a")
    toys.open("b")
    assert asked() == {"ok": True, "answer": "a done by 2"}
    toys.wait_for_line("one 2 done b")
    begun = [line for line in toys.diary.lines() if line.startswith("one 2 begins")]
    assert begun == ["one 2 begins a", "one 2 begins b"]


def test_the_third_death_on_a_message_makes_it_a_dead_letter_and_the_actor_lives_on(toys: ToySupervisor) -> None:
    toys.tell("one", "Work", name="poison", how="die")
    toys.wait_for_line("gate 1 failed Work too-many-deaths poison")
    toys.wait_running("one")
    assert toys.ask("one", "Echo", text="hello") == {"ok": True, "answer": "hello"}
    assert [line for line in toys.diary.lines() if "begins poison" in line] == [
        f"one {generation} begins poison" for generation in (1, 2, 3)
    ]
    assert [(letter["type"], letter["code"]) for letter in toys.dead_letters()] == [("Work", "too-many-deaths")]


def test_an_asker_is_told_of_the_third_death(toys: ToySupervisor) -> None:
    assert toys.ask("one", "Work", name="poison", how="die")["code"] == "too-many-deaths"


def test_a_death_in_the_pool_is_no_death_while_handling(toys: ToySupervisor) -> None:
    toys.tell("one", "Work", name="a", how="pool")
    toys.wait_for_line("one 1 begins a")
    for generation in range(1, 5):
        toys.wait_for_line(f"one {generation} begins a")
        toys.wait_running("one")
        wait_until(lambda: [held["state"] for held in toys.actor("one")["in_hand"]] == ["pending"], "pending")
        toys.kill(toys.actor("one")["pid"])
    toys.wait_for_line("one 5 begins a")
    toys.open("a")
    toys.wait_for_line("one 5 done a")


def test_an_action_is_not_repeated_and_its_asker_hears_of_it(toys: ToySupervisor) -> None:
    assert toys.ask("one", "Once", name="reboot", how="die")["code"] == "actor-restarted"
    toys.wait_running("one")
    assert [line for line in toys.diary.lines() if "reboot" in line] == ["one 1 begins reboot"]


def test_a_query_that_only_waited_is_answered_by_the_next_start(toys: ToySupervisor) -> None:
    toys.tell("one", "Work", name="a", how="block")
    toys.wait_for_line("one 1 begins a")
    asked = toys.asking("one", "Who")
    wait_until(lambda: toys.actor("one")["mailbox"]["depth"] == 2, "two messages")
    toys.kill(toys.actor("one")["pid"])
    toys.open("a")
    assert asked()["answer"]["generation"] == 2


def test_a_restarted_actor_sees_the_newest_retained_event_before_anything_else(toys: ToySupervisor) -> None:
    for number in (1, 2):
        toys.tell("two", "PublishPicture", topic="x", number=number)
    toys.wait_for_line("one 1 sees x 2")
    toys.tell("one", "Work", name="a", how="block")
    toys.wait_for_line("one 1 begins a")
    toys.kill(toys.actor("one")["pid"])
    toys.open("a")
    toys.wait_for_line("one 2 done a")
    assert [line for line in toys.diary.lines() if line.startswith("one 2")] == [
        "one 2 started",
        "one 2 sees x 2",
        "one 2 begins a",
        "one 2 done a",
    ]


def test_of_many_commands_none_is_lost_and_none_overtakes_while_the_actor_is_killed_again_and_again(
    toys: ToySupervisor,
) -> None:
    for round_ in range(6):
        toys.wait_for_line(f"one {round_ + 1} started")
        pid = toys.wait_running("one")["one"]["pid"]
        for number in range(30):
            how = "pool" if number % 3 else "at-once"
            toys.open(f"{round_}-{number}")
            toys.tell("one", "Work", name=f"{round_}-{number}", how=how)
        toys.kill(pid)
    names = [f"{round_}-{number}" for round_ in range(6) for number in range(30)]

    def done() -> bool:
        ended = {line.split()[-1] for line in toys.diary.lines() if " done " in line}
        return ended >= set(names)

    wait_until(done, "all are done")
    begun = [line.split()[-1] for line in toys.diary.lines() if line.startswith("one") and " begins " in line]
    assert list(dict.fromkeys(begun)) == names
    assert toys.dead_letters() == []


def test_actors_that_share_a_process_restart_together(toys: ToySupervisor) -> None:
    actors = toys.actors()
    assert actors["three"]["pid"] == actors["four"]["pid"]
    toys.kill(actors["three"]["pid"])
    toys.wait_for_line("four 2 started")
    toys.wait_running("three", "four")
    assert toys.ask("four", "Who")["answer"]["generation"] == 2


def test_an_actor_that_cannot_start_stays_in_back_off_and_shows_why(toys: ToySupervisor) -> None:
    toys.open("one-cannot-start")
    toys.kill(toys.actor("one")["pid"])
    toys.wait_for_line("one 3 started")
    asked = toys.asking("one", "Echo", text="late")
    shown = wait_until(
        lambda: [actor for actor in [toys.actor("one")] if actor["state"] == "back-off"],
        "back-off",
    )[0]
    assert shown["problem"] == "RuntimeError: the toy is broken"
    assert toys.ask("two", "Echo", text="fine")["answer"] == "fine"
    (toys.folder / "one-cannot-start").unlink()
    assert asked() == {"ok": True, "answer": "late"}
    assert toys.dead_letters() == []


def test_a_critical_actor_that_dies_ten_times_at_its_start_ends_the_supervisor(toys: ToySupervisor) -> None:
    toys.open("one-cannot-start")
    toys.kill(toys.actor("one")["pid"])
    assert toys.program.wait(30) == 1
    assert "one ended 10 times within 10 s of its start: RuntimeError: the toy is broken" in toys.output


def test_a_stopped_actor_is_killed_and_restarted_while_others_answer() -> None:
    with toy_supervisor(limits={"hang_s": 2.0}) as toys:
        pid = toys.wait_running("one", "two")["one"]["pid"]
        toys.kill(pid, signal.SIGSTOP)
        command = toys.asking("one", "Work", timeout_s=20, name="a")
        question = toys.asking("one", "Who", timeout_s=20)
        assert toys.ask("two", "Echo", text="here", timeout_s=1)["ok"]
        assert command() == {"ok": True, "answer": "a done by 2"}
        assert question()["ok"] or question()["code"] == "actor-restarted"
        assert toys.actor("one")["last_exit"] == "killed by signal 9"


def test_a_handler_that_never_ends_is_killed() -> None:
    with toy_supervisor(limits={"handler_s": 1.0, "backoff_first_s": 0.05}) as toys:
        toys.wait_running("one")
        toys.tell("one", "Work", name="endless", how="block")
        toys.wait_for_line("gate 1 failed Work too-many-deaths endless")
        assert toys.ask("one", "Echo", text="again")["ok"]


def test_root_may_be_stopped_for_long_and_nobody_is_killed_for_it() -> None:
    with toy_supervisor(limits={"hang_s": 2.0, "handler_s": 2.0}) as toys:
        before = toys.wait_running("gate", "one", "two", "three", "four")
        toys.tell("one", "Work", name="a", how="block")
        toys.wait_for_line("one 1 begins a")
        toys.kill(before["root"]["pid"], signal.SIGSTOP)
        asked = toys.asking("two", "Echo", timeout_s=30, text="later")
        threading.Event().wait(5.0)  # longer than every limit: what the test is about
        toys.kill(before["root"]["pid"], signal.SIGCONT)
        assert asked() == {"ok": True, "answer": "later"}
        toys.open("a")
        toys.wait_for_line("one 1 done a")
        after = toys.actors()
        assert {name: actor["pid"] for name, actor in after.items()} == {
            name: actor["pid"] for name, actor in before.items()
        }


def test_a_restart_on_request_comes_without_back_off(toys: ToySupervisor) -> None:
    assert toys.ask("root", "RestartActor", name="one")["ok"]
    toys.wait_for_line("one 2 started")
    assert toys.ask("root", "RestartActor", name="nobody")["code"] == "not-found"


def test_root_itself_may_be_restarted_on_request(toys: ToySupervisor) -> None:
    assert toys.ask("root", "RestartActor", name="root")["ok"]
    wait_until(lambda: toys.actor("root").get("generation") == 2, "the second root")


def test_before_every_root_all_is_prepared_anew_and_without_that_the_supervisor_ends_after_some_tries() -> None:
    with toy_supervisor(prepare="twice", limits={"backoff_first_s": 0.05, "early_deaths": 3}) as toys:
        toys.wait_running("gate", "one", "two", "three", "four")
        toys.kill(toys.actor("root")["pid"])
        toys.wait_for_line("one 2 started")
        assert (toys.folder / "prepared").read_text() == ".."
        toys.wait_running("gate", "one", "two", "three", "four")
        toys.kill(toys.actor("root")["pid"])
        assert toys.program.wait(10) == 1
        assert "cannot migrate: the toy database is too new" in toys.output
