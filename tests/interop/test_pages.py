"""Shell blocks of pages that need another program, or files outside of the project. `.ci/check-commands` lists them."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from example_runs import REPOSITORY, block, endpoints, empty_database, stores
from sandbox import Sandbox, binary, clean_environment

store = stores(seed=29)


def shell(script: str, folder: Path, text: str = "", **variables: str) -> subprocess.CompletedProcess:
    """Runs a block with the program on PATH."""
    path = f"{Path(binary()).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-eu", "-c", script], cwd=folder, input=text, capture_output=True, text=True, timeout=60, check=False,
        env=clean_environment(HOME=str(folder), PATH=path, **variables),
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.mark.skipif(shutil.which("jq") is None and os.environ.get("CI") != "true", reason="jq is missing")
def test_query_results_become_rows_that_can_be_compared(tmp_path):
    customers = [{"email": "one@example.com", "points": 1}, {"email": "two@example.com"}]
    result = [[json.dumps(customer), 1795406400] for customer in customers]
    (tmp_path / "result.json").write_text(json.dumps(result))
    for beginning, name in (("jq -c '.[]", "whole.jsonl"), ("jq -cn --stream", "streamed.jsonl")):
        shell(block("compare.md", "sh", beginning), tmp_path)
        (tmp_path / "rows.jsonl").rename(tmp_path / name)
    found = shell("yotpo-td compare whole.jsonl streamed.jsonl --output json", tmp_path)
    assert json.loads(found.stdout)["identical"] == len(customers)


def test_the_tutorial_leaves_no_variables_in_the_terminal(store: Sandbox, tmp_path):
    script = block("tutorial.md", "sh", "export YOTPO_TD_PAGE_SIZE=") + "env\n"
    before = shell(script, tmp_path, **store.environment).stdout
    assert "YOTPO_TD_PAGE_SIZE=5" in before and f"TD_API_KEY={store['TD_API_KEY']}" in before
    after = shell(script.replace("env\n", block("tutorial.md", "sh", "unset ") + "env\n"), tmp_path, **store.environment).stdout
    assert not [line for line in after.splitlines() if line.startswith(("YOTPO_", "TD_"))], after


def test_settings_and_secrets_of_a_machine_are_written_and_checked(store: Sandbox, tmp_path):
    """/etc/yotpo-td is another directory here, and the settings name another store."""
    directory = tmp_path / "etc"
    here = {"/etc/yotpo-td": str(directory)}
    secrets = {"shop_us.client-secret": store["YOTPO_CLIENT_SECRET"], "td-api-key": store["TD_API_KEY"]}

    def moved(script: str) -> str:
        for place, other in here.items():
            script = script.replace(place, other)
        return script

    for line in block("running.md", "sh", "install -d ").splitlines():
        secret = next((value for name, value in secrets.items() if line.endswith(name)), "")
        shell(moved(line), REPOSITORY, f"{secret}\n")
    for name in secrets:
        assert (directory / name).stat().st_mode & 0o777 == 0o600, name
    settings = directory / "shop_us.toml"
    text = settings.read_text().replace("YOUR_APP_KEY", store["YOTPO_STORE_ID"]).replace('site = "us01"\n', "")
    settings.write_text(text)
    with empty_database(store):
        found = shell(moved(block("running.md", "sh", "YOTPO_CLIENT_SECRET_FILE=")), tmp_path, **endpoints(store))
    assert "✓ yotpo_token" in found.stdout, found.stdout
