"""What the tests of the examples share: the stores that they load, files with settings and secrets, and what the pages show."""

import os
import re
import shutil
import socket
import subprocess
import textwrap
from contextlib import contextmanager
from pathlib import Path

import pytest
import tdclient
from sandbox import Sandbox, binary

CUSTOMERS = 300
REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"
DOCS = REPOSITORY / "docs"
# The names in the examples.
DATABASE, TABLE = "my_database", "yotpo_customers"
TIMEOUT = 60
# The kernel, or the container that runs the tests, does not allow namespaces.
NOT_AVAILABLE = 125
# Settings that make a test fast, as keys of a settings file.
FAST = {"poll-interval": "100ms", "requests-per-second": 1000000, "retry-base-delay": "1ms"}


def stores(seed: int, count: int = 1):
    """A fixture for a module: mock servers with so many stores."""

    @pytest.fixture(scope="module")
    def store(tmp_path_factory):
        running = Sandbox(tmp_path_factory.mktemp("sandbox"), CUSTOMERS, seed=seed, stores=count)
        yield running
        running.stop()

    return store


@contextmanager
def empty_database(store: Sandbox):
    """The examples' database, for one test."""
    with tdclient.Client(apikey=store["TD_API_KEY"], endpoint=store["TD_API_SERVER"]) as client:
        client.create_database(DATABASE)
        yield
        client.delete_database(DATABASE)


def dead_address() -> str:
    """An address on which nothing listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def endpoints(store: Sandbox, yotpo: str | None = None) -> dict[str, str]:
    """The variables of the mock servers' addresses, and those that make a test fast."""
    fast = {f"YOTPO_TD_{key.replace('-', '_').upper()}": str(value) for key, value in FAST.items()}
    return {"YOTPO_TD_YOTPO_ENDPOINT": yotpo or store["YOTPO_TD_YOTPO_ENDPOINT"], "TD_API_SERVER": store["TD_API_SERVER"], **fast}


def assert_nothing_secret(text: str, store: Sandbox) -> None:
    for value in [store["TD_API_KEY"], *(one["YOTPO_CLIENT_SECRET"] for one in store.stores)]:
        assert not re.search(re.escape(value) + r"(?![\w-])", text)


def assert_loaded_once(store: Sandbox, table: str = TABLE, store_id: str | None = None) -> None:
    rows = store.rows(DATABASE, table)
    assert len(rows) == CUSTOMERS
    (time,) = {row["time"] for row in rows}
    found = store.control(
        f"/sandbox/tables/{DATABASE}/{table}/verify", **{"from": time, "to": time, "store": store_id or store["YOTPO_STORE_ID"]}
    )
    assert found["exact"] is True, found


def table_id(store: Sandbox, table: str = TABLE) -> str:
    """Changes with each replace, also within a second."""
    (found,) = [one["id"] for one in store.control("/sandbox/tables")["tables"] if (one["database"], one["table"]) == (DATABASE, table)]
    return found


def write_store(directory: Path, name: str, store: Sandbox, number: int = 0, **changes: object) -> None:
    """Files in /etc/yotpo-td as docs/running.md describes them: the settings of the example with the mock servers' addresses."""
    credentials = store.stores[number]
    text = (EXAMPLES / "settings/shop_us.toml").read_text()
    text = text.replace("YOUR_APP_KEY", credentials["YOTPO_STORE_ID"]).replace("shop_us", name)
    text, count = re.subn(r"^site = .*\n", "", text, flags=re.MULTILINE)
    assert count == 1
    more = {"yotpo-endpoint": store["YOTPO_TD_YOTPO_ENDPOINT"], "td-endpoint": store["TD_API_SERVER"], **FAST}
    more.update({key.replace("_", "-"): value for key, value in changes.items() if key != "client_secret"})
    text += "".join(f"{key} = {value if isinstance(value, int) else repr(value)}\n" for key, value in more.items())
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.toml").write_text(text)
    for file, secret in (
        (f"{name}.client-secret", changes.get("client_secret", credentials["YOTPO_CLIENT_SECRET"])),
        ("td-api-key", store["TD_API_KEY"]),
    ):
        path = directory / file
        path.touch(mode=0o600)
        path.write_text(f"{secret}\n")


def block(page: str, language: str, beginning: str) -> str:
    """The only fenced block of a page whose text begins so, without the indentation of a list."""
    blocks = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    (found,) = [text for text in (textwrap.dedent(text) for _, text in blocks) if text.startswith(beginning)]
    return found


def masked(text: str) -> str:
    """What differs from run to run, as the pages show it: the address of a mock server, the store, times."""
    text = re.sub(r"127\.0\.0\.1:\d+ \(from [^)]*\)", "api.yotpo.com", text)
    # The mock server does not always use the same words.
    text = text.replace("401 Unauthorized: reason: Invalid secret\n", "401 Unauthorized: Invalid secret\n")
    # Of an address that is not Yotpo's, the hint is another one.
    text = re.sub(
        r"hint: check --yotpo-endpoint .*",
        "hint: Yotpo returned an error or could not be reached; run it again, or increase --max-retries and --retry-timeout",
        text,
    )
    # The program is found on PATH where it is installed.
    text = text.replace(binary(), "yotpo-td")
    text = text.replace("store_id=sandbox-store", "store_id=YOUR_APP_KEY")
    text = re.sub(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "2026-01-31T04:00:00.000000Z", text)
    text = re.sub(r"\belapsed_seconds=\d+\.\d+", "elapsed_seconds=0.001", text)
    return re.sub(r"\b20\d{6}\b", "20260131", text)


def require(program: str) -> str:
    """The path of a program. Without it the test is skipped; in CI this is a failure."""
    found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        missing(f"{program} is missing")
    return found


def missing(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; nothing may be missing in CI")
    pytest.skip(reason)


def run_privately(files: Path, *command: str) -> subprocess.CompletedProcess:
    """Runs a command as root on a private view of this machine, with `files` copied over it (`private_root`)."""
    as_root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    if as_root and shutil.which("sudo") is None:
        pytest.skip("needs root")
    done = subprocess.run(
        [*as_root, Path(__file__).parent / "private_root", files, binary(), *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=3 * TIMEOUT,
    )
    if done.returncode == NOT_AVAILABLE or (as_root and "sudo:" in done.stderr):
        pytest.skip(f"no private root: {done.stderr.strip()}")
    return done
