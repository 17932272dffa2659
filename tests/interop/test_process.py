"""The sandbox as a process: it prints how to reach it, stops on request, and leaves nothing behind."""

import gzip

import msgpack
import tdclient
from sandbox import Sandbox, unused_name

# The documented exit status of a server that was stopped.
STOPPED = 0


def test_stops_when_asked_and_removes_what_was_loaded(tmp_path):
    folder = tmp_path / "spool"
    folder.mkdir()
    sandbox = Sandbox(folder, customers=1)
    client = tdclient.Client(apikey=sandbox["TD_API_KEY"], endpoint=sandbox["TD_API_SERVER"])
    table, session = unused_name("stop"), unused_name("stop")
    client.create_log_table(sandbox["TD_DATABASE"], table)
    bulk_import = client.create_bulk_import(session, sandbox["TD_DATABASE"], table)
    part = gzip.compress(b"".join(msgpack.packb({"time": 1, "filler": str(n) * 50}) for n in range(20_000)))
    bulk_import.upload_part("part", part, len(part))
    assert sandbox.files(), "loaded parts are spooled to TMPDIR, not kept in memory"

    assert sandbox.stop() == STOPPED, "stderr shows why"

    assert list(folder.iterdir()) == []


def test_two_run_side_by_side(tmp_path):
    both = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        both.append(Sandbox(tmp_path / name, customers=1))
    assert both[0]["TD_API_SERVER"] != both[1]["TD_API_SERVER"]
    assert both[0]["YOTPO_TD_YOTPO_ENDPOINT"] != both[1]["YOTPO_TD_YOTPO_ENDPOINT"]
    assert [sandbox.stop() for sandbox in both] == [STOPPED, STOPPED]
