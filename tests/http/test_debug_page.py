"""``GET /debug``: who gets it, and what its headers allow the browser to do with it."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from balena_supervisor.http import debug_page
from balena_supervisor.runtime.views import ActorsView, ListActors, RestartActor
from tests.http.support import APP_KEY, GLOBAL_KEY, Device

ROOT = Path(__file__).parents[2]
PARTS = Path(debug_page.__file__).parent / "page"


def policy_of(header: str) -> dict[str, str]:
    return {part.split()[0]: part.partition(" ")[2] for part in header.split("; ")}


def inline(tag: str, page: str) -> list[str]:
    return re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)


def test_an_unmanaged_device_shows_it_to_everyone(device: Device) -> None:
    answer = device.client.simulate_get("/debug")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.text.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, 401),
        ({"params": {"apikey": "wrong"}}, 401),
        ({"params": {"apikey": APP_KEY}}, 401),
        ({"params": {"apikey": GLOBAL_KEY}}, 200),
        ({"headers": {"Authorization": f"Bearer {GLOBAL_KEY}"}}, 200),
    ],
)
def test_a_managed_device_wants_a_key_for_the_whole_device(
    managed: Device, given: dict[str, dict[str, str]], status: int
) -> None:
    answer = managed.client.simulate_get("/debug", **given)
    assert answer.status_code == status
    assert ("<!DOCTYPE html>" in answer.text) == (status == 200)


def test_the_key_is_not_in_the_page(managed: Device) -> None:
    assert GLOBAL_KEY not in managed.client.simulate_get("/debug", params={"apikey": GLOBAL_KEY}).text


def test_only_its_own_style_and_script_may_be_used(device: Device) -> None:
    answer = device.client.simulate_get("/debug")
    policy = policy_of(answer.headers["content-security-policy"])
    for directive, tag in (("script-src", "script"), ("style-src", "style")):
        (text,) = inline(tag, answer.text)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy.pop(directive) == f"'sha256-{digest}'"
    assert policy == {
        "default-src": "'none'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }


def test_neither_the_page_nor_its_address_is_left_behind(device: Device) -> None:
    headers = device.client.simulate_get("/debug").headers
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"


def test_every_part_is_in_the_page(device: Device) -> None:
    page = device.client.simulate_get("/debug").text
    for part in PARTS.iterdir():
        if part.name != "page.html":
            assert part.read_text() in page, part.name


def test_the_page_names_no_other_place(device: Device) -> None:
    page = device.client.simulate_get("/debug").text
    assert set(re.findall(r"https?://[^'\"\s]+", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", page)


def test_no_part_is_longer_than_a_file_may_be() -> None:
    lengths = {part.name: len(part.read_text().splitlines()) for part in PARTS.iterdir()}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_an_installed_package_has_the_parts(tmp_path: Path) -> None:
    """Built from a copy, so that nothing of the build is left here."""
    copied = ("balena_supervisor", "setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE.md")
    subprocess.run(["cp", "-r", *(str(ROOT / name) for name in copied), str(tmp_path)], check=True)
    subprocess.run([sys.executable, "setup.py", "-q", "build", "--build-lib", "built"], cwd=tmp_path, check=True)
    found = {part.name for part in (tmp_path / "built/balena_supervisor/http/page").iterdir()}
    assert found == {part.name for part in PARTS.iterdir()}


# --- its questions and orders --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("query", "memory"), [("", True), ("?memory=1", True), ("?memory=0", False)])
def test_memory_is_measured_unless_it_is_not_wanted(device: Device, query: str, *, memory: bool) -> None:
    device.post.answers[ListActors] = ActorsView(actors=())
    assert device.client.simulate_get(f"/debug/actors{query}").status_code == 200
    assert device.post.of(ListActors) == [ListActors(memory=memory)]


def test_another_value_for_memory_is_400(device: Device) -> None:
    assert device.client.simulate_get("/debug/actors?memory=no").status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://device:48484"}, 200),
        ({"Origin": "https://DEVICE:48484"}, 200),
        ({"Origin": "http://device:48484", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://device"}, 403),
        ({"Origin": "http://device:48484.evil.example"}, 403),
        ({"Origin": "http://device:80"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "http://[device"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://device:48484"}, 403),
    ],
)
def test_no_page_of_another_origin_can_restart_an_actor(device: Device, headers: dict[str, str], status: int) -> None:
    device.post.answers[RestartActor] = None
    answer = device.client.simulate_post("/debug/actors/planner/restart", headers={"Host": "device:48484", **headers})
    assert answer.status_code == status
    assert device.post.of(RestartActor) == ([RestartActor(name="planner")] if status == 200 else [])


FOREIGN = {"Origin": "http://evil.example", "Host": "device:48484"}


def test_a_page_of_another_origin_cannot_set_a_target(device: Device) -> None:
    device.configure()
    assert device.client.simulate_post("/v2/local/target-state", headers=FOREIGN).status_code == 403


def test_a_page_of_another_origin_may_do_what_its_key_allows(managed: Device) -> None:
    headers = {**FOREIGN, "Authorization": f"Bearer {GLOBAL_KEY}"}
    assert managed.client.simulate_post("/v2/local/target-state", headers=headers).status_code == 400
