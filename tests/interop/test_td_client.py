"""td-client-python against the sandbox: databases, tables and the bulk import model."""

import csv
import gzip
import io
import json
import math

import msgpack
import pytest
import tdclient
from sandbox import assert_same_rows, unused_name
from tdclient.errors import AlreadyExistsError, AuthError, NotFoundError

# Every kind of value that a part may contain.
ROWS = [
    {"time": 0, "text": "", "none": None, "yes": True, "no": False},
    {"time": 1_700_000_000, "text": "Zoë Beyoğlu 東京 😀 \"quoted\"\n\t\\", "small": -1, "large": 2**63 - 1},
    {"time": 253_402_300_799, "lowest": -(2**63), "highest": 2**64 - 1, "float": 0.1, "tiny": 5e-324},
    {"time": 1_700_000_001, "list": [1, "a", None, [2.5]], "map": {"k": {"deep": [True]}}, "bytes": "x" * 70_000},
]


def pack(rows) -> bytes:
    return gzip.compress(b"".join(msgpack.packb(row) for row in rows))


def load(client, database, table, parts) -> None:
    """The whole life of a session: create, upload, freeze, perform, commit, delete."""
    session = client.create_bulk_import(unused_name("load"), database, table)
    for name, data in parts.items():
        session.upload_part(name, data, len(data))
    session.freeze()
    session.perform(wait=True, wait_interval=1, timeout=60)
    session.commit(wait=True, wait_interval=1, timeout=60)
    session.delete()


@pytest.fixture
def table(client, database):
    name = unused_name("td_client")
    assert client.create_log_table(database, name) is True
    return name


def test_server_status_needs_no_key(sandbox):
    stranger = tdclient.Client(apikey="1/" + "f" * 40, endpoint=sandbox["TD_API_SERVER"])
    assert stranger.server_status() == "ok"


def test_a_wrong_key_is_refused(sandbox):
    stranger = tdclient.Client(apikey="1/" + "f" * 40, endpoint=sandbox["TD_API_SERVER"])
    with pytest.raises(AuthError):
        stranger.databases()


def test_endpoint_with_a_trailing_slash_works_as_well(sandbox, database):
    slashed = tdclient.Client(apikey=sandbox["TD_API_KEY"], endpoint=sandbox["TD_API_SERVER"].rstrip("/") + "/")
    assert database in [found.name for found in slashed.databases()]


def test_databases_are_created_once(client):
    name = unused_name("database")
    assert client.create_database(name) is True
    with pytest.raises(AlreadyExistsError):
        client.create_database(name)
    created = client.database(name)
    assert created.name == name
    assert created.tables() == []
    with pytest.raises(NotFoundError):
        client.database(unused_name("absent"))


def test_tables_are_created_once_and_deleted_once(client, database):
    name = unused_name("table")
    assert client.create_log_table(database, name) is True
    with pytest.raises(AlreadyExistsError):
        client.create_log_table(database, name)
    with pytest.raises(NotFoundError):
        client.create_log_table(unused_name("absent"), name)
    created = client.table(database, name)
    assert (created.type, created.count, created.schema) == ("log", 0, [])
    assert created.created_at.year >= 2024
    assert client.tail(database, name, 10) == []
    assert client.delete_table(database, name) == "log"
    with pytest.raises(NotFoundError):
        client.table(database, name)
    with pytest.raises(NotFoundError):
        client.delete_table(database, name)
    with pytest.raises(NotFoundError):
        client.tail(database, name, 10)


def test_a_session_goes_through_its_states(client, sandbox, database, table):
    name = unused_name("states")
    session = client.create_bulk_import(name, database, table)
    session.update()
    assert (session.name, session.database, session.table) == (name, database, table)
    assert (session.status, session.upload_frozen) == ("uploading", False)
    before_perform = (session.job_id, session.valid_records, session.error_records)
    assert before_perform == (None, None, None)
    assert (session.valid_parts, session.error_parts) == (None, None)

    for part, rows in (("first", ROWS[:2]), ("second", ROWS[2:]), ("third", ROWS[:1])):
        data = pack(rows)
        session.upload_part(part, data, len(data))
    assert sorted(session.list_parts()) == ["first", "second", "third"]
    session.delete_part("third")
    assert sorted(session.list_parts()) == ["first", "second"]
    assert name in [found.name for found in client.bulk_imports()]

    session.freeze()
    assert session.upload_frozen is True
    job = session.perform(wait=True, wait_interval=1, timeout=60)
    assert (job.status(), job.success()) == ("success", True)
    assert client.job_status(job.job_id) == "success"
    assert client.job(job.job_id).status() == "success"
    assert (session.status, str(session.job_id)) == ("ready", job.job_id)
    assert (session.valid_records, session.error_records) == (4, 0)
    assert (session.valid_parts, session.error_parts) == (2, 0)
    assert list(session.error_record_items()) == []
    assert client.tail(database, table, 10) == [], "nothing is visible before the commit"

    session.commit(wait=True, wait_interval=1, timeout=60)
    assert session.status == "committed"
    assert session.delete() is True
    with pytest.raises(NotFoundError):
        session.update()

    assert sandbox.rows(database, table) == ROWS
    assert client.tail(database, table, 10) == ROWS[::-1]
    assert client.tail(database, table, 1) == ROWS[-1:]
    assert client.table(database, table).count == len(ROWS)


def test_session_names_are_taken_once_and_need_a_table(client, database, table):
    name = unused_name("taken")
    session = client.create_bulk_import(name, database, table)
    with pytest.raises(AlreadyExistsError):
        client.create_bulk_import(name, database, table)
    with pytest.raises(NotFoundError):
        client.create_bulk_import(unused_name("no_table"), database, unused_name("absent"))
    with pytest.raises(NotFoundError):
        client.create_bulk_import(unused_name("no_database"), unused_name("absent"), table)
    session.delete()
    with pytest.raises(NotFoundError):
        session.delete()


def test_a_part_sent_twice_counts_once(client, sandbox, database, table):
    session = client.create_bulk_import(unused_name("twice"), database, table)
    for rows in (ROWS[:3], ROWS[3:]):
        data = pack(rows)
        session.upload_part("same", data, len(data))
    session.freeze()
    session.perform(wait=True, wait_interval=1, timeout=60)
    session.commit(wait=True, wait_interval=1, timeout=60)
    assert session.valid_records == 1
    assert sandbox.rows(database, table) == ROWS[3:]


def test_a_frozen_session_takes_parts_again_once_unfrozen(client, sandbox, database, table):
    session = client.create_bulk_import(unused_name("unfreeze"), database, table)
    first, second = pack(ROWS[:1]), pack(ROWS[1:2])
    session.upload_part("first", first, len(first))
    session.freeze()
    with pytest.raises(tdclient.errors.APIError):
        session.upload_part("second", second, len(second))
    session.unfreeze()
    assert session.upload_frozen is False
    session.upload_part("second", second, len(second))
    session.freeze()
    session.perform(wait=True, wait_interval=1, timeout=60)
    session.commit(wait=True, wait_interval=1, timeout=60)
    assert sandbox.rows(database, table) == ROWS[:2]


def test_bad_records_and_parts_are_counted_and_told(client, database, table):
    session = client.create_bulk_import(unused_name("bad"), database, table)
    bad = {"no_time": "at all"}
    for name, data in (
        ("good", pack(ROWS[:2])),
        ("mixed", pack([ROWS[2], bad])),
        ("corrupt", b"this is not gzip"),
    ):
        session.upload_part(name, data, len(data))
    session.freeze()
    session.perform(wait=True, wait_interval=1, timeout=60)
    assert (session.valid_records, session.error_records) == (3, 1)
    assert session.error_parts == 1
    told = list(session.error_record_items())
    assert len(told) == 1
    assert "at all" in json.dumps(told), "the error report contains the record itself"


def test_swapped_tables_exchange_their_rows(client, sandbox, database, table):
    other = unused_name("other")
    client.create_log_table(database, other)
    load(client, database, table, {"part": pack(ROWS[:1])})
    load(client, database, other, {"part": pack(ROWS[1:2])})
    assert client.swap_table(database, table, other) is True
    assert sandbox.rows(database, table) == ROWS[1:2]
    assert sandbox.rows(database, other) == ROWS[:1]


@pytest.mark.parametrize("fmt", ["csv", "tsv", "json", "msgpack", "msgpack.gz", "json.gz"])
def test_every_format_the_client_converts_arrives(client, sandbox, database, table, fmt):
    rows = [{"time": 1_700_000_000 + n, "name": f"Zoë, {n}", "score": n + 0.5} for n in range(500)]
    plain, _, packed = fmt.partition(".")
    if plain == "json":
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    elif plain == "msgpack":
        data = b"".join(msgpack.packb(row) for row in rows)
    else:
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0].keys(), dialect="excel-tab" if plain == "tsv" else "excel")
        writer.writeheader()
        writer.writerows(rows)
        data = text.getvalue().encode()
    if packed:
        data = gzip.compress(data)
    session = client.create_bulk_import(unused_name("format"), database, table)
    session.upload_file("part", fmt, io.BytesIO(data))
    session.freeze()
    session.perform(wait=True, wait_interval=1, timeout=60)
    session.commit(wait=True, wait_interval=1, timeout=60)
    assert_same_rows(sandbox.rows(database, table), rows)


def test_what_json_cannot_say_is_in_the_tail(client, database, table):
    rows = [{"time": 1, "infinite": math.inf, "single": 0.5, "control": "\x00\x1f\x7f", "raw": b"\x00\xff"}]
    load(client, database, table, {"part": pack(rows)})
    assert client.tail(database, table, 1) == rows


def test_a_large_load_keeps_every_row(client, sandbox, database, table):
    rows = [{"time": 1_700_000_000 + n, "n": n, "text": f"{n:x}" * (n % 40)} for n in range(50_000)]
    load(client, database, table, {f"part_{n:03}": pack(rows[n * 5_000 : (n + 1) * 5_000]) for n in range(10)})
    assert_same_rows(sandbox.rows(database, table), rows)
    assert_same_rows(client.tail(database, table, 100), rows[:-101:-1])
