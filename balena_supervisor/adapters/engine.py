"""The engine (balenaEngine or Docker) over its API: one short method for each call that the supervisor makes.

Built on the connections of docker's low-level client. The bodies are sent as they are, since the helpers of that
client cannot express all that a composition may ask for.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from urllib3 import BaseHTTPResponse

from balena_supervisor.adapters.engine_http import EngineHttp, json_of
from balena_supervisor.adapters.engine_stream import JsonStream
from balena_supervisor.errors import EngineUnavailable, SupervisorError

#: what one answer may take; the calls that wait for a container or a transfer say their own
CALL_TIMEOUT_S = 60.0
PING_TIMEOUT_S = 5.0
#: creating and starting unpack layers and wait for drivers, which is slow on an SD card at work
WORK_TIMEOUT_S = 180.0
#: on top of the grace period of a container that is stopped
STOP_MARGIN_S = 30.0
#: the newest API version that this code was written for; older engines are spoken to in theirs
NEWEST_API = (1, 44)


class Engine:
    """A connection to the engine at ``host`` (``unix:///…`` or ``tcp://…``), for use from many threads.

    Nothing is opened before the first call. Every call raises ``EngineUnavailable`` when the engine does not answer,
    ``NotFound`` for its 404 and ``EngineError`` with ``status`` and ``cause`` (its own words) for other refusals.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self._lock = threading.Lock()
        self._http: EngineHttp | None = None
        self._version = ""

    def close(self) -> None:
        """Close the idle connections. Calls that are under way end by themselves."""
        with self._lock:
            http, self._http = self._http, None
        if http is not None:
            http.close()

    # --- the engine itself ------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Ask for a sign of life; 5 s at most."""
        self._order("GET", "/_ping", "reach the engine", timeout_s=PING_TIMEOUT_S)

    def events(self, filters: Mapping[str, list[str]], *, since: str = "", quiet_s: float = 30.0) -> JsonStream:
        """What happens on the engine from now on, or from ``since`` (seconds in the engine's time).

        The stream raises ``StreamQuiet`` after ``quiet_s`` without a byte: an engine that died with its machine
        closes nothing.
        """
        query = {"filters": json.dumps(filters)} | ({"since": since} if since else {})
        reply = self._open("GET", "/events", "listen to events", query=query, timeout_s=quiet_s, stream=True)
        return JsonStream(reply, "listen to events")

    # --- containers -------------------------------------------------------------------------------------------

    def list_containers(self, labels: list[str] | None = None) -> list[dict[str, Any]]:
        """All containers in every state that carry all of ``labels`` (``name`` or ``name=value``)."""
        query = {"all": "1"} | ({"filters": json.dumps({"label": labels})} if labels else {})
        found: list[dict[str, Any]] = self._call("GET", "/containers/json", "list containers", query=query) or []
        return found

    def inspect_container(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = self._call("GET", _path("containers", container, "json"), f"inspect {container}")
        return found

    def create_container(self, name: str, body: Mapping[str, Any]) -> str:
        """Create a container from the engine's own body. Returns its id. 409: the name is taken."""
        answer = self._call(
            "POST",
            "/containers/create",
            f"create container {name}",
            query={"name": name},
            body=body,
            timeout_s=WORK_TIMEOUT_S,
        )
        return str(answer["Id"])

    def start_container(self, container: str) -> bool:
        """Start it. False: it runs already."""
        return self._order("POST", _path("containers", container, "start"), f"start container {container}") != 304

    def stop_container(self, container: str, grace_s: float) -> bool:
        """Stop it with its own signal and patience, and wait. ``grace_s`` is that patience in seconds; it only
        says how long the answer may take. False: it does not run."""
        path = _path("containers", container, "stop")
        return self._order("POST", path, f"stop container {container}", timeout_s=grace_s + STOP_MARGIN_S) != 304

    def remove_container(self, container: str, *, force: bool = False) -> None:
        """Remove it with its anonymous volumes. ``force`` kills it first. 409: being removed, or it runs."""
        query = {"v": "1"} | ({"force": "1"} if force else {})
        self._order("DELETE", _path("containers", container), f"remove container {container}", query=query)

    def rename_container(self, container: str, name: str) -> None:
        """Give it another name. 400: it has that name; 409: another one has it."""
        path = _path("containers", container, "rename")
        self._order("POST", path, f"rename container {container} to {name}", query={"name": name})

    def set_restart_policy(self, container: str, name: str) -> None:
        """``no``, ``always``, ``on-failure`` or ``unless-stopped``; for an empty name the engine changes nothing. What
        runs goes on, and what has exited stays so."""
        body = {"RestartPolicy": {"Name": name, "MaximumRetryCount": 0}}
        path = _path("containers", container, "update")
        self._order("POST", path, f"set the restart policy of container {container} to {name}", body=body)

    # --- networks ---------------------------------------------------------------------------------------------

    def list_networks(self) -> list[dict[str, Any]]:
        """All networks with their settings, without the containers on them."""
        found: list[dict[str, Any]] = self._call("GET", "/networks", "list networks") or []
        return found

    def inspect_network(self, network: str) -> dict[str, Any]:
        """One network by id, with the containers on it: ``Containers`` maps ids to objects with ``Name``."""
        found: dict[str, Any] = self._call("GET", _path("networks", network), f"inspect network {network}")
        return found

    def create_network(self, body: Mapping[str, Any]) -> str:
        """Create a network and return its id. The engine allows two of one name unless asked to check."""
        name = body.get("Name")
        answer = self._call(
            "POST", "/networks/create", f"create network {name}", body={"CheckDuplicate": True, **body}, timeout_s=120
        )
        return str(answer["Id"])

    def remove_network(self, network: str) -> None:
        """Remove by id or name. 403: containers are connected."""
        self._order("DELETE", _path("networks", network), f"remove network {network}")

    def connect_network(self, network: str, container: str, endpoint: Mapping[str, Any]) -> None:
        body = {"Container": container, "EndpointConfig": endpoint}
        path = _path("networks", network, "connect")
        self._order("POST", path, f"connect container {container} to network {network}", body=body)

    def disconnect_network(self, network: str, container_name: str) -> None:
        """Take an endpoint off a network by force, also one whose container is gone: that one only by its name."""
        path = _path("networks", network, "disconnect")
        doing = f"disconnect container {container_name} from network {network}"
        self._order("POST", path, doing, body={"Container": container_name, "Force": True})

    # --- volumes ----------------------------------------------------------------------------------------------

    def list_volumes(self) -> list[dict[str, Any]]:
        """All volumes. An engine without any answers null instead of a list."""
        answer = self._call("GET", "/volumes", "list volumes") or {}
        found: list[dict[str, Any]] = answer.get("Volumes") or []
        return found

    def inspect_volume(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._call("GET", _path("volumes", name), f"inspect volume {name}")
        return found

    def create_volume(self, body: Mapping[str, Any]) -> None:
        """Create a volume. When there is one of that name, the engine silently keeps it as it is."""
        self._call("POST", "/volumes/create", f"create volume {body.get('Name')}", body=body)

    def remove_volume(self, name: str) -> None:
        """Remove it with all it holds. 409: a container uses it."""
        self._order("DELETE", _path("volumes", name), f"remove volume {name}")

    # --- images -----------------------------------------------------------------------------------------------

    def list_images(self, reference: str = "") -> list[dict[str, Any]]:
        """The images, without intermediate layers; with ``reference`` (``repo`` or ``repo:tag``) those only."""
        query = {"filters": json.dumps({"reference": [reference]})} if reference else {}
        found: list[dict[str, Any]] = self._call("GET", "/images/json", "list images", query=query) or []
        return found

    def inspect_image(self, image: str) -> dict[str, Any]:
        """By id or any name."""
        found: dict[str, Any] = self._call("GET", f"/images/{_name(image)}/json", f"inspect image {image}")
        return found

    def tag_image(self, image: str, repo: str, tag: str | None) -> None:
        """Give the image another name; ``latest`` when ``tag`` is None."""
        query = {"repo": repo} | ({"tag": tag} if tag else {})
        self._order("POST", f"/images/{_name(image)}/tag", f"tag image {image} as {repo}", query=query)

    def remove_image(self, image: str, *, force: bool = False) -> None:
        """Remove one name of an image, and the image with its last name; by id all of it."""
        query = {"force": "1"} if force else {}
        self._order("DELETE", f"/images/{_name(image)}", f"remove image {image}", query=query)

    def pull_image(self, repo: str, tag: str, *, auth_header: str = "", stall_s: float = 180.0) -> JsonStream:
        """Pull ``repo`` at a tag or digest. The stream gives the engine's progress events; one with ``error`` means
        that it failed, the end of the stream that it is done. ``StreamQuiet`` after ``stall_s`` without a byte;
        closing the stream ends the download."""
        doing = f"pull image {repo}{'@' if ':' in tag else ':'}{tag}"
        headers = {"X-Registry-Auth": auth_header} if auth_header else {}
        query = {"fromImage": repo, "tag": tag}
        reply = self._open(
            "POST", "/images/create", doing, query=query, headers=headers, timeout_s=stall_s, stream=True
        )
        return JsonStream(reply, doing)

    # --- transport --------------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, doing: str, **options: Any) -> Any:
        """A call whose answer is JSON; None for an empty one."""
        return json_of(self._open(method, path, doing, **options), doing)

    def _order(self, method: str, path: str, doing: str, **options: Any) -> int:
        """A call whose answer is its status."""
        options.setdefault("timeout_s", WORK_TIMEOUT_S)
        return self._open(method, path, doing, **options).status

    def _open(
        self, method: str, path: str, doing: str, *, timeout_s: float = CALL_TIMEOUT_S, **options: Any
    ) -> BaseHTTPResponse:
        http = self._connected(doing)
        return http.send(method, f"/v{self._version}{path}", doing, timeout_s=timeout_s, **options)

    def _connected(self, doing: str) -> EngineHttp:
        """The connections, with the version agreed on; by the first call only."""
        http = self._http
        if http is not None:
            return http
        with self._lock:
            if self._http is None:
                opened = EngineHttp(self.host)
                try:
                    self._version = _agreed_version(opened, doing)
                except SupervisorError:
                    opened.close()
                    raise
                self._http = opened
            return self._http


def _agreed_version(http: EngineHttp, doing: str) -> str:
    facts = json_of(http.send("GET", "/version", doing, timeout_s=PING_TIMEOUT_S), doing)
    try:
        newest = _version(facts["ApiVersion"])
        oldest = _version(facts.get("MinAPIVersion") or "1.12")
    except (TypeError, KeyError, ValueError) as error:
        raise EngineUnavailable(f"cannot {doing}: {http.host} does not say which API it speaks") from error
    major, minor = max(min(newest, NEWEST_API), oldest)
    return f"{major}.{minor}"


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def _path(kind: str, name: str, what: str = "") -> str:
    return f"/{kind}/{quote(name, safe='')}" + (f"/{what}" if what else "")


def _name(image: str) -> str:
    return quote(image, safe="/:@")
