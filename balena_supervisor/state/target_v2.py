"""The older target format v2, in which ids are the keys, as a document of format v3 (spec target-state 3 and 5.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from balena_supervisor.state import coerce
from balena_supervisor.state.violations import MISSING, Path, Violations

#: Fields of a v2 service that are no composition.
_OWN_FIELDS = frozenset(
    {"serviceName", "serviceId", "imageId", "image", "environment", "labels", "running", "contract"}
)
_COPIED_FIELDS = ("image", "environment", "labels", "running", "contract")
#: How the fields of a v3 release and service are called in v2.
_V2_NAMES = {"id": "releaseId", "image_id": "imageId"}


class V2Conversion:
    """One conversion; it remembers which key of the given document became what, so that errors can name it.

    ``top`` is the path under which the author of the document wrote ``name``, ``config`` and ``apps``; ``app_uuid``
    gives the uuid of an app id: in local mode its text, elsewhere what the cloud knows.
    """

    def __init__(self, *, uuid: str, top: Path, app_uuid: Callable[[int], str]) -> None:
        self.violations = Violations()
        self._uuid = uuid
        self._top = top
        self._app_uuid = app_uuid
        self._app_keys: dict[str, str] = {}
        self._service_keys: dict[tuple[str, str], str] = {}

    def document(self, device: dict[str, Any], *, name: str) -> dict[str, Any]:
        """The v3 document of this device; ``name`` stands in when none was given. Its violations are collected."""
        given = device.get("name")
        config = device.get("config")
        return {
            self._uuid: {
                "name": name if given is None else given,
                "config": {} if config is None else config,
                "apps": self._apps((*self._top, "apps"), device.get("apps")),
            }
        }

    def given_path(self, path: Path) -> Path:
        """Where the author wrote what stands at ``path`` of the v3 document."""
        if path[:1] != (self._uuid,) or path[1:2] != ("apps",) or len(path) < 3:
            return self._top + path[1:]
        app_uuid, rest = path[2], path[3:]
        app = (*self._top, "apps", self._app_keys.get(app_uuid, app_uuid))
        if rest[:1] == ("id",):
            return app
        if rest[:1] != ("releases",):
            return app + rest
        if len(rest) == 2:
            return (*app, "commit")
        field = rest[2:]
        if field[0] == "services" and len(field) > 1:
            return (*app, "services", *self._given_service(app_uuid, field[1:]))
        return (*app, *(_V2_NAMES.get(part, part) for part in field[:1]), *field[1:])

    def _given_service(self, app_uuid: str, path: Path) -> Path:
        key = self._service_keys.get((app_uuid, path[0]), path[0])
        if len(path) == 1:
            return (key, "serviceName")
        if path[1] == "id":
            return (key,)
        if path[1] == "composition":
            return (key, *path[2:])
        return (key, _V2_NAMES.get(path[1], path[1]), *path[2:])

    def _apps(self, path: Path, value: object) -> dict[str, Any]:
        apps: dict[str, Any] = {}
        for key, app in self._ascending(path, value):
            app_id = coerce.to_numeric_id(key)
            if app_id is None:
                self.violations.add((*path, key), "a decimal app id as the key of an app", key)
            # an app or service without a good name goes on under its key, so that the rest of it is checked too
            uuid = key if app_id is None else self._app_uuid(app_id)
            if uuid in apps:
                self.violations.add((*path, key), "each app id only once", key)
                continue
            self._app_keys[uuid] = key
            apps[uuid] = self._app((*path, key), uuid, app_id or 0, app)
        return apps

    def _app(self, path: Path, uuid: str, app_id: int, value: object) -> dict[str, Any]:
        fields = self.violations.mapping(path, value)
        app: dict[str, Any] = {"id": app_id, "class": "fleet", "releases": {}}
        # what is missing here for want of an object has been reported already
        app["name"] = fields.get("name", MISSING) if fields is value else ""
        commit = fields.get("commit")
        if not commit:
            return app
        if not isinstance(commit, str):
            self.violations.add((*path, "commit"), "a text", commit)
            return app
        release: dict[str, Any] = {
            name: fields[name] for name in ("volumes", "networks") if fields.get(name) is not None
        }
        release["id"] = fields.get("releaseId", MISSING)
        release["services"] = self._services((*path, "services"), uuid, fields.get("services"))
        app["releases"] = {commit: release}
        return app

    def _services(self, path: Path, app_uuid: str, value: object) -> dict[str, Any]:
        """Of two services with one name the later one, with the higher id, wins."""
        services: dict[str, Any] = {}
        for key, service in self._ascending(path, value):
            if not isinstance(service, dict):
                self.violations.add((*path, key), "an object", service)
                continue
            name = service.get("serviceName", MISSING)
            if not isinstance(name, str):
                self.violations.add((*path, key, "serviceName"), "a text", name)
                name = key
            self._service_keys[app_uuid, name] = key
            services[name] = {
                "id": key,
                "image_id": service.get("imageId", MISSING),
                **{field: service[field] for field in _COPIED_FIELDS if field in service},
                "composition": {field: entry for field, entry in service.items() if field not in _OWN_FIELDS},
            }
        return services

    def _ascending(self, path: Path, value: object) -> list[tuple[str, Any]]:
        """The entries of a map keyed by ids, in the order of the ids; an empty array is an empty map."""
        if value is None or value == []:
            return []
        return sorted(self.violations.mapping(path, value).items(), key=_id_order)


def _id_order(entry: tuple[str, Any]) -> tuple[bool, int]:
    number = coerce.to_numeric_id(entry[0])
    return number is None, number or 0
