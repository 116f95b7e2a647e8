"""Which waits the log tells of, and when."""

from __future__ import annotations

import msgspec

from balena_supervisor.actors.waits import LASTING_S, LastingWaits
from balena_supervisor.model.state import Waiting

WEB = Waiting(subject="service:7:web", service_name="web", app_id=7, reason="depends on db")


def test_a_wait_is_told_once_when_it_has_lasted() -> None:
    waits = LastingWaits()
    assert waits.to_tell([WEB], 100) == []
    assert waits.next_due() == 100 + LASTING_S
    assert waits.to_tell([WEB], 100 + LASTING_S - 1) == []
    assert waits.to_tell([WEB], 100 + LASTING_S) == [WEB]
    assert waits.to_tell([WEB], 1000) == []
    assert waits.next_due() is None


def test_another_reason_is_another_wait_and_one_that_ended_begins_anew() -> None:
    waits = LastingWaits()
    other = msgspec.structs.replace(WEB, reason="its image is being pulled")
    waits.to_tell([WEB], 100)
    waits.to_tell([other], 105)
    assert waits.to_tell([WEB], 110) == []
    assert waits.to_tell([WEB], 120) == [WEB]


def test_what_only_a_new_target_can_change_is_told_at_once_and_a_retry_never() -> None:
    waits = LastingWaits()
    rejected = Waiting(subject="app:7", app_id=7, reason="the release is rejected", settled=True)
    failing = msgspec.structs.replace(WEB, retry_at=200.0)
    assert waits.to_tell([rejected, failing], 100) == [rejected]
    assert waits.to_tell([rejected, failing], 190) == []
