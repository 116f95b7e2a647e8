"""The root supervisor: which actors there are, and what is done when one dies, hangs or is asked about."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from balena_supervisor.errors import NotFound, NotReady
from balena_supervisor.runtime import facts, output
from balena_supervisor.runtime.actor import Actor, Pending, Timer, handles
from balena_supervisor.runtime.process import pss_bytes, stacks
from balena_supervisor.runtime.records import MailboxReport
from balena_supervisor.runtime.supervision import AskBeat, GiveUp, Kill, Order, Start, Supervision
from balena_supervisor.runtime.table import ActorRow, processes
from balena_supervisor.runtime.views import (
    ActorsView,
    DeadLettersView,
    ListActors,
    ListDeadLetters,
    MailboxView,
    RestartActor,
    ShowMailbox,
    ShowStack,
    ShowTrace,
    StackView,
    TraceView,
)
from balena_supervisor.runtime.views_of_actors import actors_view

#: how long stopping all, and each, may take until what is left is killed, in seconds
_STOP_S = 3.0
_STOP_ONE_S = 2.1
_STACK_S = 5.0
#: how long an answer may take to leave before what carries it is killed, in seconds
_ANSWER_S = 0.1


class RootSupervisor(Actor):
    """Starts, watches and restarts the processes of the actors, and answers who looks into them.

    Takes the facts of ``runtime.facts`` from the loop beside it, and the queries of ``runtime.views`` from anyone.
    """

    def __init__(self, ports: facts.RootPorts) -> None:
        super().__init__(ports)
        self._rows = {row.name: row for row in ports.rows}
        self._order = processes(ports.rows)
        self._office = ports.office
        self._born_at = ports.born_at
        self._started_at = ports.clock.monotonic()
        self._supervision = Supervision(ports.limits, [self._process(name) for name in self._order], self._started_at)
        self._timer: Timer | None = None
        self._to_stop: list[str] | None = None

    def on_start(self) -> None:
        output.log("info", "root", "starts the actors", generation=self.generation)
        self._act()

    def _process(self, name: str) -> tuple[str, tuple[str, ...], bool]:
        rows = [row for row in self._rows.values() if row.process_name == name]
        return name, tuple(row.name for row in rows), any(row.critical for row in rows)

    # --- facts -------------------------------------------------------------------------------------------------

    @handles(facts.ProcessStarted)
    def process_started(self, fact: facts.ProcessStarted) -> None:
        self._supervision.started(fact.process, fact.pid, fact.generation, self.clock.monotonic())
        self._act()

    @handles(facts.ProcessNotStarted)
    def process_not_started(self, fact: facts.ProcessNotStarted) -> None:
        output.log("warn", fact.process, "was not started", reason=fact.reason)
        self._supervision.not_started(fact.process, fact.reason, self.clock.monotonic())
        self._act()

    @handles(facts.ProcessEnded)
    def process_ended(self, fact: facts.ProcessEnded) -> None:
        self._supervision.ended(fact.process, fact.how, self.clock.monotonic())
        process = self._supervision.processes[fact.process]
        if self._to_stop is None:
            reason = {} if process.problem == fact.how else {"reason": process.problem}
            output.log("warn", fact.process, "ended", how=fact.how, **reason)
        self._act()
        self._stop_next()

    @handles(facts.ActorConnected)
    def actor_connected(self, fact: facts.ActorConnected) -> None:
        self._supervision.connected(fact.name, fact.pid, self.clock.monotonic())

    @handles(facts.ActorReady)
    def actor_ready(self, fact: facts.ActorReady) -> None:
        self._supervision.ready(fact.name, self.clock.monotonic())
        self._act()

    @handles(facts.ActorFailed)
    def actor_failed(self, fact: facts.ActorFailed) -> None:
        self._supervision.failed(fact.name, fact.reason)

    @handles(facts.ActorLost)
    def actor_lost(self, fact: facts.ActorLost) -> None:
        self._supervision.lost(fact.name, self.clock.monotonic())

    @handles(facts.HeartbeatReturned)
    def heartbeat_returned(self, fact: facts.HeartbeatReturned) -> None:
        self._supervision.beat(fact.name, self.clock.monotonic())

    @handles(facts.HandlerOverdue)
    def handler_overdue(self, fact: facts.HandlerOverdue) -> None:
        reason = f"has been handling {fact.message_type} for {fact.age_s:.0f} s"
        self._supervision.overdue(fact.name, reason, self.clock.monotonic())
        self._act()

    # --- orders ------------------------------------------------------------------------------------------------

    def _act(self) -> None:
        """Carry out what is due, and come back when the next thing is."""
        now = self.clock.monotonic()
        for order in self._supervision.due(now):
            self._carry_out(order)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.after(self._supervision.next_due(now) - now, self._act)

    def _carry_out(self, order: Order) -> None:
        if isinstance(order, Start):
            self._office.start(order.process)
        elif isinstance(order, AskBeat):
            self._office.beat(order.mailbox)
        elif isinstance(order, Kill):
            output.log("error", order.mailbox, "is killed", reason=order.reason)
            self._kill(order.process, order.mailbox)
        elif isinstance(order, GiveUp):
            output.log("error", "root", "gives up", reason=order.reason)
            self._office.give_up(order.reason)

    def _kill(self, process: str, mailbox: str) -> None:
        if self._has_worker(mailbox):
            self._office.kill_worker(mailbox)
        else:
            self._office.kill(process, self._supervision.processes[process].generation)

    def _has_worker(self, mailbox: str) -> bool:
        """Whether its owner is a worker that is there: then that one is killed, not the server."""
        return self._rows[mailbox].mailbox_owner_is_a_worker and self._supervision.watches[mailbox].connected

    # --- stopping ----------------------------------------------------------------------------------------------

    @handles(facts.SupervisorStopping)
    def supervisor_stopping(self, _: facts.SupervisorStopping) -> None:
        if self._to_stop is not None:
            return
        output.log("info", "root", "stops the actors")
        self._supervision.stop()
        self._office.hold()
        self._to_stop = list(self._order)
        self.after(_STOP_S, self._office.leave)
        self._stop_next()

    def _stop_next(self) -> None:
        """Stop the last process of the list that still runs; its end calls this again."""
        while self._to_stop:
            process = self._supervision.processes[self._to_stop[-1]]
            if not process.pid:
                self._to_stop.pop()
                continue
            if process.state != "stopped":
                process.state = "stopped"
                self._stop_process(process.name, process.generation)
                self.after(_STOP_ONE_S, partial(self._office.kill, process.name, process.generation))
            return
        if self._to_stop is not None:
            self._office.leave()

    def _stop_process(self, process: str, generation: int) -> None:
        rows = [row for row in self._rows.values() if row.process_name == process]
        connected = [row for row in rows if self._supervision.watches[row.name].ready]
        if any(row.serve is not None for row in rows):
            self._office.terminate(process, generation)
        elif connected:
            self._office.stop(connected[0].name)
        else:
            self._office.kill(process, generation)

    # --- questions of people -----------------------------------------------------------------------------------

    @handles(ListActors)
    def list_actors(self, query: ListActors) -> Pending[ActorsView]:
        measure = pss_bytes if query.memory else _unmeasured
        return self._then(self._office.reports(), lambda reports: self._actors(reports, measure))

    def _actors(self, reports: dict[str, MailboxReport], measure: Callable[[int], int]) -> ActorsView:
        return actors_view(
            self._supervision,
            self._rows,
            reports,
            now=self.clock.monotonic(),
            born_at=self._born_at,
            root=(self.generation, self._started_at),
            pss_bytes=measure,
        )

    @handles(ShowMailbox)
    def show_mailbox(self, query: ShowMailbox) -> Pending[MailboxView]:
        if query.name == "nursery" or query.name in self._arbiters():
            raise NotFound(f"{query.name} has no mailbox", name=query.name)
        return Pending(self._office.mailbox(query.name))

    @handles(ListDeadLetters)
    def list_dead_letters(self, _: ListDeadLetters) -> Pending[DeadLettersView]:
        return Pending(self._office.dead_letters())

    @handles(ShowTrace)
    def show_trace(self, query: ShowTrace) -> Pending[TraceView]:
        return Pending(self._office.trace(query.after))

    @handles(ShowStack)
    def show_stack(self, query: ShowStack) -> StackView | Pending[StackView]:
        if query.name == "root":
            return StackView(name="root", stack=stacks())
        if query.name in self._arbiters():
            raise NotFound(f"{query.name} has no connection to be asked for its stack", name=query.name)
        if query.name != "nursery" and query.name not in self._rows:
            raise NotFound(f"there is no actor {query.name}", name=query.name)
        asked = self._office.stack(query.name)
        self.after(_STACK_S, lambda: self._no_stack(query.name, asked))
        return self._then(asked, lambda text: StackView(name=query.name, stack=text))

    @staticmethod
    def _no_stack(name: str, asked: Future[str]) -> None:
        if not asked.done():
            asked.set_exception(NotReady(f"{name} does not answer", name=name))

    def _arbiters(self) -> dict[str, ActorRow]:
        return {f"{row.name}-arbiter": row for row in self._rows.values() if row.mailbox_owner_is_a_worker}

    @handles(RestartActor)
    def restart_actor(self, action: RestartActor) -> None:
        row = self._rows.get(action.name) or self._arbiters().get(action.name)
        if row is None and action.name != "root":
            raise NotFound(f"there is no actor {action.name}", name=action.name)
        output.log("info", action.name, "is restarted on request")
        if row is None:
            self.after(_ANSWER_S, self._office.leave)
        elif row.mailbox_owner_is_a_worker:
            self.after(_ANSWER_S, partial(self._restart_server, row, worker=action.name == row.name))
        else:
            self._restart(row)

    def _restart_server(self, row: ActorRow, *, worker: bool) -> None:
        """Later, since it may be the one that hands on the answer."""
        if worker and self._has_worker(row.name):
            self._office.kill_worker(row.name)
        else:
            self._restart(row)

    def _restart(self, row: ActorRow) -> None:
        self._supervision.restart_asked(row.process_name)
        self._office.kill(row.process_name, self._supervision.processes[row.process_name].generation)

    @handles(facts.DumpWanted)
    def dump(self, _: facts.DumpWanted) -> None:
        """Mailbox lengths and stacks on standard error, each as it comes."""
        output.error_text(f"root:\n{stacks()}")
        for name in self._rows:
            self.when_done(self._office.stack(name), lambda done, name=name: _print_stack(name, done))  # type: ignore[misc]
        self.when_done(self._office.reports(), lambda done: _print_lengths(done.result()))

    def _then(self, future: Future[Any], use: Any) -> Pending[Any]:
        """An answer made of another answer, on this actor's thread."""
        answer: Future[Any] = Future()

        def finish(done: Future[Any]) -> None:
            try:
                answer.set_result(use(done.result()))
            except Exception as error:  # noqa: BLE001  # goes to who asked
                answer.set_exception(error)

        self.when_done(future, finish)
        return Pending(answer)


def _unmeasured(_: int) -> int:
    return 0


def _print_stack(name: str, done: Future[str]) -> None:
    error = done.exception()
    output.error_text(f"{name}:\n{error if error is not None else done.result()}")


def _print_lengths(reports: dict[str, MailboxReport]) -> None:
    lengths = " ".join(f"{name}={report.mailbox.depth}" for name, report in reports.items())
    output.error_text(f"mailboxes: {lengths}")
