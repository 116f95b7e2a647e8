"""Sequences of calls that change things: the same answers and the same events from both engines."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.engine_sim.sides import Json, Side, compare, container_view

pytestmark = pytest.mark.engine

PLAIN: Json = {"Image": "{t}-plain", "Labels": {"parity": "{t}"}}


def create(side: Side, name: str, **more: Any) -> str:
    status, answer = side.call("POST", f"/containers/create?name={{t}}_{name}", {**PLAIN, **more})
    assert status == 201, answer
    return str(answer["Id"])


def image_id(side: Side, name: str) -> str:
    return str(side.call("GET", f"/images/{name}/json")[1]["Id"]).removeprefix("sha256:")


def filters(**values: Any) -> str:
    return quote(json.dumps(values), safe="{}")


def test_a_port_is_given_once(both: tuple[Side, Side]) -> None:
    def act(side: Side) -> Any:
        ports: Json = {
            "ExposedPorts": {"81/tcp": {}},
            "HostConfig": {"PortBindings": {"81/tcp": [{"HostPort": "{port}"}]}},
        }
        ids = {create(side, "one", **ports): "ONE", create(side, "two", **ports): "TWO"}
        answers = [side.call("POST", f"/containers/{{t}}_{name}/start") for name in ("one", "two")]
        inspected = [side.call("GET", f"/containers/{{t}}_{name}/json")[1] for name in ("one", "two")]
        views = [container_view(view) for view in inspected]
        views[1]["State"]["Error"] = ""
        answers.append(side.call("DELETE", "/containers/{t}_one?force=1"))
        answers.append(side.call("POST", "/containers/{t}_two/start"))
        # the id of the endpoint is in the text
        texts = [(status, str(text)[-45:] if status == 500 else text) for status, text in answers]
        return side.normal([texts, views], ids)

    compare(both, act)


def test_networks_are_joined_and_left_before_and_after_the_start(both: tuple[Side, Side]) -> None:
    def act(side: Side) -> Any:
        ids = {create(side, "c", HostConfig={"NetworkMode": "{t}_one"}): "ID"}
        networks = {
            name: side.call("POST", "/networks/create", {"Name": f"{{t}}_{name}"})[1] for name in ("one", "two")
        }
        ids.update({networks[name]["Id"]: name for name in networks})
        endpoint = {"Container": "{t}_c", "EndpointConfig": {"Aliases": ["www"], "IPAMConfig": {}}}
        seen: list[Any] = [side.call("POST", "/networks/{t}_two/connect", endpoint)]
        seen.append(container_view(side.call("GET", "/containers/{t}_c/json")[1]))
        seen.append(side.call("POST", "/containers/{t}_c/start"))
        seen.append(side.call("POST", "/networks/{t}_two/connect", endpoint)[0])
        seen.append(side.call("DELETE", "/networks/{t}_two"))
        seen.append(side.call("POST", "/networks/{t}_two/disconnect", {"Container": "{t}_c"}))
        seen.append(side.call("DELETE", "/networks/{t}_two"))
        seen.append(side.call("POST", "/networks/{t}_gone/disconnect", {"Container": "{t}_c"}))
        seen.append(container_view(side.call("GET", "/containers/{t}_c/json")[1]))
        seen.append(side.call("POST", "/containers/{t}_c/kill"))
        seen.append(side.call("DELETE", "/networks/{t}_one"))
        seen.append(side.call("POST", "/containers/{t}_c/start"))
        seen.append(container_view(side.call("GET", "/containers/{t}_c/json")[1]))
        ids[side.call("POST", "/networks/create", {"Name": "{t}_one"})[1]["Id"]] = "new"
        seen.append(side.call("POST", "/containers/{t}_c/start"))
        return side.normal(seen, ids)

    compare(both, act)


def test_another_containers_network_is_shared(both: tuple[Side, Side]) -> None:
    def act(side: Side) -> Any:
        ids = {create(side, "main"): "MAIN"}
        ids[create(side, "beside", HostConfig={"NetworkMode": "container:{t}_main"})] = "BESIDE"
        seen: list[Any] = [side.call("POST", "/containers/{t}_beside/start")]
        seen += [side.call("POST", f"/containers/{{t}}_{name}/start") for name in ("main", "beside")]
        seen.append(container_view(side.call("GET", "/containers/{t}_beside/json")[1]))
        assert side.call("POST", "/networks/create", {"Name": "{t}_n"})[0] == 201
        seen.append(side.call("POST", "/networks/{t}_n/connect", {"Container": "{t}_beside"}))
        return side.normal(seen, ids)

    compare(both, act)


def test_a_container_is_renamed_killed_and_removed(both: tuple[Side, Side]) -> None:
    def act(side: Side) -> Any:
        ids = {create(side, "c"): "ID", create(side, "other"): "OTHER"}
        steps = [
            ("POST", "/containers/create?name={t}_c", PLAIN),
            ("POST", "/containers/{t}_c/rename?name={t}_c", None),
            ("POST", "/containers/{t}_c/rename?name={t}_other", None),
            ("POST", "/containers/{t}_c/rename?name=", None),
            ("POST", "/containers/{t}_c/rename?name={t}_d", None),
            ("POST", "/containers/{t}_d/kill", None),
            ("POST", "/containers/{t}_d/stop", None),
            ("POST", "/containers/{t}_d/start", None),
            ("DELETE", "/containers/{t}_d", None),
            ("POST", "/containers/{t}_d/update", {"RestartPolicy": {"Name": "unless-stopped"}, "CpuShares": 20}),
            ("POST", "/containers/{t}_d/kill", None),
            ("POST", "/containers/{t}_d/wait", None),
            ("DELETE", "/containers/{t}_d?v=1", None),
            ("DELETE", "/containers/{t}_d?v=1", None),
        ]
        answers = [side.call(*step) for step in steps]
        return side.normal(answers, ids)

    compare(both, act)


def test_a_restart_policy_is_cleared_and_set_again(both: tuple[Side, Side]) -> None:
    def act(side: Side) -> Any:
        ids = {create(side, "c", HostConfig={"RestartPolicy": {"Name": "always"}}): "ID"}
        seen: list[Any] = []
        for started in (False, True):
            if started:
                seen.append(side.call("POST", "/containers/{t}_c/start"))
            for name in ("no", "", "unless-stopped"):
                body = {"RestartPolicy": {"Name": name, "MaximumRetryCount": 0}}
                seen.append(side.call("POST", "/containers/{t}_c/update", body))
                seen.append(side.call("GET", "/containers/{t}_c/json")[1]["HostConfig"]["RestartPolicy"])
        seen.append(side.call("POST", "/containers/{t}_gone/update", {"RestartPolicy": {"Name": "no"}}))
        return side.normal(seen, ids)

    compare(both, act)


def test_lists_show_the_same_rows(both: tuple[Side, Side]) -> None:
    def act(side: Side) -> Any:
        ids = {create(side, "c"): "ID", create(side, "off", Labels={"parity": "{t}", "x": ""}): "OFF"}
        ids[image_id(side, "{t}-plain")] = "IMAGE"
        assert side.call("POST", "/containers/{t}_c/start")[0] == 204
        label = "parity={t}"
        queries = [
            f"all=1&filters={filters(label=[label])}",
            f"filters={filters(label=[label])}",
            f"all=1&filters={filters(label=[label, 'x='])}",
            f"all=1&filters={filters(label=[label, 'y'])}",
            f"all=1&filters={filters(name=['^/{t}_c$'])}",
            f"all=1&filters={filters(name=['{t}_'], status=['created'])}",
            f"all=1&filters={filters(label=[label], ancestor=['{t}-plain'])}",
            f"filters={filters(label={label: True})}",
        ]
        rows = [side.call("GET", f"/containers/json?{query}")[1] for query in queries]
        for row in [row for found in rows for row in found]:
            row["Status"] = row["Status"][:2]
            del row["Created"], row["NetworkSettings"]
        return side.normal(rows, ids)

    compare(both, act)


def test_a_volume_in_use_stays_and_anonymous_ones_go(both: tuple[Side, Side]) -> None:
    def act(side: Side) -> Any:
        host = {"Binds": ["{t}_named:/data"]}
        container_id = create(side, "c", Image="{t}-rich", HostConfig=host)
        anonymous = [
            m["Name"] for m in side.call("GET", "/containers/{t}_c/json")[1]["Mounts"] if m["Destination"] == "/anon"
        ]
        seen = [side.call("GET", f"/volumes/{anonymous[0]}")[0], side.call("DELETE", "/volumes/{t}_named")]
        seen.append(side.call("DELETE", "/containers/{t}_c?v=1"))
        seen.append(side.call("GET", f"/volumes/{anonymous[0]}"))
        seen.append(side.call("DELETE", "/volumes/{t}_named"))
        return side.normal(seen, {container_id: "ID", anonymous[0]: "ANONYMOUS"})

    compare(both, act)


def test_images_are_tagged_listed_and_removed(both: tuple[Side, Side]) -> None:
    def act(side: Side) -> Any:
        ids = {image_id(side, "{t}-plain"): "IMAGE", create(side, "c"): "ID"}
        seen: list[Any] = []
        for repo, tag in (("{t}.example/a/b", "1"), ("{t}.example/a/b", "2"), ("docker.io/library/{t}-second", "")):
            seen.append(side.call("POST", f"/images/{{t}}-plain/tag?repo={repo}&tag={tag}"))
        for reference in ("{t}.example/a/b", "{t}.example/a/b:2", "{t}.example/*/b", "{t}.example/*", "{t}-second:*"):
            rows = side.call("GET", f"/images/json?filters={filters(reference=[reference])}")[1]
            seen.append([(row["Id"], sorted(row["RepoTags"])) for row in rows])
        seen.append(side.call("DELETE", "/images/{t}.example/a/b:1"))
        seen.append(side.call("DELETE", "/images/{t}.example/a/b"))
        seen.append(side.call("DELETE", "/images/" + next(iter(ids))))
        seen.append(side.call("DELETE", "/images/{t}.example/a/b:2"))
        seen.append(side.call("DELETE", "/images/{t}-second"))
        seen.append(side.call("DELETE", "/images/{t}-plain"))
        seen.append(side.call("GET", "/images/{t}-plain:latest/json")[0])
        return side.normal(seen, ids)

    compare(both, act)


def test_networks_of_one_name_are_kept_apart_by_id(both: tuple[Side, Side]) -> None:
    def act(side: Side) -> Any:
        made = [side.call("POST", "/networks/create", {"Name": "{t}_n"}) for _ in range(2)]
        ids = {answer["Id"]: f"ID{number}" for number, (_, answer) in enumerate(made)}
        seen = [*made, side.call("POST", "/networks/create", {"Name": "{t}_n", "CheckDuplicate": True})]
        seen.append(side.call("GET", "/networks/{t}_n"))
        seen.append(side.call("DELETE", "/networks/{t}_n"))
        seen += [side.call("DELETE", f"/networks/{network_id}") for network_id in ids]
        return side.normal(seen, ids)

    compare(both, act)


def test_events_tell_the_same_story(both: tuple[Side, Side]) -> None:
    def act(side: Side) -> Any:
        container = create(side, "e", HostConfig={"NetworkMode": "{t}_events"})
        network = side.call("POST", "/networks/create", {"Name": "{t}_events"})[1]["Id"]
        steps = [
            ("POST", "/containers/{t}_e/start"),
            ("POST", "/containers/{t}_e/rename?name={t}_f"),
            ("POST", "/containers/{t}_f/kill"),
            ("POST", "/containers/{t}_f/start"),
            ("DELETE", "/containers/{t}_f?force=1"),
            ("DELETE", "/networks/{t}_events"),
            ("POST", "/volumes/create?"),
            ("DELETE", "/volumes/{t}_events"),
        ]
        for method, path in steps:
            side.call(method, path, {"Name": "{t}_events"} if path == "/volumes/create?" else None)
        # network and container events of one step may come in either order
        events = sorted(side.events([container, network, "{t}_events"]), key=lambda event: str(event["Type"]))
        return side.normal(events, {container: "ID", network: "NETWORK"})

    compare(both, act)


def test_image_events_name_the_image(both: tuple[Side, Side]) -> None:
    def act(side: Side) -> Any:
        key = image_id(side, "{t}-rich")
        side.call("POST", "/images/{t}-rich/tag?repo={t}-told&tag=")
        side.call("DELETE", "/images/{t}-told")
        events = [event for event in side.events([key]) if event["Type"] == "image"]
        return side.normal([event for event in events if "told" in json.dumps(event)], {key: "IMAGE"})

    compare(both, act)
