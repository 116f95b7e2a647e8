"""The planner's book of containers that start only after a reboot, and of its own reboots."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from balena_supervisor.db.reboot_store import Awaiting, RebootStore
from balena_supervisor.errors import DatabaseRefused
from balena_supervisor.runtime.output import log
from balena_supervisor.state.backoff import delay_s

#: a device is not rebooted more often than this for one target: whatever is wrong, it must stay reachable
REBOOTS_LIMIT = 3


class Reboots:
    """``boot_id`` is the kernel's id of this boot; without one nothing waits for a reboot."""

    def __init__(self, store: RebootStore, boot_id: str) -> None:
        self._store = store
        self._boot_id = boot_id
        self._awaiting = store.load()
        self._failures = 0
        self.retry_at = float("-inf")

    def rebooted(self, there: Iterable[str]) -> frozenset[str]:
        """Which of these containers have seen a reboot since they were made."""
        if not self._boot_id:
            return frozenset(there)
        return frozenset(one for one, boot in self._awaiting.made.items() if boot != self._boot_id)

    def note(self, waiting: Iterable[str], there: Iterable[str]) -> bool:
        """Remember in which boot the waiting containers were made; forget those that are gone. False while that cannot
        be stored: a reboot would be wanted again after it."""
        present = set(there)
        kept = {one: boot for one, boot in self._awaiting.made.items() if one in present}
        made = {**dict.fromkeys(waiting, self._boot_id), **kept}
        return self._keep(msgspec.structs.replace(self._awaiting, made=made))

    def allowed(self, version: int) -> bool:
        """Whether the device may be rebooted for the target of this version, once more."""
        return self._awaiting.version != version or self._awaiting.count < REBOOTS_LIMIT

    def begin(self, version: int) -> bool:
        """Count a reboot. False when that cannot be stored: then there must be none."""
        count = self._awaiting.count + 1 if self._awaiting.version == version else 1
        return self._keep(msgspec.structs.replace(self._awaiting, version=version, count=count))

    def failed(self, now: float, limit_s: float) -> None:
        """The reboot was refused: it is tried again later, and does not count."""
        self._failures += 1
        self.retry_at = now + delay_s(self._failures, limit_s)
        self._keep(msgspec.structs.replace(self._awaiting, count=max(0, self._awaiting.count - 1)))

    def _keep(self, awaiting: Awaiting) -> bool:
        if awaiting == self._awaiting:
            return True
        try:
            self._store.save(awaiting)
        except DatabaseRefused as error:
            log("warn", "device", "cannot reboot yet", reason=error.message)
            return False
        self._awaiting = awaiting
        return True
