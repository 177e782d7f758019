"""Chromium without a window, driven over the Chrome DevTools Protocol: opens a page, says what it complained about and asked for, clicks, and takes pictures."""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from websockets.sync.client import ClientConnection, connect

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_START_SECONDS = 30.0
_ANSWER_SECONDS = 20.0


def find_chromium() -> str | None:
    """Where it is, if there is one."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


class Browser:
    """One process with a profile of its own in `folder`; ended with the context."""

    def __init__(self, program: str, folder: Path) -> None:
        self._folder = folder
        flags = (
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--remote-debugging-port=0",
            "--no-first-run",
        )
        self._process = subprocess.Popen(
            [program, *flags, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> "Browser":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @contextmanager
    def open(self, address: str, width: int, height: int, *, is_dark: bool, is_phone: bool) -> Iterator["Page"]:
        """In a window of this size; a phone has a finger and a dense screen."""
        with connect(self._socket_address(), max_size=None, proxy=None) as connection:
            page = Page(connection)
            page.make_window(width, height, is_dark=is_dark, is_phone=is_phone)
            page.go_to(address)
            yield page

    def _socket_address(self) -> str:
        """Written by Chromium once it listens."""
        path, deadline = self._folder / "DevToolsActivePort", time.monotonic() + _START_SECONDS
        while not (path.exists() and path.read_text().count("\n")):
            assert self._process.poll() is None, "Chromium did not start"
            assert time.monotonic() < deadline, "Chromium does not listen"
            time.sleep(0.05)
        port, name = path.read_text().split("\n")[:2]
        return f"ws://127.0.0.1:{port}{name}"


class Page:
    """A page that is open. `complaints` and `requests` are what it logged and asked for since it was opened."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self._session: str | None = None
        self._is_loaded = False
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.load_seconds = 0.0
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def make_window(self, width: int, height: int, *, is_dark: bool, is_phone: bool) -> None:
        density = 2 if is_phone else 1
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=density, mobile=is_phone
        )
        self._call("Emulation.setTouchEmulationEnabled", enabled=is_phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def go_to(self, address: str) -> None:
        """Until it is loaded and drawn."""
        self.requests.clear()
        self._is_loaded = False
        began = time.monotonic()
        self._call("Page.navigate", url=address)
        while not self._is_loaded:
            self._read()
        self.frames()
        self.load_seconds = time.monotonic() - began

    def evaluate(self, expression: str) -> Any:
        """The value of JavaScript, as JSON has it."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def frames(self) -> None:
        """Until what was drawn is on the screen: two frames, as layouts follow from layouts."""
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def click(self, selector: str) -> None:
        """In the middle of the first such element, as a mouse does."""
        x, y = self.middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y)
        self.frames()

    def tap(self, selector: str) -> None:
        """With a finger, which is gone afterwards."""
        x, y = self.middle(selector)
        self._call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self._call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.frames()

    def middle(self, selector: str) -> tuple[float, float]:
        found = self.evaluate(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)}); one.scrollIntoView({{block: 'center'}});"
            " const box = one.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        return float(found[0]), float(found[1])

    def mouse(self, kind: str, x: float, y: float, *, is_held: bool = False) -> None:
        button = "none" if kind == "mouseMoved" and not is_held else "left"
        self._call(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=1 if is_held else 0, clickCount=1
        )

    def picture(self, path: Path) -> None:
        """The whole page, as PNG."""
        answer = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        self._connection.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while (answer := self._read()).get("id") != number:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._connection.recv(_ANSWER_SECONDS))
        told = message.get("params", {})
        match message.get("method"):
            case "Runtime.consoleAPICalled":
                self.complaints.append(f"{told['type']}: {told['args']}")
            case "Runtime.exceptionThrown":
                self.complaints.append(str(told["exceptionDetails"]))
            case "Log.entryAdded":
                self.complaints.append(str(told["entry"]))
            case "Network.requestWillBeSent":
                self.requests.append(str(told["request"]["url"]))
            case "Page.loadEventFired":
                self._is_loaded = True
        return message
