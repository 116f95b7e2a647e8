"""When processes are started, killed and given up: a pure machine with a clock that the test moves."""

from __future__ import annotations

import pytest

from balena_supervisor.runtime.supervision import (
    AskBeat,
    Backoff,
    GiveUp,
    Kill,
    Lateness,
    Limits,
    Order,
    Start,
    Supervision,
)

LIMITS = Limits()


class Machine:
    """Drives a :class:`Supervision` as the root supervisor does: never later than it asked for."""

    def __init__(self, *processes: tuple[str, tuple[str, ...], bool]) -> None:
        self.now = 100.0
        self.supervision = Supervision(LIMITS, processes or [("one", ("one",), True)], self.now)
        self.generation = 0
        self.answers = True

    def orders(self) -> list[Order]:
        orders = self.supervision.due(self.now)
        self.supervision.next_due(self.now)
        return orders

    def until(self, end: float) -> list[Order]:
        """All orders up to a time; heartbeats are answered unless told otherwise."""
        orders: list[Order] = []
        while True:
            planned = self.supervision.next_due(self.now)
            if planned > end:
                self.now = end
                self.supervision.next_due(self.now)
                return orders
            self.now = planned
            new = self.supervision.due(self.now)
            orders += new
            for order in new:
                if isinstance(order, AskBeat) and self.answers:
                    self.supervision.beat(order.mailbox, self.now)

    def run(self, name: str = "one") -> None:
        """Start it and let it be ready."""
        self.generation += 1
        self.supervision.started(name, 1000 + self.generation, self.generation, self.now)
        for mailbox in self.supervision.processes[name].mailboxes:
            self.supervision.connected(mailbox, 1000 + self.generation, self.now)
            self.supervision.ready(mailbox, self.now)

    @property
    def state(self) -> str:
        return self.supervision.processes["one"].state


def test_everything_is_started_at_once_in_order() -> None:
    machine = Machine(("b", ("b",), False), ("a", ("a",), False))
    assert machine.orders() == [Start("b"), Start("a")]
    assert machine.orders() == []


def test_a_process_runs_when_all_its_actors_are_ready() -> None:
    machine = Machine(("one", ("x", "y"), False))
    machine.orders()
    machine.supervision.started("one", 7, 1, machine.now)
    machine.supervision.connected("x", 7, machine.now)
    machine.supervision.ready("x", machine.now)
    assert machine.state == "starting"
    machine.supervision.connected("y", 7, machine.now)
    machine.supervision.ready("y", machine.now)
    assert machine.state == "running"


@pytest.mark.parametrize(
    ("lives_s", "delays_s"),
    [
        ([0] * 9, [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0]),
        ([0, 0, 59, 0], [0.2, 0.4, 0.8, 1.6]),
        ([0, 0, 60, 0], [0.2, 0.4, 0.2, 0.4]),
    ],
    ids=["doubling to the end", "not yet healthy", "healthy again"],
)
def test_the_back_off(lives_s: list[float], delays_s: list[float]) -> None:
    backoff = Backoff(LIMITS)
    assert [backoff.next_delay_s(lived) for lived in lives_s] == pytest.approx(delays_s)


def test_a_process_whose_actor_lost_its_connection_does_not_run_although_nobody_has_reaped_it_yet() -> None:
    machine = Machine()
    machine.orders()
    machine.run()
    machine.supervision.lost("one", machine.now)
    assert (machine.state, machine.supervision.processes["one"].problem) == ("starting", "one lost its connection")
    machine.supervision.ended("one", "killed by signal 9", machine.now)
    assert (machine.state, machine.supervision.processes["one"].problem) == ("back-off", "killed by signal 9")


def test_heartbeats_that_are_due_soon_are_asked_for_together() -> None:
    machine = Machine(("one", ("one",), False), ("two", ("two",), False), ("late", ("late",), False))
    machine.orders()
    machine.run("one")
    machine.now += LIMITS.beat_interval_s / 5
    machine.run("two")
    machine.now += LIMITS.beat_interval_s / 5
    machine.run("late")
    machine.now = machine.supervision.next_due(machine.now)
    assert machine.orders() == [AskBeat("one"), AskBeat("two")]


def test_a_process_that_ended_is_started_after_its_back_off() -> None:
    machine = Machine()
    machine.orders()
    machine.run()
    machine.supervision.ended("one", "killed by signal 9", machine.now)
    assert (machine.state, machine.supervision.processes["one"].last_exit) == ("back-off", "killed by signal 9")
    assert machine.until(machine.now + 0.19) == []
    assert machine.until(machine.now + 0.02) == [Start("one")]


def test_a_restart_on_request_is_started_at_once_and_counts_as_no_early_death() -> None:
    machine = Machine()
    machine.orders()
    machine.run()
    machine.supervision.restart_asked("one")
    machine.supervision.ended("one", "killed by signal 9", machine.now)
    assert machine.orders() == [Start("one")]
    assert machine.supervision.processes["one"].early_deaths == 0


def test_heartbeats_are_asked_for_every_quarter_of_the_limit() -> None:
    machine = Machine()
    machine.orders()
    machine.run()
    assert machine.until(machine.now + 61) == [AskBeat("one")] * 4
    assert machine.state == "running"


def test_an_actor_that_gives_no_sign_of_life_is_killed_within_the_limit() -> None:
    machine = Machine()
    machine.orders()
    machine.run()
    machine.answers = False
    assert machine.until(machine.now + 59.9) == [AskBeat("one")]
    assert machine.until(machine.now + 0.2) == [Kill("one", "one", "gave no sign of life for 60 s")]
    assert machine.state == "hung"
    machine.supervision.ended("one", "killed by signal 9", machine.now)
    assert machine.supervision.processes["one"].problem == "gave no sign of life for 60 s"


def test_an_actor_that_never_becomes_ready_is_killed_too() -> None:
    machine = Machine()
    machine.orders()
    machine.supervision.started("one", 7, 1, machine.now)
    assert [type(order) for order in machine.until(machine.now + 61)] == [Kill]


def test_a_kill_that_did_not_help_is_repeated() -> None:
    machine = Machine()
    machine.orders()
    machine.run()
    machine.answers = False
    kills = [order for order in machine.until(machine.now + 125) if isinstance(order, Kill)]
    assert len(kills) == 2


def test_a_server_runs_again_when_its_next_worker_is_ready() -> None:
    machine = Machine()
    machine.orders()
    machine.run()
    machine.supervision.overdue("one", "slow", machine.now)
    machine.supervision.lost("one", machine.now)
    machine.supervision.connected("one", 8, machine.now)
    machine.supervision.ready("one", machine.now)
    assert machine.state == "running"
    assert machine.supervision.watches["one"].restarts == 1


@pytest.mark.parametrize("late_s", [2.5, 20.0, 10_000.0])
def test_nobody_is_killed_for_the_time_in_which_we_were_stopped(late_s: float) -> None:
    machine = Machine()
    machine.orders()
    machine.run()
    machine.until(machine.now + 20)
    machine.now += late_s + LIMITS.hang_s
    assert not [order for order in machine.orders() if isinstance(order, Kill)]
    machine.supervision.beat("one", machine.now)
    assert not [order for order in machine.until(machine.now + 100) if isinstance(order, Kill)]


@pytest.mark.parametrize(
    ("critical", "life_s", "gives_up"), [(True, 0.0, True), (True, 11.0, False), (False, 0.0, False)]
)
def test_ten_early_deaths_in_a_row_of_a_critical_process_end_the_supervisor(
    critical: bool, life_s: float, gives_up: bool
) -> None:
    machine = Machine(("one", ("one",), critical))
    machine.orders()
    orders: list[Order] = []
    for _ in range(10):
        machine.run()
        orders += machine.until(machine.now + life_s)
        machine.supervision.failed("one", "broken")
        machine.supervision.ended("one", "exit code 1", machine.now)
        orders += machine.until(machine.now + 31)
    reasons = [order.reason for order in orders if isinstance(order, GiveUp)]
    assert reasons == (["one ended 10 times within 10 s of its start: broken"] if gives_up else [])


def test_a_process_that_could_not_be_started_never_ends_the_supervisor() -> None:
    machine = Machine()
    machine.orders()
    for _ in range(20):
        machine.supervision.not_started("one", "cannot listen", machine.now)
        assert machine.until(machine.now + 31) == [Start("one")]
    assert machine.supervision.processes["one"].problem == "cannot listen"


def test_the_reason_is_that_of_the_last_death() -> None:
    machine = Machine()
    machine.orders()
    machine.supervision.started("one", 7, 1, machine.now)
    machine.supervision.failed("one", "RuntimeError: broken")
    machine.supervision.ended("one", "exit code 1", machine.now)
    assert machine.supervision.processes["one"].problem == "RuntimeError: broken"
    machine.supervision.started("one", 8, 2, machine.now)
    machine.supervision.ended("one", "killed by signal 9", machine.now)
    assert machine.supervision.processes["one"].problem == "killed by signal 9"


def test_while_stopping_nothing_is_started_or_killed() -> None:
    machine = Machine()
    machine.orders()
    machine.run()
    machine.supervision.stop()
    machine.supervision.ended("one", "exit code 0", machine.now)
    assert machine.state == "stopped"
    assert machine.until(machine.now + 200) == []


@pytest.mark.parametrize(
    ("planned", "woken", "late"), [(10.0, 10.5, 0.0), (10.0, 5.0, 0.0), (10.0, 12.5, 2.5), (10.0, 30.0, 20.0)]
)
def test_a_loop_is_late_when_it_wakes_long_after_its_plan(planned: float, woken: float, late: float) -> None:
    lateness = Lateness(2.0, 0.0)
    lateness.waiting_until(planned)
    assert lateness.at(woken) == late


def test_a_stop_between_two_waits_is_seen_too() -> None:
    lateness = Lateness(2.0, 0.0)
    lateness.waiting_until(10.0)
    assert lateness.at(10.0) == 0.0
    assert lateness.at(25.0) == 15.0
    assert lateness.at(25.1) == 0.0
