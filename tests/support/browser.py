"""A real browser without a window: Debian's chromium-headless-shell, spoken to in the DevTools protocol over two pipes.

with Browser() as browser:
    page = browser.open("file:///…/index.html", width=390, dark=True)
    page.value("document.title")             what an expression is worth
    page.picture(Path("page.png"))
    page.said                                what its console and its loading complained of

It reaches nothing but this machine: every other host's name stays unresolved.
"""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

PROGRAMS = ("chromium-headless-shell", "chromium")
LIMIT = 30.0
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip


class Browser:
    """One browser process. Its profile is a folder that is gone when it ends."""

    def __enter__(self) -> Self:
        program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
        if program is None:
            pytest.skip(f"no {' or '.join(PROGRAMS)}. Next: setup/packages.sh setup/apt-browser.txt")
        self._profile = tempfile.TemporaryDirectory(prefix="socklb-browser-", ignore_cleanup_errors=True)
        self._number = 0
        self._events: list[dict[str, Any]] = []
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # The browser reads at descriptor 3 and writes at 4, whatever the pipes are called here.
        moved = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        words = [program, *_FLAGS, f"--user-data-dir={self._profile.name}"]
        self._process = subprocess.Popen(
            ["bash", "-c", moved, "bash", *words], pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._waiting = b""
        return self

    def __exit__(self, *_: object) -> None:
        self.ask("Browser.close")
        self._process.wait(timeout=LIMIT)
        os.close(self._in)
        os.close(self._out)
        self._profile.cleanup()

    def open(self, address: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> "Page":
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.ask(f"{domain}.enable")
        page.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.ask("Emulation.setEmulatedMedia", features=[scheme, {"name": "prefers-reduced-motion", "value": "reduce"}])
        page.ask("Page.navigate", url=address)
        page.until("document.readyState === 'complete' && location.href !== 'about:blank'")
        return page

    def ask(self, method: str, session: str = "", **parameters: object) -> dict[str, Any]:
        """Ask for something and return the answer; what it tells meanwhile is kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        sent = json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0"
        while sent:
            sent = sent[os.write(self._out, sent) :]
        for heard in self._messages():
            if heard.get("id") == self._number:
                assert "error" not in heard, f"{method}: {heard['error']}"
                return heard["result"]
            self._events.append(heard)
        raise AssertionError(f"the browser ended while it was asked for {method}")

    def events(self, session: str) -> list[dict[str, Any]]:
        return [event for event in self._events if event.get("sessionId") == session]

    def _messages(self) -> Iterator[dict[str, Any]]:
        while True:
            whole, end, rest = self._waiting.partition(b"\0")
            if end:
                self._waiting = rest
                yield json.loads(whole)
            elif more := os.read(self._in, 1 << 16):
                self._waiting += more
            else:
                return


class Page:
    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        return self._browser.ask(method, self._session, **parameters)

    def value(self, expression: str) -> Any:
        """Return what an expression is worth, or what its promise comes to."""
        done = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, expression: str) -> None:
        end = time.monotonic() + LIMIT
        while not self.value(expression):
            assert time.monotonic() < end, f"this did not become true: {expression}"
            time.sleep(0.05)

    def press(self, key: str, code: int) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)
        if key == "Enter":
            self.ask("Input.dispatchKeyEvent", type="char", text="\r")

    def picture(self, file: Path) -> None:
        """Keep what is in sight now."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    @property
    def said(self) -> list[str]:
        """Errors and warnings of the console, uncaught exceptions, what could not be loaded."""
        told: list[str] = []
        for event in self._browser.events(self._session):
            given = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                told.append(f"exception: {given['exceptionDetails']}")
            elif event["method"] == "Runtime.consoleAPICalled":
                told.append(f"console: {given['args']}")
            elif event["method"] == "Log.entryAdded":
                told.append(f"log: {given['entry']['text']}")
            elif event["method"] == "Network.loadingFailed":
                told.append(f"not loaded: {given['errorText']}")
        return told

    @property
    def asked_for(self) -> list[str]:
        """Every address that the page asked for, itself among them."""
        events = self._browser.events(self._session)
        sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [address for address in sent if not address.startswith("data:")]
