"""The part of the planner that takes orders of users, and that sends the device down."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import Future

from balena_supervisor.actors.order_desk import OrderDesk
from balena_supervisor.actors.orders import Entry
from balena_supervisor.actors.reboots import REBOOTS_LIMIT, Reboots
from balena_supervisor.clock import iso
from balena_supervisor.errors import Locked, OrderEnded, SupervisorError, record_of
from balena_supervisor.messages import ORDER_TIMEOUT_S, AppOrder, CancelOrder, DeviceOrder, GoDown, Order, ServiceOrder
from balena_supervisor.model.state import Waiting
from balena_supervisor.runtime.actor import Actor, Pending, handles
from balena_supervisor.runtime.output import log
from balena_supervisor.state.orders import words_of_order

#: how long an order waits while nothing can be planned, and one for the device for all that is under way
PATIENCE_S = 10.0
#: how long another one waits before it begins: none begins when whoever asked was told already that it is too late
BEGIN_WITHIN_S = ORDER_TIMEOUT_S - 30.0
#: how long the host may take for its answer
GO_DOWN_S = 30.0
#: after this, a device that was to go down is taken to stay: something keeps the host from it
STILL_UP_S = 600.0


class OrderTaker(Actor):
    """Base of the planner. ``desk`` keeps the orders; ``host_update_pending`` tells whether an update of the host OS
    waits to be found healthy."""

    desk: OrderDesk
    reboots: Reboots
    host_update_pending: Callable[[], bool]
    #: monotonic second since which nothing can be planned
    _held_up_since: float | None = None

    @abstractmethod
    def retry_limit_s(self) -> float:
        """The longest back-off."""

    @abstractmethod
    def look_soon(self) -> None:
        """Plan again, as an order has come or has moved."""

    @handles(AppOrder)
    @handles(ServiceOrder)
    @handles(DeviceOrder)
    def take_order(self, order: Order) -> Pending[None]:
        if isinstance(order, DeviceOrder) and not order.force and self.host_update_pending():
            raise Locked(f"cannot {words_of_order(order)}: Waiting for Host OS update to finish")
        log("info", "order", words_of_order(order), force=order.force)
        until = self.clock.monotonic() + (PATIENCE_S if isinstance(order, DeviceOrder) else BEGIN_WITHIN_S)
        entry = self.desk.orders.add(order, iso(self.clock.now()), until)
        self.look_soon()
        return Pending(entry.answer)

    @handles(CancelOrder)
    def cancel_order(self, command: CancelOrder) -> None:
        self.desk.orders.cancel(command.number)
        self.desk.finish()
        self.look_soon()

    def hold_up(self, reason: str, busy: Iterable[str], *, free: bool) -> None:
        """Nothing can be planned: no order waits for long then. ``free``: the device has no container."""
        now = self.clock.monotonic()
        if self._held_up_since is None:
            self._held_up_since = now
            self.after(PATIENCE_S, self.look_soon)
        self.desk.orders.held_up(reason, busy, free=free, late=now >= self._held_up_since + PATIENCE_S)
        self.desk.finish()
        self.goes_down()

    def go_on(self) -> None:
        """Planning is possible again."""
        self._held_up_since = None

    def reboot_for(self, services: tuple[str, ...], version: int, now: float, *, ready: bool) -> Waiting:
        """When nothing else is left to do, the device is rebooted for these services, as if a user had asked."""
        names = ", ".join(services)
        if not self.reboots.allowed(version):
            text = f"{names}: the device was rebooted {REBOOTS_LIMIT} times for this target, and is not again"
            return Waiting(subject="device", reason=text)
        if ready and now >= self.reboots.retry_at and self.reboots.begin(version):
            log("warn", "device", "is to be rebooted", reason=f"{names} can be started after a reboot only")
            try:
                self.when_done(self.take_order(DeviceOrder(verb="reboot")).future, self._rebooted)
            except SupervisorError as error:  # an update of the host OS is not finished
                log("warn", "device", "cannot be rebooted yet", reason=error.message)
                self.stayed()
        retry_at = self.reboots.retry_at if self.reboots.retry_at > now else None
        return Waiting(subject="device", reason=f"{names}: started after a reboot of the device", retry_at=retry_at)

    def _rebooted(self, done: Future[None]) -> None:
        if done.exception() is not None:
            self.stayed()
            self.look_soon()

    def stayed(self) -> None:
        self.reboots.failed(self.clock.monotonic(), self.retry_limit_s())

    def goes_down(self) -> bool:
        """Whether the device is about to go down: then no step is taken any more."""
        entry = self.desk.orders.leaving()
        if entry is None:
            return False
        if not entry.answer.done() and isinstance(entry.order, DeviceOrder):
            log("warn", "device", "reboots" if entry.order.verb == "reboot" else "shuts down")
            entry.answer.set_result(None)
            asked = self.post.ask("host-config", GoDown(verb=entry.order.verb), timeout_s=GO_DOWN_S)
            self.when_done(asked, lambda done: self._stayed(entry, done))
        return True

    def _stayed(self, entry: Entry, done: Future[None]) -> None:
        error = done.exception()
        if error is None:
            self.after(STILL_UP_S, lambda: self._stays(entry, f"it is still up after {STILL_UP_S:.0f} s"))
        else:
            self._stays(entry, record_of(error).message)

    def _stays(self, entry: Entry, reason: str) -> None:
        log("error", "device", "stays, although it was to go down", reason=reason)
        self.stayed()
        self.desk.orders.end(entry, OrderEnded(f"cannot {words_of_order(entry.order)}: {reason}"))
        self.desk.finish()
        self.look_soon()
