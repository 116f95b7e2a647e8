from __future__ import annotations

import threading

import pytest

from balena_supervisor.clock import SystemClock
from balena_supervisor.errors import NotReady, RemoteError
from balena_supervisor.http.api import Api
from balena_supervisor.http.snapshots import Snapshots
from balena_supervisor.runtime.views import ActorsView, ListActors
from tests.http.support import AnsweringPost, remote


def make_api(post: AnsweringPost, places: int) -> Api:
    clock = SystemClock()
    return Api(snapshots=Snapshots(clock), post=post, clock=clock, version="1", places=threading.Semaphore(places))


def test_a_question_too_many_is_refused_before_it_takes_a_thread() -> None:
    with pytest.raises(NotReady, match="too many requests wait"):
        make_api(AnsweringPost(), places=0).ask("root", ListActors())


def test_an_answer_and_a_failure_both_make_room_for_the_next_question() -> None:
    post = AnsweringPost()
    api = make_api(post, places=1)
    post.answers[ListActors] = remote("mailbox-full")
    with pytest.raises(RemoteError):
        api.ask("root", ListActors())
    post.answers[ListActors] = ActorsView(actors=())
    assert api.ask("root", ListActors()) == api.ask("root", ListActors()) == ActorsView(actors=())
