"""Who may call what (spec device-api 2)."""

from __future__ import annotations

import pytest

from balena_supervisor.http.auth import key_of
from balena_supervisor.messages import KeysChanged
from balena_supervisor.model.state import DeviceState
from tests.http.support import APP_KEY, ENDPOINT, GLOBAL_KEY, Device, container, image

PATH = "/v2/version"


@pytest.mark.parametrize(
    ("query", "header", "status"),
    [
        ("", None, 401),
        (f"apikey={GLOBAL_KEY}", None, 200),
        (f"apikey={APP_KEY}", None, 200),
        ("apikey=wrong", None, 401),
        (f"ApiKey={GLOBAL_KEY}", None, 401),
        (f"APIKEY={GLOBAL_KEY}", None, 401),
        ("", f"Bearer {GLOBAL_KEY}", 200),
        ("", f"bearer {GLOBAL_KEY}", 200),
        ("", f"ApiKey {GLOBAL_KEY}", 200),
        ("", f"apikey {APP_KEY}", 200),
        ("", f"Basic {GLOBAL_KEY}", 401),
        ("", GLOBAL_KEY, 401),
        ("", f"Bearer  {GLOBAL_KEY}", 401),
        ("", f"Bearer {GLOBAL_KEY} x", 401),
        ("", f"Bearer {GLOBAL_KEY}-", 401),
        ("", "Bearer wrong", 401),
        ("", "Bearer ", 401),
        ("apikey=wrong", f"Bearer {GLOBAL_KEY}", 401),
        ("apikey=", f"Bearer {GLOBAL_KEY}", 200),
        ("apikey=", None, 401),
        (f"apikey={GLOBAL_KEY}&apikey={GLOBAL_KEY}", None, 401),
        ("apikey=a&apikey=b", f"Bearer {GLOBAL_KEY}", 200),
        ("apikey=%C3%A9%FF", None, 401),
        (f"apikey={GLOBAL_KEY}%0A", None, 401),
    ],
)
def test_where_a_key_counts(managed: Device, query: str, header: str | None, status: int) -> None:
    headers = {"Authorization": header} if header else None
    assert managed.client.simulate_get(PATH, query_string=query, headers=headers).status_code == status


def test_no_key_is_answered_with_a_bare_status(managed: Device) -> None:
    answer = managed.client.simulate_get(PATH)
    assert (answer.status_code, answer.text) == (401, "Unauthorized")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_ping_and_health_need_no_key(managed: Device) -> None:
    assert managed.client.simulate_get("/ping").status_code == 200
    assert managed.client.simulate_get("/v1/healthy").status_code != 401


def test_a_key_in_the_body_is_ignored(managed: Device) -> None:
    answer = managed.client.simulate_post("/v2/local/target-state", json={"apikey": GLOBAL_KEY})
    assert answer.status_code == 401


def test_a_request_without_a_key_is_refused_before_its_body_is_read(managed: Device) -> None:
    answer = managed.client.simulate_post(
        "/v2/local/target-state", body="{", headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 401


def test_local_mode_opens_everything_and_closing_it_closes_at_once(managed: Device) -> None:
    managed.configure(api_endpoint=ENDPOINT, local_mode=True)
    assert managed.client.simulate_get(PATH, params={"apikey": "wrong"}).status_code == 200
    managed.configure(api_endpoint=ENDPOINT, local_mode=False)
    assert managed.client.simulate_get(PATH, params={"apikey": "wrong"}).status_code == 401


def test_an_unmanaged_device_needs_no_key(device: Device) -> None:
    assert device.client.simulate_get(PATH, params={"apikey": "wrong"}).status_code == 200


def test_keys_that_are_not_known_yet_are_503() -> None:
    device = Device()
    device.configure(api_endpoint=ENDPOINT)
    assert device.client.simulate_get(PATH, params={"apikey": GLOBAL_KEY}).status_code == 503
    assert device.client.simulate_get(PATH).status_code == 401


def test_a_replaced_key_fails_at_once(managed: Device) -> None:
    managed.snapshots.keep(KeysChanged(global_key="c2", scopes={"c2": [{"type": "global"}]}, services=()))
    assert managed.client.simulate_get(PATH, params={"apikey": GLOBAL_KEY}).status_code == 401
    assert managed.client.simulate_get(PATH, params={"apikey": "c2"}).status_code == 200


def test_an_app_key_sees_only_its_own_app(managed: Device) -> None:
    managed.show(DeviceState(containers=(container(app_id=2),), images=(image(app_id=2, progress=50),)))
    seen = managed.client.simulate_get("/v2/state/status", params={"apikey": APP_KEY}).json
    assert (seen["containers"], seen["images"], seen["overallDownloadProgress"]) == ([], [], None)
    everything = managed.client.simulate_get("/v2/state/status", params={"apikey": GLOBAL_KEY}).json
    assert [c["appId"] for c in everything["containers"]] == [2]
    for path in ("/v2/containerId", "/v2/applications/state"):
        answer = managed.client.simulate_get(path, params={"apikey": APP_KEY}).json
        assert answer in ({"status": "success", "services": {}}, {})


def test_debug_views_need_a_global_key(managed: Device) -> None:
    for path in ("/debug/actors", "/debug/dead-letters", "/debug/trace", "/debug/capabilities"):
        answer = managed.client.simulate_get(path, params={"apikey": APP_KEY})
        assert (answer.status_code, answer.json["status"]) == (401, "failed")
    assert managed.client.simulate_get("/debug/capabilities", params={"apikey": GLOBAL_KEY}).status_code == 200


def test_a_scope_of_several_apps_covers_each(managed: Device) -> None:
    scopes = {"k": [{"type": "app", "appId": 1}, {"type": "app", "appId": 2}]}
    managed.snapshots.keep(KeysChanged(global_key=GLOBAL_KEY, scopes=scopes, services=()))
    managed.show(DeviceState(containers=(container("a"), container("b", app_id=2), container("c", app_id=3))))
    assert managed.client.simulate_get("/v2/containerId", params={"apikey": "k"}).json["services"].keys() == {"a", "b"}


def test_key_of_reads_no_list() -> None:
    assert key_of({"apikey": ["a", "b"]}, "Bearer c") == "c"
