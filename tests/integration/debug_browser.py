"""A headless Chromium that looks at the debug page, and a device that shows it whatever a test wants."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import falcon
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

PATIENCE_S = 30
#: Names for 127.0.0.1 in the browser. Unlike the address they are no "trustworthy" places to it, just as little as a
#: device in a network: no Sec-Fetch-Site is sent to them.
DEVICE, STRANGER = "device.test", "stranger.test"
_ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    f"--host-resolver-rules=MAP {DEVICE} 127.0.0.1, MAP {STRANGER} 127.0.0.1",
)


def program(name: str) -> str:
    """The path of a program, which selenium would otherwise want to fetch."""
    found = shutil.which(name)
    assert found, f"{name} is missing; tools/dev setup installs it"
    return found


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """A browser with an empty profile, which notes every request and every word on its console."""
    options = ChromeOptions()
    options.binary_location = program("chromium")
    for argument in (*_ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = Chrome(options, Service(program("chromedriver")))
    try:
        driver.set_page_load_timeout(PATIENCE_S)
        yield driver
    finally:
        driver.quit()


class DebugPage:
    """The page in a browser: what a person would see and press."""

    def __init__(self, driver: Chrome, origin: str) -> None:
        self.driver = driver
        self.origin = origin

    def open(self, path: str = "/debug") -> DebugPage:
        """Open it and wait until it shows processes. What the browser has noted so far is forgotten."""
        for kind in ("performance", "browser"):
            self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        self.driver.get(self.origin + path)
        self.until(lambda: bool(self.rows()), "processes are shown")
        return self

    def look_like(
        self, *, scheme: str = "light", calm: bool = False, width: int = 1280, height: int = 900, phone: bool = False
    ) -> None:
        """Emulate a screen and what its user prefers; ``calm`` is without motion."""
        motion = "reduce" if calm else "no-preference"
        wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        features = [{"name": name, "value": value} for name, value in wanted.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def until(self, condition: Any, what: str) -> None:
        """Wait until a function says yes."""
        wait = WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.1)
        wait.until(lambda _: condition(), f"not within {PATIENCE_S} s: {what}")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """All text of an element, also where it is out of sight; empty while there is none."""
        return str(self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def button(self, label: str) -> WebElement:
        """By the name that a screen reader says."""
        buttons = self.driver.find_elements(By.CSS_SELECTOR, "button")
        return next(button for button in buttons if button.accessible_name == label)

    def press(self, label: str) -> None:
        """With the keyboard: between a look for a place and a click on it the page may move."""
        self.button(label).send_keys(Keys.ENTER)

    def rows(self) -> dict[str, str]:
        """Name of a process -> the text of its row."""
        script = """return [...document.querySelectorAll('tr[data-name]')].map(
            (row) => [row.dataset.name, row.textContent])"""
        return dict(self.run(script))

    def cells(self, selector: str) -> list[list[str]]:
        """The texts of a table's cells, by row."""
        script = """return [...document.querySelectorAll(arguments[0] + ' tr')].map(
            (row) => [...row.cells].map((cell) => cell.textContent))"""
        return list(self.run(script, selector))

    def focus(self) -> str:
        """The name of what has the focus."""
        return self.driver.switch_to.active_element.accessible_name

    def is_dark(self) -> bool:
        red, green, blue = self.run(_COLOURS + "return over(document.body, 'backgroundColor')")
        return bool(red + green + blue < 3 * 128)

    def unreadable(self) -> list[str]:
        """Visible texts whose contrast with what is behind them is below 4.5."""
        return list(self.run(_COLOURS + _LOW_CONTRAST))

    def overflow_px(self) -> int:
        """By how much the page is wider than the window."""
        script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.run(script))

    def requests(self) -> list[dict[str, Any]]:
        """Url, method and headers of all requests since the last call."""
        entries = self.driver.get_log("performance")  # type: ignore[no-untyped-call]
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [m["params"]["request"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def wait_for_requests(self, count: int) -> list[dict[str, Any]]:
        """The next requests, at least so many."""
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            found.extend(self.requests())
            return len(found) >= count

        self.until(enough, f"{count} requests")
        return found

    def complaints(self) -> list[str]:
        """What the browser has written on its console, but for requests that got no answer or an error."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["source"] != "network"]


#: the colour of an element on what is behind it, as [red, green, blue]
_COLOURS = """
const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
const paint = (colours) => {
  canvas.clearRect(0, 0, 1, 1);
  for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
  return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
};
const behind = (element) => {
  const colours = [];
  for (let one = element; one; one = one.parentElement) colours.unshift(getComputedStyle(one).backgroundColor);
  return colours;
};
const over = (element, property) => paint([...behind(element), getComputedStyle(element)[property]]);
"""
_LOW_CONTRAST = """
const light = (rgb) => {
  const [r, g, b] = rgb.map((byte) => (byte <= 10 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
};
const found = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].filter((node) => node.nodeType === 3 && node.data.trim());
  if (!own.length || element.ownerSVGElement || !element.checkVisibility()) continue;
  const [one, other] = [light(over(element, "color")), light(paint(behind(element)))];
  const contrast = Math.max(one, other) / Math.min(one, other);
  if (contrast < 4.5) found.push(`${contrast.toFixed(2)}: ${own[0].data.trim().slice(0, 40)}`);
}
return [...new Set(found)];
"""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = False


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def served(app: falcon.App[falcon.Request, falcon.Response]) -> Iterator[str]:
    """The origin at which an application answers, as the browser knows it."""
    with make_server("127.0.0.1", 0, app, _Server, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://{DEVICE}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
