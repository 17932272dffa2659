"""The program under test as other programs use it: `yotpo-td sandbox` in a separate process."""

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

# The variables that a program needs to use the mock servers; printed as `export NAME=value` once they listen.
VARIABLES = (
    "YOTPO_CLIENT_SECRET",
    "YOTPO_STORE_ID",
    "TD_API_KEY",
    "YOTPO_TD_YOTPO_ENDPOINT",
    "TD_API_SERVER",
    "TD_DATABASE",
)

# Those that differ from store to store. Further stores are printed as comments.
STORE_VARIABLES = ("YOTPO_STORE_ID", "YOTPO_CLIENT_SECRET")

START_SECONDS = 30
STOP_SECONDS = 15
# Maximum number of rows that the control call returns at once.
ROWS_PER_CALL = 1_000
# Settings of the machine that would direct the clients away from the sandbox.
FOREIGN_VARIABLES = re.compile(r"(?i)(https?|all|no)_proxy|TD_.*|YOTPO_.*|RUST_LOG")


def binary() -> str:
    """The program to test, from YOTPO_TD_BIN."""
    return os.environ["YOTPO_TD_BIN"]


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without variables that would change the outcome."""
    kept = {k: v for k, v in os.environ.items() if not FOREIGN_VARIABLES.fullmatch(k)}
    return {**kept, **more}


class Sandbox:
    """A running sandbox; its temporary files are in `folder`, which nothing else uses."""

    def __init__(self, folder: Path, customers: int, seed: int = 7, stores: int = 1) -> None:
        self.folder = folder
        self._store_count = stores
        # The credentials of each store, in order.
        self.stores: list[dict[str, str]] = []
        self.store_customers = customers
        self._stderr = open(folder.parent / f"{folder.name}.stderr", "w+b")
        self._process = subprocess.Popen(
            [
                binary(),
                "sandbox",
                f"--customers={customers}",
                f"--seed={seed}",
                f"--stores={stores}",
                "--yotpo-listen=127.0.0.1:0",
                "--td-listen=127.0.0.1:0",
                "--requests-per-second=off",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=clean_environment(TMPDIR=str(folder)),
        )
        self.environment: dict[str, str] = {}
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read_stdout, daemon=True)
        self._reader.start()
        if not self._listening.wait(START_SECONDS):
            self._process.kill()
            missing = [name for name in VARIABLES if name not in self.environment]
            raise AssertionError(f"the sandbox did not print {missing} in {START_SECONDS} s; stderr: {self.stderr()}")

    def _read_stdout(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.decode().strip()
            found = re.fullmatch(r"export ([A-Z_]+)='?([^']*?)'?", text)
            if found:
                self.environment[found[1]] = found[2]
            elif text.startswith("# export "):
                self.stores.append(dict(pair.split("=", 1) for pair in text.removeprefix("# export ").split()))
            if all(name in self.environment for name in VARIABLES) and len(self.stores) == self._store_count - 1:
                self.stores.insert(0, {name: self.environment[name] for name in STORE_VARIABLES})
                self._listening.set()

    def __getitem__(self, variable: str) -> str:
        return self.environment[variable]

    def stderr(self) -> str:
        """What the sandbox has written to stderr so far."""
        return Path(self._stderr.name).read_text(errors="replace")

    def files(self) -> list[Path]:
        """Files in the temporary directory."""
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def stop(self) -> int:
        """Stops the sandbox as a service manager does, and returns its exit status (negative: the signal)."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"still running {STOP_SECONDS} s after SIGTERM; stderr: {self.stderr()}") from None
        finally:
            self._reader.join(STOP_SECONDS)
            self._stderr.close()

    def control(self, path: str, **parameters: object) -> dict:
        """A call that the real service does not have."""
        url = self["TD_API_SERVER"].rstrip("/") + path
        if parameters:
            url += "?" + urllib.parse.urlencode(parameters)
        with open_url(urllib.request.Request(url)) as answer:
            return json.load(answer)

    def rows(self, database: str, table: str) -> list[dict]:
        """All committed rows of a table in the order in which they were loaded, read through the control call."""
        path, rows = f"/sandbox/tables/{database}/{table}", []
        while True:
            page = self.control(f"{path}/rows", offset=len(rows), limit=ROWS_PER_CALL)["rows"]
            rows += page
            if len(page) < ROWS_PER_CALL:
                break
        assert self.control(f"{path}/count") == {"rows": len(rows)}
        return rows


def open_url(request: urllib.request.Request):
    """Opens a URL without the machine's proxies."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60)


def unused_name(prefix: str) -> str:
    """A name that no other test uses."""
    unused_name.counter = getattr(unused_name, "counter", 0) + 1
    return f"{prefix}_{int(time.time())}_{unused_name.counter}"


def assert_same_rows(stored: list[dict], expected: list[dict]) -> None:
    """Reports only the first row that differs; pytest would take minutes to diff two long lists."""
    assert len(stored) == len(expected)
    for number, (found, wanted) in enumerate(zip(stored, expected, strict=True)):
        assert found == wanted, f"row {number}"
