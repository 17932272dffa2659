"""pytd against the sandbox: a data frame in both formats of its bulk import."""

import pandas
import pytd
import pytest
from pytd.writer import BulkImportWriter
from sandbox import assert_same_rows, unused_name

COUNT = 1_500


def frame() -> pandas.DataFrame:
    return pandas.DataFrame(
        {
            "time": [1_700_000_000 + n for n in range(COUNT)],
            "name": [f'Zoë "{n}", 東京\n😀' for n in range(COUNT)],
            "points": [2**53 + n for n in range(COUNT)],
            "ratio": [n + 0.25 for n in range(COUNT)],
            "active": [n % 2 == 0 for n in range(COUNT)],
            "padded": [f"{n:08}" for n in range(COUNT)],
            "maybe": ["there" if n % 3 else None for n in range(COUNT)],
        }
    )


def row(n: int, fmt: str) -> dict:
    """Row n as written in this format, according to pytd's documentation."""
    common = {
        "time": 1_700_000_000 + n,
        "name": f'Zoë "{n}", 東京\n😀',
        "points": 2**53 + n,
        "ratio": n + 0.25,
        "maybe": "there" if n % 3 else None,
    }
    if fmt == "msgpack":
        return {**common, "active": str(n % 2 == 0).lower(), "padded": f"{n:08}"}
    # In a CSV file, types are guessed: leading zeros are dropped, words become booleans, and the frame's index is included
    # as a column without a name.
    return {**common, "active": n % 2 == 0, "padded": n, "": n}


@pytest.fixture
def connected(sandbox, database):
    client = pytd.Client(apikey=sandbox["TD_API_KEY"], endpoint=sandbox["TD_API_SERVER"], database=database)
    yield client
    client.close()


@pytest.mark.parametrize("fmt", ["csv", "msgpack"])
def test_a_data_frame_arrives_value_by_value(connected, client, sandbox, database, fmt):
    name = unused_name(f"pytd_{fmt}")
    destination = pytd.table.Table(connected, database, name)
    assert not destination.exists
    # Three parts through five threads if the format allows more than one part.
    BulkImportWriter().write_dataframe(frame(), destination, "error", fmt=fmt, chunk_record_size=600)

    expected = [row(n, fmt) for n in range(COUNT)]
    stored = sandbox.rows(database, name)
    assert_same_rows(sorted(stored, key=lambda found: found["time"]), expected)
    tail = client.tail(database, name, COUNT)
    assert_same_rows(sorted(tail, key=lambda found: found["time"]), expected)
    assert destination.exists
    assert name not in [found.table for found in client.bulk_imports()]

    with pytest.raises(RuntimeError, match="already exists"):
        BulkImportWriter().write_dataframe(frame(), destination, "error", fmt=fmt)


def test_append_adds_and_overwrite_replaces(connected, sandbox, database):
    name = unused_name("pytd_modes")
    for step, (mode, total) in enumerate((("append", 1), ("append", 2), ("overwrite", 1))):
        rows = pandas.DataFrame({"time": [step], "step": [step]})
        connected.load_table_from_dataframe(
            rows, f"{database}.{name}", writer="bulk_import", if_exists=mode, fmt="msgpack"
        )
        stored = sandbox.rows(database, name)
        assert len(stored) == total
        assert stored[-1] == {"time": step, "step": step}


def test_lists_stay_lists(connected, sandbox, database):
    name = unused_name("pytd_lists")
    rows = pandas.DataFrame({"time": [1, 2], "tags": [["a", "ü"], []], "numbers": [[1, 2], [3]]})
    destination = pytd.table.Table(connected, database, name)
    BulkImportWriter().write_dataframe(rows, destination, "error", keep_list=True)
    assert sandbox.rows(database, name) == [
        {"time": 1, "tags": ["a", "ü"], "numbers": [1, 2]},
        {"time": 2, "tags": [], "numbers": [3]},
    ]


def test_a_database_is_created_where_missing(connected):
    name = unused_name("pytd_database")
    assert connected.exists(name) is False
    connected.create_database_if_not_exists(name)
    assert connected.exists(name) is True
    assert connected.exists(name, "absent_table") is False
