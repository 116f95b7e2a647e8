"""After the database was made anew: what the containers tell of keys and releases is taken back from them."""

from __future__ import annotations

from balena_supervisor.actors.picture import Picture
from balena_supervisor.db.commit_store import CommitStore
from balena_supervisor.db.rebuild import Rebuild
from balena_supervisor.errors import DatabaseRefused
from balena_supervisor.messages import KeysFound
from balena_supervisor.runtime.actor import Post
from balena_supervisor.state.take_back import commits_of, keys_of


class TakingBack:
    """Does nothing once all is back."""

    def __init__(self, post: Post, store: CommitStore, rebuild: Rebuild) -> None:
        self._post = post
        self._store = store
        self._rebuild = rebuild
        self._commits_incomplete = rebuild.is_wanted()
        #: what target-state was told last of keys, since it began to ask
        self._keys_found: KeysFound | None = None

    def keys_changed(self) -> None:
        self._keys_found = None

    def look(self, picture: Picture) -> None:
        containers = picture.seen_containers()
        if containers is None:
            return
        if picture.keys_incomplete:
            found = KeysFound(services=keys_of(containers))
            if found != self._keys_found:
                self._keys_found = found
                self._post.publish(found)
        if self._commits_incomplete:
            try:
                with self._rebuild.doing():
                    for app_id, commit in commits_of(containers).items():
                        self._store.set(app_id, commit)
            except DatabaseRefused:
                return  # the next look tries again; nothing depends on it
            self._commits_incomplete = False
            picture.commits = self._store.all()
