"""The customers of the mock server as gzip JSON Lines, with dlt. benches/peers/run fetches the token and counts the rows."""

import os

import dlt
from dlt.destinations import filesystem
from dlt.sources.rest_api import rest_api_source


def main():
    environment = os.environ
    output = environment["PEERS_OUTPUT"]
    source = rest_api_source(
        {
            "client": {
                "base_url": environment["PEERS_ENDPOINT"],
                "headers": {"X-Yotpo-Token": environment["PEERS_TOKEN"]},
                "paginator": {"type": "cursor", "cursor_path": "pagination.next_page_info", "cursor_param": "page_info"},
            },
            "resources": [
                {
                    "name": "customers",
                    # A customer stays one row: nested values are JSON in a column, as in `json_response`.
                    "max_table_nesting": 0,
                    "endpoint": {
                        "path": f"/core/v3/stores/{environment['PEERS_STORE_ID']}/customers",
                        "params": {"limit": 100, "include_custom_properties": "true", "expand": "loyalty"},
                        "data_selector": "customers",
                    },
                }
            ],
        }
    )
    pipeline = dlt.pipeline("peers", pipelines_dir=f"{output}/state", destination=filesystem(f"file://{output}/files"), dataset_name="peers")
    pipeline.run(source, loader_file_format="jsonl").raise_on_failed_jobs()


if __name__ == "__main__":
    main()
