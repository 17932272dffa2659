"""Runs of the real program against the mock servers, each with its own state directory, and what promtool says of their metrics."""

import subprocess
from pathlib import Path

from faults import Decide, Proxy, Reply
from programs import Failure, Programs, Sandbox, clean_environment, free_port, get, post, wait_for

FAST = {"YOTPO_TD_REQUESTS_PER_SECOND": "1000000", "YOTPO_TD_POLL_INTERVAL": "100ms"}


class Running:
    """A run that works."""

    def __init__(self, process: subprocess.Popen, port: int, name: str) -> None:
        self.process, self.port, self.name = process, port, name

    def get(self, path: str) -> tuple[int, str]:
        """A response of --metrics-listen."""
        return get(f"http://127.0.0.1:{self.port}{path}")

    def wait_until(self, path: str, text: str, seconds: float = 30) -> str:
        """The first response that contains `text`."""
        return str(wait_for(f"{self.name}: {path} has {text!r}", lambda: (body := self.get(path)[1]) and text in body and body, seconds))


class Runs:
    """Starts runs. Files go to `textfiles`, pushes to `pushgateway`."""

    def __init__(self, programs: Programs, textfiles: Path, pushgateway: str) -> None:
        self.programs, self.textfiles, self.pushgateway = programs, textfiles, pushgateway
        self._proxies: list[Proxy] = []
        self.checked = 0

    def close(self) -> None:
        """Lets hanging requests end."""
        for proxy in self._proxies:
            proxy.close()

    def proxy(self, upstream: str, decide: Decide, headers: list[tuple[str, str]] | None = None) -> Proxy:
        """A proxy with faults."""
        self._proxies.append(Proxy(upstream, decide, headers))
        return self._proxies[-1]

    def command(
        self, table: str | None, sandbox: Sandbox, arguments: tuple[str, ...], *, store: int = 0, file: bool = False,
        push: bool = False, yotpo: Decide | str | None = None, treasure_data: Decide | str | None = None,
        environment: dict[str, str] | None = None,
    ) -> tuple[list[str], dict[str, str]]:  # fmt: skip
        """The command of a run and its environment."""
        variables = sandbox.environment(store)
        for name, place in (("YOTPO_TD_YOTPO_ENDPOINT", yotpo), ("TD_API_SERVER", treasure_data)):
            if place is not None:
                variables[name] = place if isinstance(place, str) else self.proxy(variables[name], place).url
        key = f"{table}_{store}"
        variables |= FAST | {"YOTPO_TD_STATE_DIR": str(self.programs.work / f"state_{key}")} | (environment or {})
        command = [self.programs.binary, "sync", "--log-format=json", "--summary=none"]
        if table is not None:
            command.append(f"--table={table}")
        if file:
            command.append(f"--metrics-file={self.file(table, store)}")
        if push:
            command.append(f"--metrics-push={self.pushgateway}")
        kept = {name: value for name, value in variables.items() if value}
        return command + list(arguments), clean_environment() | kept

    def file(self, table: str | None, store: int = 0) -> Path:
        """The metrics file of a target."""
        return self.textfiles / f"{table}_{store}.prom"

    def finish(
        self, expected: int, code: str | None, table: str | None, sandbox: Sandbox, *arguments: str, store: int = 0, file: bool = True,
        push: bool = True, yotpo: Decide | str | None = None, treasure_data: Decide | str | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Runs to the end, which must be this exit code and error code. Its file must be what promtool accepts."""
        command, variables = self.command(
            table, sandbox, arguments, store=store, file=file, push=push, yotpo=yotpo, treasure_data=treasure_data, environment=environment
        )
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=variables, timeout=120, cwd=self.programs.work
        )
        what = f"run into {table}, exit code {expected}"
        if ended.returncode != expected:
            raise Failure(f"{what}: it ended with {ended.returncode}: {ended.stderr[-2000:]}")
        if "could not be pushed" in ended.stderr or "metrics file is not written" in ended.stderr:
            raise Failure(f"{what}: {ended.stderr[-2000:]}")
        if file:
            text = self.file(table, store).read_text()
            self.check(what, text)
            failed = f'code="{code or "none"}"' in text
            if not failed or f"}} {expected}.0" not in next(line for line in text.splitlines() if line.startswith("yotpo_td_exit_code")):
                raise Failure(f"{what}: the file does not have code {code}: {text[:3000]}")

    def start(
        self, table: str, sandbox: Sandbox, *arguments: str, file: bool = False, push: bool = False, yotpo: Decide | str | None = None,
        treasure_data: Decide | str | None = None, environment: dict[str, str] | None = None, port: int | None = None, stderr: object = None,
    ) -> Running:  # fmt: skip
        """Starts a run that serves its metrics."""
        port = port or free_port()
        command, variables = self.command(
            table, sandbox, (*arguments, f"--metrics-listen={port}"), store=0, file=file, push=push, yotpo=yotpo,
            treasure_data=treasure_data, environment=environment,
        )  # fmt: skip
        running = Running(self.programs.start(f"run_{table}", command, variables, stderr=stderr), port, f"run into {table}")
        wait_for(f"{running.name} serves", lambda: running.get("/metrics")[0] == 200 or self._ended(running))
        return running

    def _ended(self, running: Running) -> bool:
        if (status := running.process.poll()) is not None:
            raise Failure(f"{running.name} ended with {status}: {self.programs.log(running.name.replace(' into ', '_'))}")
        return False

    def check(self, what: str, text: str) -> None:
        """promtool accepts these metrics without a complaint."""
        found = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
        if found.returncode != 0 or found.stdout or found.stderr or "yotpo_td_build_info" not in text:
            raise Failure(f"{what}: promtool check metrics: {found.returncode} {found.stdout}{found.stderr}")
        self.checked += 1


def lose_session_at_commit(sandbox: Sandbox) -> Decide:
    """A session disappears while it is committed: the proxy deletes it instead of committing it."""
    server, key = sandbox.variables["TD_API_SERVER"], sandbox.variables["TD_API_KEY"]

    def decide(method: str, path: str) -> Reply | None:
        if method != "POST" or "/bulk_import/commit/" not in path:
            return None
        post(f"{server}/v3/bulk_import/delete/{path.rsplit('/', 1)[1]}", {"Authorization": f"TD1 {key}"})
        return Reply(500)

    return decide
