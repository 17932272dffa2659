"""`yotpo-td sync` against an independent oracle: Python reads the same pages and computes the expected rows."""

import gzip
import json
import os
import re
import subprocess
import time
import urllib.request
from collections import Counter

import msgpack
import pytest
import tdclient
from sandbox import Sandbox, binary, clean_environment, open_url, unused_name

# Several parts and a partial last page.
CUSTOMERS = 4_321
# Marks the source text of a number while it passes through json.dumps; private-use characters that no customer contains.
OPEN, CLOSE = "\ue0f0", "\ue0f1"
MARKED_NUMBER = re.compile(r'"\\ue0f0([^"\\]*)\\ue0f1"')


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    running = Sandbox(tmp_path_factory.mktemp("store"), customers=CUSTOMERS, seed=20)
    yield running
    running.stop()


def call(url: str, token: str | None = None, body: dict | None = None) -> str:
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["X-Yotpo-Token"] = token
    data = None if body is None else json.dumps(body).encode()
    with open_url(urllib.request.Request(url, data, headers)) as answer:
        return answer.read().decode("utf-8")


def customers(store: Sandbox) -> list[dict]:
    """Every customer of the store, page by page, with numbers as marked strings."""
    base = f"{store['YOTPO_TD_YOTPO_ENDPOINT']}/core/v3/stores/{store['YOTPO_STORE_ID']}"
    token = json.loads(call(f"{base}/access_tokens", body={"secret": store["YOTPO_CLIENT_SECRET"]}))["access_token"]
    found, query = [], "limit=100"
    while True:
        text = call(f"{base}/customers?include_custom_properties=true&expand=loyalty&{query}", token)
        assert OPEN not in text and "\\ue0f0" not in text.lower()
        page = json.loads(text, parse_int=mark, parse_float=mark)
        found += page["customers"]
        cursor = (page.get("pagination") or {}).get("next_page_info")
        if not cursor:
            return found
        # The cursor is already percent-encoded, ready for the URL.
        query = f"page_info={cursor}"


def mark(number: str) -> str:
    return f"{OPEN}{number}{CLOSE}"


def expected_json(customer: dict) -> str:
    """What the previous connector wrote, except that numbers stay as they were sent."""
    return MARKED_NUMBER.sub(r"\1", json.dumps(customer, separators=(",", ":")))


def sync(store: Sandbox, table: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [binary(), "sync", f"--table={table}", "--requests-per-second=1000000", "--poll-interval=100ms", *arguments],
        env=clean_environment(**store.environment, HOME=os.environ.get("HOME", "")),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def load(store: Sandbox, table: str, rows: list[dict]) -> None:
    client = tdclient.Client(apikey=store["TD_API_KEY"], endpoint=store["TD_API_SERVER"])
    client.create_log_table(store["TD_DATABASE"], table)
    session = client.create_bulk_import(table, store["TD_DATABASE"], table)
    part = gzip.compress(b"".join(msgpack.packb(row) for row in rows))
    session.upload_part("part", part, len(part))
    session.freeze()
    session.perform(wait=True, wait_interval=1, timeout=60)
    session.commit(wait=True, wait_interval=1, timeout=60)
    session.delete()


def test_the_oracle_keeps_numbers_and_escapes_the_rest():
    text = '{"a":1.10,"b":1e5,"c":-0,"d":123456789012345678901234567890,"e":"Zo\\u00eb \\ud83d\\ude00/\\/","f":[1, 2]}'
    parsed = json.loads(text, parse_int=mark, parse_float=mark)
    assert expected_json(parsed) == (
        '{"a":1.10,"b":1e5,"c":-0,"d":123456789012345678901234567890,"e":"Zo\\u00eb \\ud83d\\ude00//","f":[1,2]}'
    )


def test_sync_loads_what_python_reads(store):
    source = customers(store)
    assert len(source) == CUSTOMERS
    table = unused_name("sync")
    begin = int(time.time())
    # Small batches, so that several parts are sent.
    run = sync(store, table, "--batch-size=1000", "--summary=json")
    end = int(time.time())
    assert run.returncode == 0, run.stderr

    rows = store.rows(store["TD_DATABASE"], table)
    assert {frozenset(row) for row in rows} == {frozenset({"json_response", "time"})}
    loaded = Counter(row["json_response"] for row in rows)
    expected = Counter(expected_json(customer) for customer in source)
    missing, surplus = expected - loaded, loaded - expected
    assert not missing and not surplus, f"missing {list(missing)[:2]}, not expected {list(surplus)[:2]}"
    times = {row["time"] for row in rows}
    assert len(times) == 1, "one time for the whole run"
    assert begin <= times.pop() <= end, "seconds since 1970, UTC"
    assert json.loads(run.stdout), "the summary is JSON"


def test_the_sandboxes_own_verification_agrees_with_python(store):
    """Tests of the program rely on this call; here it checks correct and incorrect rows written by Python."""
    rows = [{"time": 1_700_000_000, "json_response": expected_json(customer)} for customer in customers(store)]
    changed = {**rows[7], "json_response": rows[7]["json_response"].replace(":", ": ", 1)}
    wrong = (rows[:-1], rows + rows[:1], rows[:7] + [changed] + rows[8:])
    for loaded, exact in ((rows, True), *((loaded, False) for loaded in wrong)):
        table = unused_name("verified")
        load(store, table, loaded)
        path = f"/sandbox/tables/{store['TD_DATABASE']}/{table}/verify"
        assert store.control(path, **{"from": 1_700_000_000, "to": 1_700_000_000})["exact"] is exact
        assert store.control(path, **{"from": 1_700_000_001, "to": 1_700_000_001})["exact"] is False


def test_a_second_run_appends(store):
    table = unused_name("append")
    assert [sync(store, table).returncode for _ in range(2)] == [0, 0]
    assert len(store.rows(store["TD_DATABASE"], table)) == 2 * CUSTOMERS


def test_a_wrong_secret_loads_nothing(store):
    table = unused_name("refused")
    environment = {**store.environment, "YOTPO_CLIENT_SECRET": "not-this-stores-secret"}
    run = subprocess.run(
        [binary(), "sync", f"--table={table}"],
        env=clean_environment(**environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 3, run.stderr
    assert "not-this-stores-secret" not in run.stdout + run.stderr
