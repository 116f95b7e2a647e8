"""Everything of the wire that a client can see (spec device-api 1)."""

from __future__ import annotations

import base64
import hashlib

import pytest

from balena_supervisor.model.state import DeviceState
from balena_supervisor.runtime.views import ListActors
from tests.http.support import GLOBAL_KEY, Device, remote

HTML = "text/html; charset=utf-8"
JSON = "application/json; charset=utf-8"


def formula(body: bytes) -> str:
    digest = base64.b64encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode()
    return f'W/"{format(len(body), "x")}-{digest[:27]}"'


def test_ping_answers_ok_as_html_and_needs_nothing() -> None:
    answer = Device().client.simulate_get("/ping")
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, "OK", HTML)
    assert answer.headers["content-length"] == "2"


def test_the_etag_of_ok_is_the_one_that_clients_know() -> None:
    assert Device().client.simulate_get("/ping").headers["etag"] == 'W/"2-nOO9QiTIwXgNtWtBJezz8kv3SLc"'


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/ping", None),
        ("GET", "/v2/version", None),
        ("GET", "/v2/local/device-info", None),
        ("GET", "/v2/state/status", None),
        ("GET", "/v2/applications/state", None),
        ("GET", "/v2/containerId", None),
        ("GET", "/v2/containerId?service=none", None),
        ("POST", "/v2/local/target-state", "{"),
        ("POST", "/v2/local/target-state", "{}"),
        ("OPTIONS", "/ping", None),
    ],
)
def test_every_answer_carries_the_tag_of_its_body(device: Device, method: str, path: str, body: str | None) -> None:
    device.show(DeviceState())
    headers = {"Content-Type": "application/json"} if body else None
    answer = device.client.simulate_request(method, path, body=body, headers=headers)
    assert answer.headers["etag"] == formula(answer.content)
    assert answer.headers["content-length"] == str(len(answer.content))


@pytest.mark.parametrize("given", ["{tag}", "W/{tag}", '"x", {tag}', "*"])
def test_a_get_with_a_matching_tag_is_304_without_body(device: Device, given: str) -> None:
    tag = device.client.simulate_get("/v2/version").headers["etag"]
    header = given.replace("W/{tag}", tag).replace("{tag}", tag)
    answer = device.client.simulate_get("/v2/version", headers={"If-None-Match": header})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert "content-type" not in answer.headers


def test_another_tag_or_no_cache_gets_the_body(device: Device) -> None:
    tag = device.client.simulate_get("/v2/version").headers["etag"]
    for headers in ({"If-None-Match": 'W/"1-x"'}, {"If-None-Match": tag, "Cache-Control": "no-cache"}):
        assert device.client.simulate_get("/v2/version", headers=headers).status_code == 200


def test_an_error_is_never_304(device: Device) -> None:
    tag = device.client.simulate_get("/v2/state/status").headers["etag"]
    assert device.client.simulate_get("/v2/state/status", headers={"If-None-Match": tag}).status_code == 503


@pytest.mark.parametrize("path", ["/PING", "/Ping/", "/ping/", "/V2/Version", "/v2/containerid/", "/v2/CONTAINERID"])
def test_case_and_one_trailing_slash_do_not_matter(device: Device, path: str) -> None:
    device.show(DeviceState())
    assert device.client.simulate_get(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "//ping"),
        ("GET", "/ping//"),
        ("GET", "/"),
        ("GET", "/v3/version"),
        ("POST", "/ping"),
        ("DELETE", "/v2/version"),
        ("PUT", "/v2/local/target-state"),
    ],
)
def test_an_unknown_path_or_method_is_a_short_page(device: Device, method: str, path: str) -> None:
    answer = device.client.simulate_request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, HTML)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'"
    assert "etag" not in answer.headers
    assert answer.text.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(("method", "path"), [("GET", "/v2/nothing"), ("POST", "/ping"), ("GET", "//ping")])
def test_an_unknown_path_is_401_first(managed: Device, method: str, path: str) -> None:
    assert managed.client.simulate_request(method, path).status_code == 401
    assert managed.client.simulate_request(method, path, params={"apikey": GLOBAL_KEY}).status_code == 404


@pytest.mark.parametrize(
    ("path", "allow"),
    [("/ping", "GET,HEAD"), ("/v2/local/target-state", "GET,HEAD,POST"), ("/debug/actors/root/restart", "POST")],
)
def test_options_lists_the_methods(device: Device, path: str, allow: str) -> None:
    answer = device.client.simulate_options(path)
    assert (answer.status_code, answer.headers["allow"], answer.text) == (200, allow, allow)
    assert answer.headers["content-type"] == HTML


def test_options_on_an_unknown_path_is_404(device: Device) -> None:
    assert device.client.simulate_options("/v2/nothing").status_code == 404


@pytest.mark.parametrize("path", ["/ping", "/v2/version"])
def test_head_is_get_without_body(device: Device, path: str) -> None:
    get, head = device.client.simulate_get(path), device.client.simulate_head(path)
    assert head.content == b""
    for name in ("etag", "content-length", "content-type"):
        assert head.headers[name] == get.headers[name]


def test_head_with_a_matching_tag_is_304(device: Device) -> None:
    tag = device.client.simulate_get("/ping").headers["etag"]
    assert device.client.simulate_head("/ping", headers={"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize("path", ["/v1/healthy", "/v2/version", "/v2/state/status", "/debug/actors", "/nothing"])
def test_before_the_first_configuration_everything_but_ping_is_503(path: str) -> None:
    answer = Device().client.simulate_get(path)
    assert (answer.status_code, answer.json["status"], answer.headers["content-type"]) == (503, "failed", JSON)
    assert answer.json["message"]


def test_a_state_that_is_not_there_yet_is_503(device: Device) -> None:
    for path in ("/v2/state/status", "/v2/applications/state", "/v2/containerId"):
        answer = device.client.simulate_get(path)
        assert (answer.status_code, answer.json["status"]) == (503, "failed")


def test_the_request_log_has_one_line_without_the_query(device: Device) -> None:
    device.client.simulate_get("/v2/Version", params={"apikey": "sesame"})
    assert device.lines == ["[api]     GET /v2/Version 200 - 0.000 ms"]


def test_a_head_request_is_logged_as_one(device: Device) -> None:
    device.client.simulate_head("/ping")
    assert device.lines[0].startswith("[api]     HEAD /ping 200")


def test_a_path_cannot_forge_a_log_line(device: Device) -> None:
    device.client.simulate_get("/x%0A[error] forged")
    assert "\n" not in device.lines[0]


def test_an_unexpected_error_is_answered_without_its_text_and_logged_with_it(device: Device) -> None:
    device.post.answers[ListActors] = RuntimeError("something internal")
    answer = device.client.simulate_get("/debug/actors")
    assert (answer.status_code, answer.json["status"]) == (503, "failed")
    assert "something internal" not in answer.text
    assert "something internal" in device.lines[0]


def test_an_expected_failure_is_logged_with_its_reason(device: Device) -> None:
    device.post.answers[ListActors] = remote("mailbox-full", "cannot deliver: the mailbox is full")
    assert device.client.simulate_get("/debug/actors").status_code == 503
    assert "the mailbox is full" in device.lines[0]
