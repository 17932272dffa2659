"""Headless Chromium, which is controlled over a pipe: no package is needed, and no port is open."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

BROWSERS = ["chromium", "chromium-browser", "google-chrome", "chrome"]
# How long the start, or all there is to do with one page, may take; and the end.
SECONDS, SECONDS_TO_END = 60, 10
# So many of the browser's last lines are shown if it fails.
LAST_LINES = 20
# Of a screenshot. Longer pages take seconds each.
MAX_HEIGHT = 8_000


def find() -> str | None:
    """The path of a browser."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class Browser:
    """Chromium, which is controlled over a pipe."""

    def __init__(self, program: str, profile: str) -> None:
        to_read, self.write_end = os.pipe()
        self.read_end, to_write = os.pipe()

        def connect() -> None:
            # The browser reads from 3 and writes to 4.
            high = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (to_read, to_write)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        flags = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
            "--remote-debugging-pipe", f"--user-data-dir={profile}",
        ]
        self.said = Path(profile) / "stderr.txt"
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [program, *flags], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
                preexec_fn=connect, pass_fds=(3, 4),
            )
        os.close(to_read)
        os.close(to_write)
        self.buffer = b""
        self.events: list[dict] = []
        self.number = 0
        self.deadline = time.monotonic() + SECONDS
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    session = None

    def failure(self, what: str) -> RuntimeError:
        """An error with the last lines of what the browser wrote to stderr."""
        # Without a desktop, it complains about each service of D-Bus.
        lines = [line for line in self.said.read_text(errors="replace").splitlines() if ":dbus/" not in line][-LAST_LINES:]
        return RuntimeError("\n".join([f"{what}; its last lines on stderr:" if lines else f"{what}, without a word on stderr", *lines]))

    def receive(self) -> dict:
        while b"\0" not in self.buffer:
            left = self.deadline - time.monotonic()
            if left <= 0 or not select.select([self.read_end], [], [], left)[0]:
                raise self.failure(f"the browser needs more than {SECONDS} seconds")
            received = os.read(self.read_end, 1 << 16)
            if not received:
                raise self.failure("the browser ended")
            self.buffer += received
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method: str, **parameters: object) -> dict:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        try:
            os.write(self.write_end, json.dumps(message).encode() + b"\0")
        except BrokenPipeError:
            raise self.failure("the browser ended") from None
        while True:
            received = self.receive()
            if received.get("id") == self.number:
                if "error" in received:
                    raise RuntimeError(f"{method}: {received['error']}")
                return received["result"]
            self.events.append(received)

    def wait_for(self, method: str) -> None:
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self.receive())

    def look(self, url: str, width: int, scheme: str, medium: str, measure: str) -> tuple[list[list[str]], bytes]:
        """What is wrong with a page, as [kind, what] pairs, and how it looks.

        `measure` is JavaScript whose value is a list of such pairs. A request to another origin is wrong, and so is a line on the
        console.
        """
        self.deadline = time.monotonic() + SECONDS
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=medium, features=features)
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")
        first = self.screenshot()
        result = self.call("Runtime.evaluate", expression=measure, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"cannot measure: {result['exceptionDetails']}")
        problems = result["result"]["value"]
        for event in self.events:
            parameters = event.get("params", {})
            match event.get("method"):
                case "Network.requestWillBeSent" if not self.is_own(parameters["request"]["url"], url):
                    problems.append(["request", parameters["request"]["url"]])
                case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                    problems.append(["console", json.dumps(parameters)[:200]])
                case "Log.entryAdded":
                    problems.append(["console", parameters["entry"]["text"]])
        return problems, first

    @staticmethod
    def is_own(requested: str, url: str) -> bool:
        """Whether a page may request an address: a file only itself, and a page of a server what the server has."""
        if url.startswith("http:"):
            return requested.startswith(("data:", url[: url.index("/", len("http://")) + 1]))
        return requested == url

    def screenshot(self) -> bytes:
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], MAX_HEIGHT), "scale": 1}
        data = self.call("Page.captureScreenshot", format="png", optimizeForSpeed=True, captureBeyondViewport=True, clip=clip)["data"]
        return base64.b64decode(data)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.read_end)
        os.close(self.write_end)
