"""Headless Chromium, which is controlled over a pipe: no package is needed, and no port is open."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time

BROWSERS = ["chromium", "chromium-browser", "google-chrome", "chrome"]
SECONDS = 60
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
        self.process = subprocess.Popen(
            [program, *flags], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=connect, pass_fds=(3, 4),
        )
        os.close(to_read)
        os.close(to_write)
        self.buffer = b""
        self.events: list[dict] = []
        self.number = 0
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    session = None

    def receive(self) -> dict:
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self.buffer:
            if not select.select([self.read_end], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError("the browser does not respond")
            received = os.read(self.read_end, 1 << 16)
            if not received:
                raise EOFError("the browser ended")
            self.buffer += received
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method: str, **parameters: object) -> dict:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write_end, json.dumps(message).encode() + b"\0")
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
        self.process.wait()
