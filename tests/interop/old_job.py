"""A stand-in of the old Python job, `yotpo-loyalty-profiles`, with its known behaviours and mistakes.

Written for these tests from a description of the job (docs/migration.md): it is not its source. It reads the same three
variables, YOTPO_CLIENT_SECRET, YOTPO_STORE_ID and TD_API_KEY, sends the same requests, and loads the same rows through pytd. What
was a constant or a step of the workflow is a flag here.

What it does wrong, on purpose:
- a page that fails after its retries ends the loop, and the exit code is still 0
- the result of an upload is never looked at
- `time` is the machine's local time, taken for UTC
- numbers pass through Python's float
- the index of the data frame is uploaded as a column without a name
- the table is emptied first, as the workflow did (--empty-first)
"""

import argparse
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pandas
import pytd
import requests
import tdclient

PAGE_SIZE = 100
REQUESTS_PER_SECOND = 4.5
BATCH_ROWS = 100_000
UPLOAD_WORKERS = 2
MAX_RETRIES = 3
RETRY_DELAY = 2
TIMEOUT = 30
MAX_CONSECUTIVE_ERRORS = 3


def log(text: str) -> None:
    print(text, file=sys.stderr)


def required(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        sys.exit(f"{name} is not set")
    return value


class Yotpo:
    """The store's customers, page by page."""

    def __init__(self, base: str, store_id: str, secret: str) -> None:
        self.customers_url = f"{base}/stores/{store_id}/customers"
        # Requested once: neither repeated nor renewed.
        created = requests.post(f"{base}/stores/{store_id}/access_tokens", json={"secret": secret}, timeout=TIMEOUT)
        created.raise_for_status()
        self.token = created.json()["access_token"]

    def page(self, cursor: str | None) -> dict | None:
        """A page; `None` after all retries."""
        # The cursor is percent-encoded already. The other parameters are sent along with it, the limit is not.
        query = "include_custom_properties=true&expand=loyalty"
        query += f"&page_info={cursor}" if cursor else f"&limit={PAGE_SIZE}"
        for attempt in range(1, MAX_RETRIES + 1):
            # A new connection for every request.
            found = requests.get(
                f"{self.customers_url}?{query}", headers={"X-Yotpo-Token": self.token}, timeout=TIMEOUT
            )
            if found.status_code == 200:
                # A body that is not JSON ends the job.
                return found.json()
            if found.status_code == 400 and "no results found" in found.text.lower():
                return {"customers": [], "pagination": {}}
            # A date ends the job.
            time.sleep(int(found.headers.get("Retry-After", RETRY_DELAY * attempt)))
        return None

    def customers(self):
        """All customers, or those before too many errors."""
        cursor, errors = None, 0
        while errors < MAX_CONSECUTIVE_ERRORS:
            time.sleep(1 / REQUESTS_PER_SECOND)
            page = self.page(cursor)
            if page is None:
                errors += 1
                continue
            errors = 0
            yield from page["customers"]
            # A missing pagination is an error, a cursor that repeats is not.
            cursor = page["pagination"].get("next_page_info")
            if not cursor:
                return
        log("too many errors, stopping")


def empty(database: str, table: str) -> None:
    """What `td_ddl> empty_tables` does: the table is deleted and created again."""
    with tdclient.Client() as client:
        try:
            client.delete_table(database, table)
        except tdclient.errors.NotFoundError:
            pass
        client.create_log_table(database, table)


def upload(client: pytd.Client, table: str, customers: list[dict]) -> None:
    frame = pandas.DataFrame({"json_response": [json.dumps(one, separators=(",", ":")) for one in customers]})
    # Local time without a zone, which pandas takes for UTC.
    frame["time"] = int(pandas.Timestamp(datetime.now()).timestamp())
    client.load_table_from_dataframe(frame, table, writer="bulk_import", if_exists="append")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", default="https://api.yotpo.com/core/v3")
    parser.add_argument("--database", required=True)
    parser.add_argument("--table", default="yotpo_customers")
    parser.add_argument("--empty-first", action="store_true")
    flags = parser.parse_args()
    secret, store_id = required("YOTPO_CLIENT_SECRET"), required("YOTPO_STORE_ID")
    client = pytd.Client(apikey=required("TD_API_KEY"), database=flags.database)
    if flags.empty_first:
        empty(flags.database, flags.table)
    batch = []
    with ThreadPoolExecutor(UPLOAD_WORKERS) as pool:
        for customer in Yotpo(flags.base, store_id, secret).customers():
            batch.append(customer)
            if len(batch) == BATCH_ROWS:
                # Nobody looks at the result.
                pool.submit(upload, client, flags.table, batch)
                batch = []
        if batch:
            pool.submit(upload, client, flags.table, batch)
    log("done")


if __name__ == "__main__":
    main()
