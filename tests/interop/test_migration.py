"""The migration guide, executed: the old job and `yotpo-td sync` load the same store into two tables, and the commands of
docs/migration.md compare them and cut over."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import tdclient
from sandbox import Sandbox, binary, clean_environment, open_url

CUSTOMERS = 600
# The names in the guide.
DATABASE, OLD_TABLE, NEW_TABLE = "my_database", "yotpo_customers", "yotpo_customers_new"
GUIDE = Path(__file__).parents[2] / "docs" / "migration.md"
OLD_JOB = Path(__file__).with_name("old_job.py")
# A machine that is five hours behind UTC all year; needs no time zone database.
TIME_ZONE, OFFSET = "EST5", -5 * 3_600
# A command of the guide, perhaps with the reason why it cannot run here, and what this test does instead.
BLOCK = re.compile(r"(?:<!-- Not run by the test: (?P<skipped>[^>]*) -->\n)?```sh\n(?P<script>.*?)```", re.DOTALL)


@pytest.fixture
def store(tmp_path):
    (tmp_path / "spool").mkdir()
    running = Sandbox(tmp_path / "spool", customers=CUSTOMERS, seed=11)
    with tdclient.Client(apikey=running["TD_API_KEY"], endpoint=running["TD_API_SERVER"]) as client:
        client.create_database(DATABASE)
    yield running
    running.stop()


@pytest.fixture
def folder(tmp_path):
    """Where the commands run: an empty directory."""
    path = tmp_path / "work"
    path.mkdir()
    return path


def environment(store: Sandbox, folder: Path) -> dict[str, str]:
    """What the guide exports, with fast polling, and the program on PATH."""
    variables = {name: value for name, value in store.environment.items() if name != "TD_DATABASE"}
    return clean_environment(
        **variables,
        HOME=str(folder),
        PATH=f"{Path(binary()).parent}{os.pathsep}{os.environ['PATH']}",
        YOTPO_TD_POLL_INTERVAL="100ms",
        YOTPO_TD_REQUESTS_PER_SECOND="1000000",
    )


def run_old_job(store: Sandbox, folder: Path, base: str | None = None) -> None:
    """Runs the old job as its workflow did. Its exit code says nothing."""
    base = base or f"{store['YOTPO_TD_YOTPO_ENDPOINT']}/core/v3"
    variables = {name: store[name] for name in ("YOTPO_CLIENT_SECRET", "YOTPO_STORE_ID", "TD_API_KEY", "TD_API_SERVER")}
    done = subprocess.run(
        [sys.executable, OLD_JOB, f"--base={base}", f"--database={DATABASE}", f"--table={OLD_TABLE}", "--empty-first"],
        env=clean_environment(**variables, TZ=TIME_ZONE, HOME=str(folder)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def shell(script: str, store: Sandbox, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["/bin/sh", "-eu", "-c", script],
        cwd=folder,
        env=environment(store, folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def export(store: Sandbox, table: str, path: Path) -> None:
    """Writes the rows of a table as the guide's export does."""
    columns = ("json_response", "time")
    lines = [json.dumps({name: row[name] for name in columns}) + "\n" for row in store.rows(DATABASE, table)]
    path.write_text("".join(lines))


def compared(store: Sandbox, folder: Path, code: int) -> dict:
    done = shell("yotpo-td compare old.jsonl new.jsonl --output json", store, folder)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_every_command_of_the_guide_runs(store, folder):
    run_old_job(store, folder)
    ran, skipped, output = [], [], {}
    for block in BLOCK.finditer(GUIDE.read_text()):
        script = block["script"]
        if block["skipped"] is None:
            done = shell(script, store, folder)
            assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
            ran.append(script)
            output[script] = done.stdout
        else:
            skipped.append(script)
        if "td query" in script:
            export(store, OLD_TABLE, folder / "old.jsonl")
            export(store, NEW_TABLE, folder / "new.jsonl")
    # The page is not empty, and only these commands cannot run here.
    assert [script.split()[0] for script in skipped] == ["export", "td"], skipped
    commands = [re.findall(r"^yotpo-td (\w+)", script, re.MULTILINE) for script in ran]
    assert [name for names in commands for name in names] == ["check", "sync", "compare", "sync", "runs", "runs"]

    comparison = next(text for script, text in output.items() if "yotpo-td compare" in script)
    assert comparison.endswith("The rows are equal: the same customers with the same values.\n")
    assert "hint: this is close to a UTC offset: -05:00 in A, or +05:00 in B;" in comparison
    # After cutting over, the table holds each customer once, as Yotpo sent it, with one time in UTC.
    rows = store.rows(DATABASE, OLD_TABLE)
    assert {frozenset(row) for row in rows} == {frozenset({"json_response", "time"})}
    (time,) = {row["time"] for row in rows}
    path = f"/sandbox/tables/{DATABASE}/{OLD_TABLE}/verify"
    assert store.control(path, **{"from": time, "to": time})["exact"] is True


def test_old_and_new_rows_are_equal_but_written_differently(store, folder):
    run_old_job(store, folder)
    done = shell(f"yotpo-td sync --database {DATABASE} --table {NEW_TABLE}", store, folder)
    assert done.returncode == 0, done.stderr
    old, new = store.rows(DATABASE, OLD_TABLE), store.rows(DATABASE, NEW_TABLE)
    # The old job also uploads the index of the data frame.
    assert {frozenset(row) for row in old} == {frozenset({"", "json_response", "time"})}
    assert {frozenset(row) for row in new} == {frozenset({"json_response", "time"})}
    export(store, OLD_TABLE, folder / "old.jsonl")
    export(store, NEW_TABLE, folder / "new.jsonl")

    found = compared(store, folder, 0)
    same = len({row["json_response"] for row in old} & {row["json_response"] for row in new})
    assert 0 < same < CUSTOMERS, "some numbers survive Python's float, some do not"
    assert (found["identical"], found["written_differently"]) == (same, CUSTOMERS - same)
    assert (found["changed"], found["only_in_a"], found["only_in_b"]) == (0, 0, 0)
    assert found["a"]["customers"] == found["b"]["customers"] == CUSTOMERS
    assert found["a"]["distinct_times"] == found["b"]["distinct_times"] == 1
    assert found["time_difference"]["rows"] == CUSTOMERS
    assert found["time_difference"]["utc_offset_seconds"] == OFFSET


class FailingYotpo(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the sandbox, except those for later pages, which fail."""

    endpoint = ""
    pages = 2

    def pass_on(self) -> None:
        if "/customers" in self.path and type(self).pages == 0:
            self.reply(503, b"", {"Retry-After": "0"})
            return
        type(self).pages -= "/customers" in self.path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        kept = {name: self.headers[name] for name in ("X-Yotpo-Token", "Content-Type") if self.headers[name]}
        with open_url(urllib.request.Request(self.endpoint + self.path, body, kept)) as found:
            self.reply(found.status, found.read(), {"Content-Type": "application/json"})

    do_GET = do_POST = pass_on

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


def test_rows_that_the_old_job_lost_are_found(store, folder):
    FailingYotpo.endpoint, FailingYotpo.pages = store["YOTPO_TD_YOTPO_ENDPOINT"], 2
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), FailingYotpo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # The exit code is 0, although later pages failed.
        run_old_job(store, folder, f"http://127.0.0.1:{server.server_port}/core/v3")
        server.shutdown()
    done = shell(f"yotpo-td sync --database {DATABASE} --table {NEW_TABLE}", store, folder)
    assert done.returncode == 0, done.stderr
    export(store, OLD_TABLE, folder / "old.jsonl")
    export(store, NEW_TABLE, folder / "new.jsonl")
    found = compared(store, folder, 7)
    assert found["a"]["rows"] < CUSTOMERS == found["b"]["rows"]
    assert (found["changed"], found["only_in_a"]) == (0, 0)
    assert found["only_in_b"] == CUSTOMERS - found["a"]["rows"]
