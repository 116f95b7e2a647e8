"""The debug page in headless Chromium, before a whole supervisor on the simulated engine, and before a device that
shows whatever the test wants."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from balena_supervisor.runtime.views import ActorsView, ActorView, ListActors, RestartActor
from tests.http.support import GLOBAL_KEY, Device
from tests.integration.debug_browser import DEVICE, STRANGER, DebugPage, chromium, served
from tests.integration.shown_device import HOSTILE, actor, shown_device
from tools.dev_parts import labelled
from tools.dev_parts.paths import ROOT
from tools.dev_parts.programs import Program
from tools.dev_parts.registry import free_port
from tools.dev_parts.supervisor import Supervisor


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def supervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    """On the simulated engine as a program of its own, since inside this process each of its calls is a thread."""
    folder = tmp_path_factory.mktemp("supervisor")
    run_dir = Path(tempfile.mkdtemp(prefix="sv"))
    socket = run_dir / "engine.sock"
    engine = Program("engine", folder)
    whole = Supervisor(folder, run_dir / "s", engine_url=f"unix://{socket}", instance="debug-page", port=free_port())
    try:
        command = [sys.executable, "-m", "tests.fakes.engine", "--socket", str(socket)]
        engine.start(command, socket.exists, environment={**os.environ, "PYTHONPATH": str(ROOT)})
        whole.start()
        yield whole
    finally:
        whole.stop()
        engine.stop()
        shutil.rmtree(run_dir, ignore_errors=True)
        labelled.remove_lock_folders("debug-page")


@pytest.fixture
def page(browser: Chrome, supervisor: Supervisor) -> DebugPage:
    """The page of the whole supervisor."""
    shown = DebugPage(browser, supervisor.api.url.replace("127.0.0.1", DEVICE))
    shown.look_like()
    return shown.open()


@pytest.fixture
def device() -> Device:
    return shown_device()


@pytest.fixture
def device_page(browser: Chrome, device: Device) -> Iterator[DebugPage]:
    """The page of the device that the test has in its hands."""
    with served(device.client.app) as origin:
        shown = DebugPage(browser, origin)
        shown.look_like()
        yield shown
        browser.get("about:blank")


def actors(supervisor: Supervisor) -> dict[str, dict[str, Any]]:
    return {actor["name"]: actor for actor in supervisor.api.get("/debug/actors")["actors"]}


def state_of(page: DebugPage, name: str) -> str:
    return str(page.run("return document.querySelector(`tr[data-name='${arguments[0]}']`).dataset.state", name))


def with_planner(view: ActorsView, planner: ActorView) -> ActorsView:
    return ActorsView(actors=tuple(planner if one.name == "planner" else one for one in view.actors))


# --- before a whole supervisor -------------------------------------------------------------------------------------


def test_it_shows_every_process_and_every_flow_that_there_is(page: DebugPage, supervisor: Supervisor) -> None:
    shown = page.rows()
    known = actors(supervisor)
    assert list(shown) == list(known)
    for name, one in known.items():
        assert f"pid {one['pid']}" in shown[name]
        assert "MB" in shown[name]
    assert page.text("#verdict") == f"All {len(known)} processes run"
    assert page.text("#engine") == "up"
    page.until(lambda: "there is no target yet" in page.text(".decisions"), "what is waited for")
    flow = supervisor.api.get("/debug/trace")["flow"]
    assert {f"{row[0]} > {row[1].removeprefix('→ ')}" for row in page.cells("#edges")} == set(flow)


@pytest.mark.parametrize("name", ["images", "http", "http-arbiter", "root"])
def test_a_killed_process_is_seen_to_come_back(page: DebugPage, supervisor: Supervisor, name: str) -> None:
    killed = actors(supervisor)[name]["pid"]
    os.kill(killed, signal.SIGKILL)
    page.until(lambda: f"(was {killed})" in page.text("#seen"), "the new process is noted")
    page.until(lambda: "process" in page.text("#verdict") and page.text("#connection") == "live", "all is well")
    now = actors(supervisor)[name]
    assert f"pid {now['pid']}," in page.rows()[name]
    assert now["pid"] != killed
    assert ("killed by signal 9" in page.rows()[name]) == bool(now["last_exit"])


def test_the_messages_of_a_new_root_are_shown(page: DebugPage, supervisor: Supervisor) -> None:
    newest = "return document.querySelector('#messages time').dateTime"
    page.until(lambda: page.text("#messages"), "messages")
    before = page.run(newest)
    os.kill(actors(supervisor)["root"]["pid"], signal.SIGKILL)
    page.until(lambda: page.text("#messages") and page.run(newest) > before, "newer messages")


def test_an_actor_that_keeps_dying_is_seen_to_be_down(page: DebugPage, supervisor: Supervisor) -> None:
    restarts = actors(supervisor)["resources"]["restarts"]

    def is_down() -> bool:
        actor = actors(supervisor)["resources"]
        if actor["pid"] and state_of(page, "resources") != "back-off":
            os.kill(actor["pid"], signal.SIGKILL)
        return state_of(page, "resources") == "back-off" and "resources is in back-off" in page.text("#verdict")

    page.until(is_down, "the page shows it in back-off")
    assert "killed by signal 9" in page.rows()["resources"]
    page.until(lambda: state_of(page, "resources") == "running", "it is back")
    assert actors(supervisor)["resources"]["restarts"] > restarts
    assert "killed by signal 9" in page.text("#seen")


def test_the_restart_button_asks_first_and_then_restarts(page: DebugPage, supervisor: Supervisor) -> None:
    before = actors(supervisor)["planner"]["pid"]
    page.press("Restart planner")
    assert page.focus() == "Yes, restart planner"
    page.button("Yes, restart planner").send_keys(Keys.ESCAPE)
    assert page.focus() == "Restart planner"
    assert actors(supervisor)["planner"]["pid"] == before
    page.press("Restart planner")
    page.press("Yes, restart planner")
    page.until(lambda: f"(was {before})" in page.text("#seen"), "the new planner is noted")
    assert actors(supervisor)["planner"]["pid"] != before


def test_mailbox_and_stack_can_be_looked_at(page: DebugPage) -> None:
    page.press("Look into images")
    page.until(lambda: "nothing in hand, nothing waits" in page.text("#detail-images"), "the mailbox")
    page.press("Show stack of images")
    page.until(lambda: "Thread" in page.text("#detail-images .stack"), "the stack")
    page.press("Look into http-arbiter")
    page.until(lambda: "http-arbiter has no mailbox" in page.text("#detail-http-arbiter"), "the reason")


def test_it_says_since_when_nobody_answers_and_goes_on_by_itself(page: DebugPage, supervisor: Supervisor) -> None:
    supervisor.stop()
    page.until(lambda: page.text("#connection").startswith("no answer since "), "nobody answers")
    supervisor.start()
    page.until(lambda: page.text("#connection") == "live", "it is back")
    page.until(lambda: page.text("#verdict").startswith("All "), "all processes run")


def test_no_request_leaves_the_device_and_the_browser_has_nothing_to_complain_about(page: DebugPage) -> None:
    asked = page.wait_for_requests(12)
    assert {request["url"].partition(DEVICE)[0] for request in asked} == {"http://"}
    assert {request["method"] for request in asked} == {"GET"}
    assert page.complaints() == []


def test_memory_is_measured_now_and_then_only(page: DebugPage) -> None:
    urls = [request["url"] for request in page.wait_for_requests(20)]
    quick = [url for url in urls if url.endswith("/debug/actors?memory=0")]
    measured = [url for url in urls if url.endswith("/debug/actors")]
    assert len(quick) >= 2 * len(measured) > 0


def test_it_pauses_while_it_is_hidden(page: DebugPage) -> None:
    """To look at a tab with the driver shows it, so another page of the device reads what the hidden one says."""
    driver = page.driver
    page.run("""const place = document.getElementById("connection");
        new MutationObserver(() => { localStorage.said = place.textContent; }).observe(place, {childList: true})""")
    first = driver.current_window_handle
    driver.switch_to.new_window("tab")
    try:
        driver.get(f"{page.origin}/ping")
        page.until(lambda: page.run("return localStorage.said") == "paused while hidden", "it pauses")
    finally:
        driver.close()
        driver.switch_to.window(first)
    page.until(lambda: page.text("#connection") == "live", "it goes on")


# --- before a device that shows anything ---------------------------------------------------------------------------


def test_text_from_the_device_stays_text(device_page: DebugPage) -> None:
    page = device_page.open()
    page.until(lambda: HOSTILE in page.text("#dead-letters"), "dead letters")
    page.press("Look into images")
    page.until(lambda: HOSTILE in page.text("#detail-images"), "the mailbox")
    page.press("Show stack of images")
    page.until(lambda: HOSTILE in page.text("#detail-images .stack"), "the stack")
    for place in ("#processes", "#edges", "#diagram", "#decisions", "#waiting", "#engine-problem"):
        assert HOSTILE in page.text(place), place
    assert page.run("return document.images.length + document.scripts.length") == 1
    assert "taken over" not in page.driver.title
    assert page.complaints() == []


def test_a_key_in_the_address_is_used_and_hidden(device_page: DebugPage, device: Device) -> None:
    device.manage()
    page = device_page.open(f"/debug?apikey={GLOBAL_KEY}")
    assert page.driver.current_url == f"{page.origin}/debug"
    first, *others = page.wait_for_requests(6)
    assert first["url"].endswith(GLOBAL_KEY)
    assert [request for request in others if "apikey" in request["url"]] == []
    assert {request["headers"]["Authorization"] for request in others} == {f"Bearer {GLOBAL_KEY}"}
    assert [request for request in others if GLOBAL_KEY in request["headers"].get("Referer", "")] == []


def test_a_key_that_is_no_longer_known_is_said(device_page: DebugPage, device: Device) -> None:
    page = device_page.open()
    device.manage()
    page.until(lambda: "a key for the whole device is needed" in page.text("#connection"), "the reason")


@pytest.mark.parametrize("pid", [0, 215])
def test_a_process_that_was_seen_away_is_known_again(device_page: DebugPage, device: Device, pid: int) -> None:
    page = device_page.open()
    before = device.post.answers[ListActors]
    device.post.answers[ListActors] = with_planner(before, actor("planner", pid, state="starting"))
    page.until(lambda: state_of(page, "planner") == "starting", "it is away")
    device.post.answers[ListActors] = with_planner(before, actor("planner", 215))
    page.until(lambda: "runs again as pid 215 (was 115)" in page.text("#seen"), "it is back")


def test_the_page_of_a_stranger_cannot_restart_an_actor(device_page: DebugPage, device: Device) -> None:
    device.post.answers[RestartActor] = None
    page = device_page
    strange = falcon.App()
    with served(strange) as origin:
        page.driver.get(origin.replace(DEVICE, STRANGER))
        ask = "return fetch(arguments[0], {method: 'POST', mode: 'no-cors'}).then((answer) => answer.type)"
        assert page.run(ask, f"{page.origin}/debug/actors/planner/restart") == "opaque"
    assert device.post.of(RestartActor) == []
    assert [line for line in device.lines if "/debug/actors/planner/restart 403" in line]
    page.open()
    page.press("Restart planner")
    page.press("Yes, restart planner")
    page.until(lambda: device.post.of(RestartActor), "its own page can")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(device_page: DebugPage, scheme: str) -> None:
    page = device_page
    page.look_like(scheme=scheme, width=360, height=780, phone=True)
    page.open()
    page.until(lambda: page.text("#dead-letters") and page.text("#decisions"), "everything is shown")
    page.press("Look into images")
    page.press("Restart planner")
    page.until(lambda: HOSTILE in page.text("#detail-images"), "the mailbox")
    page.press("Show stack of images")
    page.until(lambda: HOSTILE in page.text("#detail-images .stack"), "the stack")
    page.run("for (const details of document.querySelectorAll('details')) details.open = true")
    assert page.overflow_px() == 0
    assert page.unreadable() == []


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_it_follows_the_colour_scheme_and_can_be_read_in_both(
    device_page: DebugPage, scheme: str, *, is_dark: bool
) -> None:
    page = device_page
    page.look_like(scheme=scheme)
    page.open()
    page.until(lambda: page.text("#dead-letters") and page.text("#decisions"), "everything is shown")
    assert page.is_dark() == is_dark
    assert page.unreadable() == []
    assert page.overflow_px() == 0


def test_nothing_moves_for_those_who_want_no_motion(device_page: DebugPage) -> None:
    page = device_page.open()
    script = "return getComputedStyle(document.querySelector('#processes td')).transitionDuration"
    assert page.run(script) != "0s"
    page.look_like(calm=True)
    assert page.run(script) == "0s"


def test_every_button_and_table_header_has_a_name(device_page: DebugPage) -> None:
    page = device_page.open()
    buttons = page.driver.find_elements("css selector", "button")
    names = [button.accessible_name for button in buttons if button.is_displayed()]
    assert "" not in names
    assert len(set(names)) == len(names)
    assert [header.accessible_name for header in page.driver.find_elements("css selector", "thead th")][0:2] == [
        "Process",
        "Up for",
    ]
