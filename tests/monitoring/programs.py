"""The real programs of the check: started on free ports of this machine, and stopped at the end, each by its process id."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

# Settings of the machine that would direct the programs elsewhere.
FOREIGN = re.compile(r"(?i)(https?|all|no)_proxy|TD_.*|YOTPO_.*|RUST_LOG")
START_SECONDS = 30


class Failure(Exception):
    """A check failed; the text says which."""


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def clean_environment() -> dict[str, str]:
    """This process's environment without variables that would change the outcome."""
    return {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, timeout: float = 10) -> tuple[int, str]:
    """The status and the body of a response; 0 if nothing listens."""
    try:
        with _opener.open(url, timeout=timeout) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except (urllib.error.URLError, ConnectionError, TimeoutError, socket.timeout):
        return 0, ""


def post(url: str, headers: dict[str, str], method: str = "POST") -> None:
    """A request that must succeed."""
    _opener.open(urllib.request.Request(url, method=method, headers=headers), timeout=10).close()


def wait_for(what: str, condition: Callable[[], object], seconds: float = START_SECONDS, interval: float = 0.1) -> object:
    """The first true result of `condition`."""
    end = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {seconds:.0f} s")
        time.sleep(interval)


class Programs:
    """Starts programs, and stops all of them when it is left."""

    def __init__(self, work: Path, binary: str) -> None:
        self.work, self.binary = work, binary
        self._running: list[subprocess.Popen] = []

    def __enter__(self) -> "Programs":
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            if process.poll() is None:
                process.terminate()
        for process in self._running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def start(self, name: str, command: list[str], environment: dict[str, str] | None = None, stdout: object = None, stderr: object = None) -> subprocess.Popen:
        """Starts a program whose output goes to a file."""
        log = open(self.work / f"{name}.log", "wb")  # noqa: SIM115
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout or log, stderr=stderr or log, env=environment or clean_environment(),
            cwd=self.work,
        )  # fmt: skip
        self._running.append(process)
        return process

    def log(self, name: str) -> str:
        """What a program has printed."""
        return (self.work / f"{name}.log").read_text(errors="replace")

    def serve(self, name: str, command: list[str], url: str) -> subprocess.Popen:
        """Starts a server and waits until `url` is served."""
        process = self.start(name, command)

        def ready() -> bool:
            if process.poll() is not None:
                raise Failure(f"{name} ended with {process.returncode}: {self.log(name)}")
            return get(url)[0] == 200

        wait_for(f"{name} serves {url}", ready)
        return process

    def sandbox(self, name: str, *arguments: str) -> "Sandbox":
        """Starts the mock servers of both services."""
        temporary = self.work / f"{name}.tmp"
        temporary.mkdir()
        process = self.start(
            name, [self.binary, "sandbox", "--yotpo-listen=127.0.0.1:0", "--td-listen=127.0.0.1:0", *arguments],
            clean_environment() | {"TMPDIR": str(temporary)}, subprocess.PIPE,
        )  # fmt: skip
        stores = 1 + sum(int(argument.split("=")[1]) - 1 for argument in arguments if argument.startswith("--stores="))
        variables: dict[str, str] = {}
        further: list[dict[str, str]] = []
        assert process.stdout is not None
        while len(variables) < 6 or len(further) < stores - 1:
            line = process.stdout.readline().decode().strip()
            if not line:
                raise Failure(f"{name} did not start: {self.log(name)}")
            if found := re.fullmatch(r"export ([A-Z_]+)='?([^']*?)'?", line):
                variables[found[1]] = found[2]
            elif line.startswith("# export "):
                further.append(dict(pair.split("=", 1) for pair in line.removeprefix("# export ").split()))
        return Sandbox(variables, [{}, *further])


class Sandbox:
    """A running sandbox."""

    def __init__(self, variables: dict[str, str], stores: list[dict[str, str]]) -> None:
        self.variables, self._stores = variables, stores

    def environment(self, store: int = 0) -> dict[str, str]:
        """What a client of the n-th store needs."""
        return self.variables | self._stores[store]


class Prometheus:
    """The HTTP API of a Prometheus."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def api(self, path: str, **parameters: object) -> object:
        """The data of a successful call."""
        status, body = get(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}", timeout=60)
        answer = json.loads(body) if body else {}
        if status != 200 or answer.get("status") != "success":
            raise Failure(f"Prometheus: {path} {parameters}: {status} {body[:500]}")
        return answer["data"]

    def query(self, expr: str, at: float | None = None) -> list[dict]:
        """The series of an instant query, as label sets with a value."""
        found = self.api("query", query=expr, **({} if at is None else {"time": at}))
        return [series["metric"] | {"value": float(series["value"][1])} for series in found["result"]]

    def query_range(self, expr: str, start: float, end: float, step: int) -> list[dict]:
        """The series of a range query, with their values."""
        found = self.api("query_range", query=expr, start=start, end=end, step=step)
        return [series["metric"] | {"values": [float(value) for _, value in series["values"]]} for series in found["result"]]


def stop(process: subprocess.Popen, number: signal.Signals, seconds: float = 20) -> int:
    """Sends a signal to one process and returns its exit status."""
    process.send_signal(number)
    return process.wait(seconds)
