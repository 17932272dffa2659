"""The workflows of examples/digdag: their structure, and their commands as Digdag runs them, against the sandbox.

Digdag is not available as a package, so its rules are those of dig_file.py. `make digdag` runs the same files with Digdag.
"""

import datetime
import http.server
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dig_file
import pytest
import yaml
from example_runs import (
    CUSTOMERS,
    DATABASE,
    DOCS,
    REPOSITORY,
    TABLE,
    TIMEOUT,
    assert_loaded_once,
    assert_nothing_secret,
    dead_address,
    empty_database,
    endpoints,
    stores,
    table_id,
)
from sandbox import Sandbox, binary, open_url

EXAMPLES = REPOSITORY / "examples" / "digdag"
PAGE = DOCS / "digdag.md"
STAND_IN = Path(__file__).parent / "digdag_stand_in"
FILES = ("daily", "backfill", "stores", "hosted")
NEW_YORK = datetime.timezone(datetime.timedelta(hours=-5))
SESSION = dig_file.session(datetime.datetime(2026, 1, 31, tzinfo=NEW_YORK), "America/New_York")
# Shorter than the program's wait for a response.
LINE_TIMEOUT = 20


def workflow(name: str) -> dict:
    return dig_file.load((EXAMPLES / f"{name}.dig").read_text())


def stored_fields() -> list[str]:
    """STORED_FIELDS of tasks/load.py, which cannot be imported without Digdag's module."""
    (fields,) = re.findall(r"^STORED_FIELDS = \((.*?)^\)", (EXAMPLES / "tasks/load.py").read_text(), re.DOTALL | re.MULTILINE)
    return re.findall(r'"(\w+)"', fields)


# As many stores as stores.dig has.
store = stores(seed=21, count=3)


@pytest.fixture(autouse=True)
def database(store):
    """An empty database for each test."""
    with empty_database(store):
        yield


@pytest.fixture
def project(tmp_path):
    """A copy of the project, as each task on a server has one."""
    return Path(shutil.copytree(EXAMPLES, tmp_path / "project"))


def agent(store: Sandbox, folder: Path, **more: str) -> dict[str, str]:
    """The environment of the Digdag agent: without credentials, but with the mock servers' addresses."""
    return {
        "PATH": f"{Path(binary()).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        **endpoints(store),
        **more,
    }


def without_retries() -> dict[str, str]:
    """An address on which nothing listens, and no patience."""
    return {"YOTPO_TD_YOTPO_ENDPOINT": dead_address(), "YOTPO_TD_MAX_RETRIES": "0"}


def secrets(store: Sandbox) -> dict[str, str]:
    found = {
        "yotpo.client_secret": store["YOTPO_CLIENT_SECRET"],
        "yotpo.store_id": store["YOTPO_STORE_ID"],
        "td.apikey": store["TD_API_KEY"],
    }
    for name, credentials in zip(workflow("stores")["+stores"]["for_each>"]["store"], store.stores, strict=True):
        found[f"yotpo.{name}.client_secret"] = credentials["YOTPO_CLIENT_SECRET"]
        found[f"yotpo.{name}.store_id"] = credentials["YOTPO_STORE_ID"]
    return found


# Structure.


@pytest.mark.parametrize("name", FILES)
def test_structure(name):
    dig_file.check(workflow(name), {"yotpo_td"} if name == "hosted" else set())


def test_every_file_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.dig")} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_begins_with_when_to_use_it_and_what_it_needs(name):
    text = (EXAMPLES / f"{name}.dig").read_text()
    comment = text.split("\n\ntimezone:")[0]
    assert all(line.startswith("#") for line in comment.splitlines())
    assert "It needs" in comment


@pytest.mark.parametrize("name", FILES)
def test_page_names_every_secret_and_links_the_file(name):
    page = PAGE.read_text()
    (section,) = [text for text in page.split("\n## ") if f"(../examples/digdag/{name}.dig)" in text.splitlines()[2]]
    commands = " ".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))
    for one in dig_file.tasks(workflow(name)):
        for secret in one.secrets():
            assert secret in commands.split(), secret


def test_daily_takes_over_what_the_old_workflow_had():
    daily = workflow("daily")
    assert daily["timezone"] == "America/New_York"
    assert daily["schedule"]["daily>"] == "04:00:00"
    assert dig_file.task(daily, "+load").secrets() == {"yotpo.client_secret", "yotpo.store_id", "td.apikey"}
    assert [one.operator for one in dig_file.tasks(daily)] == ["sh"]


@pytest.mark.parametrize(
    "text",
    [
        "+a:\n  sh>: x\n+a:\n  sh>: y\n",  # a duplicate key
        "!include : other.dig\n",
        "schedule:\n  daily>: 10:00:00\n",  # a number in YAML 1.1
        "+a:\n  sh>: x\n  py>: y\n",
        "+a:\n  _retry:\n    limit: 3\n",  # no operator
        "+a:\n  sh>: echo ${unknown}\n",
        "+a:\n  sh>: echo ${secret:td.apikey}\n",
        "+a:\n  sh>: x\n  _env:\n    TD_API_KEY: 1/abc\n",
        "+a:\n  sh>: x\n  retry: 3\n",
        "_env:\n  A: ${secret:a}\n+a:\n  sh>: x\n",
        "+a:\n  sh>: echo ${error.message}\n",  # only in _error
        "_export:\n  key: ${secret:td.apikey}\n+a:\n  sh>: x\n",
    ],
)
def test_mistakes_are_found(text):
    with pytest.raises((AssertionError, yaml.YAMLError)):
        dig_file.check(dig_file.load(text), set())


# sh>


@pytest.mark.parametrize("name", ["daily", "backfill"])
def test_a_session_loads_once_however_often_it_is_started(name, store, project, tmp_path):
    load = dig_file.task(workflow(name), "+load")
    environment = agent(store, tmp_path)
    code, output = load.run_shell(project, SESSION, secrets(store), environment)
    assert code == 0, output
    assert_loaded_once(store)
    assert_nothing_secret(output + (project / "runner.sh").read_text(), store)
    before = table_id(store)
    # On another agent, without the state of the first.
    (tmp_path / "other").mkdir()
    code, output = load.run_shell(project, SESSION, secrets(store), agent(store, tmp_path / "other"))
    assert code == 0, output
    assert "already" in output
    assert_loaded_once(store)
    assert table_id(store) == before, "the second start replaced the rows"


def test_another_session_replaces_the_rows(store, project, tmp_path):
    load = dig_file.task(workflow("daily"), "+load")
    next_day = dig_file.session(datetime.datetime(2026, 2, 1, tzinfo=NEW_YORK), "America/New_York")
    runs, ids = [], set()
    for session in (SESSION, next_day):
        code, output = load.run_shell(project, session, secrets(store), agent(store, tmp_path))
        assert code == 0, output
        assert_loaded_once(store)
        runs.append((project / "runner.sh").read_text())
        ids.add(table_id(store))
    assert len(ids) == 2
    assert [re.findall(r"--run-id (\S+)", run) for run in runs] == [["20260131"], ["20260201"]]


def test_a_failed_backfill_sends_a_mail_that_says_what_to_do(store, project, tmp_path):
    backfill = workflow("backfill")
    load, mail = dig_file.task(backfill, "+load"), dig_file.task(backfill, "+load^_error")
    code, output = load.run_shell(project, SESSION, secrets(store), agent(store, tmp_path, **without_retries()))
    assert code == 4, output
    assert_nothing_secret(output, store)
    assert re.search(r"^saved: .*; (retry|resume) with: ", output.strip().splitlines()[-1]), output
    assert TABLE not in [one["table"] for one in store.control("/sandbox/tables")["tables"] if one["database"] == DATABASE and one["rows"]]

    # What Digdag exports to _error: the exception of the operator as text.
    error = {"message": f"java.lang.RuntimeException: Command failed with code {code}", "stacktrace": "…"}
    sent = dig_file.evaluate(mail.config, {**mail.exports, **SESSION, "error": error})
    run_id = f"backfill-{SESSION['session_unixtime']}"
    assert f"--run-id {run_id} " in (project / "runner.sh").read_text()
    assert run_id in sent["subject"]
    for text in (run_id, "Command failed with code 4", f"{DATABASE}.{TABLE}", SESSION["session_time"]):
        assert text in sent["mail>"]["data"]
    assert sent["to"] == ["data-team@example.com"] and sent["from"] == "digdag@example.com"
    assert "${" not in json.dumps(sent)
    assert_nothing_secret(json.dumps(sent), store)
    assert "_env" not in mail.config

    # The same session, once Yotpo works again.
    code, output = load.run_shell(project, SESSION, secrets(store), agent(store, tmp_path))
    assert code == 0, output
    assert_loaded_once(store)


def test_every_store_gets_its_own_table_and_run(store, project, tmp_path):
    stores = workflow("stores")
    (load,) = [one for one in dig_file.tasks(stores) if one.operator == "sh"]
    names = load.loops["store"]
    assert len(set(names)) == len(store.stores) > stores["+stores"]["_parallel"]["limit"] > 1

    def run(values: dict[str, str]) -> tuple[int, str, str]:
        copy = Path(shutil.copytree(project, tmp_path / values["store"]))
        code, output = load.run_shell(copy, {**SESSION, **values}, secrets(store), agent(store, tmp_path))
        return code, output, (copy / "runner.sh").read_text()

    ids = []
    for _ in ("first start", "second start"):
        with ThreadPoolExecutor(stores["+stores"]["_parallel"]["limit"]) as pool:
            done = list(pool.map(run, dig_file.loop_values(load.loops)))
        for name, credentials, (code, output, script) in zip(names, store.stores, done, strict=True):
            assert code == 0, output
            assert f"--run-id {SESSION['session_date_compact']}-{name} " in script
            assert_nothing_secret(output + script, store)
            assert_loaded_once(store, f"{TABLE}_{name}", credentials["YOTPO_STORE_ID"])
        ids.append([table_id(store, f"{TABLE}_{name}") for name in names])
        for name in names:
            shutil.rmtree(tmp_path / name)
    assert ids[0] == ids[1], "the second start replaced rows"


# py>


class HeldYotpo(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the sandbox, but customers only after `released`."""

    endpoint = ""
    released = threading.Event()

    def pass_on(self) -> None:
        if "/customers" in self.path:
            self.released.wait()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        kept = {name: self.headers[name] for name in ("X-Yotpo-Token", "Content-Type") if self.headers[name]}
        with open_url(urllib.request.Request(self.endpoint + self.path, body, kept)) as found:
            status, data = found.status, found.read()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            # The client has been stopped.
            pass

    do_GET = do_POST = pass_on

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def held_yotpo(store):
    HeldYotpo.endpoint = store["YOTPO_TD_YOTPO_ENDPOINT"]
    HeldYotpo.released = threading.Event()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), HeldYotpo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        HeldYotpo.released.set()
        server.shutdown()


def start(project: Path, store: Sandbox, environment: dict[str, str], **parameters: str) -> subprocess.Popen:
    """Starts the py> task of hosted.dig: parameters by name, and only _env as environment."""
    load = dig_file.task(workflow("hosted"), "+load")
    scope = {**load.exports, **SESSION, "wheel": "", **parameters}
    local = {key: dig_file.evaluate(value, scope) for key, value in load.config.items() if key != "_env"}
    (project / "input.json").write_text(json.dumps({"params": {**scope, **local}}))
    (project / "output.json").unlink(missing_ok=True)
    return subprocess.Popen(
        [sys.executable, STAND_IN / "digdag.py", load.command, "input.json", "output.json"],
        cwd=project,
        env={**environment, **load.environment(scope, parameters.pop("secrets", None) or secrets(store))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_hosted(*arguments, **parameters: str) -> tuple[int, str]:
    process = start(*arguments, **parameters)
    output, _ = process.communicate(timeout=TIMEOUT)
    return process.returncode, output


def stored(project: Path) -> dict:
    return json.loads((project / "output.json").read_text())["store_params"]


def test_hosted_loads_once_and_stores_the_summary(store, project, tmp_path):
    code, output = run_hosted(project, store, agent(store, tmp_path))
    assert code == 0, output
    assert_loaded_once(store)
    assert_nothing_secret(output + (project / "output.json").read_text(), store)
    found = stored(project)["yotpo_td"]
    assert set(found) < set(stored_fields())
    assert (found["exit_code"], found["rows"], found["run_id"]) == (0, CUSTOMERS, SESSION["session_date_compact"])
    assert found["ingestion_time"] == store.rows(DATABASE, TABLE)[0]["time"]
    assert check_fails(found) is None
    before = table_id(store)

    # A container has none of the state of the first.
    (tmp_path / "other").mkdir()
    code, output = run_hosted(project, store, agent(store, tmp_path / "other"))
    assert code == 0, output
    assert stored(project)["yotpo_td"]["outcome"] == "already_committed"
    assert_loaded_once(store)
    assert table_id(store) == before, "the second start replaced the rows"


def check_fails(found: dict) -> str | None:
    """Runs +check: the message of fail>, or nothing."""
    hosted = workflow("hosted")
    check, fail = dig_file.task(hosted, "+check"), dig_file.task(hosted, "+check^_do")
    if dig_file.evaluate(check.command, {"yotpo_td": found}) == "false":
        return None
    return dig_file.evaluate(fail.command, {"yotpo_td": found})


def test_hosted_installs_the_wheel_without_a_package_index(store, project, tmp_path):
    wheel = project / dig_file.task(workflow("hosted"), "+load").exports["wheel"]
    wheel.parent.mkdir()
    name = "yotpo_td-0.1.0"
    with zipfile.ZipFile(wheel, "w") as archive:
        # As maturin packs a program; the program itself is a link to the one under test.
        script = zipfile.ZipInfo(f"{name}.data/scripts/yotpo-td")
        script.external_attr = (stat.S_IFREG | 0o755) << 16
        archive.writestr(script, f'#!/bin/sh\nexec {binary()} "$@"\n')
        archive.writestr(f"{name}.dist-info/METADATA", "Metadata-Version: 2.1\nName: yotpo-td\nVersion: 0.1.0\n")
        archive.writestr(
            f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: py3-none-any\n"
        )
        archive.writestr(f"{name}.dist-info/RECORD", "")
    path = str(wheel.relative_to(project))
    environment = agent(store, tmp_path, PATH=os.environ["PATH"])
    code, output = run_hosted(project, store, environment, wheel=path)
    assert code == 0, output
    assert_loaded_once(store)
    code, output = run_hosted(project, store, environment, wheel="wheels/absent-1-py3-none-any.whl")
    assert code == 1 and "CalledProcessError" in output


def test_hosted_raises_what_a_retry_may_help(store, project, tmp_path):
    code, output = run_hosted(project, store, agent(store, tmp_path, **without_retries()))
    assert code == 1
    assert not (project / "output.json").exists()
    *_, last = output.strip().splitlines()
    # The exit code and the last line of the program.
    found = re.fullmatch(r"(tasks\.load\.)?LoadFailed: yotpo-td failed with exit code 4: (.*)", last)
    assert found and f"; retry with: {binary()} sync " in found[2], output
    assert output.count(found[2]) == 2, "the line is in the log, too"
    assert_nothing_secret(output, store)


def test_hosted_does_not_retry_what_a_retry_cannot_help(store, project, tmp_path):
    wrong = {**secrets(store), "yotpo.client_secret": "wrong"}
    code, output = run_hosted(project, store, agent(store, tmp_path), secrets=wrong)
    assert code == 0, output
    found = stored(project)["yotpo_td"]
    assert found["exit_code"] == 3 and "rows" not in found
    assert f"exit code 3 ({found['code']})" in check_fails(found)
    # The fields that the workflow uses are stored after a failure.
    used = re.findall(r"yotpo_td\.(\w+)", json.dumps([one.config for one in dig_file.tasks(workflow("hosted"))]))
    assert set(used) <= set(found)


def first_line(process: subprocess.Popen) -> str:
    """The first line of a process that cannot end yet."""
    lines = []
    reader = threading.Thread(target=lambda: lines.append(process.stdout.readline()), daemon=True)
    reader.start()
    reader.join(LINE_TIMEOUT)
    if not lines or not lines[0].strip():
        process.kill()
        pytest.fail("no line arrived while the program was running")
    return lines[0]


def test_hosted_prints_each_line_as_it_comes(store, project, tmp_path, held_yotpo):
    process = start(project, store, agent(store, tmp_path, YOTPO_TD_YOTPO_ENDPOINT=held_yotpo))
    # The program cannot end before the customers are released, so this line came before its end.
    first = first_line(process)
    HeldYotpo.released.set()
    rest, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, first + rest
    assert_loaded_once(store)


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_hosted_passes_signals_on(number, exit_code, store, project, tmp_path, held_yotpo):
    process = start(project, store, agent(store, tmp_path, YOTPO_TD_YOTPO_ENDPOINT=held_yotpo))
    first = first_line(process)
    process.send_signal(number)
    rest, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert f"LoadFailed: yotpo-td failed with exit code {exit_code}: " in rest, first + rest


# make digdag


def test_make_digdag_says_that_digdag_is_missing(tmp_path):
    for program in ("bash", "dirname"):
        (tmp_path / program).symlink_to(shutil.which(program))
    done = subprocess.run(
        [REPOSITORY / ".ci" / "digdag"],
        env={"PATH": str(tmp_path), "YOTPO_TD_BIN": binary()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("digdag: digdag is not on PATH, so no workflow was run.")
